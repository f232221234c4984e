from __future__ import annotations

import contextlib
import dataclasses
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.protocol.codec import FormatError
from trainer.protocol.layout import CheckpointName, OutputLayout
from trainer.protocol.runfile import (
    OutputTakenError,
    RunFile,
    adopt_output,
    claim_output,
    load_run_file,
    refuse_taken,
    save_run_file,
)
from trainer.protocol.writerlock import (
    STALE_AFTER_S,
    LockLostError,
    Owner,
    WriterLock,
    WriterLockedError,
    describe_self,
    load_owner,
)

OURS, THEIRS = "a" * 32, "b" * 32


def owner(run_id: str = OURS, *, now_s: float = 1000.0, pid: int = 1) -> Owner:
    return Owner(run_id=run_id, host="pod-0", pid=pid, boot_id="boot", start_s=now_s, heartbeat_s=now_s)


@pytest.fixture
def output(tmp_path: Path) -> Path:
    return tmp_path / "output"


@pytest.fixture
def lock_path(output: Path) -> Path:
    return OutputLayout(output).writer_lock


def test_a_missing_folder_becomes_the_runs(output: Path) -> None:
    claimed = claim_output(output, run_id=OURS, now_s=5.0)
    assert claimed == RunFile(run_id=OURS, first_start_s=5.0)
    assert load_run_file(output) == claimed


def test_a_fresh_volumes_own_folders_count_as_empty(output: Path) -> None:
    (output / "lost+found").mkdir(parents=True)
    assert claim_output(output, run_id=OURS, now_s=5.0).run_id == OURS


def test_the_same_run_takes_its_folder_up_again_with_its_first_start(output: Path) -> None:
    first = claim_output(output, run_id=OURS, now_s=5.0)
    kept = dataclasses.replace(first, attempts=2, fingerprints=("exit 1",), starts=3, ended=20)
    save_run_file(output, kept)
    (output / "latest.pdparams").write_text("weights")
    assert claim_output(output, run_id=OURS, now_s=99.0) == kept


def test_files_of_unknown_origin_are_not_written_over(output: Path) -> None:
    output.mkdir()
    (output / "latest.pdparams").write_text("weights")
    with pytest.raises(OutputTakenError, match="files of another run") as refused:
        claim_output(output, run_id=OURS, now_s=5.0)
    assert all(fix in str(refused.value) for fix in ("Global.output_dir", "--continue", "--overwrite"))
    assert load_run_file(output) is None


def test_another_runs_folder_is_refused_by_its_id(output: Path) -> None:
    claim_output(output, run_id=THEIRS, now_s=1.0)
    (output / "latest.pdparams").write_text("weights")
    with pytest.raises(OutputTakenError, match=THEIRS):
        refuse_taken(output)
    with pytest.raises(OutputTakenError, match=THEIRS):
        claim_output(output, run_id=OURS, now_s=5.0)


def leave_start(output: Path) -> RunFile:
    """Leave what a run leaves that ended before it saved anything."""
    left = claim_output(output, run_id=THEIRS, now_s=1.0)
    lock = WriterLock.acquire(OutputLayout(output).writer_lock, owner(THEIRS))
    lock.release()
    OutputLayout(output).checkpoints_dir.mkdir()
    (output / "train.log").write_text("resuming from …\n")
    (output / "metrics.jsonl").touch()
    return left


def test_a_run_that_has_saved_nothing_does_not_hold_its_folder(output: Path) -> None:
    leave_start(output)
    refuse_taken(output)
    assert claim_output(output, run_id=OURS, now_s=5.0) == RunFile(run_id=OURS, first_start_s=5.0)
    assert {path.name for path in output.iterdir()} == {".ftlaunch"}


def test_rows_of_a_run_that_saved_nothing_are_kept_aside(output: Path) -> None:
    leave_start(output)
    (output / "metrics.jsonl").write_text('{"event": "step"}\n')
    claim_output(output, run_id=OURS, now_s=5.0)
    assert not (output / "metrics.jsonl").exists()
    aside = output / f".ftlaunch-{THEIRS[:12]}"
    assert (aside / "metrics.jsonl").read_text() == '{"event": "step"}\n'
    OutputLayout(output).checkpoint_dir(CheckpointName(1, 4)).mkdir(parents=True)
    with pytest.raises(OutputTakenError, match=OURS):
        claim_output(output, run_id="c" * 32, now_s=9.0)


@pytest.mark.parametrize(
    "saved",
    [".ftlaunch/checkpoints/e001-s000004/manifest.json", "latest.pdparams", "notes.txt", ".ftlaunch/other"],
)
def test_a_run_that_left_anything_else_holds_it(output: Path, saved: str) -> None:
    leave_start(output)
    (output / saved).parent.mkdir(parents=True, exist_ok=True)
    (output / saved).touch()
    with pytest.raises(OutputTakenError, match=THEIRS):
        claim_output(output, run_id=OURS, now_s=5.0)
    assert (output / "train.log").exists()


