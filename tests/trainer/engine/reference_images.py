"""Draws the images of the reference run: three classes of shapes on noise, the same bytes each time."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

SEED, QUALITY = 7, 90
COLOURS = ((40, 40, 200), (40, 200, 40), (200, 60, 40))


def draw_images(folder: Path, *, train: int = 60, val: int = 20) -> None:
    """Write `train` and `val` images a class, with their list files; every draw is part of the reference."""
    draws = np.random.RandomState(SEED)
    for split, count in (("train", train), ("val", val)):
        lines = []
        for label in range(len(COLOURS)):
            (folder / split / f"class{label}").mkdir(parents=True)
            for index in range(count):
                path = f"{split}/class{label}/img_{index:04d}.jpg"
                cv2.imwrite(str(folder / path), _image(label, draws), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
                lines.append(f"{path} {label}")
        draws.shuffle(lines)
        (folder / f"{split}_list.txt").write_text("\n".join(lines) + "\n")


def _image(label: int, draws: np.random.RandomState) -> np.ndarray:
    height, width = (375, 500) if draws.rand() < 0.7 else (500, 375)
    image = np.zeros((height, width, 3), np.float32)
    for scale, amplitude in ((4, 60), (16, 40), (64, 25), (200, 14)):
        shape = (max(2, height * scale // 400), max(2, width * scale // 400), 3)
        noise = draws.rand(*shape).astype(np.float32) - 0.5
        image += amplitude * cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    image += np.array([[110, 120, 130]], np.float32) + draws.randint(-25, 25, 3)
    image += draws.randn(height, width, 3).astype(np.float32) * 6
    for _ in range(draws.randint(3, 7)):
        x, y, r = draws.randint(width), draws.randint(height), draws.randint(25, 90)
        colour = tuple(int(v + draws.randint(-30, 30)) for v in COLOURS[label])
        if label == 0:
            cv2.circle(image, (x, y), r, colour, -1)
        elif label == 1:
            cv2.rectangle(image, (x - r, y - r), (x + r, y + r), colour, -1)
        else:
            cv2.fillPoly(image, [np.array([[x, y - r], [x - r, y + r], [x + r, y + r]])], colour)
    return np.clip(image, 0, 255).astype(np.uint8)
