from __future__ import annotations

import contextlib
import errno
import gc
import importlib
import json
import os
import random
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.trainer.data.conftest import PLAIN, RANDOM
from trainer.data.loader import Batch, Loader
from trainer.data.readers import Readers
from trainer.errors import DataError, TrainerError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reader processes need Linux")


_earlier: set[int] = set()
"""Servers of loaders that other tests of this process made, and did not close; they end with them."""


@pytest.fixture(autouse=True)
def without_earlier_servers() -> None:
    _earlier.clear()
    _earlier.update(servers())


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def servers(pid: int | None = None) -> list[int]:
    def is_one(pid: int) -> bool:
        with contextlib.suppress(OSError):
            return b"trainer.data.reader_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
        return False

    return [child for child in children(pid or os.getpid()) if child not in _earlier and is_one(child)]


def readers(pid: int | None = None) -> list[int]:
    return [reader for server in servers(pid) for reader in children(server)]


def shared_files() -> set[str]:
    return {path.name for path in Path("/dev/shm").iterdir() if path.is_file()}


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def make(folder: Any) -> Iterator[Callable[..., Loader]]:
    made = []

    def make_loader(*, training: bool = True, shared: Readers | None = None, **split: Any) -> Loader:
        loader = Loader(
            split=folder.split(**{"ops": RANDOM, "shuffle": True, "loader": {"num_workers": 2}, **split}),
            samples=folder.samples(), rank=0, world_size=1, seed=5, training=training, readers=shared,
        )  # fmt: skip
        made.append(loader)
        return loader

    yield make_loader
    for loader in made:
        loader.close()


def contents(batches: list[Batch]) -> list[bytes]:
    return [batch.images.tobytes() + batch.labels.tobytes() + batch.indices.tobytes() for batch in batches]


def test_readers_live_on_between_epochs_and_end_with_the_loader(folder: Any, make: Any) -> None:
    folder.draw(12)
    loader = make()
    list(loader.batches(0))
    until(lambda: len(readers()) == 2)
    before = sorted(readers())
    list(loader.batches(1))
    assert sorted(readers()) == before
    loader.close()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before))


def test_training_and_evaluation_share_their_readers(folder: Any, make: Any) -> None:
    folder.draw(12)
    shared = Readers()
    train = make(shared=shared)
    evaluation = make(shared=shared, training=False, shuffle=False, loader={"num_workers": 3})
    train_batches = train.batches(0)
    first = contents([next(train_batches)])
    assert contents(list(evaluation.batches(0))) == contents(
        list(make(training=False, shuffle=False, loader={}).batches(0))
    )
    assert first + contents(list(train_batches)) == contents(list(make(loader={}).batches(0)))
    assert len(servers()) == 1


def test_readers_killed_at_random_moments_change_nothing(folder: Any, make: Any) -> None:
    folder.draw(40)
    expected = contents([batch for epoch in range(6) for batch in make(loader={}).batches(epoch)])
    loader, dice, said, got = make(loader={"num_workers": 3}), random.Random(4), [], []
    for epoch in range(6):
        for batch in loader.batches(epoch):
            got += contents([batch])
            said += loader.take_unsaid()
            if dice.random() < 0.5 and (alive := readers()):
                with contextlib.suppress(
                    ProcessLookupError
                ):  # one that was killed is there until it is replaced
                    os.kill(dice.choice(alive), signal.SIGKILL)
            time.sleep(dice.random() * 0.004)
    assert got == expected
    assert any("was killed (signal 9" in text and "another one takes its place" in text for text in said)


def test_all_readers_begin_anew_where_their_fork_server_is_killed(folder: Any, make: Any) -> None:
    folder.draw(120)  # more than readers have ready when they are killed, however slow this loop is
    expected = contents(list(make(loader={}).batches(0)))
    loader = make()
    got = []
    for number, batch in enumerate(loader.batches(0)):
        got += contents([batch])
        if number in (2, 5) and (alive := servers()):
            os.kill(alive[0], signal.SIGKILL)
    assert got == expected
    assert any("all are started again" in text for text in loader.take_unsaid())


def test_nothing_is_left_of_a_training_process_that_is_killed(folder: Any, tmp_path: Path) -> None:
    folder.draw(40)
    shared_before = shared_files()
    program = """
        import sys
        from trainer.config.data import SplitSection
        from trainer.data.lists import load_list
        from trainer.data.loader import Loader
        split = SplitSection.model_validate_json(sys.stdin.read())
        loader = Loader(
            split=split, samples=load_list(split.dataset, class_num=3), rank=0, world_size=1, seed=0,
            training=True,
        )
        for epoch in range(10**6):
            for batch in loader.batches(epoch):
                print("read", flush=True)
    """
    split = {
        "dataset": {
            "name": "ImageNetDataset", "image_root": str(folder.path), "cls_label_path": str(folder.list),
            "transform_ops": PLAIN,
        },
        "sampler": {"batch_size": 4}, "loader": {"num_workers": 3},
    }  # fmt: skip
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(split))
        process.stdin.close()
        process.stdout.readline()
        below = [*servers(process.pid), *readers(process.pid)]
        assert len(below) == 4
        process.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), seconds=5)
    assert shared_files() <= shared_before


