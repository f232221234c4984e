from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from launcher.spec.images import look_at
from launcher.spec.load import load_run_config
from launcher.spec.starter import choose_batch, tenth_of_imagenets
from tests.launcher.configs import config_values


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
    for place in ("local", "kubernetes"):
        assert ftlaunch("validate", "cfg.yaml", "--on", place, "--strict").code == 0
    batch = config.job.data.Train.sampler.batch_size
    assert config.job.optimizer.lr.learning_rate == pytest.approx(0.01 * batch * 8 / 256, rel=1e-2)


@pytest.mark.parametrize("size", [32, 224, 320])
def test_the_six_sizes_are_in_step(ftlaunch, images, size):
    text = ftlaunch("init", "-", "--data", images, "--image-size", size).out
    assert sorted(re.findall(r"size (\d) of 6", text)) == list("123456")
    values = yaml.safe_load(text)
    train, val = (values["DataLoader"][part]["dataset"]["transform_ops"] for part in ("Train", "Eval"))
    infer = values["Infer"]["transforms"]
    assert values["Global"]["image_shape"] == [3, size, size]
    assert [train[1]["RandCropImage"], val[2]["CropImage"], infer[2]["CropImage"]] == [{"size": size}] * 3
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


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda folder: (folder / "train_list.txt").unlink(), "pass --make-lists, or run `"),
        (lambda folder: (folder / "train_list.txt").write_text(""), "expected images, got an empty list"),
        (lambda folder: (folder / "val_list.txt").write_text("a.jpg x\n"), "val_list.txt:1: expected `path"),
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
    assert ftlaunch("init").code == ftlaunch("init", "--data", images, "--from", "x.yaml").code == 2
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
    assert Path("cfg.yaml").read_bytes().startswith(theirs.read_bytes())
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
    assert [tenth_of_imagenets(batch) for batch in (256, 512, 64)] == [0.01, 0.02, 0.0025]


def test_labels_are_counted_over_both_lists(images):
    assert (look_at(images).class_num, look_at(images).train) == (9, 700)
