"""The progress line: every 30 s and at epoch ends node 0 prints how far all ranks are."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trainer.protocol.codec import (
    LAST_TIME_S,
    MAX_COUNT,
    FormatError,
    decode_object,
    need,
    need_object,
    need_objects,
    need_or_none,
)
from trainer.protocol.evaluated import Evaluated, read_evaluated
from trainer.protocol.tags import MAX_LINE_BYTES

SCHEMA = 1
MARK = b"ftlaunch-progress "
_WHAT = "progress"
_MAX_RANKS = 10**9
_MAX_RATE = 1e15  # images/s: so that a sum over all ranks stays finite


@dataclass(frozen=True, kw_only=True, slots=True)
class RankProgress:
    """One rank of a progress line.

    Attributes:
        rank: Global rank.
        node: Index of its node.
        step: Steps completed since the run began.
        epoch: Index of the current epoch, from 0.
        phase: Lower-case name of `board.Phase`.
        loss: Last training loss, or None before the first.
        images_per_s: Of this rank, or None before it is known.
        silent_s: Seconds since the rank's last record.
    """

    rank: int
    node: int
    step: int
    epoch: int
    phase: str
    loss: float | None
    images_per_s: float | None
    silent_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """All ranks at one moment.

    Attributes:
        time_s: Unix time of the report.
        attempt: Attempt that it describes, from 1.
        world_size: Ranks of the job; ranks that have not reported yet are missing in `ranks`.
        total_steps: Steps of the whole run, or 0 while unknown.
        step_s: Seconds that a step took of late; None where it is not known. Not in the line: a reader that
            has two lines of one attempt works it out.
        evaluated: The last evaluation; None before it, and where labels have no largest class.
    """

    time_s: float
    attempt: int
    world_size: int
    total_steps: int
    ranks: tuple[RankProgress, ...]
    step_s: float | None = None
    evaluated: Evaluated | None = None

    @property
    def step(self) -> int | None:
        """Steps that all ranks have completed; None before any has reported."""
        return min((rank.step for rank in self.ranks), default=None)


def format_progress(progress: Progress) -> bytes:
    """Write the text of a progress line, without tag and newline."""
    ranks = [
        {
            "rank": r.rank, "node": r.node, "step": r.step, "epoch": r.epoch, "phase": r.phase,
            "loss": _finite(r.loss), "images_per_s": _finite(r.images_per_s),
            "silent_s": round(r.silent_s, 1),
        }
        for r in progress.ranks
    ]  # fmt: skip
    document: dict[str, object] = {
        "schema": SCHEMA,
        "time_s": round(progress.time_s, 3),
        "attempt": progress.attempt,
        "world_size": progress.world_size,
        "total_steps": progress.total_steps,
        "ranks": ranks,
    }
    if progress.evaluated is not None:
        document["evaluated"] = dataclasses.asdict(progress.evaluated)
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
    document = decode_object(text[len(MARK) :], what=_WHAT, max_bytes=MAX_LINE_BYTES)
    rows = need_objects(document, "ranks", what=_WHAT)
    evaluated = document.get("evaluated")
    return Progress(
        time_s=need(document, "time_s", float, what=_WHAT, least=0, most=LAST_TIME_S),
        attempt=need(document, "attempt", int, what=_WHAT, least=0, most=MAX_COUNT),
        world_size=need(document, "world_size", int, what=_WHAT, least=0, most=_MAX_RANKS),
        total_steps=need(document, "total_steps", int, what=_WHAT, least=0, most=MAX_COUNT),
        evaluated=read_evaluated(need_object(document, "evaluated", what=_WHAT), what=_WHAT)
        if evaluated is not None
        else None,
        ranks=tuple(
            RankProgress(
                rank=need(row, "rank", int, what=_WHAT, least=0, most=_MAX_RANKS),
                node=need(row, "node", int, what=_WHAT, least=0, most=_MAX_RANKS),
                step=need(row, "step", int, what=_WHAT, least=0, most=MAX_COUNT),
                epoch=need(row, "epoch", int, what=_WHAT, least=0, most=MAX_COUNT),
                phase=need(row, "phase", str, what=_WHAT),
                loss=need_or_none(row, "loss", float, what=_WHAT),
                images_per_s=need_or_none(row, "images_per_s", float, what=_WHAT, least=0, most=_MAX_RATE),
                silent_s=need(row, "silent_s", float, what=_WHAT, least=0, most=LAST_TIME_S),
            )
            for row in rows
        ),
    )


def _finite(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")
