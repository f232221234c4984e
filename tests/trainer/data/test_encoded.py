from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.trainer.data.conftest import draw, encode
from trainer.data.encoded import check_encoded, read_encoded
from trainer.errors import ImageError

END = b"\xff\xd9"
GIF = b"\xf0\0\0" + b"\0" * 6 + b"," + struct.pack("<HHHH", 0, 0, 65535, 65535) + b"\0\x02\x02\x44\x01\0;"


def decode(data: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)


def jpeg(height: int = 90, *, progressive: bool = False, restart: int = 0, grey: bool = False) -> bytes:
    image = draw(3, width=120, height=height)
    noise = np.random.default_rng(1).integers(-9, 10, image.shape)
    image = np.clip(image.astype(int) + noise, 0, 255).astype(np.uint8)
    flags = [
        cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive),
        cv2.IMWRITE_JPEG_RST_INTERVAL, restart,
    ]  # fmt: skip
    return bytes(cv2.imencode(".jpg", image[:, :, 0] if grey else image, flags)[1])


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b""))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("restart", [0, 3])
@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("cut", [1, 2])
def test_a_jpeg_without_its_end_marker_keeps_every_pixel(restart: int, grey: bool, cut: int):
    whole = jpeg(restart=restart, grey=grey)
    assert whole.endswith(END)
    found = check_encoded(whole[:-cut])
    assert found.warning == "expected a JPEG's end marker, got none; all rows are there"
    np.testing.assert_array_equal(decode(found.data), decode(whole))


def test_a_jpeg_that_lacks_a_bit_of_its_last_rows_is_read_with_a_warning():
    whole = jpeg(height=90)
    found = check_encoded(whole[:-30])
    assert "parts of the last" in found.warning
    assert "of 90 rows are missing" in found.warning
    np.testing.assert_array_equal(decode(found.data)[:72], decode(whole)[:72])


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_a_jpeg_that_is_cut_short_is_refused_with_its_missing_rows(share: float):
    whole = jpeg(height=200)
    with pytest.raises(ImageError, match=r"cut short: the last \d+ of 200 rows are missing") as caught:
        check_encoded(whole[: int(len(whole) * share)])
    missing = int(str(caught.value).partition("the last ")[2].split()[0])
    assert missing / 200 == pytest.approx(1 - share, abs=0.15)


def test_a_progressive_jpeg_without_its_end_is_refused_as_opencv_refuses_it():
    with pytest.raises(ImageError, match="a progressive one"):
        check_encoded(jpeg(progressive=True)[:-2])


@pytest.mark.parametrize("after", [b"", b"\0" * 9, b"camera" * 50, END])
def test_what_follows_the_end_marker_does_not_matter(after: bytes):
    data = jpeg() + after
    assert check_encoded(data).data is data
    assert check_encoded(data).warning == ""


def test_an_end_marker_of_a_thumbnail_is_not_that_of_the_image():
    thumbnail = jpeg(height=16)
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnail) + 2) + thumbnail
    whole = jpeg()
    data = whole[:2] + segment + whole[2:-2]
    assert check_encoded(data).warning
    assert decode(check_encoded(data).data).shape == (90, 120, 3)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".webp", ".tiff", ".ppm", ".pgm", ".gif", ".jp2", ".jpg"])
def test_the_header_of_each_kind_is_read(ending: str):
    data = encode(
        draw(1, width=64, height=48)[:, :, 0] if ending == ".pgm" else draw(1, width=64, height=48), ending
    )
    assert check_encoded(data, max_pixels=64 * 48).data == data
    with pytest.raises(
        ImageError, match=r"expected at most 3071 pixels \(Global.max_image_pixels\), got 64 × 48"
    ):
        check_encoded(data, max_pixels=64 * 48 - 1)


@pytest.mark.parametrize("form", ["lossless", "lossy", "animated"])
def test_each_form_of_webp_is_measured(form: str):
    file = io.BytesIO()
    frame = Image.new("RGB", (50, 40), (9, 9, 9))
    if form == "animated":
        frame.save(file, "WEBP", save_all=True, append_images=[Image.new("RGB", (50, 40), (200, 9, 9))])
    else:
        frame.save(file, "WEBP", lossless=form == "lossless")
    with pytest.raises(ImageError, match="got 50 × 40"):
        check_encoded(file.getvalue(), max_pixels=1999)


@pytest.mark.parametrize(
    ("data", "claimed"),
    [
        (png(2**31 - 1, 2**31 - 1), "2147483647 × 2147483647"),
        (png(20000, 20000), "20000 × 20000"),
        (b"BM" + b"\0" * 12 + struct.pack("<Iii", 40, 60000, -60000) + b"\0" * 40, "60000 × 60000"),
        (b"BM" + b"\0" * 12 + struct.pack("<IHH", 12, 50000, 50000) + b"\0" * 40, "50000 × 50000"),
        (b"P6 30000 30000 255\n" + b"\0" * 90, "30000 × 30000"),
        (b"GIF89a" + struct.pack("<HH", 65535, 65535) + GIF, "65535 × 65535"),
    ],
    ids=["png", "large png", "bmp", "old bmp", "ppm", "gif"],
)
def test_what_claims_too_many_pixels_is_not_decoded(
    data: bytes, claimed: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(cv2, "imdecode", None)
    with pytest.raises(ImageError, match=f"expected at most 178956970 pixels .*, got {claimed}"):
        check_encoded(data)


def test_the_larger_claim_of_a_jpegs_frame_counts():
    data = bytearray(jpeg())
    at = data.find(b"\xff\xc0")
    data[at + 5 : at + 9] = struct.pack(">HH", 65500, 65500)
    with pytest.raises(ImageError, match="got 65500 × 65500"):
        check_encoded(bytes(data))


@pytest.mark.parametrize(
    "data",
    [b"hello", b"\xff\xd8", b"\xff\xd8" + b"\xff" * 99,
     b"\xff\xd8\xff\xe0", b"BM", b"RIFF\0\0\0\0WEBP", b"\x89PNG\r\n\x1a\n", b"<svg/>",
     b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 30000 +X 30000\n" + b"\2\2\0\0" * 9],
)  # fmt: skip
def test_what_is_no_image_that_is_known_is_refused(data: bytes):
    with pytest.raises(
        ImageError, match=rf"expected an image, got {len(data)} bytes that OpenCV cannot decode"
    ):
        check_encoded(data)


def test_a_file_larger_than_its_pixels_could_be_is_not_read(tmp_path: Path):
    with (tmp_path / "large.png").open("wb") as file:
        file.truncate(100 << 20)
    with pytest.raises(ImageError, match="bytes for 1000 pixels, got 104857600"):
        read_encoded(tmp_path / "large.png", max_pixels=1000)
