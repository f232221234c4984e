"""What is measured of one image."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from trainer.insight.image_facts import measure


def encoded(image: Image.Image, form: str = "JPEG", **options: object) -> bytes:
    written = io.BytesIO()
    image.save(written, form, **options)
    return written.getvalue()


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"))


def test_the_header_is_told_as_it_stands():
    image = Image.new("RGB", (80, 40), "red")
    exif = image.getexif()
    exif[0x0112] = 6
    facts = measure(encoded(image, exif=exif), pixels(image))
    assert (facts["width"], facts["height"], facts["format"], facts["mode"]) == (80, 40, b"JPEG", b"RGB")
    assert facts["turned"]
    assert facts["frames"] == 1


def test_an_orientation_of_one_turns_nothing():
    image = Image.new("RGB", (8, 8))
    exif = image.getexif()
    exif[0x0112] = 1
    assert not measure(encoded(image, exif=exif), pixels(image))["turned"]


@pytest.mark.parametrize("mode", ["CMYK", "L", "RGB"])
def test_the_mode_is_the_files(mode: str):
    image = Image.new(mode, (8, 8))
    assert measure(encoded(image), pixels(image))["mode"] == mode.encode()


def test_frames_are_counted():
    first, second = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    data = encoded(first, "GIF", save_all=True, append_images=[second])
    assert measure(data, pixels(first))["frames"] == 2


def test_brightness_contrast_and_colour_are_of_255():
    grey = np.zeros((10, 10, 3), dtype=np.uint8)
    grey[:5] = 200
    facts = measure(b"x", grey)
    assert facts["brightness"] == pytest.approx(100)
    assert facts["contrast"] == pytest.approx(100)
    assert facts["colour"] == 0
    red = np.zeros((10, 10, 3), dtype=np.uint8)
    red[..., 0] = 90
    assert measure(b"x", red)["colour"] == pytest.approx(90)


def test_a_file_that_pillow_does_not_know_has_the_size_of_its_pixels():
    facts = measure(b"no header", np.zeros((7, 9, 3), dtype=np.uint8))
    assert (facts["width"], facts["height"], facts["format"]) == (9, 7, b"")


def test_the_mirrored_hash_is_that_of_the_mirror_image(photographs, facts_of):
    differ = [
        bin(
            int(facts_of(one)["mirrored"]) ^ int(facts_of(np.ascontiguousarray(one[:, ::-1]))["looks"])
        ).count("1")
        for one in photographs
    ]
    assert max(differ) <= 6  # a JPEG of the mirror image has other rounding errors


def test_sharpness_falls_with_blur(photographs, facts_of):
    import cv2

    for one in photographs[:6]:
        assert facts_of(cv2.GaussianBlur(one, (0, 0), 3))["sharpness"] < facts_of(one)["sharpness"] / 4
