"""`<output_dir>/.ftlaunch/run.json`: which run owns an output folder, and what happened to it so far.

The coordinator writes it (a trainer without a node process writes it itself). It decides whether
`--resume auto` may resume, how many attempts are left and when the deadline passes.
"""

from __future__ import annotations

import contextlib
import json
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from trainer.protocol.codec import Count, ExitCode, FormatError, UnixTime, UnlessNone, decode, encode
from trainer.protocol.errors import TrainerError
from trainer.protocol.exits import Exit
from trainer.protocol.log_files import LOGS
from trainer.protocol.reportfile import DOCUMENT, PAGE, PREDICTIONS
from trainer.protocol.safe_files import make_folders, read_file, remove, rename, replace_file
from trainer.protocol.tracking import DESCRIPTION, FILE_TRACKERS
from trainer.protocol.tracking import FOLDER as TRACKED
from trainer.protocol.writerlock import LOCK, refuse_other_writer

SCHEMA = 1
FOLDER = ".ftlaunch"
CHECKPOINTS = "checkpoints"
"""Folder of the checkpoints in it."""
TOLD = "told.json"
"""What messages were sent; see `trainer.node.notify`."""
_NAME = "run.json"
_PARTIAL = _NAME + ".tmp"
_NOT_OURS = frozenset({"lost+found", ".snapshot"})  # a fresh volume's own folders: it still counts as empty
_APPENDED = ("metrics.jsonl", "train.log")  # two runs in one file could not be told apart
_BESIDE = (TRACKED, DESCRIPTION, TOLD)  # what is known of a run, and of no worth without one
_ASIDE = re.compile(re.escape(FOLDER) + "-[0-9a-f]{12}")
_MAX_BYTES = 1 << 20
_WHAT = "run.json"
_MEND = (
    "bring it back from a copy, go on from what was saved by `trainer train --resume latest`, "
    "or begin anew by --overwrite, which keeps them aside"
)
_NOBODY = "0" * 32
"""Stands for the run of a folder whose run.json is damaged."""


class OutputTakenError(TrainerError):
    """The output folder holds another run."""

    exit_code = Exit.CONFIG


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptNodes:
    """Which nodes took part in an attempt.

    Attributes:
        attempt: Its number, as in logs.
        nodes: Such as `0-2,5`.
    """

    attempt: Count
    nodes: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFile:
    """State of a run across attempts and pods.

    Attributes:
        run_id: 32 hexadecimal digits.
        first_start_s: Unix time of the run's first start; the deadline counts from it.
        attempts: Starts of all ranks so far that count against `max_restarts`.
        fingerprints: What each failed attempt failed of, oldest first.
        starts: All starts of all ranks so far; numbers the attempts in logs and never goes back.
        code_sha256: Of the user's code that it runs with, or None; see `code_archive`.
        nodes: Who took part in its last attempts, oldest first; None where the job trains with all its nodes.
        ended: Exit code with which the run last ended for good, or None while it goes on. Whoever starts it
            again after that continues it on purpose, with a fresh count and deadline.
    """

    run_id: str
    first_start_s: UnixTime
    attempts: Count = 0
    fingerprints: tuple[str, ...] = ()
    starts: Count = 0
    ended: ExitCode | None = None
    code_sha256: Annotated[str | None, UnlessNone()] = None
    nodes: Annotated[tuple[AttemptNodes, ...] | None, UnlessNone()] = None


def format_nodes(nodes: Iterable[int]) -> str:
    """Write the numbers of nodes as people read them: `0-2,5`."""
    runs: list[list[int]] = []
    for node in sorted(nodes):
        if runs and node == runs[-1][1] + 1:
            runs[-1][1] = node
        else:
            runs.append([node, node])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def load_run_file(output_dir: Path) -> RunFile | None:
    """Read run.json of an output folder; None where there is none.

    Raises:
        FormatError: It is broken or of a newer schema.
        OSError: It cannot be read.
    """
    try:
        text = read_file(output_dir / FOLDER / _NAME, max_bytes=_MAX_BYTES, root=output_dir)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return decode(RunFile, text, where=_WHAT, schema=SCHEMA)
    except FormatError as error:
        raise FormatError(
            where=output_dir / FOLDER / _NAME, expected="the state of a run",
            got="an empty file" if not text else str(error), fix=_MEND,
        ) from error  # fmt: skip


