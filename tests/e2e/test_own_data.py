"""README's lines about own data, from the installed wheel, in an empty home, on a machine without a GPU."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.conftest import CLASSES, REPOSITORY, Place

pytestmark = pytest.mark.timeout(900)
SECTION = "## Your own data"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation of the wheel with its own commands, and nothing of the checkout."""
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, REPOSITORY],
        check=True, capture_output=True,
    )  # fmt: skip
    wheel = next(folder.glob("*.whl"))
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", folder / "site",
         wheel],
        check=True,
    )  # fmt: skip
    return folder / "site"


@pytest.fixture
def user(place: Place, images: Path, site: Path) -> Place:
    """Someone who has just installed it, with a folder of images in their folder."""
    flowers = place.folder / "flowers"
    shutil.copytree(images, flowers)
    for made in ("train_list.txt", "val_list.txt", "labels.txt"):
        (flowers / made).unlink()
    (place.folder / "data").unlink()
    shutil.copytree(next(path for path in flowers.iterdir() if path.is_dir()), place.folder / "new_images")
    (place.folder / "home").mkdir()
    place.env.update(
        PYTHONPATH=str(site), HOME=str(place.folder / "home"),
        PATH=f"{site / 'bin'}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    )  # fmt: skip
    return place


def type_line(user: Place, line: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        ["bash", "-c", line], cwd=user.folder, env=user.environ, text=True, capture_output=True, timeout=300
    )
    assert done.returncode == 0, f"{line} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "internal error" not in done.stderr
    assert "Traceback" not in done.stderr
    return done


def printed_lines() -> list[str]:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = text[text.index(SECTION) + len(SECTION) :].split("\n## ")[0]
    lines = [line.partition("#")[0].strip() for line in section.splitlines() if line.startswith("    ")]
    return [line for line in lines if line and "--gpus" not in line]


def shorten(line: str) -> str:
    """Train a small network for an epoch; all else is as it is printed."""
    if line.startswith("ftlaunch init"):
        return f"{line} --arch PPLCNet_x0_25 --image-size 32"
    line = re.sub(r"Global\.epochs=\d+", "Global.epochs=1", line)
    trains = line.startswith("ftlaunch submit") or line.endswith("trainer train -c cfg.yaml")
    return f"{line} -o Global.epochs=1{' --wait' if 'submit' in line else ''}" if trains else line


def test_every_printed_line_works_with_the_config_that_init_writes(user):
    typed = [shorten(line) for line in printed_lines()]
    programs = {" ".join(line.split()[:2]) for line in typed}
    assert {"trainer make-lists", "ftlaunch init", "trainer check", "ftlaunch submit", "trainer train",
            "trainer predict", "trainer export", "python -m"} <= programs  # fmt: skip
    said = {line: type_line(user, line) for line in typed}
    where = type_line(
        user, "python -c 'import launcher, trainer; print(launcher.__file__, trainer.__file__)'"
    )
    assert where.stdout.count("/installed") == 2
    trained = next(done for line, done in said.items() if line.startswith("trainer train"))
    assert trained.stderr.count("(`local` of Launch)") == 1
    assert "running on the CPU" not in trained.stderr  # Launch.gpus is 0: that is what was asked for
    ranks = next(done for line, done in said.items() if line.startswith("python -m"))
    assert ranks.stderr.count("(`local` of Launch)") <= 1
    runs = {path.name for path in (user.folder / "output").iterdir()}
    assert len(runs) == 4  # a job, two trainings, and the link
    assert "latest" in runs


def test_the_same_line_works_again_and_the_newest_run_is_meant(user):
    for line in ("trainer make-lists flowers", "ftlaunch init --data flowers"):
        type_line(user, shorten(line))
    submit = shorten("ftlaunch submit cfg.yaml --on local")
    jobs = [type_line(user, submit).stdout.strip().rpartition("/")[2] for _ in range(2)]
    output = user.folder / "output"
    assert (output / "latest").readlink() == Path(jobs[1])
    assert all((output / job / "best_model.pdparams").is_file() for job in jobs)
    assert f"output/{jobs[1]}/" in type_line(user, "trainer eval -c cfg.yaml").stdout
    elsewhere = user.folder / "elsewhere"
    elsewhere.mkdir()
    said = type_line(user, f"cd elsewhere && trainer eval {jobs[0]}").stdout
    assert str(output / jobs[0]) in said
    said = type_line(user, f"trainer predict {jobs[0]} new_images").stdout
    names = (user.folder / "flowers" / "labels.txt").read_text().split()[1::2]
    assert len(names) == CLASSES
    assert all(any(name in line for name in names) for line in said.splitlines())


def test_a_plain_config_is_submitted_twice_too(user, write_config):
    cfg = write_config(
        Global__epochs=1, DataLoader__Train__dataset__image_root="flowers",
        DataLoader__Train__dataset__cls_label_path="flowers/train_list.txt",
        DataLoader__Eval__dataset__image_root="flowers",
        DataLoader__Eval__dataset__cls_label_path="flowers/val_list.txt",
    )  # fmt: skip
    type_line(user, "trainer make-lists flowers")
    first, second = (type_line(user, f"ftlaunch submit {cfg} --on local --wait") for _ in range(2))
    job = second.stdout.strip().rpartition("/")[2]
    assert "holds another run" not in first.stderr
    assert f"this job writes to {user.folder / 'output' / job}" in second.stderr
    assert (user.folder / "output/best_model.pdparams").is_file()
    assert (user.folder / "output/latest/best_model.pdparams").is_file()
    assert f"output/{job}/" in type_line(user, f"trainer eval -c {cfg}").stdout
    named = user.run("ftlaunch", "submit", cfg, "--on", "local", "-o", "Global.output_dir=output", code=2)
    assert "expected an empty output folder" in named.stderr
    assert len(user.run("ftlaunch", "list", "--output", "name").stdout.split()) == 2  # no phantom
    type_line(user, f"ftlaunch submit {cfg} --on local --continue {job} --wait")
    assert (user.folder / "output/latest").readlink() == Path(job)
