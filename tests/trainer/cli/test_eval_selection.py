"""`trainer eval` of several weights, ensembles and views, as it is typed, and on two ranks."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from tests.docs.pages import commands
from tests.trainer.engine.ranks import run_ranks


@pytest.fixture
def trained(trainer: Any, cfg: Any, workshop: Any, monkeypatch: Any) -> Any:
    assert trainer("train", "-c", cfg, "-o", "Global.epochs=2")[0] == 0
    monkeypatch.chdir(workshop.folder)
    return cfg


def test_the_lines_of_the_page_mark_the_best(trainer: Any, trained: Any) -> None:
    first, second, *_ = typed = commands("selection")
    code, out, _ = trainer(*shlex.split(first)[1:])
    assert code == 0
    head, *rows, last = out.splitlines()
    assert head.split()[0] == "top1"
    assert head.split()[-2:] == ["seconds", "passes"]
    assert [row.split()[-1] for row in rows] == ["1", "1"]
    assert sum(row.startswith("* ") for row in rows) == 1
    assert last.startswith("best top1: output/epoch_")
    for line in typed[1:]:
        code, out, err = trainer(*shlex.split(line)[1:])
        assert code == 0, err
    assert "mean of 2 + flip" in trainer(*shlex.split(second)[1:])[1]


def test_the_numbers_are_a_document_and_the_report_is_of_the_mean(trainer: Any, trained: Any) -> None:
    code, out, err = trainer(
        "eval", "-c", trained, "--weights", "output/epoch_*.pdparams", "--ensemble", "--output", "json",
        "--report", "mean",
    )  # fmt: skip
    assert code == 0
    said = json.loads(out)
    assert [len(item["weights"]) for item in said["items"]] == [1, 1, 2]
    assert said["items"][said["best"]]["top1"] == max(item["top1"] for item in said["items"])
    report = json.loads((trained.parent / "mean/report.json").read_text())
    assert report["weights"] == "mean of 2"
    assert report["accuracy"]["value"] == pytest.approx(said["items"][2]["top1"], abs=1e-6)
    assert "wrote mean/report.html" in err


@pytest.mark.parametrize(
    ("typed", "code", "says"),
    [
        (["--tta", "flop"], 2, "--tta: expected flip, scales, or both with a comma between, got 'flop'"),
        (["--tta", ","], 2, "--tta: expected flip, scales, or both with a comma between, got ','"),
        (["--weights", "none/*.pdparams"], 2, "expected weights that the pattern finds, got none"),
        (["--weights", "output/latest.pdparams", "--ensemble"], 2, "--ensemble: expected two files or more"),
        (["--weights", "output/epoch_*.pdparams", "--report", "r"], 2, "expected --ensemble or one FILE"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused(
    trainer: Any, trained: Any, typed: list[str], code: int, says: str
) -> None:
    found, _, err = trainer("eval", "-c", trained, *typed)
    assert (found, says in err) == (code, True), err


def test_two_ranks_come_to_the_numbers_of_one(trainer: Any, trained: Any) -> None:
    typed = [
        "eval", "-c", str(trained), "--weights", "output/epoch_*.pdparams", "--ensemble", "--tta",
        "flip,scales", "--report",
    ]  # fmt: skip
    assert trainer(*typed, "alone")[0] == 0
    run_ranks(2, "-m", "trainer", *typed, "together")
    alone, together = (
        json.loads((trained.parent / name / "report.json").read_text()) for name in ("alone", "together")
    )
    assert together["images"] == alone["images"] == 6
    assert together["matrix"] == alone["matrix"]
    assert together["calibration"]["log_loss"] == pytest.approx(alone["calibration"]["log_loss"], rel=1e-6)
