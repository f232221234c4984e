"""A container's log: bytes -> whole lines, each as `YYYY-MM-DDTHH:MM:SS.nnnnnnnnnZ text`.

In this one form, whatever form and zone the times came in, lines of all pods compare as instants do, byte by
byte; so nothing after this module has to read a time.
"""

from __future__ import annotations

import calendar
import datetime
import re
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter

from trainer.protocol.tags import MAX_LINE_BYTES, Tag, cut_line

STAMP_BYTES = 30
_FORM = b"0000-00-00T00:00:00.000000000Z "
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_head_of = itemgetter(slice(0, STAMP_BYTES + 1))
_FULL = b" stdout F "
_kubelet_head_of = itemgetter(slice(0, STAMP_BYTES + len(_FULL)))
_KEPT = STAMP_BYTES + 64 + MAX_LINE_BYTES  # of a line that does not end: stamp, tag and what is shown
_KUBELET = re.compile(rb"(\S+) (stdout|stderr) ([FP])(?: (.*))?", re.DOTALL)
_INSTANT = re.compile(
    rb"(\d{4})-(\d\d)-(\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9})\d*)?(?:Z|([+-])(\d\d):(\d\d))"
)


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


def parse_instant(text: bytes) -> int | None:
    """Read an RFC 3339 time of any zone as nanoseconds of Unix time; None where it is none."""
    match = _INSTANT.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match[group]) for group in range(1, 7))
    if not (1 < year < 9999 and 1 <= month <= 12 and 1 <= day <= 31):
        return None
    if hour > 23 or minute > 59 or second > 60:
        return None
    seconds = calendar.timegm((year, month, day, hour, minute, second, 0, 0, 0))
    if match[8]:
        offset = int(match[9]) * 3600 + int(match[10]) * 60
        seconds -= offset if match[8] == b"+" else -offset
    return seconds * 1_000_000_000 + int((match[7] or b"0").ljust(9, b"0"))


def format_stamp(instant_ns: int) -> bytes:
    """Write nanoseconds of Unix time as RFC 3339 in UTC with nine digits: `STAMP_BYTES` bytes."""
    seconds, nanoseconds = divmod(instant_ns, 1_000_000_000)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z".encode()


def is_stamped(lines: list[bytes]) -> bool:
    """Say whether all lines begin with a time in the one form and a space."""
    return b"".join(map(_head_of, lines)).translate(_ZEROS) == _FORM * len(lines)


def restamp(line: bytes) -> bytes | None:
    """Return a line with its time in the one form; None where it begins with none."""
    stamp, _, text = line.partition(b" ")
    match = _INSTANT.fullmatch(stamp)
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
