"""A container's log: bytes -> whole lines, each as `YYYY-MM-DDTHH:MM:SS.nnnnnnnnnZ text`.

In this one form, whatever form and zone the times came in, lines of all pods compare as instants do, byte by
byte; so nothing after this module has to read a time.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter

from launcher.times import INSTANT, STAMP_BYTES, format_stamp, parse_instant
from trainer.protocol.tags import MAX_LINE_BYTES, Tag, cut_line

_FORM = b"0000-00-00T00:00:00.000000000Z "
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_head_of = itemgetter(slice(0, STAMP_BYTES + 1))
_FULL = b" stdout F "
_kubelet_head_of = itemgetter(slice(0, STAMP_BYTES + len(_FULL)))
_KEPT = STAMP_BYTES + 64 + MAX_LINE_BYTES  # of a line that does not end: stamp, tag and what is shown
_KUBELET = re.compile(rb"(\S+) (stdout|stderr) ([FP])(?: (.*))?", re.DOTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogLine:
    """One whole line of a pod.

    Attributes:
        instant_ns: Nanoseconds of Unix time at which its first part was written.
        node: Index of the pod that wrote it.
        tag: Who wrote it inside the pod; None where it carries no tag.
        text: Without tag and newline.
    """

    instant_ns: int
    node: int
    tag: Tag | None
    text: bytes


def is_stamped(lines: list[bytes]) -> bool:
    """Say whether all lines begin with a time in the one form and a space."""
    return b"".join(map(_head_of, lines)).translate(_ZEROS) == _FORM * len(lines)


def restamp(line: bytes) -> bytes | None:
    """Return a line with its time in the one form; None where it begins with none."""
    stamp, _, text = line.partition(b" ")
    match = INSTANT.fullmatch(stamp)
    if match is None:
        return None
    second = _to_utc(stamp[:19], stamp[-6:] if match[8] else b"Z")
    return second + b"." + (match[7] or b"").ljust(9, b"0") + b"Z " + text


@lru_cache(maxsize=256)
def _to_utc(second: bytes, zone: bytes) -> bytes:
    # nodes in another zone write all their times so, and many lines in a second
    return format_stamp(parse_instant(second + zone) or 0)[:19]


class LineCutter:
    """Puts the pieces of `RFC3339Nano text` lines together, as the API sends them. Keeps at most one line."""

    def __init__(self) -> None:
        self._rest = b""
        self._dropped = 0

    def take(self, piece: bytes) -> list[bytes]:
        """Return the lines that a piece completes; those without a time are the kubelet's own words."""
        data = self._rest + piece
        lines = data.split(b"\n")
        self._rest = lines.pop()
        if self._dropped and lines:
            lines[0], self._dropped = self._cut(lines[0]), 0
        if len(self._rest) > _KEPT:
            self._dropped += len(self._rest) - _KEPT
            self._rest = self._rest[:_KEPT]
        return lines if len(data) <= _KEPT and is_stamped(lines) else self._mend(lines)

    @property
    def kept_bytes(self) -> int:
        """Size of the line that is not complete yet."""
        return len(self._rest)

    @property
    def words(self) -> str:
        """What is left where it has no time: the kubelet's own words on why it has ended; empty for none."""
        is_line = not self._rest or is_stamped([self._rest]) or restamp(self._rest) is not None
        return "" if is_line else " ".join(self._rest.decode("utf-8", "replace").split())

    def finish(self) -> list[bytes]:
        """Return what is left as a last line without its newline."""
        return self.take(b"\n") if self._rest else []

    def _mend(self, lines: list[bytes]) -> list[bytes]:
        whole = (line if is_stamped([line]) else restamp(line) for line in lines)
        return [line if len(line) <= _KEPT else self._cut(line) for line in whole if line is not None]

    def _cut(self, line: bytes) -> bytes:
        stamp, _, text = line.partition(b" ")
        return stamp + b" " + cut_line(text, dropped=self._dropped)


class LineReader:
    """Turns the kubelet's own form, `RFC3339Nano stream F|P text`, into lines; parts are put together."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._stamp: bytes | None = None

    def take(self, data: bytes) -> list[bytes]:
        """Read whole lines of the log; what is not in the kubelet's form is left out."""
        lines = data.split(b"\n")
        if not lines[-1]:
            lines.pop()
        if not self._parts and _is_canonical(lines):
            return [line.replace(_FULL, b" ", 1) for line in lines]
        found = []
        for line in lines:
            match = _KUBELET.fullmatch(line)
            instant_ns = parse_instant(match[1]) if match else None
            if match is None or instant_ns is None:
                continue
            self._parts.append(match[4] or b"")
            self._stamp = self._stamp or format_stamp(instant_ns)
            if match[3] == b"F":
                found.append(self._stamp + b" " + cut_line(b"".join(self._parts)))
                self._parts, self._stamp = [], None
        return found


def _is_canonical(lines: list[bytes]) -> bool:
    heads = b"".join(map(_kubelet_head_of, lines)).translate(_ZEROS)
    is_form = heads == (_FORM[:-1] + _FULL) * len(lines)
    return is_form and max(map(len, lines), default=0) <= STAMP_BYTES + len(_FULL) + MAX_LINE_BYTES


def to_kubelet_form(lines: list[bytes]) -> bytes:
    """Write lines as the kubelet keeps them."""
    # a time has no space
    return b"\n".join([line.replace(b" ", _FULL, 1) for line in lines]) + b"\n" * bool(lines)
