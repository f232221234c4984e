from __future__ import annotations

import io
import math
import random
import warnings
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.trainer.data.conftest import IDENTITY, NORMALIZE, Pixels, draw, encode, run, transform
from trainer.config.data import ImageNetDataset
from trainer.config.ops import OPS, DecodeImage
from trainer.config.ops_augment import APPLIED_OPS
from trainer.data.ops import basic
from trainer.data.ops.build import build_transform
from trainer.data.ops.registry import implemented, implements
from trainer.data.rng import Stream
from trainer.errors import ImageError


def plain(image: Pixels, scale: float, mean: list[float], std: list[float]) -> Pixels:
    """The formula as it is written: the reference for every shortcut."""
    shape = (1, 1, 3)
    means, stds = (np.array(values).reshape(shape).astype("float32") for values in (mean, std))
    return (image.astype("float32") * np.float32(scale) - means) / stds


def test_every_operation_of_the_grammar_is_implemented_and_no_other() -> None:
    assert implemented() == {*OPS, *APPLIED_OPS}


def test_a_second_implementation_is_refused() -> None:
    with pytest.raises(ValueError, match="expected one implementation, got a second"):
        implements(DecodeImage)(lambda spec: lambda image, rng: image)


@pytest.mark.parametrize("ending", [".jpg", ".png", ".bmp", ".webp"])
def test_decoding_gives_rgb_as_opencv_reads_it(ending: str) -> None:
    data = encode(draw(1), ending)
    expected = cv2.imdecode(np.frombuffer(data, np.uint8), 1)[:, :, ::-1]
    assert np.array_equal(run(data, IDENTITY), expected)


def test_decoding_can_keep_bgr_and_put_the_channels_first() -> None:
    data = encode(draw(1))
    ops = [
        {"DecodeImage": {"to_rgb": False, "channel_first": True}},
        {"NormalizeImage": {"scale": 1, "mean": [0], "std": [1]}},
    ]
    dataset = ImageNetDataset.model_validate({"image_root": "", "cls_label_path": "", "transform_ops": ops})
    result = build_transform(dataset.transform_ops)(data, Stream(0).rng)
    assert np.array_equal(result, draw(1).transpose(2, 0, 1))
    assert result.flags.c_contiguous


@pytest.mark.parametrize("to_np", [True, False])
def test_pillow_decodes_palettes_and_drops_alpha(to_np: bool) -> None:
    image = Image.fromarray(draw(1)).convert("RGBA").quantize()
    file = io.BytesIO()
    image.save(file, "PNG")
    decode = {"DecodeImage": {"backend": "pil", "to_np": to_np}}
    dataset = ImageNetDataset.model_validate(
        {"image_root": "", "cls_label_path": "", "transform_ops": [decode, IDENTITY]}
    )
    result = build_transform(dataset.transform_ops)(file.getvalue(), Stream(0).rng)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about such a palette
        expected = np.asarray(Image.open(file).convert("RGB"))
    assert np.array_equal(result.transpose(1, 2, 0), expected)


def test_opencv_turns_an_image_as_exif_says_and_pillow_does_not() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(draw(1, width=40, height=30)).save(file, "JPEG", exif=exif)
    assert run(file.getvalue(), IDENTITY).shape == (40, 30, 3)
    pil = ImageNetDataset.model_validate(
        {
            "image_root": "",
            "cls_label_path": "",
            "transform_ops": [{"DecodeImage": {"backend": "pil"}}, IDENTITY],
        }
    )
    assert build_transform(pil.transform_ops)(file.getvalue(), Stream(0).rng).shape == (3, 30, 40)


@pytest.mark.parametrize("backend", ["cv2", "pil"])
@pytest.mark.parametrize("data", [b"", b"no image", encode(draw(1))[:20]], ids=["empty", "text", "header"])
def test_what_is_no_image_is_refused(data: bytes, backend: str) -> None:
    ops = [{"DecodeImage": {"backend": backend}}, IDENTITY]
    dataset = ImageNetDataset.model_validate({"image_root": "", "cls_label_path": "", "transform_ops": ops})
    with pytest.raises(ImageError, match="expected an image, got"):
        build_transform(dataset.transform_ops)(data, Stream(0).rng)


