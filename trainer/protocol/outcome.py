"""What a rank leaves behind for its node process: a small JSON file written just before it exits."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from trainer.protocol.codec import Count, ExitCode, decode, encode

_WHAT = "outcome"
_MAX_BYTES = 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """The end of a rank.

    Attributes:
        exit: Its exit code.
        reason: A sentence for people; the first line of an error.
        step: Steps completed since the run began, or None where it did not get so far.
        checkpoint: Last whole checkpoint that it knows, or None.
    """

    exit: ExitCode
    reason: str
    step: Count | None = None
    checkpoint: str | None = None


def save_outcome(path: Path, outcome: Outcome) -> None:
    """Write the outcome so that a reader sees all of it or none."""
    # Not synced: who reads it is a process of this machine, and gone with it.
    partial = path.with_name(path.name + ".tmp")
    partial.write_text(json.dumps(encode(outcome)), encoding="utf-8")
    partial.replace(path)


def load_outcome(path: Path) -> Outcome | None:
    """Read a rank's outcome; None where it left none (killed).

    Raises:
        FormatError: The file is broken.
    """
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        return None
    return decode(Outcome, text, where=_WHAT, max_bytes=_MAX_BYTES)
