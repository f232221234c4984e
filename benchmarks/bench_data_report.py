"""What `trainer data-report` costs for many images: time, processor, memory, and going on after a kill.

    python -m benchmarks.bench_data_report [--images 100000] [--folder FOLDER]

Draws images of 320 by 240 pixels (25 KB as JPEGs; a few random waves over noise: no two are alike) in a
hundred classes, a tenth of them for validation, and 100 near copies (another quality) in the other list.
The report is begun and killed (SIGKILL) after a fifth of the files, and run again to its end: the second run
reads what is left. Its wall clock is one figure, the processor's seconds another, since it is these
that count where the machine has other work; the peak of resident memory is that of the largest process. At
last it runs once more, when every file is remembered.

Wanted: 100,000 images in less than ten minutes on two cores, all near copies named.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np

CLASSES, WIDTH, HEIGHT, COPIES = 100, 320, 240, 100
_KILLED_AFTER = 5
"""One of so many files is read before the first run is killed."""


def draw(number: int) -> np.ndarray:
    """Return a picture, `[HEIGHT, WIDTH, 3]` uint8, of its number alone."""
    draws = np.random.default_rng(number)
    rough = draws.integers(0, 255, (6, 8, 3), dtype=np.uint8)
    smooth = cv2.resize(rough, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    grain = draws.integers(-12, 12, (HEIGHT, WIDTH, 1), dtype=np.int16)
    return np.clip(smooth + grain, 0, 255).astype(np.uint8)


def make_part(folder: Path, numbers: range) -> None:
    """Write the images of some numbers."""
    for number in numbers:
        path = folder / f"{number % CLASSES:02}" / f"{number:06}.jpg"
        if not path.exists():
            cv2.imwrite(str(path), draw(number), [cv2.IMWRITE_JPEG_QUALITY, 90])


def make_images(folder: Path, count: int) -> None:
    """Write all images and both lists."""
    for label in range(CLASSES):
        (folder / f"{label:02}").mkdir(parents=True, exist_ok=True)
    parts = [range(first, min(first + 1000, count)) for first in range(0, count, 1000)]
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        list(pool.map(make_part, [folder] * len(parts), parts))
    lines = [f"{number % CLASSES:02}/{number:06}.jpg {number % CLASSES}\n" for number in range(count)]
    held = {number for number in range(count) if number % 10 == 9}
    copies = []
    for number in range(COPIES):
        name = f"00/copy-{number}.jpg"
        cv2.imwrite(str(folder / name), draw(number * 10), [cv2.IMWRITE_JPEG_QUALITY, 60])
        copies.append(f"{name} {number * 10 % CLASSES}\n")
    train = [line for number, line in enumerate(lines) if number not in held]
    (folder / "train_list.txt").write_text("".join(train))
    (folder / "val_list.txt").write_text("".join([lines[number] for number in sorted(held)] + copies))


def command(folder: Path, output: Path) -> list[str]:
    """Return the command line of a report, which says how far it is in lines of JSON."""
    lists = [str(folder / name) for name in ("train_list.txt", "val_list.txt")]
    words = ["-m", "trainer", "data-report", *lists, "-O", str(output)]
    return [sys.executable, *words, "--fail-on", "never", "--output", "jsonl"]


@contextlib.contextmanager
def taken(name: str) -> Iterator[None]:
    """Print the clock, the processor's seconds and the peak of memory of what runs meanwhile."""
    before, began_s = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    yield
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    took_s = time.monotonic() - began_s
    print(
        f"{name}: {took_s:.0f} s, {cpu_s:.0f} s of processors, {after.ru_maxrss / 1024:.0f} MiB at most",
        flush=True,
    )


def run_and_kill(folder: Path, output: Path, environ: dict[str, str], *, after: int) -> None:
    """Begin a report, and kill it and its readers once so many files were read."""
    with subprocess.Popen(
        command(folder, output), stdout=subprocess.PIPE, env=environ, text=True, start_new_session=True
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            if json.loads(line).get("done", 0) >= after:
                os.killpg(run.pid, signal.SIGKILL)
                return
        raise AssertionError("it ended before it was killed")


def main() -> None:
    """Print what each run took, and what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--folder", type=Path, help="keeps the images here for the next time")
    options = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="bench-data-report-"))
    folder = options.folder or scratch / "images"
    environ = {**os.environ, "XDG_CACHE_HOME": str(scratch / "cache")}
    try:
        make_images(folder, options.images)
        size = sum(path.stat().st_size for path in folder.rglob("*.jpg"))
        made = f"{options.images:,} images and {COPIES} copies, {size / 1e9:.1f} GB"
        print(f"load {os.getloadavg()[0]:.1f}; {made}", flush=True)
        with taken("killed"):
            run_and_kill(folder, scratch / "report", environ, after=options.images // _KILLED_AFTER)
        for name in ("gone on with", "once more"):
            with taken(name):
                subprocess.run(command(folder, scratch / "report"), check=True, stdout=-3, env=environ)
        report = json.loads((scratch / "report" / "report.json").read_text())
        for finding in report["findings"]:
            print(f"found: {json.dumps(finding)[:160]}")
    finally:
        shutil.rmtree(scratch)


if __name__ == "__main__":
    main()
