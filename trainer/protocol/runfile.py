"""`<output_dir>/.ftlaunch/run.json`: which run owns an output folder, and what happened to it so far.

The coordinator writes it (a trainer without a node process writes it itself). It decides whether
`--resume auto` may resume, how many attempts are left and when the deadline passes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path

from trainer.protocol.fields import (
    LAST_TIME_S,
    MAX_COUNT,
    FormatError,
    decode_object,
    need,
    need_or_none,
    need_texts,
)
from trainer.protocol.safe_files import replace_file

SCHEMA = 1
FOLDER = ".ftlaunch"
_NAME = "run.json"
_PARTIAL = _NAME + ".tmp"
_NOT_OURS = frozenset({"lost+found", ".snapshot"})  # a fresh volume's own folders: it still counts as empty
_APPENDED = ("metrics.jsonl", "train.log")  # two runs in one file could not be told apart
_WHAT = "run.json"


class OutputTakenError(Exception):
    """The output folder holds another run. The message names the cures."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunFile:
    """State of a run across attempts and pods.

    Attributes:
        run_id: 32 hexadecimal digits.
        first_start_s: Unix time of the run's first start; the deadline counts from it.
        attempts: Starts of all ranks so far that count against `max_restarts`.
        fingerprints: What each failed attempt failed of, oldest first.
        starts: All starts of all ranks so far; numbers the attempts in logs and never goes back.
        ended: Exit code with which the run last ended for good, or None while it goes on. Whoever starts it
            again after that continues it on purpose, with a fresh count and deadline.
    """

    run_id: str
    first_start_s: float
    attempts: int = 0
    fingerprints: tuple[str, ...] = ()
    starts: int = 0
    ended: int | None = None


def load_run_file(output_dir: Path) -> RunFile | None:
    """Read run.json of an output folder; None where there is none.

    Raises:
        FormatError: It is broken or of a newer schema.
        OSError: It cannot be read.
    """
    try:
        text = (output_dir / FOLDER / _NAME).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    document = decode_object(text, what=_WHAT)
    if need(document, "schema", int, what=_WHAT) != SCHEMA:
        raise FormatError(f"{_WHAT}: schema: expected {SCHEMA}, got {document['schema']!r}")
    return RunFile(
        run_id=need(document, "run_id", str, what=_WHAT),
        first_start_s=need(document, "first_start_s", float, what=_WHAT, least=0, most=LAST_TIME_S),
        attempts=need(document, "attempts", int, what=_WHAT, least=0, most=MAX_COUNT),
        fingerprints=need_texts(document, "fingerprints", what=_WHAT),
        starts=need(document, "starts", int, what=_WHAT, least=0, most=MAX_COUNT),
        ended=need_or_none(document, "ended", int, what=_WHAT, least=-255, most=255),
    )


def save_run_file(output_dir: Path, run_file: RunFile) -> None:
    """Replace run.json atomically and durably.

    Raises:
        OSError: The folder cannot be written.
    """
    folder = output_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    document = {"schema": SCHEMA, **dataclasses.asdict(run_file)}
    replace_file(folder / _NAME, json.dumps(document, indent=2).encode(), partial=folder / _PARTIAL)


def claim_output(
    output_dir: Path, *, run_id: str, now_s: float, overwrite: bool = False, continues: str | None = None
) -> RunFile:
    """Make `output_dir` this run's, or take it up again where it already is.

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
        FormatError: Its run.json is broken.
        OSError: It cannot be read or written.
    """
    existing = load_run_file(output_dir)
    if existing is not None and existing.run_id == run_id:
        return existing
    if continues is not None:
        return _hand_over(output_dir, existing, run_id=run_id, now_s=now_s, continues=continues)
    if not overwrite and output_dir.is_dir() and _is_filled(output_dir):
        owner = f"run {existing.run_id}" if existing else "files of another run"
        raise OutputTakenError(
            f"{output_dir}: expected an empty output folder, got one with {owner}; choose another "
            "Global.output_dir, continue that run with `ftlaunch submit --continue JOB`, or pass --overwrite"
        )
    if existing is not None:
        aside = output_dir / f"{FOLDER}-{existing.run_id[:12]}"
        (output_dir / FOLDER).replace(aside)
        for name in _APPENDED:
            with contextlib.suppress(FileNotFoundError):
                (output_dir / name).replace(aside / name)
    fresh = RunFile(run_id=run_id, first_start_s=now_s)
    save_run_file(output_dir, fresh)
    return fresh


def _hand_over(
    output_dir: Path, existing: RunFile | None, *, run_id: str, now_s: float, continues: str
) -> RunFile:
    if existing is None or existing.run_id != continues:
        owner = f"that of run {existing.run_id}" if existing else "one without a run"
        raise OutputTakenError(
            f"{output_dir}: expected the output folder of run {continues}, which is to go on, got {owner}; "
            "check Global.output_dir and its volume"
        )
    heir = RunFile(run_id=run_id, first_start_s=now_s, starts=existing.starts)
    save_run_file(output_dir, heir)
    return heir


def _is_filled(folder: Path) -> bool:
    return any(
        entry.name not in _NOT_OURS and not (entry.name == FOLDER and _is_half_claimed(entry))
        for entry in folder.iterdir()
    )


def _is_half_claimed(folder: Path) -> bool:
    # Whoever claimed it was killed before its first run.json was whole: nothing of value lies there.
    return folder.is_dir() and {entry.name for entry in folder.iterdir()} <= {_PARTIAL}