def test_a_batch_that_is_kept_is_never_overwritten(folder: Any, make: Any) -> None:
    folder.draw(40)
    loader = make()
    kept, copies = [], []
    for epoch in range(3):
        for batch in loader.batches(epoch):
            kept.append(batch.images[1:3])
            copies.append(batch.images[1:3].copy())
    for image, copy in zip(kept, copies, strict=True):
        assert np.array_equal(image, copy)


def test_a_batch_s_memory_is_used_again_once_it_is_released(folder: Any, make: Any) -> None:
    folder.draw(40)
    loader = make()
    places = set()
    for epoch in range(3):
        for batch in loader.batches(epoch):
            places.add(batch.images.ctypes.data)
            batch.release()
    gc.collect()
    assert len(places) <= 5


def of_store(monkeypatch: Any, **keys: Any) -> None:
    """Have memory come from a place that has as little as a test says."""
    from trainer.data import reader_pool

    make_memory = reader_pool.make_memory
    store = reader_pool.Store(**{"place": "/dev/shm", "setting": "Launch.resources.shm", **keys})
    monkeypatch.setattr(reader_pool, "make_memory", lambda name: (make_memory(name)[0], store))


IMAGE = 3 * 16 * 16 * 4


def test_too_little_memory_for_two_batches_is_a_sentence(folder: Any, make: Any, monkeypatch: Any) -> None:
    folder.draw(12)
    of_store(monkeypatch, free=lambda: 4 * IMAGE - 1)
    with pytest.raises(TrainerError) as caught:
        list(make().batches(0))
    assert str(caught.value) == (
        "reader processes: /dev/shm: expected 1 MiB for each of at least 2 batches, got 0 MiB that are free; "
        "raise Launch.resources.shm, lower batch_size, or set num_workers: 0"
    )


def test_memory_that_ends_while_it_is_taken_is_the_same_sentence(
    folder: Any, make: Any, monkeypatch: Any
) -> None:
    folder.draw(12)
    fallocate = os.posix_fallocate

    def allocate(descriptor: int, offset: int, length: int) -> None:
        if length >= 4 * IMAGE and descriptor == pixels[0]:
            raise OSError(errno.ENOSPC, "No space left on device")
        fallocate(descriptor, offset, length)

    of_store(monkeypatch, free=lambda: None)
    from trainer.data import reader_pool

    pixels, make_memory = [-1], reader_pool.make_memory

    def noted(name: str) -> Any:
        found = make_memory(name)
        if name.endswith("pixels"):
            pixels[0] = found[0]
        return found

    monkeypatch.setattr(reader_pool, "make_memory", noted)
    monkeypatch.setattr(os, "posix_fallocate", allocate)
    with pytest.raises(TrainerError, match=r"got no space left on device; raise Launch.resources.shm"):
        list(make().batches(0))


def test_with_room_for_two_batches_less_is_read_ahead_and_that_is_said(
    folder: Any, make: Any, monkeypatch: Any
) -> None:
    folder.draw(24)
    expected = contents(list(make(loader={}).batches(0)))
    left = [2 * 4 * IMAGE + 4096]
    fallocate = os.posix_fallocate

    def allocate(descriptor: int, offset: int, length: int) -> None:
        fallocate(descriptor, offset, length)
        if length >= 4 * IMAGE:
            left[0] -= length

    of_store(monkeypatch, free=lambda: left[0])
    loader = make()
    loader.take_unsaid()
    monkeypatch.setattr(os, "posix_fallocate", allocate)
    assert contents(list(loader.batches(0))) == expected
    said = loader.take_unsaid()
    assert len(said) == 1
    assert said[0].startswith(
        "warning: reader processes: there is memory for fewer batches ahead than 2, of 1"
    )


def test_without_memfd_the_memory_is_a_nameless_file(folder: Any, make: Any, monkeypatch: Any) -> None:
    folder.draw(12)
    expected = contents(list(make(loader={}).batches(0)))
    before = shared_files()

    def refuse(*_: object) -> int:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "memfd_create", refuse)
    loader = make()
    found = []
    for batch in loader.batches(0):
        assert shared_files() <= before
        found += contents([batch])
    assert found == expected


@pytest.fixture
def module(tmp_path: Path, monkeypatch: Any) -> Iterator[Callable[[str], None]]:
    """Register operations from a file that reader processes can import."""
    from trainer.config import extras

    def write(code: str) -> None:
        (tmp_path / "parts_of_a_test.py").write_text(textwrap.dedent(code))
        monkeypatch.syspath_prepend(str(tmp_path))
        importlib.import_module("parts_of_a_test")

    yield write
    extras.forget()
    sys.modules.pop("parts_of_a_test", None)