def save_run_file(output_dir: Path, run_file: RunFile) -> None:
    """Replace run.json atomically and durably.

    Raises:
        OSError: The folder cannot be written.
    """
    folder = output_dir / FOLDER
    make_folders(folder, root=output_dir)
    data = json.dumps(encode(run_file, schema=SCHEMA), indent=2).encode()
    replace_file(folder / _NAME, data, partial=folder / _PARTIAL, root=output_dir)


def claim_output(
    output_dir: Path, *, run_id: str, now_s: float, overwrite: bool = False, continues: str | None = None
) -> RunFile:
    """Make `output_dir` this run's, or take it up again where it already is.

    A run that has saved nothing does not hold its folder: what it left there goes, but for the rows of steps
    that it trained, which are kept aside as with `overwrite`.

    Args:
        output_dir: Made where it does not exist.
        run_id: Of the run that wants it.
        now_s: Unix time, the first start of a new run.
        overwrite: Take the folder even where another run filled it; that run's `.ftlaunch` is kept aside
            under its id, with the files that runs append to; its PaddleClas-named files are replaced as the
            new run saves.
        continues: Run whose checkpoints this one goes on from; the folder must be that run's. Attempts
            are numbered on, restarts and the deadline count anew.

    Raises:
        OutputTakenError: The folder is not empty and belongs to another run.
        WriterLockedError: It belongs to a run that has saved nothing yet, and still writes to it.
        FormatError: Its run.json is broken.
        OSError: It cannot be read or written.
    """
    try:
        existing = load_run_file(output_dir)
    except FormatError:
        if not overwrite:
            raise
        existing = RunFile(run_id=_NOBODY, first_start_s=0.0)
    if existing is not None and existing.run_id == run_id:
        return existing
    if continues is not None:
        return _hand_over(output_dir, existing, run_id=run_id, now_s=now_s, continues=continues)
    if not overwrite:
        refuse_taken(output_dir, run_id=run_id)
    if existing is not None:
        refuse_other_writer(output_dir / FOLDER / LOCK, run_id=run_id, now_s=now_s)
        # Rows of steps are worth keeping even of a run without a checkpoint: they say why it has none.
        if overwrite or has_rows(output_dir):
            aside = output_dir / f"{FOLDER}-{existing.run_id[:12]}"
            remove(aside, root=output_dir)
            rename(output_dir / FOLDER, aside, root=output_dir)
            for name in _APPENDED:
                with contextlib.suppress(FileNotFoundError):
                    rename(output_dir / name, aside / name, root=output_dir)
        else:
            for name in (FOLDER, *_APPENDED):
                remove(output_dir / name, root=output_dir)
    fresh = RunFile(run_id=run_id, first_start_s=now_s)
    save_run_file(output_dir, fresh)
    return fresh


def adopt_output(output_dir: Path, *, run_id: str, now_s: float) -> tuple[RunFile | None, str | None]:
    """Take up the run that is in a folder, whoever began it; `--resume latest` asks for that.

    Where its run.json is gone or damaged and there are checkpoints, they are what counts: it is written anew.

    Args:
        output_dir: May be missing.
        run_id: For a run whose own is not known.
        now_s: Unix time, the first start of such a run.

    Returns:
        The run, or None where there is nothing to go on from; and a sentence where its state was not known.

    Raises:
        OSError: It cannot be read or written.
    """
    try:
        existing, reason = load_run_file(output_dir), "no run.json"
    except FormatError as error:
        existing, reason = None, f"a damaged one: {error.got}"
    if existing is not None or not _has_checkpoints(output_dir):
        return existing, None
    fresh = RunFile(run_id=run_id, first_start_s=now_s)
    save_run_file(output_dir, fresh)
    return fresh, (
        f"{output_dir / FOLDER / _NAME}: expected the state of a run, got {reason}; going on from the "
        "checkpoints that are there"
    )


