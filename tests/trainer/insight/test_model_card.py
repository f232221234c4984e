"""The card of an exported model: what is known, what is not, and hostile names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from trainer.insight.evaluation_report import Origin, Predictions, write_report
from trainer.insight.model_card import (
    CardFacts,
    HashedFile,
    ListFacts,
    find_limits,
    find_unknown,
    write_json,
    write_markdown,
)

NAMES = ["oak", "a|b\n<script>", "ash"]
BARE = CardFacts(
    network="ResNet18", names=NAMES, input="images of 32 × 32 pixels", version="1.0",
    made_at="2026-01-01T00:00:00",
    weights=HashedFile(path="best_model.pdparams", sha256="ab" * 32), files=[], compared=0, largest=0.0,
    lists=[ListFacts(name="training", file=HashedFile(path="gone.txt", sha256=None), images=None)],
    settings={},
)  # fmt: skip


@pytest.fixture
def report(tmp_path: Path) -> dict:
    labels = np.array([0] * 40 + [1] * 10 + [2] * 5)
    return document(labels, np.eye(3)[np.where(labels == 2, 0, labels)] * 3, tmp_path)


def document(labels: np.ndarray, logits: np.ndarray, folder: Path) -> dict:
    predictions = Predictions(
        paths=["x"] * 55, places=["l:1"] * 55, labels=labels, logits=logits.astype(np.float32), names=NAMES
    )
    write_report(predictions, folder, Origin(weights="w", listed="val.txt", version="1"))
    return json.loads((folder / "report.json").read_text())


def test_what_is_not_known_is_said() -> None:
    unknown = list(find_unknown(BARE))
    assert any(line.startswith("How good it is: no evaluation") for line in unknown)
    assert any("the training list held: gone.txt cannot be read here" in line for line in unknown)
    assert any("names no list" in line for line in unknown)
    assert any("settings lie beside the weights" in line for line in unknown)
    assert any("What it is meant for" in line for line in unknown)
    text = write_markdown(BARE).decode()
    assert text.count("\n- ") == len(unknown) + len(list(find_limits(BARE)))
    assert "- Where the images are from, under which licence" in text
    assert json.loads(write_json(BARE))["not_known"] == unknown


def test_numbers_limits_and_thresholds_are_those_of_the_report(report: dict) -> None:
    counts = ListFacts(
        name="evaluation", file=HashedFile(path="val.txt", sha256="cd" * 32), images=55, counts=(40, 10, 0)
    )
    facts = replace(
        BARE, report=report, report_place="report/report.json", lists=[counts], compared=8, largest=1e-6,
        settings={"Global.epochs": 20, "class names": "a\nb", "AMP.use_amp": None},
    )  # fmt: skip
    limits = list(find_limits(facts))
    assert "No image of the evaluation list is of: ash." in limits
    assert "Fewer than half of the images are found of: ash." in limits
    assert (
        "Measured on fewer than 30 images of each of: a|b\n<script>, ash; their numbers are rough." in limits
    )
    text = write_markdown(facts).decode()
    assert "| accuracy | 90.9 % (" in text
    assert "| oak | 40 | 100.0 % (91.2 to 100.0) |" in text
    assert "| Global.epochs | 20 |" in text
    assert "AMP" not in text
    thresholds = [of["threshold"] for of in facts.report["thresholds"]]  # type: ignore[index]
    assert text.count("| none |") == sum(one is None for one in thresholds)
    assert "on 8 images; logits differ by at most 1.0e-06 of their size" in text


def test_a_name_neither_ends_a_cell_nor_is_a_tag(report: dict) -> None:
    text = write_markdown(replace(BARE, report=report)).decode()
    assert "| a\\|b &lt;script> | 10 |" in text
    assert "<script>" not in text
    assert "\n<" not in text


def test_several_classes_an_image_have_thresholds_of_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    flags = rng.random((55, 3)) < 0.4
    found = document(flags, np.where(flags, 2.0, -2.0) + rng.normal(0, 1, flags.shape), tmp_path)
    facts = replace(BARE, report=found)
    text = write_markdown(facts).decode()
    assert f"| oak | {found['class_thresholds'][0]['threshold']:.3f} |" in text
    assert f"| mean average precision | {100 * found['mean_average_precision']:.1f} % |" in text
    assert not any("one of its" in line for line in find_limits(facts))
