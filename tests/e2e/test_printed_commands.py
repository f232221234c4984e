"""What README and docs/ print about this machine, typed as it is printed, by a shell, in the pages' order."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.docs.pages import commands
from tests.e2e.conftest import REPOSITORY, Place

pytestmark = pytest.mark.timeout(900)  # pages print whole trainings
PER_CLASS, SIDE = 24, 72
COLOURS = {"daisy": (235, 235, 235), "rose": (40, 30, 200), "tulip": (30, 190, 230)}


def type_all(place: Place, typed: list[str], *, timeout_s: float = 400.0) -> dict[str, str]:
    """Run commands one after the other, and return what each wrote to stdout; fails at the first that fails.

    JOB stands for the newest job, as it does on the pages.
    """
    said = {}
    for command in typed:
        line = command
        if "JOB" in command:
            newest = place.run("ftlaunch", "list", "--output", "name").stdout.split()[0]
            line = command.replace("JOB", newest)
        done = subprocess.run(
            ["bash", "-c", line], cwd=place.folder, env=place.environ, text=True, capture_output=True,
            timeout=timeout_s,
        )  # fmt: skip
        assert done.returncode == 0, f"{line} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
        said[command] = done.stdout
    return said


def draw_flower(draws: np.random.Generator, colour: tuple[int, int, int]) -> np.ndarray:
    """Return uint8 [SIDE, SIDE, 3], BGR: a blossom of a class's colour somewhere on grass."""
    image = draws.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
    image[..., 1] += 60
    centre = tuple(int(value) for value in draws.integers(24, SIDE - 24, 2))
    for turn in range(5):
        angle = 72 * turn + int(draws.integers(0, 30))
        cv2.ellipse(image, centre, (18, 8), angle, 0, 360, colour, -1)
    return image


@pytest.fixture
def flowers(place: Place) -> Path:
    """The reader's own data: JPEGs of flowers, a folder a class, and some to be told about."""
    draws = np.random.default_rng(3)
    for name, colour in COLOURS.items():
        (place.folder / "flowers" / name).mkdir(parents=True)
        for index in range(PER_CLASS):
            cv2.imwrite(str(place.folder / "flowers" / name / f"{index}.jpg"), draw_flower(draws, colour))
    for folder in ("new_images", "more/below"):
        (place.folder / folder).mkdir(parents=True)
        for index in range(3):
            image = draw_flower(draws, COLOURS["rose"])
            cv2.imwrite(str(place.folder / folder / f"{index}.jpg"), image)
            cv2.imwrite(str(place.folder / folder / f"{index}.png"), image)
    shutil.copytree(place.folder / "new_images", place.folder / "flowers" / "new")
    shutil.copyfile(place.folder / "new_images/0.jpg", place.folder / "a.jpg")
    return place.folder / "flowers"


@pytest.mark.slow
def test_the_lines_about_own_data_work_with_the_config_that_init_writes(place, flowers):
    unseen = place.folder / "flowers/new"
    aside = unseen.rename(place.folder / "unseen")  # no class of its own: it comes when there are lists
    typed = list(dict.fromkeys(commands("own-data")))  # the front page says some of README's again
    assert "ftlaunch init --data flowers" in typed
    said = type_all(place, typed)
    (place.folder / "cfg.yaml").read_text()
    answers = next(text for line, text in said.items() if line.startswith("trainer predict"))
    assert len(answers.splitlines()) == 6
    assert all(any(name in line for name in COLOURS) for line in answers.splitlines())

    aside.rename(unseen)
    said = type_all(place, commands("predict"))
    table = next(text for line, text in said.items() if "--output csv" in line)
    assert "a.jpg" in table
    assert "more/below/2.png" in table


@pytest.mark.slow
def test_the_lines_around_the_quick_start_work_after_it(place):
    shutil.copytree(REPOSITORY / "examples", place.folder / "examples")
    begin = [
        "python examples/digits.py images .quickstart/digits",
        "trainer make-lists .quickstart/digits --overwrite",
        "ftlaunch submit examples/quickstart.yaml --on local --overwrite --wait -o Global.epochs=1",
    ]
    type_all(place, begin)
    said = type_all(place, commands("around"))
    assert "Succeeded" in said["ftlaunch status"]
    assert "[rank 0]" in said["ftlaunch logs"]
    assert "kind: PaddleJob" in next(
        text for line, text in said.items() if line.startswith("ftlaunch render")
    )
    assert place.status()["state"] == "Succeeded"


def test_the_lines_about_weights_work(place):
    code = (
        "import paddle; from trainer.models.registry import create_model; "
        "paddle.save(create_model('ResNet50_vd', class_num=1000).state_dict(), 'best_model.pdparams')"
    )
    place.run("python", "-c", code)
    said = type_all(place, commands("weights"))
    assert "ResNet50_vd" in said["trainer weights list resnet50"]


def test_the_lines_about_files_that_somebody_hands_over_work(place):
    code = (
        "import paddle; from trainer.models.registry import create_model; "
        "paddle.save(create_model('PPLCNet_x0_25', class_num=4).state_dict(), 'mine.pdparams')"
    )
    place.run("python", "-c", code)
    type_all(place, commands("convert"))
    assert (place.folder / "mine.safetensors").stat().st_size > 100_000


def test_a_folder_is_trusted_by_the_line_that_the_page_prints(place, write_config):
    (place.folder / ".ftlaunch.yaml").write_text("Launch: {image: 'registry.example/trainer:1'}\n")
    config = write_config()
    refused = place.run("ftlaunch", "render", config, "--on", "local", code=2)
    assert "ftlaunch trust" in refused.stderr
    (line,) = commands("trust")
    (said,) = type_all(place, [f"{line} 2>&1"]).values()
    assert said == f"trusted as it is now: {place.folder / '.ftlaunch.yaml'}\n"
    assert "registry.example/trainer:1" in place.run("ftlaunch", "render", config, "--on", "local").stdout
