"""The operations of nearly every config: decode, resize, crop, flip, normalise, move the channels.

Declared in `trainer.config.ops`. The order of random numbers is PaddleClas's (d178931,
ppcls/data/preprocess/ops/operators.py), so that with its generator the same pixels come out.
"""

from __future__ import annotations

import contextlib
import functools
import io
import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from trainer.config.ops import (
    Backend,
    CropImage,
    DecodeImage,
    Interpolation,
    NormalizeImage,
    RandCropImage,
    RandFlipImage,
    ResizeImage,
    ToCHWImage,
)
from trainer.data.encoded import count_jpeg_components
from trainer.data.ops.registry import (
    ChooseWindow,
    Operation,
    Pixels,
    Resize,
    Window,
    describe_shape,
    implements,
    resizes,
)
from trainer.data.rng import Rng
from trainer.errors import ImageError


@implements(DecodeImage)
def decode_image(spec: DecodeImage) -> Operation:
    """Encoded file uint8 [n] -> uint8 [H, W, 3], or [3, H, W] where asked for; RGB, or BGR as OpenCV has it.

    OpenCV turns the image as EXIF says, Pillow does not; both drop alpha.
    """
    channel_first = spec.channel_first and spec.to_np
    decode = _decode_with_cv2 if spec.backend == "cv2" else _decode_with_pil

    def operation(encoded: Pixels, rng: Rng) -> Pixels:
        del rng
        image = decode(encoded, spec.makes_rgb)
        return image.transpose(2, 0, 1) if channel_first else image

    return operation


def _decode_with_cv2(encoded: Pixels, rgb: bool) -> Pixels:
    # The decoder itself orders the channels: a reversed view would cost the rest of the chain 0.5 ms, and a
    # conversion 0.04 ms.
    return read_with_cv2(encoded, cv2.IMREAD_COLOR_RGB if rgb else cv2.IMREAD_COLOR_BGR)


def read_with_cv2(encoded: Pixels, flags: int) -> Pixels:
    """Decode by OpenCV.

    Raises:
        ImageError: It cannot.
    """
    try:
        image: Pixels | None = cv2.imdecode(encoded, flags)
    except cv2.error as error:  # an empty file, or one that claims an absurd size
        raise ImageError(expected="an image", got=f"{encoded.size} bytes that OpenCV refuses") from error
    if image is None:
        raise ImageError(expected="an image", got=f"{encoded.size} bytes that OpenCV cannot decode")
    return image


def _decode_with_pil(encoded: Pixels, rgb: bool) -> Pixels:
    """Decode to Pillow's pixels; a JPEG by OpenCV, for two thirds of the time, where both agree on it."""
    if count_jpeg_components(encoded.tobytes()) in (1, 3) and _jpegs_agree():
        with contextlib.suppress(ImageError):
            return read_with_cv2(
                encoded, _AS_STORED | (cv2.IMREAD_COLOR_RGB if rgb else cv2.IMREAD_COLOR_BGR)
            )
    return read_with_pil(encoded, rgb)


_AS_STORED = cv2.IMREAD_IGNORE_ORIENTATION


@functools.cache
def _jpegs_agree() -> bool:
    """Tell whether both libraries make the same pixels of JPEGs: each brings a libjpeg of its own.

    Asked once a process, of small ones: grey and in colours, these whole or halved in one or in both
    directions, baseline and progressive.
    """
    image = np.random.default_rng(0).integers(0, 256, (37, 53, 3), dtype=np.uint8)
    image[8:30] = cv2.GaussianBlur(image[8:30], (7, 7), 0)
    samplings = (0x111111, 0x211111, 0x221111)
    settings = [
        (image, [cv2.IMWRITE_JPEG_QUALITY, 85, cv2.IMWRITE_JPEG_PROGRESSIVE, progressive,
                 cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling])
        for sampling in samplings for progressive in (0, 1)
    ]  # fmt: skip
    settings.append((image[:, :, 0], [cv2.IMWRITE_JPEG_QUALITY, 85]))
    for pixels, options in settings:
        encoded = cv2.imencode(".jpg", pixels, options)[1]
        by_cv2 = read_with_cv2(encoded, _AS_STORED | cv2.IMREAD_COLOR_RGB)
        if not np.array_equal(by_cv2, read_with_pil(encoded, True)):
            return False
    return True


