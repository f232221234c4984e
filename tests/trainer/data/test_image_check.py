from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.data.conftest import draw, encode
from trainer.config.ops import DecodeImage
from trainer.data import image_check
from trainer.data.image_cache import ImageCache, Verdict
from trainer.data.image_check import check_images


@pytest.fixture
def images(tmp_path: Path) -> list[str]:
    """Three good images, one that is none, one that is missing and a JPEG without its end."""
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(encode(draw(index)))
    (tmp_path / "3.png").write_bytes(b"no image")
    (tmp_path / "5.jpg").write_bytes(encode(draw(5), ".jpg")[:-2])
    return [str(tmp_path / name) for name in ("0.png", "1.png", "2.png", "3.png", "4.png", "5.jpg")]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are read."""
    seen: list[str] = []
    real = image_check.read_encoded

    def read(path: Path, **kept: Any) -> Any:
        seen.append(path.name)
        return real(path, **kept)

    monkeypatch.setattr(image_check, "read_encoded", read)
    return seen


def test_each_file_is_read_once_and_what_is_wrong_is_said(images: list[str], reads: list[str]):
    counted: list[int] = []
    found = check_images([*images, images[0]], done=counted.append)
    assert sorted(reads) == ["0.png", "1.png", "2.png", "3.png", "4.png", "5.jpg"]
    assert sum(counted) == 6
    assert [Path(path).name for path, said in found.items() if said == Verdict()] == [
        "0.png",
        "1.png",
        "2.png",
    ]
    assert found[images[3]].problem == "expected an image, got 8 bytes that OpenCV cannot decode"
    assert found[images[4]].problem == "expected a readable image, got: no such file or directory"
    assert found[images[5]].warning == "expected a JPEG's end marker, got none; all rows are there"


def test_what_was_found_is_remembered_until_a_file_changes(
    images: list[str], reads: list[str], tmp_path: Path
):
    def check() -> dict[str, Verdict]:
        cache = ImageCache(tmp_path / "cache")
        try:
            return check_images(images, cache=cache)
        finally:
            cache.close()

    first = check()
    reads.clear()
    assert check() == first
    assert reads == ["4.png"]  # what is not there has no mark to be known by
    reads.clear()
    Path(images[3]).write_bytes(encode(draw(3)))
    Path(images[0]).write_bytes(b"no")
    os.utime(images[1], ns=(1, 1))
    again = check()
    assert sorted(reads) == ["0.png", "1.png", "3.png", "4.png"]
    assert again[images[3]] == Verdict()
    assert again[images[0]].problem


def test_other_ways_to_read_a_file_are_other_questions(images: list[str], reads: list[str], tmp_path: Path):
    cache = ImageCache(tmp_path / "cache")
    check_images(images[:1], cache=cache)
    check_images(images[:1], cache=cache, decode=DecodeImage(backend="pil"))
    assert check_images(images[:1], cache=cache, max_pixels=100)[images[0]].problem
    check_images(images[:1], cache=cache)
    cache.close()
    assert len(reads) == 3


def spoil_with_text(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    (folder / "images.sqlite3").write_text("no database" * 99)


def spoil_with_another_table(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    with sqlite3.connect(folder / "images.sqlite3") as made:
        made.execute("CREATE TABLE images (other TEXT)")
    made.close()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: folder.write_text("a file"),
        lambda folder: folder.mkdir(mode=0o755) or folder.chmod(0o777),
        lambda folder: folder.symlink_to(folder.parent),
        spoil_with_text,
        spoil_with_another_table,
    ],
    ids=["file", "open to others", "link", "no database", "another table"],
)
def test_a_cache_that_cannot_be_used_changes_nothing_that_is_said(
    images: list[str], tmp_path: Path, spoil: Any
):
    folder = tmp_path / "cache"
    spoil(folder)
    cache = ImageCache(folder)
    assert check_images(images, cache=cache) == check_images(images)
    assert check_images(images, cache=cache) == check_images(images)
    cache.close()


def test_the_cache_is_the_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    ImageCache().close()
    folder = tmp_path / "xdg" / "ftlaunch" / "images"
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "images.sqlite3").is_file()
