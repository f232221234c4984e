"""Which operation implements which declaration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainer.config.declaration import Declaration
from trainer.config.extras import make_extra, refuse
from trainer.config.ops import ExtraOp
from trainer.data.draws import Draws

Pixels = NDArray[Any]  # uint8 before NormalizeImage, float32 after it
Operation = Callable[[Pixels, Draws], Pixels]
"""The encoded file as uint8 [n], or an image [H, W, C] or [C, H, W] -> the next image."""
DeclarationT = TypeVar("DeclarationT", bound=Declaration)
Factory = Callable[[Any], Operation]

_FACTORIES: dict[type[Declaration], Factory] = {}


class ImageError(Exception):
    """An image cannot be used. The message lacks the place, which the loader knows."""


def implements(
    declaration: type[DeclarationT],
) -> Callable[[Callable[[DeclarationT], Operation]], Callable[[DeclarationT], Operation]]:
    """Register a factory, called once with the parameters, for a declaration."""

    def register(factory: Callable[[DeclarationT], Operation]) -> Callable[[DeclarationT], Operation]:
        if declaration in _FACTORIES:
            raise ValueError(f"{declaration.__name__}: expected one implementation, got a second")
        _FACTORIES[declaration] = factory
        return factory

    return register


def make_operation(declaration: Declaration) -> Operation:
    """Make the operation that a config names."""
    if isinstance(declaration, ExtraOp):
        return _make_extra(declaration)
    return _FACTORIES[type(declaration)](declaration)


def _make_extra(declaration: ExtraOp) -> Operation:
    made = make_extra(declaration)
    if not callable(made):
        raise refuse("op", declaration.name, f"expected a function of image and draws, got {made!r}")

    def operation(image: Pixels, draws: Draws) -> Pixels:
        result = made(image, draws)
        if not isinstance(result, np.ndarray):
            raise refuse("op", declaration.name, f"expected a numpy array to be returned, got {result!r}")
        return result

    return operation


def implemented() -> frozenset[type[Declaration]]:
    """Return the declarations that have an implementation among the modules imported so far."""
    return frozenset(_FACTORIES)


def describe_shape(image: Pixels) -> str:
    """Say an image's size as people do: width × height."""
    return f"{image.shape[1]} × {image.shape[0]}"


def own(image: Pixels) -> Pixels:
    """Return the image, copied where it must not be written to."""
    return image if image.flags.writeable else np.array(image)
