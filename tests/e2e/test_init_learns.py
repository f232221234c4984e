"""What `init` writes, unedited, learns from a few hundred small images on CPUs, without any weights."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1200)]
Image = NDArray[np.uint8]


def train_unedited(place, folder: str) -> float:
    """Type the lines of a first hour, and return the best top1."""
    place.env["FTL_OFFLINE"] = "1"
    place.run("ftlaunch", "init", "--data", folder, "--name", folder, "--no-measure")
    place.run("ftlaunch", "submit", "cfg.yaml", "--on", "local", "--name", folder, "--wait", timeout_s=1100.0)
    rows = [row for row in place.rows(f"output/{folder}") if row["event"] == "eval"]
    assert max(row["largest_class"] for row in rows) < 0.3
    return max(row["top1"] for row in rows)


def test_four_drawn_shapes_are_told_apart(place):
    """Each has a colour of its own, more or less; place, size, background and noise are drawn."""
    for name in COLOURS:
        folder = Path(place.folder) / "shapes" / name
        folder.mkdir(parents=True)
        for index in range(75):
            cv2.imwrite(str(folder / f"{index:03}.jpg"), draw(name))
    assert train_unedited(place, "shapes") >= 0.95


def test_digits_are_read(place):
    datasets = pytest.importorskip("sklearn.datasets")
    digits = datasets.load_digits()
    for label in range(10):
        folder = Path(place.folder) / "digits" / str(label)
        folder.mkdir(parents=True)
        for index, pixels in enumerate(digits.images[digits.target == label][:48]):
            image = np.clip(pixels * 16, 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{index:03}.png"), image)
    assert train_unedited(place, "digits") >= 0.90


COLOURS = {
    "circle": (40, 40, 210), "square": (210, 50, 40), "star": (230, 220, 90), "triangle": (50, 190, 70),
}  # fmt: skip
_CHANCE = np.random.default_rng(3)


def draw(name: str) -> Image:
    """Draw one of the shapes on 64 × 64 pixels."""
    side, chance = 64, _CHANCE
    coarse = chance.integers(40, 200, (4, 4, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    colour = [int(value) for value in np.clip(np.array(COLOURS[name]) + chance.integers(-35, 36, 3), 0, 255)]
    radius = side * chance.uniform(0.18, 0.34)
    x, y = chance.uniform(radius, side - radius, 2)
    if name == "circle":
        cv2.circle(image, (int(x), int(y)), int(radius), colour, -1)
    else:
        corners = {"square": 4, "triangle": 3, "star": 10}[name]
        angles = chance.uniform(-0.3, 0.3) + 2 * np.pi * np.arange(corners) / corners
        radii = radius * np.where((np.arange(corners) % 2 == 1) & (name == "star"), 0.42, 1.0)
        points = np.stack([x + radii * np.cos(angles), y + radii * np.sin(angles)], axis=1)
        cv2.fillPoly(image, [points.astype(np.int32)], colour)
    noisy: Image = np.clip(image + chance.normal(0, chance.uniform(4, 12), image.shape), 0, 255).astype(
        np.uint8
    )
    return noisy
