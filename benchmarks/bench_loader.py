"""What reading costs: CPU time an image of a whole epoch, ours beside PaddleClas's calls over paddle.io.

Both read the same images with as many reader processes. The peer does what PaddleClas's data set, operations
and collating do (d178931, ppcls/data/dataloader/common_dataset.py, ppcls/data/preprocess), handed to
`paddle.io.DataLoader` as ppcls/data/__init__.py does; random augmentations draw from the same policies, with
Pillow's calls as PaddleClas makes them (plain_pictures.py). Each way runs in a process of its own, and they
take turns epoch by epoch; CPU time is that of the whole tree of processes, waiting not counted. What counts
is the ratio of medians. An epoch of ours ends with images as the engine gets them from the loader: uint8 ones
are not normalised yet, which on a GPU is its work; on a CPU it adds the figure that is printed at the end.

Images: drawn, 500 x 375 pixels, and 1500 x 1125 for the chain `large`, quality 90: `decode: fast` decodes
a crop of 224 pixels at a smaller size where it has twice as many in the file, which 500 x 375 never has.

    python benchmarks/bench_loader.py [CHAIN...] [--rounds N] [--workers N]

Without names, all chains.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from bench_reader import draw_jpegs
from PIL import Image

BATCH, SIDE, REPEATS, LARGE = 32, 224, 4, 48
MEAN = {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225], "order": ""}
CROP = {"RandCropImage": {"size": SIDE}}
CROP_PIL = {"RandCropImage": {"size": SIDE, "interpolation": "bicubic", "backend": "pil"}}
TIMM = {"TimmAutoAugment": {"config_str": "rand-m9-mstd0.5-inc1", "interpolation": "bicubic"}}
ERASING = {"RandomErasing": {"EPSILON": 0.25, "sl": 0.02, "sh": 1 / 3, "r1": 0.3, "mode": "pixel"}}
END = [{"NormalizeImage": MEAN}]
CHAINS: dict[str, list[dict[str, Any]]] = {
    "plain": [{"DecodeImage": {}}, CROP, {"RandFlipImage": {}}, *END],
    "large": [{"DecodeImage": {}}, CROP, {"RandFlipImage": {}}, *END],
    "pil": [{"DecodeImage": {"backend": "pil"}}, CROP_PIL, {"RandFlipImage": {}}, *END],
    "timm": [{"DecodeImage": {}}, CROP_PIL, {"RandFlipImage": {}}, TIMM, *END, ERASING],
    "rand": [{"DecodeImage": {}}, CROP, {"RandFlipImage": {}}, {"RandAugment": {}}, *END],
    "mixup": [{"DecodeImage": {}}, CROP, {"RandFlipImage": {}}, *END],
}  # fmt: skip
WAYS: dict[str, dict[str, tuple[dict[str, Any], float]]] = {
    "plain": {
        "exact": ({}, 2.5), "uint8": ({"normalize_on": "device"}, 2.8),
        "cache": ({"cache": "memory"}, 3.0),
        "cache and uint8": ({"cache": "memory", "normalize_on": "device"}, 3.0),
    },
    "large": {
        "exact": ({}, 2.5), "fast": ({"decode": "fast"}, 3.5),
        "fast and uint8": ({"decode": "fast", "normalize_on": "device"}, 3.5),
    },
    "pil": {"exact": ({}, 1.5), "uint8": ({"normalize_on": "device"}, 1.5)},
    "timm": {"exact": ({}, 1.5)},
    "rand": {"exact": ({}, 1.5), "uint8": ({"normalize_on": "device"}, 1.5)},
    "mixup": {"exact": ({}, 1.5)},
}  # fmt: skip
"""Ways of ours with their keys of `loader`, and what the peer should cost at least, as a multiple."""
PEER = "paddle.io"
Epoch = Callable[[int], Iterator[Any]]


# The peer: each function is one of PaddleClas's operations.


def decode(pil: bool) -> Callable[[Any], Any]:
    def apply(data: bytes) -> Any:
        if pil:
            return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
        return cv2.imdecode(np.frombuffer(data, dtype="uint8"), 1)[:, :, ::-1]

    return apply


def rand_crop(size: int, pil: bool) -> Callable[[Any], Any]:
    def resize(part: Any) -> Any:
        if pil:
            return np.asarray(Image.fromarray(part).resize((size, size), Image.Resampling.BICUBIC))
        return cv2.resize(part, (size, size), interpolation=cv2.INTER_LINEAR)

    def apply(image: Any) -> Any:
        aspect = math.sqrt(random.uniform(3.0 / 4.0, 4.0 / 3.0))
        wide, tall = 1.0 * aspect, 1.0 / aspect
        height, width = image.shape[:2]
        bound = min((float(width) / height) / (wide**2), (float(height) / width) / (tall**2))
        target = width * height * random.uniform(min(0.08, bound), min(1.0, bound))
        side = math.sqrt(target)
        columns, rows = int(side * wide), int(side * tall)
        left, top = random.randint(0, width - columns), random.randint(0, height - rows)
        return resize(image[top : top + rows, left : left + columns, :])

    return apply


def flip(image: Any) -> Any:
    return cv2.flip(image, 1) if random.randint(0, 1) == 1 else image


def normalize() -> Callable[[Any], Any]:
    scale = np.float32(1.0 / 255.0)
    mean, std = (np.array(MEAN[key]).reshape((1, 1, 3)).astype("float32") for key in ("mean", "std"))

    def apply(image: Any) -> Any:
        if isinstance(image, Image.Image):
            image = np.array(image)
        return (image.astype("float32") * scale - mean) / std

    return apply


def drawn(spec: dict[str, Any]) -> Callable[[Any], Any]:
    """An augmentation whose policy is ours, with PaddleClas's calls of Pillow, and fresh random numbers."""
    import plain_pictures

    from trainer.config.data import ImageNetDataset
    from trainer.data.ops import pictures
    from trainer.data.ops.registry import make_operation
    from trainer.data.rng import Rng

    for name in dir(plain_pictures):
        if not name.startswith("_"):
            setattr(pictures, name, getattr(plain_pictures, name))
    ops = [{"DecodeImage": {}}, spec, *END] if spec is not ERASING else [{"DecodeImage": {}}, *END, spec]
    dataset = {"image_root": "", "cls_label_path": "", "transform_ops": ops}
    parsed = ImageNetDataset.model_validate(dataset).transform_ops
    operation = make_operation(next(op for op in parsed if op.label == next(iter(spec))))
    rng = Rng(random.Random(0), 0)
    return lambda image: operation(image, rng)