@pytest.mark.parametrize(
    ("width", "height", "size"),
    [(40, 30, (28, 21)), (30, 40, (21, 28)), (33, 33, (21, 21)), (41, 30, (29, 21)), (45, 42, (22, 21))],
    ids=["wide", "tall", "square", "rounded-up", "half-to-even"],
)
def test_the_shorter_side_gets_its_length(width: int, height: int, size: tuple[int, int]) -> None:
    result = run(encode(draw(1, width=width, height=height)), {"ResizeImage": {"resize_short": 21}}, IDENTITY)
    assert result.shape == (size[1], size[0], 3)


@pytest.mark.parametrize("name", ["nearest", "bilinear", "area", "bicubic", "lanczos"])
def test_opencv_resizes_with_the_named_interpolation(name: str) -> None:
    flags = {"nearest": 0, "bilinear": 1, "bicubic": 2, "area": 3, "lanczos": 4}
    result = run(encode(draw(1)), {"ResizeImage": {"size": [20, 10], "interpolation": name}}, IDENTITY)
    assert np.array_equal(result, cv2.resize(draw(1)[:, :, ::-1], (20, 10), interpolation=flags[name]))


@pytest.mark.parametrize("name", ["nearest", "bilinear", "bicubic", "box", "lanczos", "hamming"])
def test_pillow_resizes_with_the_named_interpolation(name: str) -> None:
    ops = {"ResizeImage": {"size": [20, 10], "interpolation": name, "backend": "pil"}}
    expected = Image.fromarray(draw(1)[:, :, ::-1]).resize((20, 10), Image.Resampling[name.upper()])
    assert np.array_equal(run(encode(draw(1)), ops, IDENTITY), np.asarray(expected))


@pytest.mark.parametrize("backend", ["cv2", "pil"])
def test_resizing_is_bilinear_where_nothing_is_said(backend: str) -> None:
    data = encode(draw(1))
    said = {"ResizeImage": {"size": 9, "interpolation": "bilinear", "backend": backend}}
    silent = {"ResizeImage": {"size": 9, "backend": backend}}
    assert np.array_equal(run(data, said, IDENTITY), run(data, silent, IDENTITY))


def test_a_random_interpolation_is_drawn_from_two() -> None:
    data = encode(draw(1))
    both = [
        run(data, {"ResizeImage": {"size": 9, "interpolation": name}}, IDENTITY)
        for name in ("bilinear", "bicubic")
    ]
    op = {"ResizeImage": {"size": 9, "interpolation": "random"}}
    for seed in range(6):
        chosen = random.Random(seed).choice((0, 1))
        assert np.array_equal(run(data, op, IDENTITY, seed=seed), both[chosen])


@pytest.mark.parametrize(("size", "top", "left"), [([20, 10], 10, 10), (29, 0, 5), ([40, 30], 0, 0)])
def test_cropping_takes_the_centre(size: Any, top: int, left: int) -> None:
    width, height = (size, size) if isinstance(size, int) else size
    expected = draw(1)[top : top + height, left : left + width, ::-1]
    assert np.array_equal(run(encode(draw(1)), {"CropImage": {"size": size}}, IDENTITY), expected)


def test_an_image_smaller_than_its_crop_is_refused() -> None:
    with pytest.raises(ImageError, match="expected at least 41 × 10 pixels to crop, got 40 × 30"):
        run(encode(draw(1)), {"CropImage": {"size": [41, 10]}}, IDENTITY)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("backend", ["cv2", "pil"])
