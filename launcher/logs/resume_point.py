"""Where reading one container's log has got to, and what of a new answer was read before. Pure.

A log is asked for from a whole second on (`sinceTime`), so every new answer begins with lines that we have.
They end with the line that we read last: it is known by its instant, its content and its ordinal among
equal ones. If the node has rotated the log since, that line never comes, and all that comes is new.

While that line is awaited, other lines are held (`_held`); each copy of it that comes empties them, since
all before it is known. Three things end the waiting. It has come as often as we had read it (`_copies`):
what follows is new. A line comes that is later than all that we have (`_newest`): ours is not to come any
more, and what is held is new. Or the answer ends (`settle`), and the same holds. Where not one copy came,
lines are missing (`has_gap`). Counting lines or bytes would be simpler, and wrong after a rotation; a set
of all lines would be right, and as large as the log.
"""

from __future__ import annotations

from itertools import islice

from launcher.logs.gaps import is_hidden
from launcher.times import STAMP_BYTES, parse_instant

OVERLAP_S = 3
"""How far before the last line a new answer begins: stdout and stderr get their times unordered, and clocks
are set back a little."""
_MAX_HELD = 100_000
_RECENT = 16


class ResumePoint:
    """One container's place in its log.

    Attributes:
        last: The line that was read last, or None.
        has_gap: An answer began after it: the node no longer has what lay between.
        recent: The shown lines that were read last, a few.
        before_gap: What `recent` was before the lines that were returned last, where a gap lies before these;
            None where they go on from there.
        is_cut: The answer that is complete has not brought the line that was read last.
        pending: The last shown lines before a gap that is not closed yet, for who closes them; None for none.
    """

    def __init__(self) -> None:
        self.last: bytes | None = None
        self.has_gap = False
        self.recent: list[bytes] = []
        self.before_gap: list[bytes] | None = None
        self.is_cut = False
        self.pending: tuple[bytes, ...] | None = None
        self._copies = 0
        self._same: list[bytes] = []
        self._newest = b""
        self._held: list[bytes] | None = None
        self._seen = 0

    def since_s(self) -> int | None:
        """Return the Unix time from which to ask for more; None for the beginning."""
        instant_ns = None if self.last is None else parse_instant(self.last[:STAMP_BYTES])
        return None if instant_ns is None else instant_ns // 1_000_000_000 - OVERLAP_S

    def reopen(self) -> None:
        """A new answer begins, from `since_s` on."""
        self._held = None if self.last is None else []
        self._seen = 0

    def take(self, lines: list[bytes]) -> list[bytes]:
        """Return the lines that are new; `lines` are the answer's next ones."""
        self.before_gap = None
        if self._held is None:
            return self._note(lines)
        for number, line in enumerate(lines):
            if line == self.last:
                self._seen += 1
                self._held.clear()
                if self._seen == self._copies:
                    self._held = None
                    return self._note(lines[number + 1 :])
            elif line[:STAMP_BYTES] > self._newest:  # later than all that we have: ours was rotated away
                self._held += lines[number:]
                return self.settle()
            else:
                self._held.append(line)
        # A log that has this many lines in a few seconds is not about to lose its last one to rotation.
        del self._held[:-_MAX_HELD]
        return []

    def settle(self) -> list[bytes]:
        """The answer is complete: return what of it is new after all, because our line did not come."""
        held, self._held = self._held, None
        self.before_gap = None
        self.is_cut = held is not None and not self._seen
        if not self.is_cut or held is None:
            return self._note(held or [])
        if held:
            self.has_gap, self.before_gap = True, self.recent
        return self._note(held)

    def _note(self, lines: list[bytes]) -> list[bytes]:
        if not lines:
            return lines
        last = lines[-1]
        stamp = last[:STAMP_BYTES]
        if self.last is None or self.last[:STAMP_BYTES] != stamp:
            self._same = []
        first = len(lines) - 1
        while first and lines[first - 1][:STAMP_BYTES] == stamp:
            first -= 1
        if first:
            self._same = []
        self._same += lines[first:]
        self.last, self._copies = last, self._same.count(last)
        self._newest = max(self._newest, max(lines)[:STAMP_BYTES])
        shown = list(islice((line for line in reversed(lines) if not is_hidden(line)), _RECENT))
        self.recent = [*self.recent, *reversed(shown)][-_RECENT:]
        return lines
