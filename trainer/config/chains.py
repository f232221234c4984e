"""What a list of image operations must be to make sense, whatever the images are."""

from __future__ import annotations

from collections.abc import Sequence

from trainer.config.declaration import Declaration
from trainer.config.ops import (
    CropImage,
    DecodeImage,
    NormalizeImage,
    RandCropImage,
    RandFlipImage,
    RandomErasing,
    ResizeImage,
    ToCHWImage,
)

_CHANNELS_LAST = (ResizeImage, CropImage, RandCropImage, RandFlipImage, RandomErasing, ToCHWImage)


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
    for index, op in enumerate(ops):
        name = type(op).__name__
        if isinstance(op, DecodeImage):
            channels_first = op.channel_first and op.to_np
            if index:
                problems.append(
                    f"expected DecodeImage as the first operation only, got it as item {index} too"
                )
        if isinstance(op, _CHANNELS_LAST) and channels_first:
            problems.append(f"expected {name} (item {index}) before the channels are moved to the front")
        if isinstance(op, ResizeImage | RandCropImage) and op.backend == "pil" and normalized:
            problems.append(f"expected {name} (item {index}) with backend pil before NormalizeImage")
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


def _wrong_order(op: NormalizeImage, index: int, *, channels_first: bool) -> list[str]:
    if (op.order == "chw") == channels_first:
        return []
    wanted, layout = ("'chw'", "[C, H, W]") if channels_first else ("''", "[H, W, C]")
    return [
        f"expected NormalizeImage (item {index}) with order: {wanted}, because the image is {layout} there"
    ]
