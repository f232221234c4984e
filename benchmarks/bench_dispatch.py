"""How much readers slow a step that is bound by Python's dispatch, as an eager step on a GPU is.

The step is a chain of small eager operations of Paddle on one core; the readers, the product's own, run the
tutorial's chain on the others, or on one other core where there are two. They are busy while steps are
measured: each time a batch was waited for, those ahead of it are still to be read. Two steps follow that are
not measured, since the core was idle, then some that are. The ratio is to the same steps without readers, in
one run; the rounds take turns, and the medians count. What asking for a batch costs the thread of the step
is given beside it: it is the same whatever the step. It says nothing on a machine that has other work.

Cores are pinned, so that readers cannot take the step's: `python benchmarks/bench_dispatch.py [READERS…]`,
default 1 4 8.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import bench_reader
import paddle
from bench_loader import make_split

from trainer.data.lists import load_list
from trainer.data.loader import Loader

OPERATIONS, ROUNDS, SECONDS, IMAGES = 1500, 5, 4.0, 200
IDLE, MEASURED = 2, 3  # steps after each batch
OPS = [
    {"DecodeImage": {}}, {"RandCropImage": {"size": 224}}, {"RandFlipImage": {}},
    {"NormalizeImage": {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "order": ""}},
]  # fmt: skip


def processes_below(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            yield child
            yield from processes_below(child)


def endless(loader: Loader) -> Iterator[object]:
    epoch = 0
    while True:
        yield from loader.batches(epoch)
        epoch += 1


def main() -> None:
    counts = [int(text) for text in sys.argv[1:]] or [1, 4, 8]
    paddle.set_device("cpu")
    one, two = paddle.ones([8]), paddle.ones([8])
    cores = sorted(os.sched_getaffinity(0))
    here, others = {cores[0]}, set(cores[1:]) or {cores[0]}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bench_reader.IMAGES = IMAGES
        jpegs = bench_reader.draw_jpegs()
        for index, data in enumerate(jpegs):
            (folder / f"{index}.jpg").write_bytes(data)
        (folder / "list.txt").write_text("".join(f"{index}.jpg 0\n" for index in range(len(jpegs))))
        loaders = {0: None}
        for count in counts:
            split = make_split(folder, OPS, count)
            samples = load_list(split.dataset, class_num=1)
            loaders[count] = Loader(split=split, samples=samples, rank=0, world_size=1, seed=0, training=True)
        feeds = {count: endless(loader) for count, loader in loaders.items() if loader is not None}
        for feed in feeds.values():
            next(feed)
        for pid in processes_below(os.getpid()):
            os.sched_setaffinity(pid, others)
        os.sched_setaffinity(0, here)

        def step() -> None:
            found = one
            for _ in range(OPERATIONS):
                found = found * two + one

        def measure(count: int) -> tuple[float, float]:
            """Return milliseconds of a step, and of the thread's own work for a batch."""
            steps, asking = [], []
            end = time.perf_counter() + SECONDS
            while time.perf_counter() < end:
                began = time.thread_time()
                batch = next(feeds[count]) if count else None
                asking.append(time.thread_time() - began)
                del batch
                for number in range(IDLE + MEASURED):
                    began = time.perf_counter()
                    step()
                    if number >= IDLE:
                        steps.append(time.perf_counter() - began)
            return statistics.median(steps) * 1e3, statistics.median(asking) * 1e3

        rounds = []
        for _ in range(ROUNDS):
            rounds.append({count: measure(count) for count in (0, *counts)})
        print(f"{len(cores)} cores; load {os.getloadavg()[0]:.1f}; {OPERATIONS * 2} operations a step")
        alone = statistics.median(found[0][0] for found in rounds)
        print(f"no readers: {alone:.2f} ms a step")
        for count in counts:
            ratio = statistics.median(found[count][0] / found[0][0] for found in rounds)
            asking = statistics.median(found[count][1] for found in rounds)
            print(f"{count} readers: {ratio:.3f} x; asking for a batch of 32 {asking:.3f} ms")
        for loader in loaders.values():
            if loader is not None:
                loader.close()


if __name__ == "__main__":
    main()
