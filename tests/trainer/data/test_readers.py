from __future__ import annotations

import contextlib
import gc
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

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reader processes need Linux")


def children(pid: int) -> list[int]:
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += map(int, (task / "children").read_text().split())
    return found


def keepers(pid: int | None = None) -> list[int]:
    def is_one(pid: int) -> bool:
        with contextlib.suppress(OSError):
            return b"trainer.data.reader_process" in Path(f"/proc/{pid}/cmdline").read_bytes()
        return False

    return [child for child in children(pid or os.getpid()) if is_one(child)]


def readers(pid: int | None = None) -> list[int]:
    return [reader for keeper in keepers(pid) for reader in children(keeper)]


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
    assert len(keepers()) == 1


def test_readers_killed_at_random_moments_change_nothing(folder: Any, make: Any) -> None:
    folder.draw(40)
    expected = contents([batch for epoch in range(6) for batch in make(loader={}).batches(epoch)])
    loader, dice, said, got = make(loader={"num_workers": 3}), random.Random(4), [], []
    for epoch in range(6):
        for batch in loader.batches(epoch):
            got += contents([batch])
            said += loader.take_unsaid()
            if dice.random() < 0.5 and (alive := readers()):
                os.kill(dice.choice(alive), signal.SIGKILL)
            time.sleep(dice.random() * 0.004)
    assert got == expected
    assert any("was killed (signal 9" in text and "another one takes its place" in text for text in said)


def test_all_readers_begin_anew_where_their_keeper_is_killed(folder: Any, make: Any) -> None:
    folder.draw(40)
    expected = contents(list(make(loader={}).batches(0)))
    loader = make()
    got = []
    for number, batch in enumerate(loader.batches(0)):
        got += contents([batch])
        if number in (2, 5) and (alive := keepers()):
            os.kill(alive[0], signal.SIGKILL)
    assert got == expected
    assert any("all are started again" in text for text in loader.take_unsaid())


def test_nothing_is_left_of_a_training_process_that_is_killed(folder: Any, tmp_path: Path) -> None:
    folder.draw(40)
    shared_before = set(Path("/dev/shm").iterdir())
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
        below = [*keepers(process.pid), *readers(process.pid)]
        assert len(below) == 4
        process.kill()
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), seconds=5)
    assert set(Path("/dev/shm").iterdir()) <= shared_before


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
