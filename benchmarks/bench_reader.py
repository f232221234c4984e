"""Images a second of the training transform in one thread: ours, operation by operation, and decoding alone.

The peer does what PaddleClas's operations do (d178931, ppcls/data/preprocess/ops/operators.py): a reversed
view after decoding, float arithmetic on [H, W, 3], a transposed copy. Both see the same random draws.
Images: drawn, 500 x 375 pixels, JPEG quality 90.
"""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable

import cv2
import numpy as np

from trainer.config.ops import DecodeImage, NormalizeImage, RandCropImage, RandFlipImage
from trainer.data.ops.build import build_transform
from trainer.data.rng import per_sample

IMAGES, ROUNDS, SIZE = 200, 5, 224


def draw_jpegs(*, scale: int = 1) -> list[bytes]:
    """Draw images of 500 x 375 pixels, or so many times larger."""
    width, height = 500 * scale, 375 * scale
    draws = np.random.default_rng(0)
    found = []
    for _ in range(IMAGES):
        rough = draws.integers(0, 256, (47, 63, 3), dtype=np.uint8)
        image = cv2.resize(rough, (width, height), interpolation=cv2.INTER_CUBIC)
        noisy = np.clip(image + draws.normal(0, 6, image.shape), 0, 255).astype(np.uint8)
        found.append(cv2.imencode(".jpg", noisy, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    return found


def plain(data: bytes, draws: random.Random) -> np.ndarray:
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), 1)[:, :, ::-1]
    aspect = math.sqrt(draws.uniform(3 / 4, 4 / 3))
    height, width = image.shape[:2]
    bound = min((width / height) / aspect**2, (height / width) * aspect**2)
    side = math.sqrt(width * height * draws.uniform(min(0.08, bound), min(1.0, bound)))
    wide, tall = int(side * aspect), int(side / aspect)
    left, top = draws.randint(0, width - wide), draws.randint(0, height - tall)
    image = cv2.resize(image[top : top + tall, left : left + wide], (SIZE, SIZE))
    if draws.randint(0, 1):
        image = cv2.flip(image, 1)
    mean = np.array([0.485, 0.456, 0.406], dtype="float32").reshape(1, 1, 3)
    std = np.array([0.229, 0.224, 0.225], dtype="float32").reshape(1, 1, 3)
    scaled = (image.astype("float32") * np.float32(1.0 / 255.0) - mean) / std
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def rate(work: Callable[[int], object]) -> float:
    began = time.process_time()
    for index in range(IMAGES):
        work(index)
    return IMAGES / (time.process_time() - began)


def main() -> None:
    cv2.setNumThreads(1)
    jpegs = draw_jpegs()
    ours = build_transform(
        [
            DecodeImage(),
            RandCropImage(size=SIZE),
            RandFlipImage(),
            NormalizeImage(scale="1.0/255.0", order=""),
        ]
    )
    ways = {
        "operation by operation": lambda i: plain(jpegs[i], per_sample(0, epoch=0, index=i).python),
        "ours": lambda i: ours(jpegs[i], per_sample(0, epoch=0, index=i)),
        "decoding alone (the limit)": lambda i: cv2.imdecode(np.frombuffer(jpegs[i], dtype=np.uint8), 1),
    }
    same = all(
        (
            ours(jpegs[i], per_sample(0, epoch=0, index=i))
            == plain(jpegs[i], per_sample(0, epoch=0, index=i).python)
        ).all()
        for i in range(IMAGES)
    )
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, work in ways.items():
            rates[name].append(rate(work))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    base = medians["operation by operation"]
    for name, median in medians.items():
        print(f"{name:28} {median:7.0f} images/s of one core  {median / base:5.2f} x")
    print(
        f"pixels of the first two are {'the same' if same else 'NOT the same'} in {IMAGES} of {IMAGES} images"
    )


if __name__ == "__main__":
    main()
