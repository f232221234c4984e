"""Operations of paddle.vision (paddle 3.3.1, python/paddle/vision/transforms/{transforms,functional*}.py)."""

from __future__ import annotations

import math

import cv2
import numpy as np

from trainer.config.ops_vision import (
    CenterCrop,
    Normalize,
    RandomGrayscale,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    Resize,
    ToTensor,
)
from trainer.data.ops import pictures
from trainer.data.ops.basic import (
    CV2_INTERPOLATION,
    PIL_INTERPOLATION,
    resize_with_cv2,
    resize_with_pil,
)
from trainer.data.ops.crop_pad import draw_area
from trainer.data.ops.registry import (
    ChooseWindow,
    Operation,
    Pixels,
    Window,
    cut,
    implements,
    implements_both,
    resizes,
)
from trainer.data.ops.registry import Resize as ResizeTo
from trainer.data.rng import Rng

_LEVELS = np.float32(255.0)


@implements_both(Resize)
def resize(spec: Resize, picture: bool) -> Operation:
    """uint8 [H, W, C] -> `size`, or its shorter side that long; the longer side is rounded down."""
    return _cut_and_resize(*resize_whole(spec, picture))


@resizes(Resize)
def resize_whole(spec: Resize, picture: bool) -> tuple[ChooseWindow, ResizeTo]:
    """All of the image."""
    size, *other = spec.size

    def choose(height: int, width: int, rng: Rng) -> Window:
        del rng
        if other:
            resized = (other[0], size)
        elif min(height, width) == size:
            resized = (width, height)
        elif width < height:
            resized = (size, int(size * height / width))
        else:
            resized = (int(size * width / height), size)
        return Window(top=0, left=0, height=height, width=width, size=resized)

    return choose, _resize(spec.interpolation, picture)


@implements_both(RandomResizedCrop)
def random_resized_crop(spec: RandomResizedCrop, picture: bool) -> Operation:
    """uint8 [H, W, C] -> a random part of it in `size`. Draws what `crop_pad.draw_area` draws."""
    return _cut_and_resize(*random_area(spec, picture))


@resizes(RandomResizedCrop)
def random_area(spec: RandomResizedCrop, picture: bool) -> tuple[ChooseWindow, ResizeTo]:
    """A part by `crop_pad.draw_area`."""
    size = (spec.size[1], spec.size[0])

    def choose(height: int, width: int, rng: Rng) -> Window:
        top, left, tall, wide = draw_area(height, width, rng, scale=spec.scale, ratio=spec.ratio)
        return Window(top=top, left=left, height=tall, width=wide, size=size)

    return choose, _resize(spec.interpolation, picture)


def _cut_and_resize(choose: ChooseWindow, resize: ResizeTo) -> Operation:
    def operation(image: Pixels, rng: Rng) -> Pixels:
        height, width = image.shape[:2]
        window = choose(height, width, rng)
        return resize(window.cut(image), window.size, rng)

    return operation


@implements(CenterCrop)
def center_crop(spec: CenterCrop) -> Operation:
    """Where the free rows or columns are odd, their half is rounded to even."""
    height, width = spec.size

    def operation(image: Pixels, rng: Rng) -> Pixels:
        del rng
        top, left = round((image.shape[0] - height) / 2), round((image.shape[1] - width) / 2)
        return cut(image, top=top, left=left, width=width, height=height)

    return operation


@implements(RandomHorizontalFlip)
def random_horizontal_flip(spec: RandomHorizontalFlip) -> Operation:
    """[H, W, C] -> the same, mirrored with probability `prob`. Draw from Python."""

    def operation(image: Pixels, rng: Rng) -> Pixels:
        if rng.python.random() >= spec.prob:
            return image
        flipped: Pixels = cv2.flip(image, 1)
        return flipped

    return operation


