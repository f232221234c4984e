"""RandomCropImage."""

from __future__ import annotations

from trainer.config.ops_place import RandomCropImage
from trainer.data.draws import Draws
from trainer.data.ops.registry import ImageError, Operation, Pixels, describe_shape, implements


@implements(RandomCropImage)
def random_crop_image(declaration: RandomCropImage) -> Operation:
    """Draw the row, then the column."""
    width, height = declaration.size

    def operation(image: Pixels, draws: Draws) -> Pixels:
        if image.shape[0] < height or image.shape[1] < width:
            raise ImageError(f"expected at least {width} × {height} pixels, got {describe_shape(image)}")
        top = draws.python.randint(0, image.shape[0] - height)
        left = draws.python.randint(0, image.shape[1] - width)
        return image[top : top + height, left : left + width]

    return operation
