"""Lines of one pod -> what is shown of them, with the time before it to sort by. The hot path.

A tag's prefix is made once; a line with a known tag costs one replacement, since a line's first space is the
one after its time. Whatever is not plain (control characters, broken UTF-8, JSON, a pattern, no tag) goes the
long way, line by line.
"""

from __future__ import annotations

from operator import itemgetter

from launcher.logs.lines import STAMP_BYTES, LogLine, format_stamp, parse_instant
from launcher.logs.log_filter import Wanted
from launcher.logs.log_format import Form, begin, present
from trainer.protocol.printable import escape_reordering
from trainer.protocol.tags import parse_line

_CONTROL = bytes([*range(9), *range(11, 32), 127])
_C1 = b"\xc2"  # first byte of the control characters above 127, and of some signs
_REORDERING = (b"\xe2\x80", b"\xe2\x81", b"\xd8\x9c")
"""How the marks that turn letters round begin, and some quotes and dashes."""
_TAGS_KEPT = 4096
_UNKNOWN = b"?"


def is_plain(text: bytes) -> bool:
    """Say whether bytes are valid UTF-8 whose only control characters are tabs and newlines."""
    if len(text.translate(None, _CONTROL)) != len(text):
        return False
    if text.isascii():
        return True
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        return False
    if any(begin in text for begin in _REORDERING) and escape_reordering(decoded) != decoded:
        return False
    return _C1 not in text


class Shaper:
    """Shapes the lines of one pod."""

    def __init__(self, *, node: int, wanted: Wanted, form: Form) -> None:
        self._node = node
        self._wanted = wanted
        self._form = form
        self._prefixes: dict[bytes, bytes | None] = {}
        self._head_of = itemgetter(slice(0, 0))
        # the short way cannot look into texts nor write another form
        self._since = format_stamp(wanted.since_ns) if wanted.since_ns else b""
        self._is_plain = form.output == "text" and wanted.pattern is None

    def shape(self, lines: list[bytes]) -> list[bytes]:
        """Return `STAMP_BYTES` of time and the text to show, without newline, of each line that is wanted."""
        if self._since:
            lines = [line for line in lines if line[:STAMP_BYTES] >= self._since]
        if not self._is_plain:
            return [shown for line in lines if (shown := self._shape_one(line)) is not None]
        if is_plain(b"".join(lines)):
            return self._shape_plain(lines) if lines else lines
        return [
            shown
            for line in lines
            for shown in (self._shape_plain([line]) if is_plain(line) else [self._shape_one(line)])
            if shown is not None
        ]

    def _shape_plain(self, lines: list[bytes]) -> list[bytes]:
        prefixes = self._prefixes
        if self._head_of(lines[0]) not in prefixes:
            self._learn(lines[0])
        heads = list(map(self._head_of, lines))  # right where all tags are as long as the last new one
        kinds = set(heads)
        if self._form.timestamps or not prefixes.keys() >= kinds:
            return self._shape_mixed(lines)
        if len(kinds) == 1:
            (head,) = kinds
            prefix = prefixes[head]
            return [] if prefix is None else [line.replace(head, prefix, 1) for line in lines]
        return [
            line.replace(head, prefix, 1)
            for line, head in zip(lines, heads, strict=True)
            if (prefix := prefixes[head]) is not None
        ]

    def _shape_mixed(self, lines: list[bytes]) -> list[bytes]:
        prefixes, times, out = self._prefixes, self._form.timestamps, []
        for line in lines:
            tag, end, text = line.partition(b"] ")
            head = tag[STAMP_BYTES:] + end
            prefix = prefixes.get(head, _UNKNOWN)
            if prefix is _UNKNOWN:
                self._learn(line)
                shown = self._shape_one(line)
                if shown is not None:
                    out.append(shown)
            elif prefix is not None:
                stamp = tag[:STAMP_BYTES]
                out.append(stamp + stamp[:23] + b"Z " + prefix + text if times else stamp + prefix + text)
        return out

    def _shape_one(self, raw: bytes) -> bytes | None:
        tagged = parse_line(raw[STAMP_BYTES + 1 :])
        stamp = raw[:STAMP_BYTES]
        line = LogLine(
            instant_ns=parse_instant(stamp) or 0, node=self._node, tag=tagged.tag, text=tagged.text
        )
        if not self._wanted.takes(line):
            return None
        return stamp + present(line, self._form).encode("utf-8", "replace")

    def _learn(self, raw: bytes) -> None:
        tag = parse_line(raw[STAMP_BYTES + 1 :]).tag
        if tag is None or tag.rank is None:  # what of a node's own lines is shown depends on the text
            return
        end = raw.index(b"] ") + 2
        head = raw[STAMP_BYTES:end]
        if len(self._prefixes) >= _TAGS_KEPT:
            self._prefixes.clear()
        self._head_of = itemgetter(slice(STAMP_BYTES, end))
        bare = LogLine(instant_ns=self._wanted.since_ns, node=self._node, tag=tag, text=b"")
        self._prefixes[head] = begin(bare, self._form).encode() if self._wanted.takes(bare) else None
