"""Three ranks measure what one measures, whatever the last batches lack."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.trainer.engine.ranks import run_ranks

RANKS, LENGTHS = 3, range(1, 15)
SCRIPT = Path(__file__).with_name("ranked_evaluations.py")


def draw(folder: Path) -> None:
    draws = np.random.default_rng(2)
    for index in range(max(LENGTHS)):
        cv2.imwrite(str(folder / f"{index}.png"), draws.integers(0, 255, (4, 4, 3), dtype=np.uint8))
    several = draws.integers(0, 2, (max(LENGTHS), 3))
    for length in LENGTHS:
        lines = [f"{index}.png {index % 2}\n" for index in range(length)]
        (folder / f"one{length:02}.txt").write_text("".join(lines))
        lines = [f"{index}.png\t{','.join(map(str, several[index]))}\n" for index in range(length)]
        (folder / f"several{length:02}.txt").write_text("".join(lines))


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder = tmp_path_factory.mktemp("lists")
    draw(folder)
    run_ranks(RANKS, str(SCRIPT), str(folder))
    return [json.loads((folder / f"results{rank}.json").read_text()) for rank in range(RANKS)]


@pytest.mark.parametrize("kind", ["one", "several"])
def test_metrics_are_those_of_one_rank_to_the_last_bit(kind, results):
    for length in LENGTHS:
        found = results[0][f"{kind}{length:02}"]
        assert found["together"]["metrics"] == found["alone"]["metrics"], length
        assert list(found["together"]["metrics"]) == list(found["alone"]["metrics"])
        assert found["together"]["losses"] == pytest.approx(found["alone"]["losses"], rel=1e-6)


@pytest.mark.parametrize("kind", ["one", "several"])
def test_each_image_is_answered_once_in_the_order_of_the_list(kind, results):
    for length in LENGTHS:
        found = results[0][f"{kind}{length:02}"]
        together, alone = found["together"]["answers"], found["alone"]["answers"]
        assert together["indices"] == alone["indices"] == list(range(length))
        assert together["labels"] == alone["labels"]
        assert np.array(together["logits"]) == pytest.approx(np.array(alone["logits"]), rel=1e-5, abs=1e-6)


def test_all_ranks_know_the_same_numbers(results):
    for other in results[1:]:
        for name, found in results[0].items():
            assert other[name]["together"] == found["together"]


def test_the_lists_are_not_too_easy(results):
    metrics = [found["together"]["metrics"] for found in results[0].values()]
    for name in ("top1", "tpr", "ma", "MultiLabelMAP", "HammingDistance", "AccuracyScore", "mean_acc"):
        assert len({round(of[name], 6) for of in metrics if name in of}) > 3, name