def peer_ops(chain: str) -> list[Callable[[Any], Any]]:
    pil = chain in ("pil", "timm")
    ops = [decode(chain == "pil"), rand_crop(SIDE, pil), flip]
    if chain == "timm":
        return [*ops, drawn(TIMM), normalize(), drawn(ERASING)]
    if chain == "rand":
        ops.append(drawn({"RandAugment": {}}))
    return [*ops, normalize()]


def mixup(batch: Sequence[tuple[Any, int]]) -> list[tuple[Any, Any]]:
    """MixupOperator: images and one-hot labels of the batch, mixed, and taken apart again."""
    images, labels = np.asarray([one[0] for one in batch]), np.asarray([one[1] for one in batch])
    order = np.random.permutation(len(batch))
    share = np.random.beta(0.2, 0.2)
    onehot = np.eye(1000, dtype="float32")[labels.reshape(-1)]
    images = share * images + (1 - share) * images[order]
    return list(zip(images, share * onehot + (1 - share) * onehot[order], strict=True))


def peer(chain: str, folder: Path, workers: int) -> Epoch:
    import paddle
    from paddle.io import DataLoader, Dataset, DistributedBatchSampler
    from paddle.io.dataloader.collate import default_collate_fn

    ops = peer_ops(chain)

    class CommonDataset(Dataset):  # type: ignore[misc, unused-ignore]
        def __init__(self) -> None:
            lines = (folder / "list.txt").read_text().splitlines()
            self.images = [str(folder / line.split()[0]) for line in lines]

        def __len__(self) -> int:
            return len(self.images)

        def __getitem__(self, index: int) -> Any:
            with open(self.images[index], "rb") as file:  # noqa: PTH123
                image: Any = file.read()
            for op in ops:
                image = op(image)
            return image.transpose((2, 0, 1)), 0

    dataset = CommonDataset()
    sampler = DistributedBatchSampler(dataset, batch_size=BATCH, shuffle=True, drop_last=False)
    collate = (lambda batch: default_collate_fn(mixup(batch))) if chain == "mixup" else None
    loader = DataLoader(
        dataset=dataset, places=paddle.device.get_device() and paddle.CPUPlace(), num_workers=workers,
        return_list=True, use_shared_memory=True, batch_sampler=sampler, collate_fn=collate,
    )  # fmt: skip

    def epoch(number: int) -> Iterator[Any]:
        sampler.set_epoch(number)
        return ((batch[0], batch[0].shape[0]) for batch in loader())

    return epoch


def make_split(folder: Path, ops: Sequence[Any], workers: int, **keys: Any) -> Any:
    """A split of the images in a folder; `keys` are of its loader, and `mixed` of its batches."""
    from trainer.config.data import SplitSection

    mixed = keys.pop("mixed", [])
    return SplitSection.model_validate(
        {
            "dataset": {
                "name": "ImageNetDataset", "image_root": str(folder),
                "cls_label_path": str(folder / "list.txt"), "transform_ops": ops,
                "batch_transform_ops": mixed,
            },
            "sampler": {"batch_size": BATCH, "shuffle": True, "drop_last": False},
            "loader": {"num_workers": workers, **keys},
        }
    )  # fmt: skip


