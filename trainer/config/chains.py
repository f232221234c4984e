"""What a list of image operations must be to make sense, whatever the images are."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.config.declaration import Declaration
from trainer.config.ops import DecodeImage, NormalizeImage, ToCHWImage
from trainer.config.ops_base import ImageOp


def check_chain(ops: Sequence[Declaration]) -> Sequence[Declaration]:
    """Return the operations as they are.

    PaddleClas finds these mistakes in the first image, and then tries another image for ever
    (d178931, ppcls/data/dataloader/common_dataset.py).

    Raises:
        ValueError: They cannot follow each other; says all the reasons.
    """
    problems = (
        [] if ops and isinstance(ops[0], DecodeImage) else ["expected DecodeImage as the first operation"]
    )
    channels_first = normalized = False
    floats_since = ""
    for index, op in enumerate(ops):
        name = op.label
        if isinstance(op, DecodeImage):
            channels_first = op.channel_first and op.to_np
            if index:
                problems.append(
                    f"expected DecodeImage as the first operation only, got it as item {index} too"
                )
        if isinstance(op, ImageOp):
            problems += _out_of_place(op, index, channels_first=channels_first, floats_since=floats_since)
            floats_since = floats_since or (name if op.makes_floats else "")
        if isinstance(op, NormalizeImage):
            if normalized:
                problems.append(f"expected NormalizeImage once, got it again as item {index}")
            problems += _wrong_order(op, index, channels_first=channels_first)
            normalized = True
        channels_first = channels_first or isinstance(op, ToCHWImage)
    if ops and not normalized:
        problems.append("expected NormalizeImage, which makes the numbers that a network takes")
    if problems:
        raise ValueError("; ".join(problems))
    return ops


def _out_of_place(op: ImageOp, index: int, *, channels_first: bool, floats_since: str) -> list[str]:
    name = f"{op.label} (item {index})"
    problems = []
    if op.channels_last and channels_first:
        problems.append(f"expected {name} before the channels are moved to the front")
    if floats_since and not op.takes_floats():
        how = f"{name} with backend pil" if hasattr(op, "backend") else name
        problems.append(f"expected {how} before {floats_since}, which makes floating-point numbers")
    return problems


def _wrong_order(op: NormalizeImage, index: int, *, channels_first: bool) -> list[str]:
    if (op.order == "chw") == channels_first:
        return []
    wanted, layout = ("'chw'", "[C, H, W]") if channels_first else ("''", "[H, W, C]")
    return [
        f"expected NormalizeImage (item {index}) with order: {wanted}, because the image is {layout} there"
    ]
