"""metrics.jsonl as what trackers are sent: whole rows from a byte on, each step once.

A run that goes back to a checkpoint does steps again, and its file has them twice. A tracker cannot take back
what it was sent, so that of each step the first row goes; which step of each kind was the furthest is part of
the place in the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trainer.protocol.safe_files import open_read
from trainer.trackers.tracker import Row

METRICS = "metrics.jsonl"
MOST_ROWS, MOST_BYTES = 500, 1 << 19
"""Of a batch, which is all of the file that is in memory at a time."""
_MAX_ROW_BYTES = 64 * 1024
_KINDS = {"step": "train", "eval": "eval", "epoch": "epoch", "times": "times"}
_BESIDE = frozenset({"event", "attempt", "time_s", "epoch", "iter", "step", "images"})
_MAX_STEP = 2**53


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """How far a file is dealt with.

    Attributes:
        offset: Bytes.
        furthest: Kind of row -> its furthest step.
    """

    offset: int = 0
    furthest: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Batch:
    """The next rows.

    Attributes:
        rows: Those to be sent.
        facts: What they tell of the run besides.
        after: The place behind them.
    """

    rows: tuple[Row, ...]
    facts: Mapping[str, str]
    after: Place


def read_batch(folder: Path, place: Place, *, until: int | None = None, most_rows: int = MOST_ROWS) -> Batch:
    """Read what comes next; half a row is left for the next time, what is none is passed over.

    Args:
        folder: With metrics.jsonl in it, or not yet.
        place: Where to go on.
        until: Bytes of the file that count; None for all.
        most_rows: Rows of a batch.

    Raises:
        OSError: It cannot be read.
    """
    rows: list[Row] = []
    facts: dict[str, str] = {}
    furthest, offset = dict(place.furthest), place.offset
    try:
        file = open_read(folder / METRICS)
    except FileNotFoundError:
        return Batch(rows=(), facts={}, after=place)
    with file:
        file.seek(offset)
        while len(rows) < most_rows and offset - place.offset < MOST_BYTES:
            line = file.readline(MOST_BYTES)
            ends = line.endswith(b"\n") or len(line) == MOST_BYTES  # so long a line is no row
            if not ends or (until is not None and offset + len(line) > until):
                break
            offset += len(line)
            _take(line, rows, facts, furthest)
    return Batch(rows=tuple(rows), facts=facts, after=Place(offset=offset, furthest=furthest))


def count_left(folder: Path, offset: int, *, until: int | None = None) -> int:
    """Return how many whole lines lie behind a byte; 0 where the file cannot be read."""
    found, left = 0, math.inf if until is None else until - offset
    try:
        with open_read(folder / METRICS) as file:
            file.seek(offset)
            while left > 0 and (piece := file.read(int(min(left, 1 << 16)))):
                found += piece.count(b"\n")
                left -= len(piece)
    except OSError:
        return 0
    return found


def _take(line: bytes, rows: list[Row], facts: dict[str, str], furthest: dict[str, int]) -> None:
    if len(line) > _MAX_ROW_BYTES:
        return
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):  # cut off by a kill
        return
    if not isinstance(row, dict):
        return
    event, step, epoch = row.get("event"), row.get("step"), row.get("epoch")
    if event == "checkpoint" and row.get("best") and isinstance(row.get("path"), str):
        facts["best_checkpoint"] = row["path"]
    kind = _KINDS.get(event) if isinstance(event, str) else None
    at = _count(step)
    if kind is None or at is None or at <= furthest.get(kind, -1):
        return
    furthest[kind] = at
    numbers = {name: _number(value) for name, value in row.items() if name not in _BESIDE}
    values = {f"{kind}/{name}": value for name, value in numbers.items() if value is not None}
    if values:
        time_s = _number(row.get("time_s")) or 0.0
        rows.append(Row(step=at, epoch=_count(epoch) or 0, time_s=time_s, values=values))


def _count(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _MAX_STEP:
        return value
    return None


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None
