from __future__ import annotations

from pathlib import Path

import paddle
import pytest
from click.testing import CliRunner

from trainer.cli.weights import command
from trainer.models.published import published_url
from trainer.models.registry import create_model


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("FTLAUNCH_WEIGHTS", raising=False)
    return tmp_path / "home"


def run(*args: str) -> tuple[int, str]:
    result = CliRunner().invoke(command, args)
    return result.exit_code, result.output


@pytest.mark.parametrize(
    ("name", "ssld", "ending"),
    [  # PaddleClas d178931: MODEL_URLS and _set_ssld_pretrained
        ("ResNet50_vd", False, "/dygraph/legendary_models/ResNet50_vd_pretrained.pdparams"),
        ("ResNet50_vd", True, "/dygraph/legendary_models/ResNet50_vd_ssld_pretrained.pdparams"),
        ("ResNeXt50_32x4d", False, "/dygraph/ResNeXt50_32x4d_pretrained.pdparams"),
        ("MobileNetV2", False, "/dygraph/MobileNetV2_pretrained.pdparams"),
        ("PPHGNetV2_B4", False, "/legendary_models/PPHGNetV2_B4_ssld_stage1_pretrained.pdparams"),
        ("PPHGNetV2_B4", True, "/legendary_models/PPHGNetV2_B4_ssld_stage1_pretrained.pdparams"),
        ("ResNeXt101_32x16d_wsl", False, "/dygraph/ResNeXt101_32x16_wsl_pretrained.pdparams"),
        ("SwinTransformerV2_tiny_patch4_window8_256", False,
         "/dygraph/SwinTransformerV2_tiny_patch4_window8_256_pretrained.pdparams"),
    ],
)  # fmt: skip
def test_addresses_are_those_of_paddleclas(name: str, ssld: bool, ending: str):
    url = published_url(name, use_ssld=ssld)
    assert url is not None
    assert url.startswith("https://paddle-imagenet-models-name.bj.bcebos.com/dygraph/")
    assert url.endswith(ending)


@pytest.mark.parametrize("name", ["PPHGNet_base", "ResNet200"])
def test_some_architectures_have_no_published_weights(name: str):
    assert published_url(name, use_ssld=False) is None
    code, output = run("fetch", name)
    assert code == 2
    assert f"{name}: expected weights that PaddleClas publishes" in output


def test_list_shows_what_is_here_and_what_is_elsewhere(home: Path):
    copy = home / ".paddleclas/weights/ResNet18_pretrained.pdparams"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"")
    code, output = run("list", "resnet18")
    assert code == 0
    rows = dict(line.split("\t") for line in output.splitlines())
    assert rows["ResNet18"] == str(copy)
    assert rows["ResNet18_vd"].startswith("https://")


def test_fetch_offline_names_the_file_and_the_place(tmp_path: Path):
    code, output = run("fetch", "ResNet18", "--offline", "--weights-dir", str(tmp_path))
    assert code == 2
    assert f"put it at {tmp_path}/ResNet18_pretrained.pdparams" in output


def test_fetch_of_an_unknown_name_suggests_one():
    code, output = run("fetch", "ResNet50vd")
    assert code == 2
    assert "did you mean 'ResNet50_vd'" in output


def test_inspect_says_how_far_a_file_fits(tmp_path: Path):
    path = tmp_path / "three.pdparams"
    paddle.save(create_model("PPLCNet_x0_25", class_num=3).state_dict(), str(path))
    code, output = run("inspect", str(path), "--arch", "PPLCNet_x0_25", "--keys")
    assert code == 0
    assert "three.pdparams: 146 keys" in output
    assert "conv1.conv.weight\t[8, 3, 3, 3]\tfloat32" in output
    assert "PPLCNet_x0_25: 144 keys fit" in output
    assert "of another shape: fc.bias (expected [1000], got [3])" in output


def test_inspect_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "text").write_text("no weights")
    code, output = run("inspect", str(tmp_path / "text"))
    assert code == 2
    assert "expected a file of paddle.save" in output


def test_what_a_config_begins_with_is_fetched(home: Path, tmp_path: Path):
    kept = home / ".paddleclas/weights"
    kept.mkdir(parents=True)
    for name in ("PPLCNet_x0_25", "ResNet50_vd"):
        (kept / f"{name}_{'ssld_' if name == 'ResNet50_vd' else ''}pretrained.pdparams").write_bytes(b"kept")
    cfg = tmp_path / "cfg.yaml"
    cfg.write_text("Global: {}\nArch: {name: ResNet50_vd, class_num: 3, pretrained: True, use_ssld: True}\n")
    code, said = run("fetch", "-c", str(cfg), "PPLCNet_x0_25", "--offline")
    assert code == 0, said
    assert [Path(line).name for line in said.splitlines()] == [
        "PPLCNet_x0_25_pretrained.pdparams", "ResNet50_vd_ssld_pretrained.pdparams"
    ]  # fmt: skip
    cfg.write_text("Global: {}\nArch: {name: ResNet50_vd, class_num: 3}\n")
    code, said = run("fetch", "-c", str(cfg))
    assert (code, "no network begins with published weights" in said) == (0, True)
    code, said = run("fetch")
    assert (code, "expected NAMES or -c FILE" in said) == (2, True)
