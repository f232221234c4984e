"""Operations of paddle.vision against paddle.vision itself, for arrays and for pictures."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import paddle
import pytest
from paddle.vision import transforms
from PIL import Image

from tests.trainer.data.conftest import IDENTITY, Pixels, agree, draw, encode, run
from trainer.errors import ImageError

PICTURE = {"DecodeImage": {"to_np": False, "backend": "pil"}}


def meets(name: str, keys: dict[str, Any], *, picture: bool, theirs: Any = None, **more: Any) -> None:
    paddles = theirs or getattr(transforms, name)(**keys)

    def reading(image: Pixels) -> Pixels:
        result = paddles(Image.fromarray(image) if picture else image)
        return result.numpy() if isinstance(result, paddle.Tensor) else np.asarray(result)

    agree([{name: keys}], reading, first=PICTURE if picture else None, **more)


@pytest.mark.parametrize("picture", [False, True], ids=["array", "picture"])
@pytest.mark.parametrize("size", [20, 30, 61, [20, 50]], ids=str)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_resizing_gives_paddle_s_pixels(size: Any, interpolation: str, picture: bool) -> None:
    keys = {"size": size, "interpolation": interpolation}
    meets("Resize", keys, picture=picture, images=2)
    meets("Resize", keys, picture=picture, images=1, width=30, height=41)


@pytest.mark.parametrize("picture", [False, True], ids=["array", "picture"])
@pytest.mark.parametrize(
    "keys",
    [{"size": 16}, {"size": [12, 20], "scale": [0.9, 1.0], "ratio": [1.0, 1.1], "interpolation": "nearest"}],
    ids=["defaults", "tries fail"],
)
def test_a_random_resized_crop_gives_paddle_s_pixels(keys: dict[str, Any], picture: bool) -> None:
    meets("RandomResizedCrop", keys, picture=picture, seed=4)
    meets("RandomResizedCrop", keys, picture=picture, images=10, width=24, height=48)


@pytest.mark.parametrize("size", [11, 20, [9, 30], [30, 40]], ids=str)
def test_the_centre_is_paddle_s(size: Any) -> None:
    meets("CenterCrop", {"size": size}, picture=False, images=1)


def test_a_centre_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ImageError, match="expected at least 10 × 31 pixels, got 40 × 30"):
        run(encode(draw(1)), {"CenterCrop": {"size": [31, 10]}}, IDENTITY)


@pytest.mark.parametrize("prob", [0.5, 0.8])
def test_flipping_draws_as_paddle_does(prob: float) -> None:
    meets("RandomHorizontalFlip", {"prob": prob}, picture=False)


@pytest.mark.parametrize("picture", [False, True], ids=["array", "picture"])
@pytest.mark.parametrize(
    "keys",
    [
        {"degrees": 30},
        {"degrees": [-10, 170.5], "interpolation": "bilinear", "fill": [10, 20, 30]},
        {"degrees": 90, "expand": True, "interpolation": "bicubic"},
        {"degrees": 45, "center": [3.0, 7.5]},
        {"degrees": 45, "center": [3.0, 7.5], "expand": True},
    ],
    ids=["defaults", "range", "expand", "center", "both"],
)
def test_turning_gives_paddle_s_pixels(keys: dict[str, Any], picture: bool) -> None:
    turning = transforms.RandomRotation(**keys)

    def theirs(image: Any) -> Any:
        return turning._apply_image(image) if np.random.random() < 0.5 else image

    meets("RandomRotation", keys, picture=picture, theirs=theirs)


def test_a_turned_array_is_filled_in_all_channels() -> None:
    op = {"RandomRotation": {"prob": 1, "degrees": [45, 45], "fill": 200}}
    assert run(encode(draw(1)), op, IDENTITY)[0, 0].tolist() == [200, 200, 200]


@pytest.mark.parametrize("p", [1, 0.5])
def test_grey_is_pillow_s(p: float) -> None:
    def reading(image: Pixels) -> Pixels:
        if random.random() >= p:
            return image
        red, green, blue = (image[:, :, channel].astype(int) for channel in range(3))
        grey = (red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16
        return np.stack([grey] * 3, axis=2)

    agree([{"RandomGrayscale": {"p": p}}], reading)


def test_tensors_are_paddle_s_with_the_channels_first_once() -> None:
    result = run(encode(draw(1)), {"ToTensor": None})
    expected = transforms.ToTensor()(draw(1)[:, :, ::-1].copy()).numpy()
    assert result.tobytes() == expected.transpose(1, 2, 0).tobytes()


@pytest.mark.parametrize("layout", ["CHW", "HWC"])
def test_normalising_a_tensor_gives_paddle_s_bits(layout: str) -> None:
    keys: dict[str, Any] = {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.25], "data_format": layout}
    result = run(encode(draw(1)), {"ToTensor": {"data_format": layout}}, {"Normalize": keys})
    tensor = transforms.ToTensor(layout)(draw(1)[:, :, ::-1].copy())
    expected = transforms.Normalize(**keys)(tensor).numpy()
    assert np.array_equal(result, expected.transpose(1, 2, 0) if layout == "CHW" else expected)


@pytest.mark.parametrize("to_rgb", [False, True])
def test_normalising_an_array_gives_paddle_s_bits(to_rgb: bool) -> None:
    keys = {"mean": [120.0, 110, 100], "std": 57.5, "data_format": "HWC", "to_rgb": to_rgb}
    meets("Normalize", keys, picture=False, images=2, last=None)
