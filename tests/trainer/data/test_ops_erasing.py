"""What hides a part of an image, pixel by pixel."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.trainer.data.conftest import NORMALIZE, Pixels, agree, draw, encode, run


def numbers(image: Pixels) -> Pixels:
    return run(encode(image[:, :, ::-1]), NORMALIZE).copy()


@pytest.mark.parametrize(("holes", "length", "fill"), [(1, 16, [0, 0, 0]), (3, 9, 2.5), (2, 200, [1, 2, 3])])
def test_squares_about_random_points_are_overwritten(holes: int, length: int, fill: Any) -> None:
    def reading(image: Pixels) -> Pixels:
        result = numbers(image)
        for _ in range(holes):
            y, x = np.random.randint(30), np.random.randint(40)
            for row in range(30):
                for column in range(40):
                    if -(length // 2) <= row - y < length // 2 and -(length // 2) <= column - x < length // 2:
                        result[row, column] = fill
        return result

    cutout = {"Cutout": {"n_holes": holes, "length": length, "fill_value": fill}}
    agree([NORMALIZE, cutout], reading, images=8, last=None)


@pytest.mark.parametrize("fill", [None, "none", "None"])
def test_a_square_without_a_fill_gets_a_colour(fill: str | None) -> None:
    def reading(image: Pixels) -> Pixels:
        for _ in range(2):
            y, x = np.random.randint(30), np.random.randint(40)
            colour = [random.randint(0, 255), random.randint(0, 255), random.randint(0, 255)]
            image[max(0, y - 5) : y + 5, max(0, x - 5) : x + 5] = colour
        return image

    agree([{"Cutout": {"n_holes": 2, "length": 10, "fill_value": fill}}], reading)


def test_cells_of_a_grid_are_hidden_row_by_row() -> None:
    def reading(image: Pixels) -> Pixels:
        result = numbers(image)
        side = np.random.choice([0, 16, 32, 44, 56])
        if side == 0:
            return result
        hidden = {}
        for row in range(70):
            for column in range(61):
                cell = row // side, column // side
                if cell not in hidden and row % side == column % side == 0:
                    hidden[cell] = random.random() <= 0.5
        for row in range(70):
            for column in range(61):
                if hidden[row // side, column // side]:
                    result[row, column] = 0
        return result

    agree([NORMALIZE, {"HideAndSeek": {}}], reading, width=61, height=70, images=12, last=None)


@pytest.mark.parametrize(
    "keys",
    [
        {"d1": 6, "d2": 20}, {"d1": 5, "d2": 9, "rotate": 90, "ratio": 0.3, "prob": 0.6},
        {"d1": 8, "d2": 60, "rotate": 45, "mode": 1}, {},
    ],
    ids=["straight", "turned", "inverted", "defaults"],
)  # fmt: skip
def test_the_bars_of_a_grid_are_hidden(keys: dict[str, Any]) -> None:
    d1, d2, ratio = keys.get("d1", 96), keys.get("d2", 224), keys.get("ratio", 0.5)

    def reading(image: Pixels) -> Pixels:
        result = numbers(image)
        if np.random.rand() > keys.get("prob", 1):
            return result
        d = np.random.randint(d1, d2)
        bar, down, across = int(d * ratio + 0.5), np.random.randint(d), np.random.randint(d)
        mask = np.ones((45, 60), dtype=np.uint8)
        for start in range(down - d, 45, d):
            mask[max(0, start) : max(0, start + bar)] = 0
        for start in range(across - d, 60, d):
            mask[:, max(0, start) : max(0, start + bar)] = 0
        turned = np.asarray(Image.fromarray(mask).rotate(np.random.randint(keys.get("rotate", 1))))
        seen = turned[7 : 7 + 30, 10 : 10 + 40] == (0 if keys.get("mode") else 1)
        return result * seen[:, :, None]

    agree([NORMALIZE, {"GridMask": keys}], reading, images=12, last=None)


@pytest.mark.parametrize("op", ["Cutout", "HideAndSeek", "GridMask"])
def test_four_channels_are_taken(op: str) -> None:
    normalize = {"NormalizeImage": {**NORMALIZE["NormalizeImage"], "channel_num": 4}}
    for seed in range(4):
        result = run(encode(draw(1)), normalize, {op: {}}, seed=seed)
        assert not result[:, :, 3].any()
        assert np.array_equal(result[:, :, :3], run(encode(draw(1)), NORMALIZE, {op: {}}, seed=seed))
