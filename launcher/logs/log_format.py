"""Lines of one pod -> what is shown of them, with the time before it to sort by. The hot path. Pure.

Two ways lead to the same text, and a test holds them together. The short one is for lines that are plain:
valid UTF-8 without control characters, with a tag, as text, without a pattern to look for. What stands
before the text of each line of one rank is made once, kept by the line's tag (`_prefixes`), and put in
place of the tag by one `bytes.replace`: a line's first space is the one after its time. All that is not
plain goes the long way, line by line, through `LogLine`, `LogFilter` and `format_line`, which costs some
twenty times as much. A piece of 16 KiB is judged as a whole first; only where it is not plain are its lines.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

from launcher.logs.lines import LogLine
from launcher.logs.log_filter import LogFilter
from launcher.times import STAMP_BYTES, format_milliseconds, format_stamp, parse_instant
from trainer.protocol.printable import escape_reordering
from trainer.protocol.tags import parse_line

# Escape sequences (CSI, OSC and two-byte ones), then control characters but for the tab.
_CONTROL = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b.|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
# of ECMA-48's select graphic rendition (8.3.117): styles and colours, but not 8, which conceals
_STYLE = r"(?:[34]8;5;[0-9]{1,3}|[34]8;2(?:;[0-9]{1,3}){3}|0{0,2}|0?[1-79]|2[1-9]|[349][0-9]|10[0-7])"
_COLOUR = re.compile(rf"\x1b\[{_STYLE}(?:;{_STYLE})*m")
_COLOURS = (
    36,
    33,
    32,
    35,
    34,
    96,
    93,
    92,
    95,
    94,
)  # cyan, yellow, green, magenta, blue, and their bright ones
_FAINT = 2  # not bright black, which some themes (Solarized) make the background's colour


@dataclass(frozen=True, kw_only=True, slots=True)
class LogFormat:
    """How lines are written.

    Attributes:
        colour: A stable colour for each rank's prefix, and the text's own. Other control sequences go,
            because a log must not move the cursor, hide text or type into the terminal.
        timestamps: Put the time before each line.
        prefix: Put `[rank 3]` before each line.
        attempts: And the attempt, `[rank 3 attempt 2]`.
    """

    output: Literal["text", "json"] = "text"
    colour: bool = False
    timestamps: bool = False
    prefix: bool = True
    attempts: bool = False


def format_line(line: LogLine, form: LogFormat) -> str:
    """Write a line without its newline; of a progress bar only the last state is left."""
    text = line.text.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]
    if form.output == "json":
        return _as_json(line, escape_reordering(_CONTROL.sub("", text)))
    parts = []
    if form.timestamps:
        parts.append(format_milliseconds(line.instant_ns))
    if form.prefix:
        parts.append(format_prefix(line, form).rstrip(" "))
    parts.append(escape_reordering(_keep_colours(text) if form.colour else _CONTROL.sub("", text)))
    return " ".join(parts)


def _keep_colours(text: str) -> str:
    kept = _CONTROL.sub(lambda found: found[0] if _COLOUR.fullmatch(found[0]) else "", text)
    return f"{kept}\x1b[0m" if _COLOUR.search(kept) else kept


def format_prefix(line: LogLine, form: LogFormat) -> str:
    """Return what stands before the text of every line of this writer; empty where nothing does."""
    if not form.prefix:
        return ""
    rank = line.tag.rank if line.tag is not None else None
    name = f"[rank {rank}]" if rank is not None else f"[node {line.node}]"
    if form.attempts and line.tag is not None and line.tag.attempt:
        name = f"{name[:-1]} attempt {line.tag.attempt}]"
    if not form.colour:
        return f"{name} "
    code = _COLOURS[rank % len(_COLOURS)] if rank is not None else _FAINT
    return f"\x1b[{code}m{name}\x1b[0m "


def _as_json(line: LogLine, text: str) -> str:
    tag = line.tag
    document = {
        "time": format_milliseconds(line.instant_ns), "node": line.node,
        "rank": tag.rank if tag is not None else None,
        "attempt": tag.attempt if tag is not None else None, "text": text,
    }  # fmt: skip
    return json.dumps(document, ensure_ascii=False)


_CONTROL_BYTES = bytes([*range(9), *range(11, 32), 127])
_C1 = b"\xc2"  # first byte of the control characters above 127, and of some signs
_REORDERING = (b"\xe2\x80", b"\xe2\x81", b"\xd8\x9c")
"""How the marks that turn letters round begin, and some quotes and dashes."""
_TAGS_KEPT = 4096
_UNKNOWN = b"?"


def is_plain(text: bytes) -> bool:
    """Say whether bytes are valid UTF-8 whose only control characters are tabs and newlines."""
    if len(text.translate(None, _CONTROL_BYTES)) != len(text):
        return False
    if text.isascii():
        return True
    try:
        decoded = text.decode()
    except UnicodeDecodeError:
        return False
    if any(mark in text for mark in _REORDERING) and escape_reordering(decoded) != decoded:
        return False
    return _C1 not in text


class Formatter:
    """Shapes the lines of one pod."""

    def __init__(self, *, node: int, log_filter: LogFilter, form: LogFormat) -> None:
        self._node = node
        self._filter = log_filter
        self._form = form
        self._prefixes: dict[bytes, bytes | None] = {}
        self._head_of = itemgetter(slice(0, 0))
        # the short way cannot look into texts nor write another form
        self._since = format_stamp(log_filter.since_ns) if log_filter.since_ns else b""
        self._is_plain = form.output == "text" and log_filter.pattern is None

    def format_lines(self, lines: list[bytes]) -> list[bytes]:
        """Return `STAMP_BYTES` of time and the text to show, without newline, of each line that is wanted."""
        if self._since:
            lines = [line for line in lines if line[:STAMP_BYTES] >= self._since]
        if not self._is_plain:
            return [shown for line in lines if (shown := self._format_one(line)) is not None]
        if is_plain(b"".join(lines)):
            return self._format_plain(lines) if lines else lines
        return [
            shown
            for line in lines
            for shown in (self._format_plain([line]) if is_plain(line) else [self._format_one(line)])
            if shown is not None
        ]

    def _format_plain(self, lines: list[bytes]) -> list[bytes]:
        prefixes = self._prefixes
        if self._head_of(lines[0]) not in prefixes:
            self._learn(lines[0])
        heads = list(map(self._head_of, lines))  # right where all tags are as long as the last new one
        kinds = set(heads)
        if self._form.timestamps or not prefixes.keys() >= kinds:
            return self._format_mixed(lines)
        if len(kinds) == 1:
            (head,) = kinds
            prefix = prefixes[head]
            return [] if prefix is None else [line.replace(head, prefix, 1) for line in lines]
        return [
            line.replace(head, prefix, 1)
            for line, head in zip(lines, heads, strict=True)
            if (prefix := prefixes[head]) is not None
        ]

    def _format_mixed(self, lines: list[bytes]) -> list[bytes]:
        prefixes, times, out = self._prefixes, self._form.timestamps, []
        for line in lines:
            tag, end, text = line.partition(b"] ")
            head = tag[STAMP_BYTES:] + end
            prefix = prefixes.get(head, _UNKNOWN)
            if prefix is _UNKNOWN:
                self._learn(line)
                shown = self._format_one(line)
                if shown is not None:
                    out.append(shown)
            elif prefix is not None:
                stamp = tag[:STAMP_BYTES]
                out.append(stamp + stamp[:23] + b"Z " + prefix + text if times else stamp + prefix + text)
        return out

    def _format_one(self, raw: bytes) -> bytes | None:
        tagged = parse_line(raw[STAMP_BYTES + 1 :])
        stamp = raw[:STAMP_BYTES]
        line = LogLine(
            instant_ns=parse_instant(stamp) or 0, node=self._node, tag=tagged.tag, text=tagged.text
        )
        if not self._filter.takes(line):
            return None
        return stamp + format_line(line, self._form).encode("utf-8", "replace")

    def _learn(self, raw: bytes) -> None:
        tag = parse_line(raw[STAMP_BYTES + 1 :]).tag
        if tag is None or tag.rank is None:  # what of a node's own lines is shown depends on the text
            return
        end = raw.index(b"] ") + 2
        head = raw[STAMP_BYTES:end]
        if len(self._prefixes) >= _TAGS_KEPT:
            self._prefixes.clear()
        self._head_of = itemgetter(slice(STAMP_BYTES, end))
        bare = LogLine(instant_ns=self._filter.since_ns, node=self._node, tag=tag, text=b"")
        self._prefixes[head] = format_prefix(bare, self._form).encode() if self._filter.takes(bare) else None
