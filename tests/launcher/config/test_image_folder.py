from __future__ import annotations

import cv2
import numpy as np
import pytest

from launcher.config.image_folder import read_size, typical_side


@pytest.mark.parametrize("ending", ["png", "jpg", "bmp", "webp", "ppm", "pgm"])
@pytest.mark.parametrize(("width", "height"), [(1, 1), (37, 300), (640, 8)])
def test_the_size_is_that_of_the_decoded_image(tmp_path, ending, width, height):
    path = tmp_path / f"x.{ending}"
    channels = () if ending == "pgm" else (3,)
    assert cv2.imwrite(str(path), np.full((height, width, *channels), 77, np.uint8))
    assert read_size(path) == (width, height)


def test_a_jpeg_with_a_large_segment_before_its_frame_is_read(tmp_path):
    path = tmp_path / "x.jpg"
    cv2.imwrite(str(path), np.zeros((20, 30, 3), np.uint8))
    jpeg = path.read_bytes()
    path.write_bytes(jpeg[:2] + (b"\xff\xe1\xff\xff" + b"\0" * 65533) * 2 + b"\xff" + jpeg[2:])
    assert read_size(path) == (30, 20)


BROKEN = [
    b"", b"text", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF1234WEBPVP8X", b"P6 x",
    b"\xff\xd8" + b"\xff" * 99,
]  # fmt: skip


@pytest.mark.parametrize("content", BROKEN)
def test_what_is_no_whole_head_has_no_size(tmp_path, content):
    (tmp_path / "x.jpg").write_bytes(content)
    assert read_size(tmp_path / "x.jpg") is None
    assert typical_side([tmp_path / "x.jpg", tmp_path / "none.png"]) is None


def test_the_typical_side_is_the_median_of_the_shorter_ones(tmp_path):
    for index, size in enumerate([(10, 90), (40, 30), (50, 60)]):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.zeros(size, np.uint8))
    assert typical_side(sorted(tmp_path.iterdir())) == 30
