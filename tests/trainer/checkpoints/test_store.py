from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.soak_store import SCENES, WAYS, Scene, stop_everywhere
from trainer.checkpoints.store import MANIFEST, CheckpointStore, TornCheckpointError
from trainer.protocol.layout import CheckpointName, Keep, OutputLayout
from trainer.protocol.safe_files import link_or_copy

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


@pytest.mark.parametrize(
    ("way", "scene", "every"),
    [
        *(("kill", scene, 6) for scene in SCENES), *((way, SCENES[1], 16) for way in WAYS[1:3]),
        *((way, SCENES[index % 4], 24) for index, way in enumerate(WAYS[3:])),
    ],
    ids=lambda value: value.name if isinstance(value, Scene) else str(value),
)  # fmt: skip
def test_a_stop_at_any_system_call_leaves_a_whole_checkpoint_and_nothing_in_the_way(
    tmp_path, way, scene, every
):
    """A share of `make soak-durability`, which stops at each call."""
    found = dict(stop_everywhere(scene, tmp_path / "stops", way=way, every=every))
    assert {at: faults for at, faults in found.items() if faults} == {}
    assert len(found) > 2


def test_a_file_that_has_the_name_already_leaves_nothing_behind(tmp_path):
    (tmp_path / "one").write_text("a")
    for _ in range(2):
        link_or_copy(tmp_path / "one", tmp_path / "two", root=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"one", "two"}


def test_what_a_killed_save_left_is_gone_before_the_next_one_takes_room(layout):
    save(layout, 1, 10)
    stale = layout.checkpoints_dir / "e004-s000040.tmp"
    stale.mkdir()
    (stale / "model.pdparams").write_text("half")
    (layout.checkpoints_dir / "mine.tmp").mkdir()

    def fill(file):
        assert not stale.exists()
        file.write(b"x")

    CheckpointStore(layout).save(CheckpointName(2, 20), {"model.pdparams": fill}, run_id=RUN_ID)
    assert (layout.checkpoints_dir / "mine.tmp").is_dir()