def read_with_pil(encoded: Pixels, rgb: bool, *, factor: int = 1) -> Pixels:
    """Decode by Pillow; of a JPEG a `factor` of 2, 4 or 8 decodes so many times fewer pixels a side.

    Raises:
        ImageError: It cannot.
    """
    try:
        with Image.open(io.BytesIO(encoded.tobytes())) as opened:
            if factor > 1:
                opened.draft(None, (opened.width // factor, opened.height // factor))
            # A palette with transparency goes by RGBA: the same colours, without Pillow's warning.
            plain = opened.convert("RGBA") if "transparency" in opened.info else opened
            image = np.array(plain.convert("RGB"))
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise ImageError(
            expected="an image", got=f"{encoded.size} bytes that Pillow cannot decode"
        ) from error
    return image if rgb else np.ascontiguousarray(image[:, :, ::-1])


CV2_INTERPOLATION = {
    "nearest": cv2.INTER_NEAREST, "bilinear": cv2.INTER_LINEAR, "area": cv2.INTER_AREA,
    "bicubic": cv2.INTER_CUBIC, "lanczos": cv2.INTER_LANCZOS4,
}  # fmt: skip
PIL_INTERPOLATION = {
    "nearest": Image.Resampling.NEAREST, "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC, "box": Image.Resampling.BOX,
    "lanczos": Image.Resampling.LANCZOS, "hamming": Image.Resampling.HAMMING,
}  # fmt: skip
_RANDOM = ("bilinear", "bicubic")


@implements(ResizeImage)
def resize_image(spec: ResizeImage) -> Operation:
    """uint8 [H, W, 3] -> `size`, or so that the shorter side has `resize_short` pixels."""
    return _cut_and_resize(*resize_whole(spec, False))


@resizes(ResizeImage)
def resize_whole(spec: ResizeImage, picture: bool) -> tuple[ChooseWindow, Resize]:
    """All of the image."""
    del picture
    size, short = spec.size, spec.resize_short

    def choose(height: int, width: int, rng: Rng) -> Window:
        del rng
        if short is None:
            assert size is not None
            return Window(top=0, left=0, height=height, width=width, size=size)
        factor = float(short) / min(width, height)
        resized = (int(round(width * factor)), int(round(height * factor)))  # noqa: RUF046
        return Window(top=0, left=0, height=height, width=width, size=resized)

    return choose, _make_resize(spec.backend, spec.interpolation)


def _cut_and_resize(choose: ChooseWindow, resize: Resize) -> Operation:
    def operation(image: Pixels, rng: Rng) -> Pixels:
        height, width = image.shape[:2]
        window = choose(height, width, rng)
        return resize(window.cut(image), window.size, rng)

    return operation


@implements(CropImage)
def crop_image(spec: CropImage) -> Operation:
    """[H, W, C] -> the centre [height, width, C] of `size`, a view."""
    width, height = spec.size

    def operation(image: Pixels, rng: Rng) -> Pixels:
        del rng
        top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
        if top < 0 or left < 0:
            raise ImageError(
                expected=f"at least {width} × {height} pixels to crop",
                got=describe_shape(image),
                fix="resize it before CropImage",
            )
        return image[top : top + height, left : left + width]

    return operation


@implements(RandCropImage)
def rand_crop_image(spec: RandCropImage) -> Operation:
    """uint8 [H, W, 3] -> a random part, resized to `size`."""
    return _cut_and_resize(*rand_crop(spec, False))


@resizes(RandCropImage)
def rand_crop(spec: RandCropImage, picture: bool) -> tuple[ChooseWindow, Resize]:
    """Draws in PaddleClas's order: aspect ratio, area, x, y, then an interpolation that is random."""
    del picture
    size, scale, ratio = spec.size, spec.scale, spec.ratio
    log_ratio = (math.log(ratio[0]), math.log(ratio[1]))

    def choose(height: int, width: int, rng: Rng) -> Window:
        if spec.use_log_aspect:
            aspect = math.exp(rng.python.uniform(*log_ratio))
        else:
            aspect = rng.python.uniform(*ratio)
        bound = min((width / height) / aspect, (height / width) * aspect)
        area = width * height * rng.python.uniform(min(scale[0], bound), min(scale[1], bound))
        crop_width = max(1, int(math.sqrt(area * aspect)))
        crop_height = max(1, int(math.sqrt(area / aspect)))
        left = rng.python.randint(0, width - crop_width)
        top = rng.python.randint(0, height - crop_height)
        return Window(top=top, left=left, height=crop_height, width=crop_width, size=size)

    return choose, _make_resize(spec.backend, spec.interpolation)


def _make_resize(backend: Backend, interpolation: Interpolation | None) -> Resize:
    one = resize_with_cv2 if backend == "cv2" else resize_with_pil
    name = interpolation or "bilinear"

    def resize(image: Pixels, size: tuple[int, int], rng: Rng) -> Pixels:
        return one(image, size, rng.python.choice(_RANDOM) if name == "random" else name)

    return resize


def resize_with_cv2(image: Pixels, size: tuple[int, int], interpolation: str) -> Pixels:
    """Resize uint8 or float32 [H, W, C] to (width, height) by OpenCV."""
    resized: Pixels = cv2.resize(image, size, interpolation=CV2_INTERPOLATION[interpolation])
    return resized


def resize_with_pil(image: Pixels, size: tuple[int, int], interpolation: str) -> Pixels:
    """Resize uint8 [H, W, 3] to (width, height) by Pillow."""
    return np.array(
        Image.fromarray(np.ascontiguousarray(image)).resize(size, PIL_INTERPOLATION[interpolation])
    )


@implements(RandFlipImage)
def rand_flip_image(spec: RandFlipImage) -> Operation:
    """[H, W, C] -> the same shape, flipped where a draw of 0 or 1 gives 1."""

    def operation(image: Pixels, rng: Rng) -> Pixels:
        if rng.python.randint(0, 1) == 0:
            return image
        flipped: Pixels = cv2.flip(image, spec.flip_code)
        return flipped

    return operation


_LEVELS = np.arange(256, dtype=np.uint8)


@implements(NormalizeImage)
def normalize_image(spec: NormalizeImage) -> Operation:
    """uint8 or float32, [H, W, 3] or [3, H, W] by `order` -> float32 of that layout: (x·scale − mean) / std.

    uint8 is looked up in a table a channel, which the formula makes: same bits, a sixth of the time. A fourth
    channel, where `channel_num` is 4, holds zeros.
    """
    channel_axis = 0 if spec.order == "chw" else 2
    scale = np.float32(spec.scale if spec.scale is not None else 1.0 / 255.0)
    mean, std = _three(spec.mean), _three(spec.std)

    def formula(image: Pixels, mean: NDArray[np.float32], std: NDArray[np.float32]) -> NDArray[np.float32]:
        result: NDArray[np.float32] = (image.astype(np.float32) * scale - mean) / std
        return _through_float16(result) if spec.output_fp16 else result

    tables = [formula(_LEVELS, mean[channel], std[channel]) for channel in range(3)]
    shape = (3, 1, 1) if channel_axis == 0 else (1, 1, 3)

    def operation(image: Pixels, rng: Rng) -> Pixels:
        del rng
        if image.dtype == np.uint8:
            planes = _look_up(image, channel_axis, tables, channels=spec.channel_num)
            return planes if channel_axis == 0 else planes.transpose(1, 2, 0)
        result = formula(image, mean.reshape(shape), std.reshape(shape))
        if spec.channel_num == 3:
            return result
        zeros = np.zeros_like(np.take(result, [0], axis=channel_axis))
        joined: Pixels = np.concatenate((result, zeros), axis=channel_axis)
        return joined

    return operation


@implements(ToCHWImage)
def to_chw_image(spec: ToCHWImage) -> Operation:
    """[H, W, C] -> [C, H, W], a view."""
    del spec

    def operation(image: Pixels, rng: Rng) -> Pixels:
        del rng
        moved: Pixels = image.transpose(2, 0, 1)
        return moved

    return operation


def _look_up(
    image: Pixels, channel_axis: int, tables: Sequence[NDArray[np.float32]], *, channels: int
) -> NDArray[np.float32]:
    """Fill [C, H, W] memory, which is what the network takes, whatever the layout of the image is."""
    if channel_axis == 0:
        sources = [np.ascontiguousarray(image[channel]) for channel in range(3)]
    else:
        sources = list(cv2.split(image))
    planes = np.empty((channels, *sources[0].shape), dtype=np.float32)
    for source, table, plane in zip(sources, tables, planes, strict=False):
        cv2.LUT(source, table, dst=plane)
    planes[3:] = 0
    return planes


def _three(values: Sequence[float]) -> NDArray[np.float32]:
    return np.broadcast_to(np.array(values).astype(np.float32), 3)


def _through_float16(values: NDArray[np.float32]) -> NDArray[np.float32]:
    # The rounding of PaddleClas's half-precision images; batches stay float32.
    return values.astype(np.float16).astype(np.float32)