OWN = [*RANDOM[:-1], {"Own": {}}, RANDOM[-1]]


def test_an_image_at_which_readers_die_ends_the_run_with_its_name(
    folder: Any, make: Any, module: Any
) -> None:
    folder.draw(12)
    import cv2

    cv2.imwrite(str(folder.path / "005.jpg"), np.full((30, 40, 3), 255, dtype=np.uint8))
    module(
        """
        import os, signal
        from trainer.extra import register_op

        @register_op("Own")
        def own():
            def run(image, rng):
                if image.min() > 250:
                    os.kill(os.getpid(), signal.SIGSEGV)
                return image
            return run
        """
    )
    loader = make(ops=OWN, shuffle=False)
    with pytest.raises(DataError) as caught:
        list(loader.batches(0))
    (problem,) = caught.value.problems
    assert problem == (
        f"{folder.list}:6: {folder.path}/005.jpg: expected an image that can be read, got one at which each "
        "reader process was killed by signal 11; remove the line"
    )
    assert (
        sum("was killed by signal 11; another one takes its place" in text for text in loader.take_unsaid())
        == 3
    )


def test_readers_that_die_in_vain_end_the_run_with_a_sentence(folder: Any, make: Any, module: Any) -> None:
    folder.draw(40)
    module(
        """
        import os
        from trainer.extra import register_op

        @register_op("Own")
        def own():
            return lambda image, rng: os._exit(7)
        """
    )
    with pytest.raises(TrainerError, match=r"that died in vain, the last of which ended with exit code 7"):
        list(make(ops=OWN, batch_size=16).batches(0))


def test_a_module_that_cannot_be_imported_again_is_named(
    folder: Any, make: Any, module: Any, monkeypatch: Any
) -> None:
    folder.draw(12)
    monkeypatch.setenv("FIRST_TIME", "1")
    module(
        """
        import os
        from trainer.extra import register_op

        if not os.environ.get("FIRST_TIME"):
            raise RuntimeError("no second time")

        @register_op("Own")
        def own():
            return lambda image, rng: image
        """
    )
    monkeypatch.delenv("FIRST_TIME")
    with pytest.raises(TrainerError, match=r"reader processes could not begin: (?s:.*)no second time"):
        list(make(ops=OWN).batches(0))


def test_operations_of_a_module_draw_the_same_in_readers(folder: Any, make: Any, module: Any) -> None:
    folder.draw(12)
    module(
        """
        from trainer.extra import register_op

        @register_op("Own")
        def own():
            return lambda image, rng: image ^ rng.numpy.randint(0, 255)
        """
    )
    expected = contents(list(make(ops=OWN, loader={}).batches(0)))
    assert contents(list(make(ops=OWN).batches(0))) == expected


def test_a_bad_image_is_named_also_where_its_batch_was_read_for_nothing(folder: Any, make: Any) -> None:
    folder.draw(40)
    for index in range(4, 12):
        (folder.path / f"{index:03d}.jpg").write_bytes(b"no image")
    loader = make(shuffle=False, loader={"num_workers": 1, "bad_images": "skip", "bad_images_limit": 1.0})
    for _ in range(3):
        batches = loader.batches(0)
        next(batches)
        time.sleep(0.1)  # so that images of the next batches are read, for nobody
        batches.close()
    list(loader.batches(0))
    said = loader.take_unsaid()
    named = {text.partition("train_list.txt:")[2].partition(":")[0] for text in said}
    assert named >= {str(index + 1) for index in range(4, 12)}
    assert len(said) == len(set(said))


def test_a_bad_image_is_named_also_where_another_one_had_no_room(folder: Any, make: Any) -> None:
    folder.draw(8)
    (folder.path / "000.jpg").write_bytes(b"no image")
    loader = make(
        shuffle=False, batch_size=1, loader={"num_workers": 1, "bad_images": "skip", "bad_images_limit": 1.0}
    )
    list(loader.batches(0))
    (said,) = loader.take_unsaid()
    assert "train_list.txt:1: " in said


def test_images_that_grow_in_stages_are_read_the_same(folder: Any) -> None:
    folder.draw(12)
    crop = {"RandCropImage": {"size": 16, "progress_size": [16, 24, 32, 40]}}
    ops = [{"DecodeImage": {}}, crop, RANDOM[-1]]

    def read(workers: int) -> list[bytes]:
        loader = Loader(
            split=folder.split(ops=ops, shuffle=True, loader={"num_workers": workers}),
            samples=folder.samples(), rank=0, world_size=1, seed=5, training=True, epochs=4,
        )  # fmt: skip
        found = [batch for epoch in range(4) for batch in loader.batches(epoch)]
        assert len({batch.images.shape[2] for batch in found}) == 4
        loader.close()
        return contents(found)

    assert read(0) == read(2)