def test_a_random_crop_and_flip_draw_in_paddleclas_s_order(log: bool, backend: str) -> None:
    ops = [
        {"RandCropImage": {"size": [16, 12], "use_log_aspect": log, "backend": backend}},
        {"RandFlipImage": {}},
    ]
    operation = transform(*ops, IDENTITY)
    stream = Stream(7)
    random.seed(7)
    for seed in range(20):
        width, height = (40, 30) if seed % 2 else (17, 63)
        image = draw(seed, width=width, height=height)
        if log:
            aspect = math.exp(random.uniform(math.log(3 / 4), math.log(4 / 3)))
        else:
            aspect = random.uniform(3 / 4, 4 / 3)
        bound = min(width / height / aspect, height / width * aspect)
        area = width * height * random.uniform(min(0.08, bound), min(1.0, bound))
        w, h = int(math.sqrt(area * aspect)), int(math.sqrt(area / aspect))
        x, y = random.randint(0, width - w), random.randint(0, height - h)
        crop = np.ascontiguousarray(image[y : y + h, x : x + w, ::-1])
        if backend == "cv2":
            expected = cv2.resize(crop, (16, 12), interpolation=cv2.INTER_LINEAR)
        else:
            expected = np.asarray(Image.fromarray(crop).resize((16, 12), Image.Resampling.BILINEAR))
        if random.randint(0, 1):
            expected = expected[:, ::-1]
        result = operation(encode(image), stream.rng).transpose(1, 2, 0)
        assert np.array_equal(result, expected)


def test_an_image_of_one_pixel_can_be_cropped() -> None:
    assert run(encode(draw(1)[:1, :1]), {"RandCropImage": {"size": 4}}, IDENTITY).shape == (4, 4, 3)


@pytest.mark.parametrize(("code", "slices"), [(1, (1, -1)), (0, (-1, 1)), (-1, (-1, -1))])
def test_flipping_turns_the_named_axis(code: int, slices: tuple[int, int]) -> None:
    image = draw(1)[:, :, ::-1]
    flipped = image[:: slices[0], :: slices[1]]
    for seed in range(6):
        expected = flipped if random.Random(seed).randint(0, 1) else image
        result = run(encode(draw(1)), {"RandFlipImage": {"flip_code": code}}, IDENTITY, seed=seed)
        assert np.array_equal(result, expected)


@pytest.mark.parametrize("scale", [1 / 255, 0.0039215, 1.0])
def test_normalising_gives_the_formula_s_bits_for_every_level(scale: float) -> None:
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = np.stack([levels, levels[::-1], levels.T], axis=2)
    op = {"NormalizeImage": {"scale": scale, "mean": mean, "std": std, "order": "hwc"}}
    result = run(encode(image[:, :, ::-1]), op)
    assert result.dtype == np.float32
    assert result.tobytes() == plain(image, scale, mean, std).tobytes()


def test_the_whole_chain_gives_the_formula_s_bits() -> None:
    settings = NORMALIZE["NormalizeImage"]
    ops = [{"RandCropImage": {"size": 20}}, {"RandFlipImage": {}}]
    for seed in range(10):
        data = encode(draw(seed), ".jpg")
        pixels = run(data, *ops, IDENTITY, seed=seed).astype(np.uint8)
        expected = plain(pixels, 1.0 / 255.0, settings["mean"], settings["std"])
        assert run(data, *ops, NORMALIZE, seed=seed).tobytes() == expected.tobytes()


def test_the_result_is_contiguous_with_the_channels_first_however_they_got_there() -> None:
    data = encode(draw(1))
    results = [
        transform(*ops)(data, Stream(0).rng)
        for ops in (
            [NORMALIZE],
            [NORMALIZE, {"ToCHWImage": None}],
            [{"ToCHWImage": None}, {"NormalizeImage": {**NORMALIZE["NormalizeImage"], "order": "chw"}}],
        )
    ]
    for result in results:
        assert result.shape == (3, 30, 40)
        assert result.dtype == np.float32
        assert result.flags.c_contiguous
        assert np.array_equal(result, results[0])


@pytest.mark.parametrize("order", ["", "chw"])
def test_a_fourth_channel_is_zero(order: str) -> None:
    settings = {**NORMALIZE["NormalizeImage"], "order": order, "channel_num": 4}
    first = [{"ToCHWImage": None}] if order else []
    result = transform(*first, {"NormalizeImage": settings})(encode(draw(1)), Stream(0).rng)
    assert result.shape == (4, 30, 40)
    assert not result[3].any()
    assert np.array_equal(result[:3], transform(NORMALIZE)(encode(draw(1)), Stream(0).rng))


