"""Lines that a cluster's log lacks, taken from what the node process kept of the same lines. Pure.

A node rotates a container's log: what the API gives begins later than the container did, or later than what
was read before. The output folder has the same lines with times of its own, a little earlier each, since a
node process stamps a line before the runtime does. So both ends of a gap are found by their text: the last
line before it (`find_after`), and the first one after it (`find_before`). Times alone would show lines
twice or lose them wherever several come within that little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from launcher.logs.source import Container
from launcher.times import STAMP_BYTES, format_stamp
from trainer.protocol.progress import MARK
from trainer.protocol.tags import parse_line

CONTEXT = 8
"""Lines that must agree with those before a gap, or after it."""
LATE_NS = 2_000_000_000
"""A log that begins so soon after its container has lost nothing: kubelets look every 10 s what to rotate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogGap:
    """A place in a container's log before which lines may be missing.

    Attributes:
        container: Whose.
        began_ns: When that began, Unix time.
        after: The last shown lines before it; none at the log's beginning.
        before: The first lines after it that are shown; none at its end.
        since_ns: Lines of before that time, in Unix time, are not wanted.
    """

    container: Container
    began_ns: int
    after: tuple[bytes, ...] = ()
    before: tuple[bytes, ...] = ()
    since_ns: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Filling:
    """What belongs into a gap.

    Attributes:
        lines: `RFC3339Nano text`.
        knows_start: Nothing is missing before the first of them.
        knows_end: Nothing is missing after the last.
        problem: Why it is not whole, for people, where that is known.
    """

    lines: tuple[bytes, ...] = ()
    knows_start: bool = False
    knows_end: bool = False
    problem: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether nothing else is missing there."""
        return self.knows_start and self.knows_end


class GapFiller(Protocol):
    """Has a second copy of the lines."""

    async def fill(self, gap: LogGap) -> Filling:
        """Return what belongs into a gap; never raises because that cannot be had."""


def is_hidden(line: bytes) -> bool:
    """Say whether a line is one that is shown to nobody, and of which no copy is kept."""
    text = line[STAMP_BYTES + 1 :]
    return MARK in text[:64] and parse_line(text).text.startswith(MARK)


def choose_filling(kept: Sequence[bytes], gap: LogGap, *, is_from_start: bool) -> Filling:
    """Return the kept lines of a gap.

    Args:
        kept: Lines of the gap's container, by time.
        gap: See there.
        is_from_start: The first of them is the first that was kept of the container.
    """
    start, knows_start = 0, is_from_start
    if gap.after:
        found = match_after(kept, gap.after, of_any_time=True)
        knows_start = found is not None
        start = place_after(kept, gap.after[-1]) if found is None else found
    end, knows_end = len(kept), True
    if gap.before:
        place = match_before(kept, gap.before, start=start)
        knows_end = place is not None
        end = place_after(kept, gap.before[0]) if place is None else place
    since = format_stamp(gap.since_ns)
    lines = tuple(line for line in kept[start:end] if line[:STAMP_BYTES] >= since)
    return Filling(lines=lines, knows_start=knows_start, knows_end=knows_end)


def describe_missing(gap: LogGap, filling: Filling) -> str:
    """Say of which times lines are missing; empty where there are none, or none that are known of."""
    spans: list[str] = []
    first = next(iter((*filling.lines, *gap.before)), None)
    if not filling.knows_start and first is not None:
        until = _clock(first)
        spans.append(f"between {_clock(gap.after[-1])} and {until}" if gap.after else f"of before {until}")
    last = next(iter((*reversed(filling.lines), *reversed(gap.after))), None)
    if not filling.knows_end and gap.before and last is not None:
        spans.append(f"between {_clock(last)} and {_clock(gap.before[0])}")
    return " and ".join(dict.fromkeys(spans))


def _clock(line: bytes) -> str:
    return line[:19].decode("ascii", "replace").replace("T", " ")


def find_after(lines: Sequence[bytes], last: Sequence[bytes]) -> int:
    """Return the place in kept lines after which all are later than the last of others.

    Args:
        lines: `RFC3339Nano text`, by time.
        last: The last other lines, in the same form, of the same text and with times a little later.
    """
    if not last:
        return 0
    found = match_after(lines, last)
    return place_after(lines, last[-1]) if found is None else found


def place_after(lines: Sequence[bytes], line: bytes) -> int:
    """Return the place in kept lines after those that are not later than a line, by time alone."""
    until = line[:STAMP_BYTES]
    return next((at for at, kept in enumerate(lines) if kept[:STAMP_BYTES] > until), len(lines))


def match_after(
    lines: Sequence[bytes], last: Sequence[bytes], *, of_any_time: bool = False
) -> int | None:  # fmt: skip
    """Return the place after the last other line, as `find_after` does; None where that was not kept.

    Args:
        lines: See there.
        last: See there.
        of_any_time: Take a place where all of `CONTEXT` lines agree, though later, where there is no other:
            a runtime's clock may have been set back, and kept times never go back.
    """
    texts = [line[STAMP_BYTES:] for line in last[-CONTEXT:]]
    until = max(last)[:STAMP_BYTES]  # lines of stdout and stderr get their times unordered

    def agree_at(at: int) -> int:
        agree = 0
        while agree < min(len(texts), at + 1) and lines[at - agree][STAMP_BYTES:] == texts[-1 - agree]:
            agree += 1
        return agree

    places = range(len(lines) - 1, -1, -1)
    found, at_any_time = _find_best(lines, places, agree_at, until=until, most=len(texts))
    if found is None and of_any_time and len(texts) == CONTEXT:
        found = at_any_time
    return None if found is None else found + 1


def match_before(lines: Sequence[bytes], first: Sequence[bytes], *, start: int) -> int | None:
    """Return the place of the first other line in kept ones from `start` on; None where it was not kept."""
    texts = [line[STAMP_BYTES:] for line in first[:CONTEXT]]
    until = max(first[:CONTEXT])[:STAMP_BYTES]

    def agree_at(at: int) -> int:
        agree = 0
        while agree < min(len(texts), len(lines) - at) and lines[at + agree][STAMP_BYTES:] == texts[agree]:
            agree += 1
        return agree

    places = range(len(lines) - 1, start - 1, -1)
    found, of_any_time = _find_best(lines, places, agree_at, until=until, most=len(texts))
    # a runtime's clock may have been set back, and kept times never go back
    return of_any_time if found is None else found


def _find_best(
    lines: Sequence[bytes], places: range, agree_at: Callable[[int], int], *, until: bytes, most: int
) -> tuple[int | None, int | None]:
    """Return the latest place up to `until` where most lines agree, and the latest after it where all do."""
    best, best_agree, of_any_time = None, 0, None
    for at in places:
        agree = agree_at(at)
        if lines[at][:STAMP_BYTES] > until:
            of_any_time = at if of_any_time is None and agree == most else of_any_time
        elif agree > best_agree:
            best, best_agree = at, agree
            if agree == most:
                break
    return best, of_any_time