def ours(chain: str, keys: dict[str, Any], folder: Path, workers: int) -> Epoch:
    from trainer.data.lists import load_list
    from trainer.data.loader import Loader

    mixed = [{"MixupOperator": {"alpha": 0.2}}] if chain == "mixup" else []
    split = make_split(folder, CHAINS[chain], workers, mixed=mixed, **keys)
    samples = load_list(split.dataset, class_num=1000)
    loader = Loader(
        split=split, samples=samples, rank=0, world_size=1, seed=0, training=True,
        uint8=split.loader.hands_over_uint8(on_gpu=False),
    )  # fmt: skip

    def epoch(number: int) -> Iterator[Any]:
        for batch in loader.batches(number):
            yield batch.images, len(batch.images)
            batch.release()

    return epoch


# Measuring.


def children(process: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):  # it ends, or a thread of its does, while it is looked at
        for task in Path(f"/proc/{process}/task").iterdir():
            with contextlib.suppress(OSError):
                for child in map(int, (task / "children").read_text().split()):
                    found += [child, *children(child)]
    return found


def cpu_s() -> float:
    """CPU time of this process, of children that ended, and of those that live, with theirs."""
    total = 0.0
    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN):
        usage = resource.getrusage(who)
        total += usage.ru_utime + usage.ru_stime
    ticks = os.sysconf("SC_CLK_TCK")
    for process in children(os.getpid()):
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended
            continue
        total += sum(int(field) for field in fields[11:15]) / ticks
    return total


def serve(chain: str, way: str, folder: Path, workers: int) -> None:
    """Read an epoch whenever a line comes, and say what it took."""
    keys = WAYS[chain][way][0] if way != PEER else {}
    epoch = peer(chain, folder, workers) if way == PEER else ours(chain, keys, folder, workers)
    for number, _ in enumerate(sys.stdin):
        cpu, began, count = cpu_s(), time.perf_counter(), 0
        for _images, samples in epoch(number):
            count += samples
        took = {"cpu_ms": (cpu_s() - cpu) / count * 1000, "rate": count / (time.perf_counter() - began)}
        print(json.dumps(took), flush=True)


def compare(chain: str, folder: Path, *, rounds: int, workers: int) -> None:
    ways = [PEER, *WAYS[chain]]
    command = [sys.executable, __file__, "--folder", str(folder), "--workers", str(workers)]
    served = {
        way: subprocess.Popen(
            [*command, "--serve", chain, way], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )
        for way in ways
    }  # fmt: skip
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for turn in range(rounds + 1):
        for way, process in served.items():
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("\n")
            process.stdin.flush()
            took = json.loads(process.stdout.readline())
            if turn:  # the first one starts processes and fills caches
                found[way].append(took)
    for process in served.values():
        process.communicate()
    print(f"{chain}: {workers} workers, {rounds} rounds, load {os.getloadavg()[0]:.1f}")
    base = statistics.median(took["cpu_ms"] for took in found[PEER])
    for way in ways:
        cpu = statistics.median(took["cpu_ms"] for took in found[way])
        rate = statistics.median(took["rate"] for took in found[way])
        bar = f"  (bar {WAYS[chain][way][1]})" if way != PEER else ""
        print(
            f"  {way:18} {cpu:6.2f} ms CPU an image  {base / cpu:5.2f} x{bar}  {rate:7.0f} images/s",
            flush=True,
        )


def normalizing_ms() -> float:
    from trainer.data.normalization import Normalization

    images = np.random.default_rng(0).integers(0, 256, (BATCH, SIDE, SIDE, 3), dtype=np.uint8)
    normalization = Normalization(table=np.zeros((3, 256), dtype=np.float32))
    spent = []
    for _ in range(20):
        began = time.process_time()
        normalization.apply(images)
        spent.append((time.process_time() - began) / BATCH * 1000)
    return statistics.median(spent)


def write_images(folder: Path, jpegs: Sequence[bytes]) -> None:
    for index, data in enumerate(jpegs):
        (folder / f"{index}.jpg").write_bytes(data)
    (folder / "list.txt").write_text("".join(f"{index}.jpg 0\n" for index in range(len(jpegs))))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("chains", nargs="*")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--serve", nargs=2)
    parser.add_argument("--folder", type=Path)
    asked = parser.parse_args()
    if asked.serve:
        serve(*asked.serve, folder=asked.folder, workers=asked.workers)
        return
    for chain in asked.chains or CHAINS:
        with tempfile.TemporaryDirectory() as name:
            jpegs = draw_jpegs(scale=3)[:LARGE] if chain == "large" else draw_jpegs()
            write_images(Path(name), jpegs * REPEATS)
            compare(chain, Path(name), rounds=asked.rounds, workers=asked.workers)
    print(f"normalising uint8 on a CPU: {normalizing_ms():.2f} ms an image")


if __name__ == "__main__":
    main()
