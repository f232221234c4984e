from __future__ import annotations

import json
import platform
from importlib import metadata
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.launcher.configs import config_values


@pytest.mark.parametrize(
    ("rate", "pretrained", "said"),
    [(0.1, False, ""), (0.001, False, "to train from scratch"), (0.1, True, "to begin fine-tuning with")],
)
def test_validate_warns_of_a_rate_for_weights_that_are_not_there(
    ftlaunch, write_config, rate, pretrained, said
):
    path = write_config(
        config_values(Optimizer__lr__learning_rate=rate, Arch__pretrained=pretrained)  # of four GPUs
    )
    ran = ftlaunch("validate", path)
    assert ran.code == 0
    assert (said in ran.out + ran.err) if said else "learning_rate" not in ran.out + ran.err


def test_a_good_config_is_ok(ftlaunch, write_config):
    path = write_config(Global__epoch=1)
    ran = ftlaunch("validate", path)
    assert (ran.code, ran.out) == (0, "cfg.yaml: ok\n")
    assert "warning: Global.epoch" in ran.err


def test_a_bad_config_has_all_its_problems_listed(ftlaunch, write_config):
    ran = ftlaunch("validate", write_config(launch={"gpus": -1}, Arch__class_num=0))
    assert (ran.code, ran.out) == (2, "")
    assert "Launch.gpus: expected" in ran.err
    assert "Arch.class_num: expected" in ran.err


def test_problems_are_data_where_asked(ftlaunch, write_config):
    ran = ftlaunch("validate", write_config(launch={"gpus": -1}), "--output", "json")
    document = json.loads(ran.out)
    assert (ran.code, ran.err, document["ok"]) == (2, "", False)
    (problem,) = document["problems"]
    assert problem == {
        "file": "cfg.yaml", "line": problem["line"], "column": problem["column"], "path": "Launch.gpus",
        "message": "expected a number of at least 0, got -1", "warning": False, "expected": None, "got": None,
        "fix": None, "where": f"cfg.yaml:{problem['line']}:{problem['column']}",
    }  # fmt: skip


def test_the_place_is_checked_where_named(ftlaunch, write_config):
    path = write_config(launch={"volumes": []})
    assert ftlaunch("validate", path).code == 0
    assert "mounted volume" not in ftlaunch("validate", path, "--on", "local").err
    ran = ftlaunch("validate", path, "--on", "kubernetes")
    assert ran.code == 2
    assert ran.err.count("expected a path under a mounted volume") == 3


def test_what_is_not_on_this_machine_is_refused_for_this_machine(ftlaunch, write_config):
    volumes = [
        {"mount": "/data", "local": "./not-here", "read_only": True}, {"mount": "/output", "local": "./out"}
    ]  # fmt: skip
    path = write_config(launch={"volumes": volumes})
    ran = ftlaunch("validate", path, "--on", "local", "--output", "json")
    (problem,) = json.loads(ran.out)["problems"]
    assert (ran.code, problem["line"]) == (2, None)
    assert "/data: expected the folder" in problem["message"]
    assert ftlaunch("validate", path).code == 0


def test_lists_are_looked_for_where_they_stand_for_this_machine(ftlaunch, write_config):
    volumes = [
        {"mount": "/data", "local": "./my data", "read_only": True}, {"mount": "/output", "local": "./out"}
    ]  # fmt: skip
    path, data = write_config(launch={"volumes": volumes}), Path("my data")
    data.mkdir()
    ran = ftlaunch("validate", path, "--on", "local")
    (line,) = ran.err.splitlines()
    assert ran.code == 2
    assert line.startswith("cfg.yaml:")
    assert "DataLoader.Train.dataset.cls_label_path: expected a list file, got none at " in line
    assert f"`trainer make-lists '{Path.cwd() / 'my data'}'`" in line
    (data / "train_list.txt").write_text("a.jpg 0\n")
    assert ftlaunch("validate", path, "--on", "local").code == 0


def test_strict_refuses_what_is_otherwise_warned_of(ftlaunch, write_config):
    assert ftlaunch("validate", write_config(Global__epoch=1), "--strict").code == 2


def test_the_schema_admits_good_configs_and_refuses_bad_ones(ftlaunch):
    schema = json.loads(ftlaunch("schema").out)
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    good = yaml.safe_load(yaml.safe_dump(config_values()))
    assert list(validator.iter_errors(good)) == []
    for key, value in {"gpus": -1, "nods": 2, "deadline": 5, "procs_per_node": "many", "volumes": {}}.items():
        bad = {**good, "Launch": {**good["Launch"], key: value}}
        assert list(validator.iter_errors(bad)), key


def test_versions_are_printed(ftlaunch):
    assert f"ftlaunch {metadata.version('ftlaunch')}\n" in ftlaunch("version").out
    versions = json.loads(ftlaunch("version", "--output", "json").out)
    assert versions["python"] == platform.python_version()
    assert versions["kubernetes"] == metadata.version("kubernetes")


def test_what_is_not_installed_has_no_version(ftlaunch, monkeypatch):
    real = metadata.version

    def version(name: str) -> str:
        if name == "kubernetes":
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(metadata, "version", version)
    assert "kubernetes not installed" in ftlaunch("version").out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(ftlaunch, shell):
    ran = ftlaunch("completion", shell)
    assert ran.code == 0
    assert "_FTLAUNCH_COMPLETE" in ran.out


@pytest.mark.parametrize("place", [(), ("--on", "kubernetes")], ids=["anywhere", "kubernetes"])
def test_validate_refuses_a_patch_that_no_cluster_takes_at_its_place(ftlaunch, write_config, place):
    spec = {"schedulrName": "x", "containers": [{"name": "paddle", "ports": [{"containerPort": "http"}]}]}
    path = write_config(launch={"image": "trainer", "pod_patch": {"spec": spec}})
    ran = ftlaunch("validate", path, *place)
    lines = Path(path).read_text().splitlines()
    assert ran.code == 2
    for word, said in (
        (
            "schedulrName",
            "spec.schedulrName: expected a field that exists, got 'x'; did you mean 'schedulerName'?",
        ),
        ("containerPort", "spec.containers.0.ports.0.containerPort: expected integer, got 'http'"),
    ):
        at = next(number for number, line in enumerate(lines, 1) if word in line)
        assert f"{path}:{at}:" in ran.err
        assert f"Launch.pod_patch.{said}" in ran.err


def test_validate_finds_what_a_patch_leaves_out(ftlaunch, write_config):
    launch = {"image": "trainer", "pod_patch": {"spec": {"volumes": [{"name": "x"}, {"emptyDir": {}}]}}}
    ran = ftlaunch("validate", write_config(launch=launch), "--on", "kubernetes")
    assert ran.code == 2
    assert "Launch.pod_patch.spec.volumes.1: " in ran.err
    assert ".name: expected a value, got nothing" in ran.err


@pytest.mark.parametrize("patch", [
    {"spec": {"containers": {"name": "paddle"}}}, {"spec": []}, {"metadata": {"labels": 3}},
    {"spec": {"containers": [{"name": "paddle", "env": 5, "volumeMounts": "x"}]}}, {"spec": {"volumes": [3]}},
    {"spec": {"containers": [3, None, {"name": "paddle", "env": [7]}]}}, {"metadata": [1]},
])  # fmt: skip
def test_validate_answers_a_patch_of_any_form(ftlaunch, write_config, patch):
    ran = ftlaunch(
        "validate", write_config(launch={"image": "trainer", "pod_patch": patch}), "--on", "kubernetes"
    )
    assert ran.code == 2
    assert "Launch.pod_patch" in ran.err
