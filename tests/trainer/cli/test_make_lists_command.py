"""`trainer make-lists` as it is typed."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from tests.docs.pages import commands
from tests.trainer.data.test_make_lists import fill


def test_what_is_in_each_list_is_shown(trainer: Any, tmp_path: Path) -> None:
    fill(tmp_path, a=12, bb=6)
    code, out, err = trainer("make-lists", tmp_path, "--folds", 3, "--test", 0.2, "--no-read", "--no-next")
    assert code == 0
    assert out.splitlines()[1:] == [
        "class  fold 1  fold 2  fold 3    test",
        "a           4       3       3       2",
        "bb          2       2       1       1",
        "all         6       5       4       3",
    ]
    assert err == "no image was read: `trainer check --images all` does so before training\n"
    code, _, err = trainer("make-lists", tmp_path, "--folds", 3, "--val", 0.2)
    assert (code, "expected --val or --folds, got both" in err) == (2, True)


def test_the_line_of_the_page_divides_a_folder(trainer: Any, tmp_path: Path, monkeypatch: Any) -> None:
    for name in ("rose", "tulip"):
        (tmp_path / "flowers" / name).mkdir(parents=True)
        for index in range(8):
            image = np.full((4, 4, 3), index, dtype=np.uint8)
            cv2.imwrite(str(tmp_path / "flowers" / name / f"{index}.png"), image)
    monkeypatch.chdir(tmp_path)
    (typed,) = commands("folds")
    code, out, _ = trainer(*shlex.split(typed)[1:])
    assert code == 0
    assert out.splitlines()[-1].split() == ["all", "6", "4", "4", "2"]
    assert (tmp_path / "flowers/train_list_fold3.txt").is_file()
