"""What a list of operations must know of each operation to be checked before there is an image."""

from __future__ import annotations

from typing import ClassVar

from trainer.config.declaration import Declaration


class ImageOp(Declaration):
    """An operation on an image: what it takes and what it makes of it."""

    channels_last: ClassVar[bool] = True
    """It takes [H, W, C] only."""
    whole_numbers: ClassVar[bool] = True
    """It takes uint8 only, so it stands before whatever makes floating-point numbers."""
    makes_floats: ClassVar[bool] = False
    """It makes float32 of uint8, in the range that the image had."""

    def takes_floats(self) -> bool:
        """Tell whether it works on floating-point pixels with these parameters."""
        return not self.whole_numbers
