from __future__ import annotations

from pathlib import Path

import pytest

from launcher.config.flags import Flags
from launcher.config.load import JobConfig, load_run_config
from tests.launcher.configs import config_values
from trainer.config.problems import ConfigError
from trainer.config.schema import json_schema

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"


def test_a_flag_wins_over_an_override_which_wins_over_the_file(load):
    assert load(launch={"gpus": 1}).job.launch.gpus == 1
    assert load("Launch.gpus=2", launch={"gpus": 1}).job.launch.gpus == 2
    assert load("Launch.gpus=2", flags=Flags(gpus=3), launch={"gpus": 1}).job.launch.gpus == 3


def test_a_config_without_the_section_takes_flags(write_config):
    values = config_values()
    del values["Launch"]
    volume = {"mount": "/data", "claim": "c"}
    flags = Flags(image="i", nodes=2, gpus=8, procs_per_node="auto", namespace="ml", volumes=(volume,))
    launch = load_run_config(write_config(values), flags=flags).job.launch
    assert (launch.image, launch.nodes, launch.gpus, launch.namespace) == ("i", 2, 8, "ml")
    assert [(v.mount, v.claim) for v in launch.volumes] == [("/data", "c")]


def test_an_empty_section_is_none(write_config):
    values = config_values()
    values["Launch"] = None
    assert load_run_config(write_config(values)).job.launch.nodes == 1


def test_a_volume_flag_replaces_the_volume_at_its_mount(load):
    launch = load(flags=Flags(volumes=({"mount": "/data", "claim": "other"},))).job.launch
    assert {v.mount: v.claim for v in launch.volumes} == {"/data": "other", "/output": "runs"}


def test_a_refused_flag_is_named(load):
    with pytest.raises(ConfigError, match=r"--gpus: Launch\.gpus: expected a number of at least 0, got -1"):
        load(flags=Flags(gpus=-1))
    with pytest.raises(ConfigError, match=r"--volume: Launch\.volumes\.2\.mount: expected an absolute path"):
        load(flags=Flags(volumes=({"mount": "x", "claim": "c"},)))


def test_overrides_of_the_section_do_not_travel(load):
    config = load(
        "Global.epochs=3", "Launch.nodes=2", "+Launch.env.A=b", "Launch={'gpus': 1}", "Arch.class_num=5"
    )
    assert config.overrides == ("Global.epochs=3", "Arch.class_num=5")


@pytest.mark.parametrize("key", ["env.NCCL_DEBUG", "labels.team", "annotations.note", "node_selector.zone"])
def test_an_override_sets_a_key_of_the_users_own(load, key):
    section, name = key.split(".")
    assert getattr(load(f"Launch.{key}=x").job.launch, section) == {name: "x"}


def test_an_override_of_an_unknown_key_is_refused(load):
    with pytest.raises(ConfigError, match=r"Launch\.nods: expected a key"):
        load("Launch.nods=2")


def test_bytes_travel_unchanged(write_config):
    path = write_config()
    content = b"\xef\xbb\xbf# \xc3\xa9\r\n" + path.read_bytes().replace(b"\n", b"\r\n") + b"# end"
    path.write_bytes(content)
    assert load_run_config(path).content == content


def test_problems_of_all_sections_are_said_at_once(load):
    with pytest.raises(ConfigError) as caught:
        load(
            launch={"gpus": "four"},
            Optimizer__lr={"name": "Constant", "learning_rate": "fast"},
            Global__pretrained_model="https://me:hunter2@host/weights",
        )
    text = str(caught.value)
    assert "Launch.gpus: expected a whole number, got 'four'" in text
    assert "Optimizer.lr.learning_rate: expected a number, got 'fast'" in text
    assert "Global.pretrained_model: expected no credentials" in text
    assert "hunter2" not in text


def test_credentials_in_an_override_are_refused(load):
    with pytest.raises(ConfigError, match="expected no credentials in a config") as caught:
        load("Global.pretrained_model=https://me:hunter2@host/weights")
    assert "hunter2" not in str(caught.value).partition("expected")[2]


def test_an_override_that_is_not_utf8_is_refused(load):
    with pytest.raises(ConfigError, match="expected UTF-8 text"):
        load("Global.output_dir=/output/\udcff")


def test_unknown_keys_warn_and_are_refused_when_strict(write_config):
    path = write_config(Global__epoch=3)
    assert [str(w.path) for w in load_run_config(path).warnings] == ["('Global', 'epoch')"]
    with pytest.raises(ConfigError, match="did you mean 'epochs'"):
        load_run_config(path, strict=True)


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(ConfigError, match="expected a config file, got no such file"):
        load_run_config(tmp_path / "none.yaml")


@pytest.mark.parametrize("name", ["quickstart.yaml", "ResNet50_vd.yaml"])
def test_the_examples_pass_strictly(name):
    assert load_run_config(EXAMPLES / name, strict=True).warnings == ()


def test_the_schema_describes_the_section():
    schema = json_schema(JobConfig)
    launch = schema["properties"]["Launch"]
    section = schema["$defs"][launch["$ref"].rsplit("/", 1)[-1]] if "$ref" in launch else launch
    properties = section["properties"]
    assert properties["gpus"]["description"].startswith("Devices a node")
    assert properties["grace_period"]["default"] == "120s"
    assert section["additionalProperties"] is False