def test_half_precision_rounds_and_stays_float32() -> None:
    settings = {**NORMALIZE["NormalizeImage"], "output_fp16": True}
    result = run(encode(draw(1)), {"NormalizeImage": settings})
    assert result.dtype == np.float32
    assert np.array_equal(result, run(encode(draw(1)), NORMALIZE).astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("mode", ["const", "rand", "pixel"])
@pytest.mark.parametrize("log", [False, True])
def test_erasing_draws_in_paddleclas_s_order(mode: str, log: bool) -> None:
    op = {"RandomErasing": {"EPSILON": "0.7", "use_log_aspect": log, "mode": mode, "mean": [1.0, 2.0, 3.0]}}
    operation, stream = transform(NORMALIZE, op), Stream(3)
    random.seed(3)
    np.random.seed(3)
    for seed in range(25):
        expected = run(encode(draw(seed)), NORMALIZE).copy()
        height, width = expected.shape[:2]
        for _ in range(100 if random.random() <= 0.7 else 0):
            area = height * width * random.uniform(0.02, 0.4)
            bounds = (math.log(0.3), math.log(1 / 0.3)) if log else (0.3, 1 / 0.3)
            ratio = math.exp(random.uniform(*bounds)) if log else random.uniform(*bounds)
            h, w = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
            if w < width and h < height:
                fill: Any = [1.0, 2.0, 3.0]
                if mode != "const":
                    fill = np.random.normal(size=(1, 1, 3) if mode == "rand" else (h, w, 3))
                y, x = random.randint(0, height - h), random.randint(0, width - w)
                expected[y : y + h, x : x + w] = fill
                break
        result = operation(encode(draw(seed)), stream.rng).transpose(1, 2, 0)
        assert np.array_equal(result, expected)


def test_erasing_leaves_an_image_that_no_rectangle_fits() -> None:
    op = {"RandomErasing": {"EPSILON": 1.0, "sl": 1.0, "sh": 1.0, "r1": 1.0, "attempt": 3}}
    image = draw(1, width=20, height=20)
    assert np.array_equal(run(encode(image), NORMALIZE, op), run(encode(image), NORMALIZE))


@pytest.mark.parametrize("mode", ["const", "rand", "pixel"])
def test_erasing_leaves_the_fourth_channel_alone(mode: str) -> None:
    normalize = {"NormalizeImage": {**NORMALIZE["NormalizeImage"], "channel_num": 4}}
    op = {"RandomErasing": {"EPSILON": 1.0, "mode": mode, "mean": [3.0]}}
    result = run(encode(draw(1)), normalize, op)
    assert not result[:, :, 3].any()
    assert np.array_equal(result[:, :, :3], run(encode(draw(1)), NORMALIZE, op))


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_the_pil_backend_gives_the_pixels_of_pillow(mode: str, progressive: bool, subsampling: int) -> None:
    exif, options = Image.Exif(), {"subsampling": subsampling} if mode == "RGB" else {}
    exif[0x0112] = 6  # which Pillow does not follow
    for number, size in enumerate([(40, 30), (33, 17), (1, 1), (8, 64)]):
        file = io.BytesIO()
        image = Image.fromarray(draw(number, width=size[0], height=size[1])).convert(mode)
        image.save(file, "JPEG", quality=60 + 10 * number, progressive=progressive, exif=exif, **options)
        decode = {"DecodeImage": {"backend": "pil"}}
        found = transform(IDENTITY, first=decode)(file.getvalue(), Stream(0).rng)
        expected = np.asarray(Image.open(file).convert("RGB"))
        assert np.array_equal(found.transpose(1, 2, 0), expected)
        turned = transform(IDENTITY, first={"DecodeImage": {"backend": "pil", "to_rgb": False}})
        assert np.array_equal(turned(file.getvalue(), Stream(0).rng), found[::-1])


def test_jpegs_are_left_to_pillow_where_opencv_makes_other_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(basic, "_jpegs_agree", lambda: False)
    monkeypatch.setattr(basic, "read_with_cv2", lambda *_: asked.append(1))
    decode = transform(IDENTITY, first={"DecodeImage": {"backend": "pil"}})
    assert decode(encode(draw(1), ".jpg"), Stream(0).rng).shape == (3, 30, 40)
    assert not asked