def _has_checkpoints(output_dir: Path) -> bool:
    with contextlib.suppress(OSError):
        if any((output_dir / FOLDER / CHECKPOINTS).iterdir()):
            return True
    return (output_dir / "latest.pdparams").is_file()  # PaddleClas's


def refuse_taken(output_dir: Path, *, run_id: str | None = None) -> None:
    """Do nothing where a new run may take the folder; changes nothing, so that it can be asked beforehand.

    Args:
        output_dir: May be missing.
        run_id: Of the run that wants it, where it has one already.

    Raises:
        OutputTakenError: The folder is not empty and belongs to another run, which has saved something.
        FormatError: Its run.json is broken.
        OSError: It cannot be read.
    """
    existing = load_run_file(output_dir)
    if existing is not None and existing.run_id == run_id:
        return
    if not output_dir.is_dir() or not _is_filled(
        output_dir, of_run=existing is not None and not _goes_on(existing)
    ):
        return
    owner = f"run {existing.run_id}" if existing else "files of another run"
    raise OutputTakenError(
        where=output_dir,
        expected="an empty output folder",
        got=f"one with {owner}",
        fix="choose another Global.output_dir, continue that run with `ftlaunch submit --continue JOB`, "
        "or pass --overwrite",
    )


def has_rows(output_dir: Path) -> bool:
    """Say whether a run has written rows of steps or evaluations."""
    try:
        found = (output_dir / _APPENDED[0]).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return stat.S_ISREG(found.st_mode) and found.st_size > 0


def _hand_over(
    output_dir: Path, existing: RunFile | None, *, run_id: str, now_s: float, continues: str
) -> RunFile:
    if existing is None or existing.run_id != continues:
        owner = f"that of run {existing.run_id}" if existing else "one without a run"
        raise OutputTakenError(
            where=output_dir,
            expected=f"the output folder of run {continues}, which is to go on",
            got=owner,
            fix="check Global.output_dir and its volume",
        )
    taken_over = RunFile(
        run_id=run_id, first_start_s=now_s, starts=existing.starts, code_sha256=existing.code_sha256
    )
    save_run_file(output_dir, taken_over)
    return taken_over


def _goes_on(run: RunFile) -> bool:
    # A job between two pods: its lock may be stale, and it comes back. Of a trainer without a node process
    # nothing is counted; its lock alone says whether it goes on.
    return run.starts > 0 and run.ended is None


def _is_filled(folder: Path, *, of_run: bool) -> bool:
    """Say whether a folder holds what a new run must not write over.

    Args:
        folder: The output folder.
        of_run: It has a run.json of a run that is over; that file, what a run appends to and its report are
            then of no value without a checkpoint.
    """
    for entry in folder.iterdir():
        if entry.name in _NOT_OURS:
            continue
        if entry.name == FOLDER:
            if not _is_half_claimed(entry) and not (of_run and _has_saved_nothing(entry)):
                return True
        elif not (of_run and _is_of_a_run(entry.name)):
            return True
    return False


def _is_of_a_run(name: str) -> bool:
    return (
        name in (*_APPENDED, PAGE, DOCUMENT, *FILE_TRACKERS)
        or PREDICTIONS.fullmatch(name) is not None
        or _ASIDE.fullmatch(name) is not None
    )


def _is_half_claimed(folder: Path) -> bool:
    # Whoever claimed it was killed before its first run.json was whole: nothing of value lies there.
    return _is_folder(folder) and {entry.name for entry in folder.iterdir()} <= {_PARTIAL}


def _has_saved_nothing(folder: Path) -> bool:
    checkpoints = folder / CHECKPOINTS
    known = {_NAME, _PARTIAL, LOCK, CHECKPOINTS, LOGS, *_BESIDE}
    if not _is_folder(folder) or any(
        entry.name not in known and not entry.name.startswith(LOCK) for entry in folder.iterdir()
    ):
        return False
    try:
        left = checkpoints.lstat()
    except FileNotFoundError:
        return True
    # A checkpoint that was being written when its run was killed is no checkpoint; see
    # `trainer.checkpoints.store`.
    return stat.S_ISDIR(left.st_mode) and all(entry.name.endswith(".tmp") for entry in checkpoints.iterdir())


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