@implements_both(RandomRotation)
def random_rotation(spec: RandomRotation, picture: bool) -> Operation:
    """Draw whether at all, then the angle."""
    fill = tuple(int(level) for level in spec.fill)
    center, expand = spec.center, spec.expand

    def operation(image: Pixels, rng: Rng) -> Pixels:
        if rng.numpy.random_sample() >= spec.prob:
            return image
        degrees = rng.python.uniform(*spec.degrees)
        if picture:
            resample = PIL_INTERPOLATION[spec.interpolation]
            turned = pictures.to_picture(image).rotate(degrees, resample, expand, center, fillcolor=fill)
            return pictures.to_pixels(turned)
        height, width = image.shape[:2]
        about = center or (width / 2.0, height / 2.0)
        matrix = cv2.getRotationMatrix2D(about, degrees, 1)
        if expand:
            wide, tall = _turned_size(width, height, degrees, about=about)
            matrix[:, 2] += (wide - width) * 0.5, (tall - height) * 0.5
            width, height = wide, tall
        flags = CV2_INTERPOLATION[spec.interpolation]
        warped: Pixels = cv2.warpAffine(image, matrix, (width, height), flags=flags, borderValue=fill)
        return warped

    return operation


def _turned_size(width: int, height: int, degrees: float, *, about: tuple[float, float]) -> tuple[int, int]:
    """Return width and height of the pixels that a turned image touches."""
    turn = -math.radians(degrees)
    cosine, sine = round(math.cos(turn), 15), round(math.sin(turn), 15)
    x, y = about
    # The terms stand as Paddle adds them up: a rounding here is a row there.
    right, down = cosine * -x + sine * -y + x, -sine * -x + cosine * -y + y
    corners = ((0, 0), (width, 0), (width, height), (0, height))
    across = [cosine * column + sine * row + right for column, row in corners]
    along = [-sine * column + cosine * row + down for column, row in corners]
    return (
        math.ceil(max(across)) - math.floor(min(across)),
        math.ceil(max(along)) - math.floor(min(along)),
    )


@implements(RandomGrayscale)
def random_grayscale(spec: RandomGrayscale) -> Operation:
    """uint8 [H, W, 3] -> the same, grey with probability `p`. Draw from Python."""

    def operation(image: Pixels, rng: Rng) -> Pixels:
        if rng.python.random() >= spec.p:
            return image
        grey = np.asarray(pictures.to_picture(image).convert("L"))
        return np.dstack([grey, grey, grey])

    return operation


@implements(ToTensor)
def to_tensor(spec: ToTensor) -> Operation:
    """uint8 [H, W, C], 0 to 255 -> float32 [C, H, W] or [H, W, C], 0 to 1."""
    first = spec.data_format == "CHW"

    def operation(image: Pixels, rng: Rng) -> Pixels:
        del rng
        shares = image.astype(np.float32) / _LEVELS if image.dtype == np.uint8 else image
        return shares.transpose(2, 0, 1) if first else shares

    return operation


@implements(Normalize)
def normalize(spec: Normalize) -> Operation:
    """float32, [3, H, W] or [H, W, 3] by `data_format` -> float32 of that layout, (x − mean) / std."""
    shape = (3, 1, 1) if spec.data_format == "CHW" else (1, 1, 3)
    mean = np.array(spec.mean, dtype=np.float32).reshape(shape)
    std = np.array(spec.std, dtype=np.float32).reshape(shape)

    def operation(image: Pixels, rng: Rng) -> Pixels:
        del rng
        ordered = image[..., ::-1] if spec.to_rgb else image
        result: Pixels = (ordered.astype(np.float32) - mean) / std
        return result

    return operation


def _resize(interpolation: str, picture: bool) -> ResizeTo:
    """Resize by Pillow where Paddle would be given a picture. An image of the size already stays as it is."""

    def resized(image: Pixels, size: tuple[int, int], rng: Rng) -> Pixels:
        del rng
        if (image.shape[1], image.shape[0]) == size:
            return image
        if picture:
            return resize_with_pil(image, size, interpolation)
        return resize_with_cv2(image, size, interpolation)

    return resized
