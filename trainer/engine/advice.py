"""What is unusual about a config and its lists: said by `trainer check`, and no reason to refuse them."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from trainer.config.ops import CropImage, RandCropImage, ResizeImage
from trainer.config.root import TrainConfig
from trainer.engine.setup import Lists

_SHOWN = 5


def find_oddities(config: TrainConfig, lists: Lists) -> Iterator[str]:
    """Yield a sentence for each: `where: expected X, got Y; what to do`."""
    yield from _empty_classes(config, lists)
    yield from _disagreeing_sizes(config)
    yield from _images_in_both(lists)


def _empty_classes(config: TrainConfig, lists: Lists) -> Iterator[str]:
    for split, samples in (("Train", lists.train), ("Eval", lists.evaluation)):
        if samples is None:
            continue
        classes = config.arch.class_num
        missing = sorted(set(range(classes)) - samples.present_classes())
        if missing:
            yield (
                f"DataLoader.{split}: expected images of all {classes} classes of Arch.class_num, "
                f"got none of {_shown([str(label) for label in missing])}"
            )


def _disagreeing_sizes(config: TrainConfig) -> Iterator[str]:
    sizes: dict[str, tuple[int, int]] = {}
    parts = [("DataLoader.Train", config.data.Train.dataset.transform_ops)]
    if config.data.Eval is not None:
        parts.append(("DataLoader.Eval", config.data.Eval.dataset.transform_ops))
    if config.infer is not None:
        parts.append(("Infer", config.infer.transforms))
    for where, ops in parts:
        fixed = [op.size for op in ops if isinstance(op, CropImage | RandCropImage | ResizeImage) and op.size]
        if fixed:
            sizes[where] = fixed[-1]
    if config.run.image_shape is not None:
        sizes["Global.image_shape"] = (config.run.image_shape[2], config.run.image_shape[1])
    if len(set(sizes.values())) > 1:
        said = ", ".join(f"{where} {width} × {height}" for where, (width, height) in sizes.items())
        yield f"image size: expected the same everywhere, got {said}; `trainer predict` suffers"


def _images_in_both(lists: Lists) -> Iterator[str]:
    """Compare contents, but only of files whose sizes are equal."""
    if lists.evaluation is None:
        return
    by_size: dict[int, list[str]] = defaultdict(list)
    for path in lists.train.paths:
        by_size[Path(path).stat().st_size].append(path)
    trained: dict[int, dict[bytes, str]] = {}
    found = []
    for path in lists.evaluation.paths:
        size = Path(path).stat().st_size
        if size not in by_size:
            continue
        if size not in trained:
            trained[size] = {_digest(other): other for other in by_size[size]}
        if (same := trained[size].get(_digest(path))) is not None:
            found.append(f"{path} is {same}")
    if found:
        yield (
            f"DataLoader.Eval: expected images that are not trained on, got {len(found)} that are: "
            f"{_shown(found)}; leave them out of one list"
        )


def _digest(path: str) -> bytes:
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).digest()


def _shown(items: list[str]) -> str:
    return ", ".join(items[:_SHOWN]) + (", …" if len(items) > _SHOWN else "")
