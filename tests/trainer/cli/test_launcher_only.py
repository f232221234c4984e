"""What `trainer` answers where only the launcher was installed: neither Paddle, NumPy, OpenCV nor Pillow."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.protocol.installation import install_command

HIDE = """
import sys
HIDDEN = set({hidden!r})
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hide())
from trainer.cli.main import main
main()
"""
EVERYTHING = ("paddle", "numpy", "cv2", "PIL")


def trainer(*argv, cwd, hidden=EVERYTHING):
    return subprocess.run(
        [sys.executable, "-c", HIDE.format(hidden=hidden), *map(str, argv)],
        capture_output=True, text=True, cwd=cwd, timeout=60,
    )  # fmt: skip


@pytest.fixture
def config(workshop):
    workshop.config()
    return workshop.folder / "cfg.yaml"


@pytest.mark.parametrize(
    "argv",
    [
        ["train", "-c", "cfg.yaml"], ["eval", "-c", "cfg.yaml"], ["predict", "-c", "cfg.yaml", "a.png"],
        ["predict", "--model", "inference", "a.png"], ["export", "-c", "cfg.yaml"],
        ["lr-find", "-c", "cfg.yaml"], ["check", "-c", "cfg.yaml"], ["weights", "inspect", "a.pdparams"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_commands_that_need_paddle_say_what_to_install_before_anything_else(config, argv):
    done = trainer(*argv, cwd=config.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert "expected PaddlePaddle, NumPy, OpenCV and Pillow" in done.stderr
    assert f"\n  {install_command('trainer')}\n" in done.stderr
    assert "Traceback" not in done.stderr


def test_one_missing_package_is_named_alone(config):
    done = trainer("eval", "-c", "cfg.yaml", cwd=config.parent, hidden=["cv2"])
    assert done.returncode == 2
    assert "expected OpenCV in this environment, got none;" in done.stderr


def test_a_rank_leaves_the_reason_for_its_node(config, monkeypatch):
    outcome = config.parent / "outcome.json"
    monkeypatch.setenv("FTL_OUTCOME", str(outcome))
    assert trainer("train", "-c", "cfg.yaml", cwd=config.parent).returncode == 2
    assert "expected PaddlePaddle" in json.loads(outcome.read_text())["reason"]


def test_lists_are_made_without_them(tmp_path):
    for name in ("roses/1.jpg", "roses/2.jpg", "tulips/1.jpg", "tulips/2.jpg"):
        path = tmp_path / "flowers" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"made without reading it")
    done = trainer("make-lists", "flowers", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert len((tmp_path / "flowers/train_list.txt").read_text().splitlines()) == 2


def test_sizes_are_changed_weights_listed_and_configs_checked_without_them(config):
    repository = Path(__file__).resolve().parents[3]
    example = config.parent / "example.yaml"
    example.write_bytes((repository / "examples/quickstart.yaml").read_bytes())
    done = trainer("resize", "example.yaml", "64", cwd=config.parent)
    assert (done.returncode, "32 -> 64" in done.stdout) == (0, True), done.stderr
    done = trainer("weights", "list", "ResNet50_vd", cwd=config.parent)
    assert (done.returncode, done.stdout.count("ResNet50_vd") > 1) == (0, True), done.stderr
    done = trainer("check", "--config-only", "-c", "cfg.yaml", cwd=config.parent)
    assert (done.returncode, "ok: PPLCNet_x0_25, 3 classes" in done.stdout) == (0, True), done.stderr
    done = trainer("weights", "fetch", "--offline", "PPLCNet_x1_0", cwd=config.parent)
    assert (done.returncode, "downloads are off" in done.stderr) == (2, True), done.stderr
