"""A config whose network only the package `paddleclas` has says so, wherever it is looked at."""

from __future__ import annotations

import importlib.machinery
import importlib.util
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from launcher.cli.main import group as ftlaunch
from launcher.config.load import load_run_config, names_zoo
from trainer.cli.main import group as trainer
from trainer.config.zoo import find_foreign

SPEC = importlib.util.find_spec


def write(folder: Path, arch: dict[str, object], image: str | None = None) -> Path:
    split = {
        "dataset": {
            "name": "ImageNetDataset", "image_root": "/data", "cls_label_path": "/data/train.txt",
            "transform_ops": [{"DecodeImage": None}, {"NormalizeImage": {"order": ""}}],
        },
        "sampler": {"batch_size": 4},
    }  # fmt: skip
    document = {
        "Global": {"epochs": 1, "device": "cpu", "output_dir": "/output/run"},
        "Arch": arch,
        "Loss": {"Train": [{"CELoss": None}]},
        "Optimizer": {"name": "SGD", "lr": {"learning_rate": 0.1}},
        "DataLoader": {"Train": split},
        "Launch": {
            "name": "zoo", "gpus": 0, "image": image,
            "volumes": [
                {"mount": "/data", "claim": "data", "local": "."},
                {"mount": "/output", "claim": "out", "local": "./out"},
            ],
        },
    }  # fmt: skip
    path = folder / "cfg.yaml"
    path.write_text(yaml.safe_dump(document))
    return path


@pytest.fixture(params=[True, False], ids=["installed", "missing"])
def here(request, monkeypatch) -> bool:
    """Whether this environment seems to have the package."""
    found = importlib.machinery.ModuleSpec("paddleclas", None) if request.param else None
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: found if name == "paddleclas" else SPEC(name, *rest)
    )
    return request.param


GHOST = {"name": "GhostNet_x1_0", "class_num": 5}


def test_trainer_check_says_it_where_the_package_is_missing(tmp_path, here):
    ended = CliRunner().invoke(trainer, ["check", "--config-only", "-c", str(write(tmp_path, GHOST))])
    assert ended.exit_code == 0
    said = "Arch.name: expected the package paddleclas, which alone has GhostNet_x1_0" in ended.output
    assert said != here
    assert "cfg.yaml:3:9: warning" in ended.output or here


def test_validate_says_it_of_the_image(tmp_path, here):
    ended = CliRunner().invoke(ftlaunch, ["validate", str(write(tmp_path, GHOST))])
    assert ended.exit_code == 0
    assert ended.output.count("GhostNet_x1_0 is a network of the package paddleclas alone") == 1
    assert "Launch.image" in ended.output
    assert "TARGET=cpu-zoo" in ended.output


def test_a_job_on_this_machine_is_refused_where_the_package_is_missing(tmp_path, here, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path, GHOST)
    (tmp_path / "train.txt").write_text("a.jpg 0\n")
    ended = CliRunner().invoke(ftlaunch, ["validate", str(path), "--on", "local"])
    assert ("cfg.yaml: ok" in ended.output) == here
    assert ("Arch.name: expected the package paddleclas" in ended.output) != here


def test_a_job_without_an_image_gets_the_one_that_has_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for arch, ending in ((GHOST, "-cpu-zoo"), ({"name": "ResNet18"}, "-cpu")):
        ended = CliRunner().invoke(ftlaunch, ["render", str(write(tmp_path, arch)), "--on", "docker"])
        assert ended.exit_code == 0, ended.output
        assert f'{ending}"' in ended.output


@pytest.mark.parametrize(
    ("image", "named"),
    [
        ("registry.example:5000/team/trainer:1.0-gpu-zoo", True),
        ("trainer:zoo", True),
        ("trainer:1.0-zoo@sha256:" + "0" * 64, True),
        ("zoo/trainer:1.0-gpu", False),
        ("registry.example:5000/zoo", False),
        ("trainer:1.0-gpuzoo", False),
    ],
)
def test_an_image_says_by_its_tag_that_it_has_it(tmp_path, image, named):
    assert names_zoo(image) == named
    warnings = load_run_config(write(tmp_path, GHOST, image)).warnings
    assert [problem.path for problem in warnings] == ([] if named else [("Arch", "name")])


def test_each_of_several_networks_is_named_at_its_place(tmp_path):
    models = [{"Teacher": {**GHOST}}, {"Student": {"name": "ResNet18", "class_num": 5}}]
    arch = {"name": "DistillationModel", "models": models}
    path = write(tmp_path, arch)
    document = yaml.safe_load(path.read_text())
    document["Loss"] = {"Train": [{"DistillationCELoss": {"model_name_pairs": [["Student", "Teacher"]]}}]}
    path.write_text(yaml.safe_dump(document))
    job = load_run_config(path).job
    assert list(find_foreign(job.arch)) == [(("Arch", "models", 0, "Teacher", "name"), "GhostNet_x1_0")]


def test_a_network_of_this_trainer_needs_nothing(tmp_path):
    assert load_run_config(write(tmp_path, {"name": "ResNet18"})).warnings == ()