def test_a_checkpoint_that_was_never_finished_is_none(output: Path) -> None:
    leave_start(output)
    (OutputLayout(output).checkpoints_dir / "e001-s000004.tmp").mkdir()
    assert claim_output(output, run_id=OURS, now_s=5.0).run_id == OURS


def test_a_job_that_has_begun_and_not_ended_holds_it_and_one_that_failed_does_not(output: Path) -> None:
    left = leave_start(output)
    save_run_file(output, replace(left, starts=1, attempts=1))
    with pytest.raises(OutputTakenError):
        claim_output(output, run_id=OURS, now_s=5.0)
    save_run_file(output, replace(left, starts=1, attempts=1, ended=3))
    assert claim_output(output, run_id=OURS, now_s=5.0).run_id == OURS


def test_a_run_that_still_writes_holds_it_before_its_first_checkpoint(output: Path) -> None:
    leave_start(output)
    WriterLock.acquire(OutputLayout(output).writer_lock, owner(THEIRS, now_s=1000.0))
    with pytest.raises(WriterLockedError, match=THEIRS):
        claim_output(output, run_id=OURS, now_s=1001.0)
    assert load_run_file(output).run_id == THEIRS  # type: ignore[union-attr]


@pytest.mark.parametrize("place", [".ftlaunch", ".ftlaunch/run.json", ".ftlaunch/run.json.tmp"])
@pytest.mark.parametrize("overwrite", [False, True])
def test_a_link_in_an_output_folder_destroys_nothing(output: Path, place: str, overwrite: bool) -> None:
    precious = output.parent / "precious"
    precious.mkdir()
    (precious / "run.json").write_text("precious")
    link = output / place
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(precious if place == ".ftlaunch" else precious / "run.json")
    with contextlib.suppress(OSError, OutputTakenError):
        claim_output(output, run_id=OURS, now_s=5.0, overwrite=overwrite)
    assert [path.name for path in precious.iterdir()] == ["run.json"]
    assert (precious / "run.json").read_text() == "precious"


def test_overwriting_keeps_the_other_runs_state_aside(output: Path) -> None:
    theirs = claim_output(output, run_id=THEIRS, now_s=1.0)
    assert claim_output(output, run_id=OURS, now_s=5.0, overwrite=True).first_start_s == 5.0
    aside = output / f".ftlaunch-{THEIRS[:12]}"
    (aside / "run.json").rename(aside / "moved.json")
    assert THEIRS in (aside / "moved.json").read_text()
    assert theirs.run_id != load_run_file(output).run_id  # type: ignore[union-attr]


def test_a_run_goes_on_from_anothers_output_with_its_attempts_numbered_on(output: Path) -> None:
    theirs = claim_output(output, run_id=THEIRS, now_s=1.0)
    save_run_file(output, replace(theirs, starts=3, attempts=2, fingerprints=("a", "b"), ended=20))
    claimed = claim_output(output, run_id=OURS, now_s=5.0, continues=THEIRS)
    assert claimed == RunFile(run_id=OURS, first_start_s=5.0, starts=3)
    assert claim_output(output, run_id=OURS, now_s=9.0, continues=THEIRS) == claimed
    with pytest.raises(OutputTakenError, match=OURS):  # the one that was gone on from cannot come back
        claim_output(output, run_id=THEIRS, now_s=9.0)


def test_an_output_that_is_not_the_one_to_go_on_from_is_refused(output: Path) -> None:
    with pytest.raises(OutputTakenError, match="one without a run"):
        claim_output(output, run_id=OURS, now_s=5.0, continues=THEIRS)
    claim_output(output, run_id="c" * 32, now_s=1.0)
    with pytest.raises(OutputTakenError, match="that of run c"):
        claim_output(output, run_id=OURS, now_s=5.0, continues=THEIRS)


@pytest.mark.parametrize("left", [[], ["run.json.tmp"]], ids=["nothing", "half a run.json"])
def test_a_claim_that_was_killed_half_way_leaves_the_folder_free(output: Path, left: list[str]) -> None:
    (output / ".ftlaunch").mkdir(parents=True)
    for name in left:
        (output / ".ftlaunch" / name).write_text("{")
    assert claim_output(output, run_id=OURS, now_s=5.0).run_id == OURS


def test_checkpoints_without_a_run_json_are_another_runs(output: Path) -> None:
    (output / ".ftlaunch" / "checkpoints").mkdir(parents=True)
    with pytest.raises(OutputTakenError):
        claim_output(output, run_id=OURS, now_s=5.0)


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 9}', '{"schema": 1, "fingerprints": 3}'])
def test_a_broken_run_json_is_an_error_and_is_kept(output: Path, text: str) -> None:
    (output / ".ftlaunch").mkdir(parents=True)
    path = output / ".ftlaunch" / "run.json"
    path.write_text(text)
    with pytest.raises(FormatError, match=r"run\.json"):
        claim_output(output, run_id=OURS, now_s=5.0)
    assert path.read_text() == text


