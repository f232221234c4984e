"""The progress line: every 30 s and at epoch ends node 0 prints how far all ranks are."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, TypeAlias

from trainer.protocol.codec import (
    LAST_TIME_S,
    Count,
    FormatError,
    UnixTime,
    UnlessNone,
    Unwritten,
    Within,
    decode,
    encode,
)
from trainer.protocol.evaluated import Evaluated
from trainer.protocol.step_times import Finding, StepTimes, find_slow, find_waiting
from trainer.protocol.tags import MAX_LINE_BYTES

SCHEMA = 1
MARK = b"ftlaunch-progress "
_WHAT = "progress"
_Rank: TypeAlias = Annotated[int, Within(0, 10**9)]
_MAX_NAMED = 4
_SETTLED = 20
"""Steps before which nothing is said of what they wait for."""
_MAX_RATE = 1e15  # images/s: so that a sum over all ranks stays finite


@dataclass(frozen=True, kw_only=True, slots=True)
class RankProgress:
    """One rank of a progress line.

    Attributes:
        rank: Global rank.
        node: Index of its node.
        step: Steps completed since the run began.
        epoch: Index of the current epoch, from 0; `Progress.epoch` counts as rows of metrics do.
        phase: Lower-case name of `heartbeat.Phase`.
        loss: Last training loss, or None before the first.
        images_per_s: Of this rank, or None before it is known.
        silent_s: Seconds since the rank's last record.
        times: Where the time of its last steps went; None before, and of some of many ranks.
    """

    rank: _Rank
    node: _Rank
    step: Count
    epoch: Count
    phase: str
    loss: float | None
    images_per_s: Annotated[float, Within(0, _MAX_RATE)] | None
    silent_s: Annotated[float, Within(0, LAST_TIME_S)]
    times: Annotated[StepTimes | None, UnlessNone()] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """All ranks at one moment.

    Attributes:
        time_s: Unix time of the report.
        attempt: Attempt that it describes, from 1.
        world_size: Ranks that take part; ranks that have not reported yet are missing in `ranks`.
        total_steps: Steps of the whole run, or 0 while unknown.
        step_s: Seconds that a step took of late; None where it is not known. Not in the line: a reader that
            has two lines of one attempt works it out.
        evaluated: The last evaluation; None before it, and where labels have no largest class.
        absent: Nodes of the job that do not take part; None where all do.
    """

    time_s: UnixTime
    attempt: Count
    world_size: _Rank
    total_steps: Count
    ranks: tuple[RankProgress, ...]
    step_s: Annotated[float | None, Unwritten()] = None
    evaluated: Annotated[Evaluated | None, UnlessNone()] = None
    absent: Annotated[tuple[_Rank, ...] | None, UnlessNone()] = None

    @property
    def fewer_nodes(self) -> str:
        """Say who is missing: `3 of 4 nodes, waiting for node-2`; empty where all nodes take part."""
        if not self.absent:
            return ""
        there = len({rank.node for rank in self.ranks})
        named = [f"node-{node}" for node in self.absent[:_MAX_NAMED]]
        more = len(self.absent) - len(named)
        names = ", ".join(named) + (f" and {more} more" if more else "")
        return f"{there} of {there + len(self.absent)} nodes, waiting for {names}"

    @property
    def step(self) -> int | None:
        """Steps that all ranks have completed; None before any has reported."""
        return min((rank.step for rank in self.ranks), default=None)

    @property
    def epoch(self) -> int | None:
        """The epoch that all ranks have come to, from 1; None before any has reported."""
        return min((rank.epoch + 1 for rank in self.ranks), default=None)

    @property
    def waiting(self) -> Finding | None:
        """What is to be said where the steps of all ranks wait for images."""
        ranks = [rank for rank in self.ranks if rank.times is not None and _is_settled(rank, rank.times)]
        found = [rank.times for rank in ranks if rank.times is not None]
        least = min(
            found, key=lambda times: times.wait_s / times.step_s if times.step_s else 0.0, default=None
        )
        return None if least is None else find_waiting(least)

    @property
    def slow_rank(self) -> tuple[int, Finding] | None:
        """The rank that the others wait for, and what is to be said of it."""
        return find_slow((rank.rank, rank.node, rank.times) for rank in self.ranks)


def _is_settled(rank: RankProgress, times: StepTimes) -> bool:
    """Say whether steps are no longer the first ones, of which readers begin and fill their ring.

    Who asked `why` after a quarter of a minute was told to change readers that had only just begun.
    """
    return rank.step >= max(_SETTLED, 2 * times.steps)


def format_progress(progress: Progress) -> bytes:
    """Write the text of a progress line, without tag and newline."""
    ranks = tuple(
        replace(
            rank,
            loss=_short(rank.loss),
            images_per_s=_short(rank.images_per_s),
            silent_s=round(rank.silent_s, 1),
            times=_short_times(rank.times),
        )
        for rank in progress.ranks
    )
    document = encode(replace(progress, time_s=round(progress.time_s, 3), ranks=ranks), schema=SCHEMA)
    return MARK + json.dumps(document, separators=(",", ":"), allow_nan=False).encode()


def last_progress(texts: Sequence[bytes]) -> Progress | None:
    """Return what the last whole progress line says, with the pace since the first of the same attempt.

    Args:
        texts: Lines of a log in order, tags removed; the first and the last may be cut.
    """
    last = next(filter(None, map(_parse_whole, reversed(texts))), None)
    if last is None:
        return None
    of_attempt = (item for item in map(_parse_whole, texts) if item and item.attempt == last.attempt)
    first = next(of_attempt, last)  # what follows is not parsed: with many ranks a line is long
    # Of one attempt only: a restart goes back to the checkpoint, and its start is no pace.
    if first.step is None or last.step is None or last.step <= first.step:
        return last
    return replace(last, step_s=(last.time_s - first.time_s) / (last.step - first.step))


def _parse_whole(text: bytes) -> Progress | None:
    try:
        return parse_progress(text)
    except FormatError:
        return None


def parse_progress(text: bytes) -> Progress | None:
    """Read the text of a line (tag removed); None where it is not a progress line.

    Raises:
        FormatError: It is one, but broken.
    """
    if not text.startswith(MARK):
        return None
    return decode(Progress, text[len(MARK) :], where=_WHAT, max_bytes=MAX_LINE_BYTES)


def _short_times(times: StepTimes | None) -> StepTimes | None:
    if times is None:
        return None
    found: dict[str, Any] = {field.name: getattr(times, field.name) for field in fields(times)}
    short = {key: float(f"{value:.4g}") for key, value in found.items() if isinstance(value, float)}
    return StepTimes(**{**found, **short})


def _short(value: float | None) -> float | None:
    """Return six digits of a number, so that a line of many ranks stays short; None of what is no number."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
