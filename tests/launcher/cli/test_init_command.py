from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from launcher.config.image_folder import read_image_folder
from launcher.config.load import load_run_config
from launcher.config.recipe import choose_arch, choose_batch, fine_tuning_rate
from launcher.jobs import trainer_process as trying
from launcher.jobs.cost import Run, guess_step_s
from tests.launcher.configs import config_values
from trainer.config.rates import find_rate_doubts


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `init` finds on the machine: neither weights nor Paddle, unless a test says so."""
    found: dict[str, Any] = {
        "weights": None, "paddle": False, "step_s": None, "memory": None, "estimate": None,
    }  # fmt: skip
    monkeypatch.setattr(trying, "find_weights", lambda _: found["weights"])
    monkeypatch.setattr(trying, "can_train", lambda: found["paddle"])
    monkeypatch.setattr(trying, "measure_step", lambda _, **__: (found["step_s"], found["memory"]))
    monkeypatch.setattr(trying, "estimate_step", lambda _: found["estimate"])
    return found


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = Path("102 flowers: é")
    folder.mkdir()
    (folder / "train_list.txt").write_text("".join(f"a b/{i}.jpg {i % 7}\n" for i in range(700)))
    (folder / "val_list.txt").write_text("x.jpg 8\n\n")
    (folder / "labels.txt").write_text("0 rose\n")
    return folder


def test_a_folder_of_images_gets_a_config_that_passes_everywhere(ftlaunch, images):
    ran = ftlaunch("init", "--data", images, "--arch", "ResNet50_vd", "--gpus", 4, "--nodes", 2)
    assert (ran.code, ran.out) == (0, "")
    config = load_run_config(Path("cfg.yaml"))
    assert config.warnings == ()
    assert (config.job.arch.name, config.job.arch.class_num) == ("ResNet50_vd", 9)
    assert (config.job.launch.name, config.job.launch.gpus, config.job.launch.nodes) == ("flowers-e", 4, 2)
    assert [v.local for v in config.job.launch.volumes] == [str(images), "./output"]
    assert [v.sub_path for v in config.job.launch.volumes] == [None, "{job}"]  # each job's own
    for place in ("local", "kubernetes"):
        assert ftlaunch("validate", "cfg.yaml", "--on", place, "--strict").code == 0
    assert (config.job.arch.pretrained, type(config.job.optimizer).__name__) == (False, "AdamW")


@pytest.mark.parametrize("size", [32, 224, 320])
def test_the_six_sizes_are_in_step(ftlaunch, images, size):
    text = ftlaunch("init", "-", "--data", images, "--image-size", size).out
    assert sorted(re.findall(r"size (\d) of 6", text)) == list("123456")
    values = yaml.safe_load(text)
    train, val = (values["DataLoader"][part]["dataset"]["transform_ops"] for part in ("Train", "Eval"))
    infer = values["Infer"]["transforms"]
    assert values["Global"]["image_shape"] == [3, size, size]
    assert [op["size"] for op in (train[1]["RandCropImage"], val[2]["CropImage"], infer[2]["CropImage"])] == [
        size
    ] * 3
    short = {"resize_short": round(size * 256 / 224)}
    assert val[1]["ResizeImage"] == infer[1]["ResizeImage"] == short


def test_the_modeline_leads_to_the_schema_beside_the_config(ftlaunch, images):
    Path("configs").mkdir()
    assert ftlaunch("init", "configs/mine.yaml", "--data", images).code == 0
    first = Path("configs/mine.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=.ftlaunch/schema.json"
    assert json.loads(Path("configs/.ftlaunch/schema.json").read_text()) == json.loads(ftlaunch("schema").out)


def test_a_file_is_overwritten_by_force_only_and_stdout_touches_nothing(ftlaunch, images):
    assert ftlaunch("init", "-", "--data", images).code == 0
    assert list(Path.cwd().iterdir()) == [Path.cwd() / images]
    Path("cfg.yaml").write_text("mine")
    ran = ftlaunch("init", "--data", images)
    assert (ran.code, Path("cfg.yaml").read_text()) == (2, "mine")
    assert "--force" in ran.err
    assert ftlaunch("init", "--data", images, "--force").code == 0
    assert Path("cfg.yaml").read_text() != "mine"


def test_a_folder_in_the_place_of_a_file_is_taken_for_the_images_it_holds(ftlaunch, images):
    for words in (("init", images), ("init", images, "--force")):
        ran = ftlaunch(*words)
        assert (ran.code, ran.err) == (
            2,
            f"{images}: expected a file to write, got a folder; "
            f"for its images: ftlaunch init --data '{images}'\n",
        )


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "train_list.txt").unlink(), "remove the other lists, and `ftlaunch init`"),
        (lambda folder: (folder / "train_list.txt").write_text(""), "expected 'path label' lines, got none"),
        (lambda folder: (folder / "val_list.txt").write_text("a.jpg x\n"),
         "val_list.txt:1: expected a whole number as label, got 'x'"),
    ],
)  # fmt: skip
def test_a_folder_that_is_not_ready_is_refused_with_what_to_do(ftlaunch, images, break_it, message):
    break_it(images)
    ran = ftlaunch("init", "--data", images)
    assert ran.code == 2
    assert message in ran.err
    assert not Path("cfg.yaml").exists()


def test_what_makes_no_sense_is_refused(ftlaunch, images):
    ran = ftlaunch("init", "--data", images, "--arch", "ResNet50vd")
    assert ran.code == 2
    assert "did you mean 'ResNet50_vd'?" in ran.err
    assert ftlaunch("init").code == ftlaunch("init", "--from", "x.yaml", "--arch", "ResNet50_vd").code == 2
    assert ftlaunch("init", "--data", "none").code == 2
    assert not Path("cfg.yaml").exists()


def test_without_held_out_images_there_is_no_evaluation(ftlaunch, images):
    (images / "val_list.txt").unlink()
    ftlaunch("init", "--data", images)
    config = load_run_config(Path("cfg.yaml"))
    assert (config.job.run.eval_during_train, config.job.data.Eval) == (False, None)


def test_somebodys_config_keeps_its_bytes_and_gets_volumes_for_its_paths(ftlaunch, write_config):
    values = config_values(
        Global={"epochs": 1}, DataLoader__Train__dataset__image_root="./dataset/flowers/",
        DataLoader__Train__dataset__cls_label_path="/lists/train.txt",
    )  # fmt: skip
    del values["Launch"]
    theirs = write_config(values, name="theirs.yaml")
    with theirs.open("a") as file:
        file.write("# their comment, no line break behind it")
    assert ftlaunch("init", "--from", theirs, "--gpus", 2).code == 0
    first, _, rest = Path("cfg.yaml").read_bytes().partition(b"\n")
    assert first == b"# yaml-language-server: $schema=.ftlaunch/schema.json"
    assert rest.startswith(theirs.read_bytes())
    launch = load_run_config(Path("cfg.yaml")).job.launch
    assert launch.name == "theirs"
    assert [(v.mount, v.claim, v.read_only, v.local) for v in launch.volumes] == [
        ("/workspace/dataset", "dataset", True, "./dataset"), ("/lists", "lists", True, "/lists"),
        ("/workspace/output", "output", False, "./output"),
    ]  # fmt: skip
    assert ftlaunch("validate", "cfg.yaml", "--on", "kubernetes").code == 0
    ran = ftlaunch("init", "other.yaml", "--from", "cfg.yaml")
    assert ran.code == 2
    assert "expected no Launch section yet" in ran.err


def test_somebodys_config_is_written_though_it_needs_work(ftlaunch, write_config):
    values = config_values(Arch__name="NoSuchNet")
    del values["Launch"]
    ran = ftlaunch("init", "--from", write_config(values, name="theirs.yaml"))
    assert ran.code == 0
    assert "NoSuchNet" in ran.err
    assert Path("cfg.yaml").exists()


@pytest.mark.parametrize(
    ("images", "ranks", "batch"), [(50000, 8, 64), (700, 8, 8), (10, 1, 4), (2048, 4, 64)]
)
def test_a_batch_is_as_large_as_leaves_an_epoch_some_steps(images, ranks, batch):
    assert choose_batch(images, ranks) == batch


def test_the_learning_rate_follows_the_global_batch():
    assert [fine_tuning_rate(batch) for batch in (256, 512, 64)] == [0.01, 0.02, 0.0025]


def test_labels_are_counted_over_both_lists(images):
    assert (read_image_folder(images).class_num, read_image_folder(images).train) == (9, 700)


def test_with_weights_it_goes_on_from_them_at_a_rate_for_fine_tuning(ftlaunch, images, machine):
    machine["weights"] = trying.Weights(
        "ResNet50_vd", "/weights/ResNet50_vd_pretrained.pdparams", is_here=True
    )
    ran = ftlaunch("init", "--data", images, "--gpus", 4, "--nodes", 2)
    config = load_run_config(Path("cfg.yaml")).job
    batch = config.data.Train.sampler.batch_size
    assert (config.arch.pretrained, config.run.epochs) == (True, 28)
    assert config.optimizer.lr.learning_rate == pytest.approx(0.01 * batch * 8 / 256, rel=1e-2)
    assert "goes on from ImageNet's weights" in ran.err
    assert "from scratch" not in Path("cfg.yaml").read_text() + ran.err


def test_without_weights_no_sentence_speaks_of_fine_tuning_as_what_is_done(ftlaunch, images):
    ran = ftlaunch("init", "--data", images)
    text = Path("cfg.yaml").read_text()
    config = load_run_config(Path("cfg.yaml")).job
    assert (config.arch.name, config.arch.pretrained) == ("PPLCNet_x0_25", False)
    assert "because fine-tuning starts" not in text
    assert "from scratch: there are no weights of PPLCNet_x0_25 here" in ran.err
    assert config.run.epochs * (700 // config.data.Train.sampler.batch_size) >= 1900
    for part in (config.data.Train, config.data.Eval):
        assert (part.loader.bad_images, part.loader.bad_images_limit) == ("skip", 0.01)


def test_what_is_printed_fits_a_hundred_columns(ftlaunch, images, machine):
    machine.update(paddle=True, step_s=0.1, memory=500 << 20)
    said = ftlaunch("init", "--data", images).err.splitlines()
    assert [line for line in said if len(line) > 100] == []
    assert "time on this machine: about " in " ".join(said)
    assert "memory: 500 MiB were measured" in " ".join(said)


@pytest.mark.parametrize(
    ("found", "flags", "said"),
    [
        ({"paddle": True, "step_s": None}, (), "not known; a step was not done within 20 s"),
        ({"paddle": False}, (), "Paddle is not installed here"),
        ({"paddle": True}, ("--no-measure",), "time on this machine: not measured"),
        ({"paddle": True}, ("--gpus", 1), "on GPUs: not known, because the network's sizes are not"),
        ({"paddle": False}, ("--gpus", 1), "on GPUs: not known, because the trainer's Paddle is not"),
    ],
)
def test_a_time_that_is_not_measured_is_said_to_be_none(ftlaunch, images, machine, found, flags, said):
    machine.update(found)
    assert said in ftlaunch("init", "--data", images, *flags).err


@pytest.mark.parametrize(
    ("step_s", "flags", "said"),
    [
        # 700 images an epoch and 1 evaluated every second, at 0.5 s for 4 of them
        (0.5, ("--epochs", 10), "time on this machine: about 15 min, of 500 ms a step"),
        (None, (), "time on this machine: not known; a step was not done within 20 s"),
        (0.5, ("--no-measure",), "time on this machine: not measured"),
        (0.5, ("--gpus", 1), "time and memory on GPUs: not known"),
    ],
)
def test_the_time_of_a_config_that_is_fitted_is_told(
    ftlaunch, images, machine, write_config, step_s, flags, said
):
    machine.update(paddle=True, step_s=step_s)
    values = config_values(Global__eval_interval=2, DataLoader__Train__sampler__batch_size=4)
    del values["Launch"]
    theirs = write_config(values, name="theirs.yaml")
    ran = ftlaunch("init", "mine.yaml", "--from", theirs, "--data", images, *flags)
    assert ran.code == 0
    assert [line for line in ran.err.splitlines() if said in line] != []


def test_for_gpus_time_and_memory_are_a_guess_with_its_ground(ftlaunch, images, machine):
    machine.update(paddle=True, step_s=0.1, estimate=trying.StepEstimate(3 << 30, 4_100_000_000))
    one, four = (ftlaunch("init", "-", "--data", images, "--gpus", gpus).err for gpus in (1, 4))
    assert "time on a GPU: a guess, about " in one
    assert "time on 4 GPUs: a guess, about " in four
    assert "a V100 trains ResNet50 at 367 images a second" in one
    assert "memory of each GPU: about 3.0 GiB, estimated" in one
    assert [line for line in (one + four).splitlines() if len(line) > 100] == []


def test_a_v100_that_trains_resnet50_takes_as_long_as_it_does():
    run = Run(images=367, evaluated=0, batch=64, epochs=1, ranks=1)
    step_s = guess_step_s(4_100_000_000, batch=64)
    assert run.seconds(step_s) == pytest.approx(1.0, rel=0.05)
    assert replace(run, ranks=8, epochs=8).seconds(step_s) == pytest.approx(run.seconds(step_s))


def test_several_nodes_of_cpus_are_told_by_one(ftlaunch, images, machine):
    machine.update(paddle=True, step_s=0.5)
    said = ftlaunch("init", "--data", images, "--nodes", 2).err
    assert "on 2 machines like this one, of 500 ms a step" in said
    assert "what they exchange is not in it" in said


def test_each_preset_costs_more_than_the_one_before(ftlaunch, images):
    work = []
    for preset in ("fast", "good", "best"):
        assert ftlaunch("init", "--data", images, "--preset", preset, "--force").code == 0
        config = load_run_config(Path("cfg.yaml"))
        assert config.warnings == ()
        size = config.job.run.image_shape[2]
        work.append((config.job.run.epochs, size))
        assert config.job.arch.name == {"best": "PPLCNet_x0_5"}.get(preset, "PPLCNet_x0_25")
    assert work == sorted(work)
    assert len(set(work)) == 3
    assert ftlaunch("init", "--data", images, "--preset", "great", "--force").code == 2


def test_rate_and_weights_belong_together_in_every_preset(ftlaunch, images, machine):
    for weights in (None, "here"):
        for preset in ("fast", "good", "best"):
            for gpus in (0, 8):
                arch = choose_arch(gpus, preset)[0]
                machine["weights"] = trying.Weights(arch, "/w.pdparams", is_here=True) if weights else None
                ftlaunch("init", "--data", images, "--preset", preset, "--gpus", gpus, "--force")
                job = load_run_config(Path("cfg.yaml")).job
                assert job.arch.pretrained is bool(weights)
                assert list(find_rate_doubts(job, ranks=max(1, gpus))) == []


def test_classes_out_of_balance_are_weighed_and_told(ftlaunch, images):
    lines = [f"{i}.jpg {max(0, i - 690)}\n" for i in range(700)]
    (images / "train_list.txt").write_text("".join(lines))
    said = ftlaunch("init", "--data", images).err
    assert "class_weight: auto, because the largest class has 691 images, the smallest 1" in said
    assert load_run_config(Path("cfg.yaml")).job.loss.Train[0].class_weight == "auto"


def test_no_time_is_told_of_a_config_that_is_refused(ftlaunch, images, machine, write_config):
    machine.update(paddle=True, step_s=0.5)
    values = config_values(Arch__name="NoSuchNet")
    del values["Launch"]
    ran = ftlaunch("init", "--from", write_config(values, name="theirs.yaml"), "--data", images)
    assert ran.code == 0
    assert "NoSuchNet" in ran.err
    assert "time on this machine" not in ran.err


def test_lists_are_made_where_there_are_none(ftlaunch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("cat", "dog"):
        for split, count in (("train", 3), ("valid", 2)):
            folder = tmp_path / "pets" / split / name
            folder.mkdir(parents=True)
            for index in range(count):
                (folder / f"{index}.png").write_bytes(png(40, 30))
    ran = ftlaunch("init", "--data", "pets", "--name", "pets")
    assert ran.code == 0
    data = read_image_folder(Path("pets"))
    assert (data.class_num, data.train, data.val, data.side) == (2, 6, 4, 30)
    assert "6 images in train_list.txt" in ran.err
    assert "next: ftlaunch init --data" not in ran.err
    assert load_run_config(Path("cfg.yaml")).job.run.image_shape == (3, 32, 32)


def test_a_folder_of_which_no_lists_can_be_made_is_refused(ftlaunch, tmp_path):
    (tmp_path / "empty").mkdir()
    ran = ftlaunch("init", tmp_path / "x.yaml", "--data", tmp_path / "empty")
    assert (ran.code, (tmp_path / "x.yaml").exists()) == (2, False)
    assert "expected images that lists can be made of" in ran.err


def png(width: int, height: int) -> bytes:
    encoded: bytes = cv2.imencode(".png", np.zeros((height, width, 3), np.uint8))[1].tobytes()
    return encoded
