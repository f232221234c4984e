"""Lists of image operations: what makes sense whatever the images are, and how a list grows with the epochs.

Training whose images grow is `Global.train_mode: progressive`: four stages of as many epochs, each with a
size for RandCropImage and a magnitude for RandAugmentV2 (PaddleClas 4fdcda7,
ppcls/engine/train/train_progressive.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, Field

from trainer.config.ops import STAGES, DecodeImage, ImageOp, Op, given_pictures
from trainer.config.scalars import Pixels


def check_pipeline(ops: Sequence[ImageOp]) -> Sequence[ImageOp]:
    """Return the operations as they are.

    PaddleClas finds these mistakes in the first image, and then tries another image for ever
    (d178931, ppcls/data/dataloader/common_dataset.py).

    Raises:
        ValueError: They cannot follow each other; says all the reasons.
    """
    # One walk over the list carries what an image is by then, whatever image it is: a picture of Pillow or an
    # array (`given_pictures`), with its channels first or last, of whole or of floating-point numbers. Each
    # operation says what it takes and what it makes of that (`ImageOp`), so that none is named here but
    # DecodeImage, which begins the list.
    problems = (
        [] if ops and isinstance(ops[0], DecodeImage) else ["expected DecodeImage as the first operation"]
    )
    channels_first = made_numbers = False
    floats_since = normalized = ""
    for index, (op, picture) in enumerate(zip(ops, given_pictures(ops), strict=True)):
        if isinstance(op, DecodeImage) and index:
            problems.append(f"expected DecodeImage as the first operation only, got it as item {index} too")
        problems += _out_of_place(op, index, channels_first=channels_first, floats_since=floats_since)
        problems += _wrong_library(op, index, picture=picture)
        floats_since = floats_since or (op.label if op.makes_floats else "")
        made_numbers = made_numbers or op.normalizes
        if op.wanted_order():
            if normalized:
                problems.append(_twice(op.label, normalized, index))
            problems += _wrong_order(op, index, channels_first=channels_first)
            normalized = normalized or op.label
        channels_first = channels_first or op.moves_channels_first()
    if ops and not made_numbers:
        problems.append("expected NormalizeImage, which makes the numbers that a network takes")
    if problems:
        raise ValueError("; ".join(problems))
    return ops


def find_size(ops: Sequence[ImageOp]) -> tuple[int, Pixels] | None:
    """Return the size that all images have at the end, after the index of the operation that last set it.

    None where the images decide.
    """
    size: Pixels | None = None
    setter = 0
    for index, op in enumerate(ops):
        after = op.size_after(size)
        setter = setter if after == size else index
        size = after
    return None if size is None else (setter, size)


def _out_of_place(op: ImageOp, index: int, *, channels_first: bool, floats_since: str) -> list[str]:
    name = f"{op.label} (item {index})"
    problems = []
    if op.channels_last and channels_first:
        problems.append(f"expected {name} before the channels are moved to the front")
    if floats_since and not op.takes_floats():
        how = f"{name} with backend pil" if op.has_backend else name
        problems.append(f"expected {how} before {floats_since}, which makes floating-point numbers")
    return problems


def _wrong_library(op: ImageOp, index: int, *, picture: bool) -> list[str]:
    lacking = op.lacks(picture)
    return [f"expected {op.label} (item {index}) {lacking}"] if lacking else []


def _twice(name: str, first: str, index: int) -> str:
    if name == first:
        return f"expected {name} once, got it again as item {index}"
    return f"expected one of {first} and {name}, got both"


def _wrong_order(op: ImageOp, index: int, *, channels_first: bool) -> list[str]:
    if (op.wanted_order() == "chw") == channels_first:
        return []
    layout = "[C, H, W]" if channels_first else "[H, W, C]"
    return [
        f"expected {op.label} (item {index}) with {op.order_said(channels_first)}, because the image is "
        f"{layout} there"
    ]


PROGRESSIVE = "progressive"


def stage_of(epoch: int, *, epochs: int) -> int:
    """Return the stage of an epoch.

    Args:
        epoch: From 0.
        epochs: Of the whole training.
    """
    return sum(epoch + 1 > epochs * (stage + 1) // STAGES for stage in range(STAGES))


def of_stage(ops: Sequence[ImageOp], stage: int) -> list[ImageOp]:
    """Return the operations as they are in a stage, from 0."""
    return [op.in_stage(stage) for op in ops]


OpList = Annotated[tuple[Op, ...], Field(strict=False), AfterValidator(check_pipeline)]
