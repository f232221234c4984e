"""Images a second of a whole epoch: our reader threads, and the same transform in processes.

Two chains: the tutorial's, which is OpenCV's work, and one in which Pillow and Python do most
(TimmAutoAugment and bicubic crops by Pillow, RandomErasing). Two peers with as many workers: processes that
write into shared memory and live on, the least that processes can cost, and paddle.io.DataLoader, which
PaddleClas reads with. All see the same draws, and the first batches are compared. What counts is the ratio
within a round, and the CPU time an image, of all threads and processes together.

Images: drawn, 500 x 375 pixels, JPEG quality 90. `python benchmarks/bench_loader.py [WORKERS]`, default 2.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import paddle
from bench_reader import draw_jpegs

from trainer.config.data import SplitSection
from trainer.data.lists import SampleList, load_list
from trainer.data.loader import Loader
from trainer.data.ops.build import build_transform
from trainer.data.rng import per_sample

BATCH, SIDE, ROUNDS, AHEAD = 32, 224, 7, 3
MEAN = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "order": ""}
CHAINS: dict[str, list[dict[str, Any]]] = {
    "OpenCV": [
        {"DecodeImage": {}}, {"RandCropImage": {"size": SIDE}}, {"RandFlipImage": {}},
        {"NormalizeImage": MEAN},
    ],
    "Pillow": [
        {"DecodeImage": {}},
        {"RandCropImage": {"size": SIDE, "interpolation": "bicubic", "backend": "pil"}},
        {"RandFlipImage": {}},
        {"TimmAutoAugment": {"config_str": "rand-m9-mstd0.5-inc1", "interpolation": "bicubic"}},
        {"NormalizeImage": MEAN},
        {"RandomErasing": {"EPSILON": 0.25, "sl": 0.02, "sh": 1 / 3, "r1": 0.3, "mode": "pixel"}},
    ],
}  # fmt: skip
Epoch = Callable[[], Iterator[np.ndarray]]


def make_split(folder: Path, ops: list[dict[str, Any]], workers: int) -> SplitSection:
    dataset = {"image_root": str(folder), "cls_label_path": str(folder / "list.txt"), "transform_ops": ops}
    return SplitSection.model_validate(
        {
            "dataset": {"name": "ImageNetDataset", **dataset},
            "sampler": {"batch_size": BATCH}, "loader": {"num_workers": workers},
        }
    )  # fmt: skip


def ours(split: SplitSection, samples: SampleList) -> Epoch:
    loader = Loader(split=split, samples=samples, rank=0, world_size=1, seed=0, training=True)
    return lambda: (batch.images for batch in loader.batches(0))


class Images(paddle.io.Dataset):
    """The samples of the list, each with its draws; what worker processes run."""

    def __init__(self, split: SplitSection, samples: SampleList) -> None:
        self.transform, self.paths = build_transform(split.dataset.transform_ops), samples.paths

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> np.ndarray:
        return self.transform(Path(self.paths[index]).read_bytes(), per_sample(0, epoch=0, index=index))


class Processes:
    """Workers that live on and write images into shared memory."""

    def __init__(self, images: Images, workers: int) -> None:
        fork = multiprocessing.get_context("fork")
        self._images = images
        shape = (AHEAD, BATCH, 3, SIDE, SIDE)
        self._ring = np.frombuffer(fork.RawArray("f", int(np.prod(shape))), dtype=np.float32).reshape(shape)
        self.spent_s = 0.0
        globals()["INHERITED"] = images, self._ring
        self._pool = fork.Pool(workers, initializer=cv2.setNumThreads, initargs=(1,))

    def epoch(self) -> Iterator[np.ndarray]:
        starts = range(0, len(self._images), BATCH)
        pending = [self._ask(start, number) for number, start in zip(range(AHEAD - 1), starts, strict=False)]
        for number, start in enumerate(starts):
            if number + AHEAD - 1 < len(starts):
                pending.append(self._ask(starts[number + AHEAD - 1], number + AHEAD - 1))
            self.spent_s += sum(pending.pop(0).get())
            count = min(BATCH, len(self._images) - start)
            yield self._ring[number % AHEAD, :count].copy()  # as our loader, hand on memory that stays

    def end(self) -> None:
        self._pool.close()
        self._pool.join()

    def _ask(self, start: int, number: int) -> Any:
        slots = range(min(BATCH, len(self._images) - start))
        return self._pool.starmap_async(_fill, [(start + slot, number % AHEAD, slot) for slot in slots])


def _fill(index: int, place: int, slot: int) -> float:
    began = time.process_time()
    images, ring = INHERITED
    ring[place, slot] = images[index]
    return time.process_time() - began


INHERITED: Any = None  # what a forked worker finds: images and ring


def paddles(images: Images, workers: int) -> Epoch:
    loader = paddle.io.DataLoader(
        images, batch_size=BATCH, num_workers=workers, use_shared_memory=True, return_list=True,
        places=paddle.CPUPlace(),
    )  # fmt: skip
    return lambda: ((batch[0] if isinstance(batch, list) else batch).numpy() for batch in loader)


def cpu_s() -> float:
    found = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in found)


def measure(epoch: Epoch, processes: Processes) -> tuple[float, float]:
    """Return images a second and milliseconds of CPU an image."""
    cpu, began, count = cpu_s() + processes.spent_s, time.perf_counter(), 0
    for images in epoch():
        count += len(images)
    return count / (time.perf_counter() - began), (cpu_s() + processes.spent_s - cpu) / count * 1000


def main() -> None:
    workers = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jpegs = draw_jpegs()
        for index, data in enumerate(jpegs):
            (folder / f"{index}.jpg").write_bytes(data)
        (folder / "list.txt").write_text("".join(f"{index}.jpg 0\n" for index in range(len(jpegs))))
        for chain, ops in CHAINS.items():
            compare(folder, chain, ops, workers)


def compare(folder: Path, chain: str, ops: list[dict[str, Any]], workers: int) -> None:
    split = make_split(folder, ops, workers)
    samples = load_list(split.dataset, class_num=1)
    images = Images(split, samples)
    processes = Processes(images, workers)
    ways: dict[str, Epoch] = {
        "ours, in the training thread": ours(make_split(folder, ops, 0), samples),
        f"ours, {workers} threads": ours(split, samples),
        f"{workers} processes, shared memory": processes.epoch,
        f"paddle.io, {workers} processes": paddles(images, workers),
    }
    firsts = [next(iter(epoch())) for epoch in ways.values()]
    same = all(np.array_equal(firsts[0], other) for other in firsts)
    rates: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, epoch in ways.items():
            rates[way].append(measure(epoch, processes))
    processes.end()
    print(f"{chain}: first batches {'the same' if same else 'NOT the same'}; load {os.getloadavg()[0]:.1f}")
    base = rates["ours, in the training thread"]
    for way, found in rates.items():
        ratio = statistics.median(one[0] / other[0] for one, other in zip(found, base, strict=True))
        rate, cpu = (statistics.median(values) for values in zip(*found, strict=True))
        print(f"  {way:32} {rate:6.0f} images/s  {ratio:5.2f} x  {cpu:5.2f} ms CPU an image")


if __name__ == "__main__":
    main()
