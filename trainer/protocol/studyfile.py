"""`summary.json` in a study's folder: what its driver has last seen of it.

Lists show it without opening the study's journal, and `trainer eval`, `predict` and `export` find there
which job a study's name stands for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Literal

from trainer.protocol.codec import Count, UnlessNone, decode, encode

SCHEMA = 1
FOLDER, STUDY, SUMMARY = "sweeps", "study.json", "summary.json"
"""Of studies in the state folder; a study's record in its own one, and this file."""
MAX_BYTES = 64 * 1024
StudyState = Literal["Running", "Paused", "Cancelled", "Failed", "Succeeded"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Summary:
    """A study as it was last seen.

    Attributes:
        state: As it was then; `Running` holds only while a driver runs.
        begun, ended, planned: Trials.
        best: Value of the best trial so far, or None.
        winner: Its number from 0, or None.
        job: Name of the best job of that trial, or None.
    """

    state: StudyState
    begun: Count
    ended: Count
    planned: Count
    best: float | None = None
    winner: int | None = None
    job: Annotated[str | None, UnlessNone()] = None


def format_summary(summary: Summary) -> str:
    """Write summary.json."""
    return json.dumps(encode(summary, schema=SCHEMA)) + "\n"


def parse_summary(data: bytes, *, where: str) -> Summary:
    """Read summary.json.

    Raises:
        FormatError: It is broken or of another schema.
    """
    return decode(Summary, data, where=where, schema=SCHEMA)
