"""The page of an evaluation: how long it takes to make, how large it is, how long a browser takes to show it.

    python benchmarks/bench_report.py [--classes 1000] [--images 50000]

Answers are drawn: classes are confused within planted groups of eight. The images are some hundred files of
100 × 100 pixels that the answers name again and again, as a page shows some hundred.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

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


def measure_browser(page: Path) -> float | None:
    """Return the seconds that a headless Chromium takes to start and lay a page out; None without one."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        return None
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,1000"]
    taken = []
    for address in ("about:blank", page.as_uri()):
        best = min(_run([*command, "--dump-dom", address]) for _ in range(3))
        taken.append(best)
    return taken[1] - taken[0]


def _run(command: list[str]) -> float:
    began_s = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began_s


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
        shown_s = measure_browser(page)
        print(f"{asked.images:,} images of {asked.classes:,} classes")
        print(f"table: {table_s:.1f} s of CPU, {(folder / 'predictions.csv').stat().st_size / 1e6:.1f} MB")
        print(f"page: {page_s:.1f} s of CPU, {page.stat().st_size / 1e6:.2f} MB")
        print("browser: none here" if shown_s is None else f"browser: {shown_s:.2f} s above an empty page")
        if asked.keep is not None:
            asked.keep.mkdir(parents=True, exist_ok=True)
            shutil.copy(page, asked.keep / page.name)


if __name__ == "__main__":
    main()
