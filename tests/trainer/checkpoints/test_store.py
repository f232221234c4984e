from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.checkpoints.store import MANIFEST, CheckpointStore, TornCheckpointError
from trainer.protocol.layout import CheckpointName, Keep, OutputLayout

RUN_ID = "0123456789abcdef" * 2


def text(value: str):
    return lambda file: file.write(value.encode())


@pytest.fixture
def layout(tmp_path: Path) -> OutputLayout:
    return OutputLayout(tmp_path)


def save(layout: OutputLayout, epoch: int, step: int, value: str = "weights"):
    name = CheckpointName(epoch=epoch, step=step)
    return CheckpointStore(layout).save(name, {"model.pdparams": text(value)}, run_id=RUN_ID)


def test_a_saved_checkpoint_is_the_latest_and_whole(layout):
    save(layout, 1, 10, "one")
    saved = save(layout, 2, 20, "two")
    found = CheckpointStore(layout).latest()
    assert found == saved
    assert (found.folder / "model.pdparams").read_text() == "two"
    assert found.run_id == RUN_ID
    assert found.folder.name == "e002-s000020"


def test_an_empty_folder_has_no_checkpoint(layout):
    assert CheckpointStore(layout).latest() is None
    assert CheckpointStore(layout).best() is None


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "model.pdparams").write_text("twO"),
        lambda folder: (folder / "model.pdparams").write_text("tw"),
        lambda folder: (folder / "model.pdparams").unlink(),
        lambda folder: (folder / MANIFEST).unlink(),
        lambda folder: (folder / MANIFEST).write_text("{"),
    ],
    ids=["other bytes", "cut", "gone", "no manifest", "broken manifest"],
)
def test_a_torn_latest_checkpoint_gives_way_to_the_one_before(layout, damage):
    first = save(layout, 1, 10, "one")
    second = save(layout, 2, 20, "two")
    damage(second.folder)
    with pytest.raises(TornCheckpointError):
        CheckpointStore(layout).verify(second.name)
    assert CheckpointStore(layout).latest() == first


def test_a_broken_pointer_is_no_obstacle(layout):
    saved = save(layout, 1, 10)
    layout.pointer.write_bytes(b"\xff\xff")
    assert CheckpointStore(layout).latest() == saved


def test_a_whole_checkpoint_of_the_same_name_is_kept(layout):
    save(layout, 1, 10, "one")
    again = save(layout, 1, 10, "other")
    assert (again.folder / "model.pdparams").read_text() == "one"


def test_a_torn_checkpoint_of_the_same_name_is_replaced(layout):
    torn = save(layout, 1, 10, "one")
    (torn.folder / "model.pdparams").write_text("o")
    assert (save(layout, 1, 10, "new").folder / "model.pdparams").read_text() == "new"


def test_pruning_keeps_the_latest_the_best_and_what_is_not_ours(layout):
    best = save(layout, 1, 10)
    CheckpointStore(layout).mark_best(best)
    for epoch in range(2, 6):
        save(layout, epoch, 10 * epoch)
    foreign = layout.checkpoints_dir / "e000-s000001"
    foreign.mkdir()
    (foreign / "precious").touch()
    gone = CheckpointStore(layout).prune(Keep(latest=2))
    assert [str(name) for name in gone] == ["e003-s000030", "e002-s000020"]
    left = {path.name for path in layout.checkpoints_dir.iterdir() if path.is_dir()}
    assert left == {"e000-s000001", "e001-s000010", "e004-s000040", "e005-s000050"}
    assert CheckpointStore(layout).best() == best


def test_a_full_volume_leaves_the_checkpoint_before_as_the_latest(layout):
    first = save(layout, 1, 10)

    def fail(file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        CheckpointStore(layout).save(CheckpointName(2, 20), {"model.pdparams": fail}, run_id=RUN_ID)
    assert CheckpointStore(layout).latest() == first


KILLER = """
import os, pathlib, signal, sys
from pathlib import Path
from trainer.checkpoints import durable, store
from trainer.protocol.layout import CheckpointName, Keep, OutputLayout

countdown = int(sys.argv[2])

def counted(real):
    def call(*args, **kwargs):
        global countdown
        countdown -= 1
        if countdown < 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return call

for name in ("fsync", "rename", "replace", "mkdir", "open", "rmdir", "unlink"):
    setattr(os, name, counted(getattr(os, name)))
    accessor = getattr(pathlib, "_normal_accessor", None)  # Python 3.10 keeps its own references
    if hasattr(accessor, name):
        setattr(accessor, name, counted(getattr(accessor, name)))
saver = store.CheckpointStore(OutputLayout(Path(sys.argv[1])))
for step in (20, 30):
    saver.save(CheckpointName(0, step), {"a": lambda f: f.write(b"x" * step), "b": lambda f: f.write(b"y")},
               run_id="0" * 32)
    saver.prune(Keep(latest=1))
print("through")
"""


def test_a_kill_at_any_system_call_leaves_a_whole_checkpoint_that_never_goes_back(layout):
    save(layout, 0, 10)
    seen = []
    for countdown in range(300):
        folder = layout.output_dir.with_name(f"killed{countdown}")
        shutil.copytree(layout.output_dir, folder)
        done = subprocess.run(
            [sys.executable, "-c", KILLER, str(folder), str(countdown)],
            capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )  # fmt: skip
        found = CheckpointStore(OutputLayout(folder)).latest()
        assert found is not None
        seen.append(found.name.step)
        if done.returncode == 0:
            assert done.stdout == "through\n"
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
    else:
        raise AssertionError("expected the writer to get through in the end")
    assert seen == sorted(seen)
    assert seen[-1] == 30
    assert len(seen) > 15
