from __future__ import annotations

import fcntl
import os
import shutil
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.data.conftest import IDENTITY, RANDOM, Folder, Pixels, draw, encode
from trainer.config.data import LoaderSection
from trainer.config.ops import DecodeImage
from trainer.config.scalars import parse_amount
from trainer.data import decoded_cache
from trainer.data.decoded_cache import CacheFolder, CachePlan, DecodedCache, plan_cache, read_use
from trainer.data.loader import Batch, Loader
from trainer.errors import DataError
from trainer.protocol.safe_files import UnsafePathError

OPS = (DecodeImage(),)
SHORT = [{"DecodeImage": {}}, {"ResizeImage": {"resize_short": 20}}, {"CropImage": {"size": 16}}, IDENTITY]


@pytest.fixture(autouse=True)
def memory(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand for /dev/shm."""
    folder = tmp_path_factory.mktemp("shm")
    monkeypatch.setattr(decoded_cache, "_SHM", folder)
    return folder


@pytest.fixture
def disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("disk") / "decoded"


def make(folder: Folder, ops: list[dict[str, Any]] = RANDOM, **keys: Any) -> Loader:
    split = folder.split(ops, loader=keys, shuffle=True)
    return Loader(split=split, samples=folder.samples(), rank=0, world_size=1, seed=5, training=True)


def same(one: list[Batch], other: list[Batch]) -> bool:
    pairs = zip(one, other, strict=True)
    return all(a.images.tobytes() == b.images.tobytes() and (a.indices == b.indices).all() for a, b in pairs)


def files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file() and len(path.name) == 32)


def report(loader: Loader) -> str:
    text = loader.describe_cache()
    assert text is not None
    return text


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("kind", ["memory", "disk"])
@pytest.mark.parametrize("ops", [RANDOM, SHORT], ids=["crop", "short"])
def test_pixels_are_the_same_with_a_cache_in_each_epoch(
    folder: Folder, disk: Path, ops: list[dict[str, Any]], kind: str, workers: int
) -> None:
    folder.draw(10)
    keys: dict[str, Any] = {"cache": kind, "num_workers": workers}
    if kind == "disk":
        keys["cache_dir"] = str(disk)
    plain, cached = make(folder, ops), make(folder, ops, **keys)
    for epoch in range(3):
        assert same(list(plain.batches(epoch)), list(cached.batches(epoch)))
    cached.close()


def test_the_second_epoch_decodes_nothing_and_says_so(folder: Folder) -> None:
    loader = make(folder.draw(8), cache="memory", cache_size="1Mi")
    list(loader.batches(0))
    (opened,) = loader.take_unsaid()
    assert opened.startswith("cache: memory: decoded images in ")
    assert opened.endswith("at most 1.0 MiB; removed at the end")
    assert report(loader) == (
        "cache: memory: 0 of 8 images from it (0 B), 8 decoded; it holds 28.6 KiB of at most 1.0 MiB"
    )
    list(loader.batches(1))
    assert report(loader) == (
        "cache: memory: 8 of 8 images from it (28.1 KiB), 0 decoded; it holds 28.6 KiB of at most 1.0 MiB"
    )
    assert loader.describe_cache() is None
    loader.close()


def test_resized_images_are_kept_where_a_list_begins_with_resizing(folder: Folder, memory: Path) -> None:
    loader = make(folder.draw(4), SHORT, cache="memory")
    list(loader.batches(0))
    assert {path.stat().st_size for path in files(memory)} == {64 + 16 * 16 * 3}
    loader.close()


def test_memory_is_given_back_by_the_last_who_uses_it(folder: Folder, memory: Path) -> None:
    folder.draw(4)
    one, other = make(folder, cache="memory"), make(folder, cache="memory")
    list(one.batches(0))
    list(other.batches(0))
    assert "4 of 4 images" not in report(one)  # it decoded them, and counts what both did
    one.close()
    assert len(files(memory)) == 4
    other.close()
    assert list(memory.rglob("*")) == [memory / f"ftlaunch-{os.getuid()}", *memory.glob("ftlaunch-*/decoded")]


def test_a_disk_keeps_images_for_the_next_training(folder: Folder, disk: Path) -> None:
    folder.draw(4)
    for hits in (0, 4):
        loader = make(folder, cache="disk", cache_dir=str(disk))
        list(loader.batches(0))
        assert f"{hits} of 4 images from it" in report(loader)
        (opened,) = loader.take_unsaid()
        assert opened.endswith("kept for the next training")
        assert (", 14.3 KiB of it filled" in opened) == (hits == 4)
        loader.close()


@pytest.mark.parametrize("change", ["content", "time", "replaced"])
def test_an_image_that_changed_is_decoded_again(folder: Folder, change: str) -> None:
    folder.draw(4)
    loader = make(folder, [{"DecodeImage": {}}, IDENTITY], cache="memory")
    list(loader.batches(0))
    path = folder.path / "002.jpg"
    before = path.stat()
    if change == "time":
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    elif change == "content":
        path.write_bytes(encode(draw(77), ".jpg"))
    else:  # same size and time, another file
        copy = path.with_name("other")
        shutil.copy2(path, copy)
        copy.rename(path)
    loader.describe_cache()
    again = list(loader.batches(1))
    assert "3 of 4 images from it" in report(loader)
    assert same(again, list(make(folder, [{"DecodeImage": {}}, IDENTITY]).batches(1)))
    list(loader.batches(2))
    assert "4 of 4 images from it" in report(loader)
    loader.close()


def test_other_operations_before_the_draws_find_nothing_of_the_old_ones(folder: Folder, disk: Path) -> None:
    folder.draw(4)
    for op in ({"DecodeImage": {}}, {"DecodeImage": {"to_rgb": False}}):
        ops = [op, {"RandCropImage": {"size": 16}}, IDENTITY]
        loader = make(folder, ops, cache="disk", cache_dir=str(disk))
        assert same(list(loader.batches(0)), list(make(folder, ops).batches(0)))
        assert "0 of 4 images from it" in report(loader)
        loader.close()
    assert len(files(disk)) == 4  # those of the operations before are gone


def test_training_and_evaluation_of_one_list_do_not_throw_each_other_out(folder: Folder, disk: Path) -> None:
    samples = folder.draw(4).samples()
    keys = {"cache": "disk", "cache_dir": str(disk)}
    for hits in (0, 4):
        for training, ops in ((True, RANDOM), (False, SHORT)):
            split = folder.split(ops, loader=keys)
            loader = Loader(split=split, samples=samples, rank=0, world_size=1, seed=0, training=training)
            list(loader.batches(0))
            assert f"{hits} of 4 images from it" in report(loader)
            loader.close()


def test_no_more_is_kept_than_the_limit(folder: Folder, memory: Path) -> None:
    loader = make(folder.draw(8), cache="memory", cache_size=3 * (64 + 3600))
    list(loader.batches(0))
    loader.describe_cache()
    list(loader.batches(1))
    assert len(files(memory)) == 3
    assert report(loader) == (
        "cache: memory: 3 of 8 images from it (10.5 KiB), 5 decoded; it holds 10.7 KiB of at most 10.7 KiB, "
        "which is all it may take"
    )
    loader.close()


def test_what_cannot_be_read_is_said_in_each_epoch_as_without_a_cache(folder: Folder) -> None:
    folder.draw(4)
    (folder.path / "001.jpg").write_bytes(b"no image")
    loader = make(folder, cache="memory")
    for _ in range(2):
        with pytest.raises(DataError, match=r"train_list\.txt:2: .*001\.jpg: expected an image"):
            list(loader.batches(0))
    loader.close()


def test_a_folder_of_somebody_else_is_not_used(folder: Folder, memory: Path) -> None:
    (memory / f"ftlaunch-{os.getuid()}").mkdir(mode=0o777)
    (memory / f"ftlaunch-{os.getuid()}").chmod(0o777)
    with pytest.raises(UnsafePathError, match="expected a folder that others cannot enter, got mode 777"):
        next(make(folder.draw(4), cache="memory").batches(0))


def test_a_link_in_place_of_an_image_is_not_followed(folder: Folder, memory: Path) -> None:
    loader = make(folder.draw(4), cache="memory")
    expected = list(loader.batches(0))
    target = files(memory)[0]
    target.rename(folder.path / "moved")
    target.symlink_to(folder.path / "moved")
    loader.describe_cache()
    assert same(list(loader.batches(0)), expected)
    assert "3 of 4 images from it" in report(loader)
    loader.close()


def test_a_folder_that_cannot_be_made_is_named(folder: Folder) -> None:
    place = folder.path / "file"
    place.write_text("")
    loader = make(folder.draw(4), cache="disk", cache_dir=str(place / "below"))
    with pytest.raises(DataError, match=r"loader\.cache: .*/below/.*: expected a folder that can be made"):
        next(loader.batches(0))


def test_a_place_for_the_cache_that_is_something_else_is_named_by_its_key(folder: Folder) -> None:
    place = folder.path / "file"
    place.write_text("mine")
    with pytest.raises(DataError) as caught:
        next(make(folder.draw(4), cache="disk", cache_dir=str(place)).batches(0))
    assert str(caught.value).startswith(
        f"loader.cache: {place}: expected a folder, got a file; set loader.cache_dir"
    )
    (folder.path / "open").mkdir(mode=0o755)
    with pytest.raises(
        DataError, match=r"loader\.cache: .*/open: .* cannot enter, got mode 755; set loader\.cach"
    ):
        next(make(folder, cache="disk", cache_dir=str(folder.path / "open")).batches(0))


@pytest.fixture
def plan(disk: Path, folder: Folder) -> CachePlan:
    folder.draw(2)
    return plan_cache("disk", source=str(folder.list), max_pixels=100, size_bytes=1 << 20, disk_folder=disk)


def kept(plan: CachePlan, folder: Folder) -> tuple[DecodedCache, bytes, str, Pixels]:
    cache, image, path = DecodedCache(plan, OPS), draw(1), str(folder.path / "000.jpg")
    key = cache.key(OPS)
    cache.keep(path, key, image)
    return cache, key, path, image


def test_what_a_crash_has_left_torn_is_not_believed(plan: CachePlan, folder: Folder, disk: Path) -> None:
    held = CacheFolder(plan, OPS)
    held.open()
    cache, key, path, image = kept(plan, folder)
    (place,) = files(disk)
    content = bytearray(place.read_bytes())
    content[44:60] = bytes(16)  # another boot
    place.write_bytes(content)
    found = cache.find(path, key)
    assert found is not None
    assert np.array_equal(found, image)
    assert place.read_bytes()[44:60] == content[44:60].replace(bytes(16), decoded_cache._boot_id())
    content[1000:1100] = bytes(100)  # what was not yet on the disk
    place.write_bytes(content)
    assert cache.find(path, key) is None
    for length in (0, 10, 64, len(content) - 1):
        place.write_bytes(content[:length])
        assert cache.find(path, key) is None
    held.close()


def test_who_comes_after_one_that_was_killed_counts_again(
    plan: CachePlan, folder: Folder, disk: Path
) -> None:
    held = CacheFolder(plan, OPS)
    held.open()
    kept(plan, folder)
    (place,) = files(disk)
    (place.parent / ".torn.7").write_bytes(b"half")
    (plan.folder / "used").write_bytes(struct.pack("<q", 999_999))
    os.close(held._lock or 0)  # as the kernel does
    after = CacheFolder(plan, OPS)
    after.open()
    assert read_use(plan.folder).kept_bytes == place.stat().st_size
    assert not (place.parent / ".torn.7").exists()
    after.close()


def test_memory_that_killed_trainings_have_left_is_removed_by_the_next(folder: Folder, memory: Path) -> None:
    base = memory / f"ftlaunch-{os.getuid()}" / "decoded"
    for name in ("orphan", "used-by-another"):
        (base / name / "aa").mkdir(parents=True)
        (base / name / "lock").touch()
    for path in (base.parent, base):
        path.chmod(0o700)
    with (base / "used-by-another" / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        loader = make(folder.draw(4), cache="memory")
        list(loader.batches(0))
        assert sorted(path.name for path in base.iterdir())[-1] == "used-by-another"
        assert not (base / "orphan").exists()
        loader.close()


def test_nothing_is_made_before_the_first_batch(folder: Folder, memory: Path) -> None:
    loader = make(folder.draw(4), cache="memory")
    assert list(memory.iterdir()) == []
    loader.close()


def test_the_default_size_is_a_share_of_what_is_free(folder: Folder, memory: Path) -> None:
    plan = plan_cache("memory", source="list.txt", max_pixels=1, disk_folder=memory)
    assert 0 < plan.limit_bytes <= 0.4 * shutil.disk_usage(memory).free + 1


@pytest.mark.parametrize(
    ("text", "count"), [("20Gi", 20 << 30), ("512M", 512_000_000), ("1.5GiB", 3 << 29), ("1000", 1000)]
)
def test_amounts_are_written_as_kubernetes_does(text: str, count: int) -> None:
    assert parse_amount(text) == count


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"cache": "memory", "cache_size": "much"}, "expected an amount of memory such as 20Gi"),
        ({"cache_size": "1Gi"}, "expected cache: memory or cache: disk beside cache_size, got none"),
        ({"cache": "memory", "cache_dir": "/x"}, "expected cache: disk beside cache_dir, got memory"),
        ({"cache": "disk", "decode": "fast"}, "expected decode: exact with cache: disk"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        LoaderSection.model_validate(keys)
