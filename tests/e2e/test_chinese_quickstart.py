from __future__ import annotations

import re
import subprocess
from pathlib import Path

import cv2
import numpy as np

from tests.docs.pages import commands

PAGE = Path(__file__).resolve().parents[2] / "docs/zh/quickstart.md"


def test_every_command_of_the_chinese_quick_start_works_in_its_order(place):
    (place.folder / "data").unlink()
    draws = np.random.default_rng(0)
    for label, name in enumerate(("rose", "tulip")):
        (place.folder / "flowers" / name).mkdir(parents=True)
        for index in range(10):
            image = draws.integers(0, 60, (64, 64, 3), dtype=np.uint8) + np.uint8(100 * label)
            cv2.imwrite(str(place.folder / "flowers" / name / f"{index}.jpg"), image)
    typed = commands("chinese")
    assert len(typed) == 9
    said = {}
    for line in typed:
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=place.folder,
            env=place.environ,
            text=True,
            capture_output=True,
            timeout=180,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        said[line] = done.stdout
    assert "kind: PaddleJob" in said["ftlaunch render cfg.yaml --on local"]
    assert "[Eval][Epoch 2]" in said["ftlaunch logs"]
    assert (place.folder / "output/latest/best_model.pdparams").is_file()
    # A network of two epochs, whose batch norms have seen a few steps: the hardest kind to export.
    export = "trainer export -c cfg.yaml --to inference --onnx"
    done = subprocess.run(
        ["bash", "-c", export],
        cwd=place.folder,
        env=place.environ,
        text=True,
        capture_output=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert (place.folder / "inference/inference.onnx").is_file()
    assert "logits differ by at most" in done.stderr


def test_the_page_names_no_file_that_is_not_there():
    for target in re.findall(r"\]\(([^)]+)\)", PAGE.read_text(encoding="utf-8")):
        assert (PAGE.parent / target).is_file(), target
