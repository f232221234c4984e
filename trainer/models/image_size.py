"""Images of a size that a network does not take, where the config could not tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trainer.config.archs import BaseArch
from trainer.errors import ImageSizeError

if TYPE_CHECKING:  # whoever tells this error from others may do without paddle
    import paddle


def require_size(arch: BaseArch, images: paddle.Tensor) -> None:
    """Do nothing where a network takes images [B, C, H, W] of this size.

    Raises:
        ImageSizeError: It does not.
    """
    height, width = images.shape[2:]
    expected = arch.refuse_size((width, height))
    if expected:
        raise ImageSizeError(
            where="images",
            expected=str(expected),
            got=f"{width} × {height}",
            fix="crop to that in transform_ops, or in Infer.transforms to predict",
        )