def test_an_output_path_that_is_a_file_is_an_os_error(output: Path) -> None:
    output.write_text("a file")
    with pytest.raises(OSError, match="output"):
        claim_output(output, run_id=OURS, now_s=5.0)


def test_a_free_lock_is_taken_beaten_and_released(lock_path: Path) -> None:
    lock = WriterLock.acquire(lock_path, owner())
    lock.beat(1010.0)
    assert load_owner(lock_path) == dataclasses.replace(owner(), heartbeat_s=1010.0)
    lock.release()
    assert list(lock_path.parent.iterdir()) == []


@pytest.mark.parametrize("ago_s", [0.0, STALE_AFTER_S, -STALE_AFTER_S])
def test_another_live_run_is_named_and_left_alone(lock_path: Path, ago_s: float) -> None:
    WriterLock.acquire(lock_path, owner(THEIRS, now_s=1000.0 - ago_s, pid=77))
    with pytest.raises(WriterLockedError, match=rf"run {THEIRS} on pod-0 \(pid 77"):
        WriterLock.acquire(lock_path, owner(OURS))
    assert load_owner(lock_path).run_id == THEIRS  # type: ignore[union-attr]


def test_a_stale_lock_of_another_run_is_taken_over_and_its_ghost_notices(lock_path: Path) -> None:
    earlier = WriterLock.acquire(lock_path, owner(THEIRS, now_s=1000.0 - STALE_AFTER_S - 1))
    WriterLock.acquire(lock_path, owner(OURS))
    with pytest.raises(LockLostError, match=OURS):
        earlier.beat(1001.0)
    earlier.release()
    assert load_owner(lock_path) == owner(OURS)


def test_the_same_run_takes_its_lock_over_at_once(lock_path: Path) -> None:
    earlier = WriterLock.acquire(lock_path, owner(pid=1))
    WriterLock.acquire(lock_path, owner(pid=2))
    with pytest.raises(LockLostError, match="pid 2"):
        earlier.beat(1001.0)


def test_a_lock_that_vanished_is_lost(lock_path: Path) -> None:
    lock = WriterLock.acquire(lock_path, owner())
    lock_path.unlink()
    with pytest.raises(LockLostError, match="nobody"):
        lock.beat(1001.0)


def test_a_broken_lock_file_belongs_to_nobody(lock_path: Path) -> None:
    lock_path.parent.mkdir(parents=True)
    lock_path.write_text("{")
    WriterLock.acquire(lock_path, owner())
    assert load_owner(lock_path) == owner()


def test_a_process_describes_itself() -> None:
    import os

    found = describe_self(run_id=OURS, now_s=3.0)
    assert (found.run_id, found.pid, found.start_s, found.heartbeat_s) == (OURS, os.getpid(), 3.0, 3.0)
    assert found.host


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 9}', None], ids=["empty", "list", "newer", "gone"])
@pytest.mark.parametrize("left", [".ftlaunch/checkpoints/e001-s000004", "latest.pdparams"])
def test_checkpoints_are_gone_on_from_whatever_became_of_run_json(
    output: Path, text: str | None, left: str
) -> None:
    claim_output(output, run_id=THEIRS, now_s=1.0)
    (output / left).parent.mkdir(parents=True, exist_ok=True)
    (output / left).write_text("weights")
    path = output / ".ftlaunch/run.json"
    path.unlink() if text is None else path.write_text(text)
    run, note = adopt_output(output, run_id=OURS, now_s=5.0)
    assert run == load_run_file(output)
    assert run is not None
    assert run.run_id == OURS
    assert note is not None
    assert "going on from the checkpoints that are there" in note
    assert (output / left).read_text() == "weights"
    assert adopt_output(output, run_id="c" * 32, now_s=6.0) == (run, None)


def test_a_folder_without_checkpoints_has_nothing_to_adopt(output: Path) -> None:
    assert adopt_output(output, run_id=OURS, now_s=5.0) == (None, None)
    (output / ".ftlaunch").mkdir(parents=True)
    (output / ".ftlaunch/run.json").write_text("")
    assert adopt_output(output, run_id=OURS, now_s=5.0) == (None, None)


def test_overwrite_takes_a_folder_whose_run_json_is_damaged_and_keeps_it_aside(output: Path) -> None:
    claim_output(output, run_id=THEIRS, now_s=1.0)
    (output / ".ftlaunch/run.json").write_text("")
    with pytest.raises(FormatError, match=r"run\.json: expected the state of a run, got an empty file"):
        claim_output(output, run_id=OURS, now_s=5.0)
    assert claim_output(output, run_id=OURS, now_s=5.0, overwrite=True).run_id == OURS
    (aside,) = output.glob(".ftlaunch-*")
    assert (aside / "run.json").read_text() == ""
