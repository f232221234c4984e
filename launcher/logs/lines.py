"""Lines of a container's log in the kubelet's form: `RFC3339Nano stream F|P text`."""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass

from trainer.protocol.tags import Tag, parse_line

_LINE = re.compile(rb"(\S+) (stdout|stderr) ([FP])(?: (.*))?", re.DOTALL)
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
    seconds = calendar.timegm((year, month, day, hour, minute, second, 0, 0, 0))
    if match[8]:
        offset = int(match[9]) * 3600 + int(match[10]) * 60
        seconds -= offset if match[8] == b"+" else -offset
    return seconds * 1_000_000_000 + int((match[7] or b"0").ljust(9, b"0"))


class LineReader:
    """Turns one container's bytes into whole lines: parts that are marked `P` are put together."""

    def __init__(self, *, node: int) -> None:
        self._node = node
        self._parts: list[bytes] = []
        self._began_ns: int | None = None

    def take(self, data: bytes) -> list[LogLine]:
        """Read whole lines of the log; what is not in the kubelet's form is left out."""
        found = []
        for line in data.split(b"\n"):
            match = _LINE.fullmatch(line)
            instant_ns = parse_instant(match[1]) if match else None
            if match is None or instant_ns is None:
                continue
            self._parts.append(match[4] or b"")
            self._began_ns = instant_ns if self._began_ns is None else self._began_ns
            if match[3] == b"F":
                found.append(self._finish(self._began_ns))
        return found

    def _finish(self, instant_ns: int) -> LogLine:
        tagged = parse_line(b"".join(self._parts))
        self._parts, self._began_ns = [], None
        return LogLine(instant_ns=instant_ns, node=self._node, tag=tagged.tag, text=tagged.text)
