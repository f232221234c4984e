"""Which operation implements which spec."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainer.config.extras import ExtraOp, make_extra, refuse
from trainer.config.ops import ImageOp
from trainer.config.registry import Spec
from trainer.data.rng import Rng
from trainer.errors import ImageError

Pixels = NDArray[Any]  # uint8 before NormalizeImage, float32 after it
Operation = Callable[[Pixels, Rng], Pixels]
"""The encoded file as uint8 [n], or an image [H, W, C] or [C, H, W] -> the next image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Window:
    """A part of an image, in pixels, and the size that it is resized to."""

    top: int
    left: int
    height: int
    width: int
    size: tuple[int, int]
    """(width, height)."""

    def cut(self, image: Pixels) -> Pixels:
        """Return the part of [H, W, C], a view."""
        return image[self.top : self.top + self.height, self.left : self.left + self.width]


ChooseWindow = Callable[[int, int, Rng], Window]
"""Height and width of an image -> the part that is resized."""
Resize = Callable[[Pixels, tuple[int, int], Rng], Pixels]
"""An image and its new (width, height) -> the resized image."""
SpecT = TypeVar("SpecT", bound=Spec)
Factory = Callable[..., Operation]

_FACTORIES: dict[type[Spec], Factory] = {}
_WINDOWS: dict[type[Spec], Callable[..., tuple[ChooseWindow, Resize]]] = {}


def implements(
    spec: type[SpecT],
) -> Callable[[Callable[[SpecT], Operation]], Callable[[SpecT], Operation]]:
    """Register a factory, called once with the parameters, for a spec."""

    def register(factory: Callable[[SpecT], Operation]) -> Callable[[SpecT], Operation]:
        _register(spec, factory)
        return factory

    return register


def implements_both(
    spec: type[SpecT],
) -> Callable[[Callable[[SpecT, bool], Operation]], Callable[[SpecT, bool], Operation]]:
    """Register a factory for a spec `by_container`; it is also told whether to use Pillow."""

    def register(
        factory: Callable[[SpecT, bool], Operation],
    ) -> Callable[[SpecT, bool], Operation]:
        _register(spec, factory)
        return factory

    return register


def _register(spec: type[Spec], factory: Factory) -> None:
    if spec in _FACTORIES:
        raise ValueError(f"{spec.__name__}: expected one implementation, got a second")
    _FACTORIES[spec] = factory


def resizes(
    spec: type[SpecT],
) -> Callable[
    [Callable[[SpecT, bool], tuple[ChooseWindow, Resize]]],
    Callable[[SpecT, bool], tuple[ChooseWindow, Resize]],
]:
    """Register what an operation that cuts a part out and resizes it does, in two steps, for a spec.

    A decoder that knows the part and its size beforehand need not decode more pixels than that.
    """

    def register(
        window: Callable[[SpecT, bool], tuple[ChooseWindow, Resize]],
    ) -> Callable[[SpecT, bool], tuple[ChooseWindow, Resize]]:
        _WINDOWS[spec] = window
        return window

    return register


def find_window(spec: Spec, *, picture: bool) -> tuple[ChooseWindow, Resize] | None:
    """Return the two steps of an operation that cuts a part out and resizes it; None of any other."""
    made = _WINDOWS.get(type(spec))
    return made(spec, picture) if made is not None else None


def make_operation(spec: Spec, *, picture: bool = False) -> Operation:
    """Make the operation that a config names.

    Args:
        spec: Its parameters.
        picture: PaddleClas would give it a picture of Pillow, not an array.
    """
    if isinstance(spec, ExtraOp):
        return _make_extra(spec)
    factory = _FACTORIES[type(spec)]
    if isinstance(spec, ImageOp) and spec.by_container:
        return factory(spec, picture)
    return factory(spec)


def _make_extra(spec: ExtraOp) -> Operation:
    made = make_extra(spec)
    if not callable(made):
        raise refuse("op", spec.name, f"expected a function of image and generators, got {made!r}")

    def operation(image: Pixels, rng: Rng) -> Pixels:
        result = made(image, rng)
        if not isinstance(result, np.ndarray):
            raise refuse("op", spec.name, f"expected a numpy array to be returned, got {result!r}")
        return result

    return operation


def implemented() -> frozenset[type[Spec]]:
    """Return the specs that have an implementation among the modules imported so far."""
    return frozenset(_FACTORIES)


def describe_shape(image: Pixels) -> str:
    """Say an image's size as people do: width × height."""
    return f"{image.shape[1]} × {image.shape[0]}"


def cut(image: Pixels, *, top: int, left: int, width: int, height: int) -> Pixels:
    """Return a part of an image [H, W, C], without copying.

    Raises:
        ImageError: It is larger than the image.
    """
    if image.shape[0] < height or image.shape[1] < width:
        raise ImageError(expected=f"at least {width} × {height} pixels", got=describe_shape(image))
    return image[top : top + height, left : left + width]


def ensure_writable(image: Pixels) -> Pixels:
    """Return the image, copied where its memory must not be written to, such as an encoded file's."""
    return image if image.flags.writeable else np.array(image)
