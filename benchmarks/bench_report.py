"""The page of an evaluation: how long it takes to make, how large it is, how long a browser takes to show it.

    python -m benchmarks.bench_report [--classes 1000] [--images 50000]

Answers are drawn: classes are confused within planted groups of eight. The images are some hundred files of
100 × 100 pixels that the answers name again and again, as a page shows some hundred.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from tests.pages.browser import open_browser
from trainer.insight.evaluation_report import Origin, write_page, write_table
from trainer.insight.predictions import Predictions

_FILES = 800
_GROUP = 8


def draw(folder: Path, *, images: int, classes: int) -> Predictions:
    """Draw answers of which some 80 of 100 are right, and the images."""
    draws = np.random.default_rng(0)
    for number in range(_FILES):
        coarse = draws.integers(0, 255, (12, 12, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f"{number}.jpg"), cv2.resize(coarse, (100, 100)))
    labels = draws.integers(0, classes, images)
    logits = draws.normal(0, 1, (images, classes)).astype(np.float32)
    rows = np.arange(images)
    logits[rows, labels] += 9
    other = labels // _GROUP * _GROUP + draws.integers(0, _GROUP, images)
    logits[rows, np.minimum(other, classes - 1)] += draws.normal(6.5, 2, images).astype(np.float32)
    return Predictions(
        paths=[str(folder / f"{row % _FILES}.jpg") for row in range(images)],
        places=[f"val_list.txt:{row + 1}" for row in range(images)], labels=labels, logits=logits,
        names=[f"class of number {label}" for label in range(classes)],
    )  # fmt: skip


def measure_browser(page: Path) -> tuple[float, float]:
    """Return after how many seconds Chromium shows something, and has loaded all; medians of five."""
    with tempfile.TemporaryDirectory() as folder, open_browser(Path(folder)) as browser:
        times = []
        for _ in range(5):
            browser.go(page.as_uri())
            browser.wait_until("performance.getEntriesByName('first-contentful-paint').length > 0")
            browser.wait_until("performance.timing.loadEventEnd > 0")
            paint = browser.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
            loaded = browser.evaluate("performance.timing.loadEventEnd - performance.timing.navigationStart")
            times.append((paint / 1000, loaded / 1000))
    paints, loads = zip(*times, strict=True)
    return statistics.median(paints), statistics.median(loads)


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--classes", type=int, default=1000)
    parser.add_argument("--images", type=int, default=50000)
    parser.add_argument("--keep", type=Path, help="Leave the page in this folder.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        given = draw(folder, images=asked.images, classes=asked.classes)
        began_s = time.process_time()
        probabilities = given.probabilities()
        write_table(given, probabilities, folder / "predictions.csv")
        table_s = time.process_time() - began_s
        page, _ = write_page(
            given, probabilities, folder, Origin(weights="w", listed="val_list.txt", version="1")
        )
        page_s = time.process_time() - began_s - table_s
        painted_s, loaded_s = measure_browser(page)
        print(f"{asked.images:,} images of {asked.classes:,} classes")
        print(f"table: {table_s:.1f} s of CPU, {(folder / 'predictions.csv').stat().st_size / 1e6:.1f} MB")
        print(f"page: {page_s:.1f} s of CPU, {page.stat().st_size / 1e6:.2f} MB")
        print(
            f"browser: shows it after {painted_s:.2f} s, has loaded all after {loaded_s:.2f} s (medians of 5)"
        )
        if asked.keep is not None:
            asked.keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(page, asked.keep / page.name)


if __name__ == "__main__":
    main()
