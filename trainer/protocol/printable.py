"""Makes text harmless for a terminal: what would steer it is shown instead.

Words that are not ours (a pod's reason, a file's name, a server's message, a config's key) may hold escape
sequences that retitle the terminal, move its cursor or put something on its clipboard, and marks that turn
the order of letters round. `for_stream` is applied once, where a command prints, to all that it prints; so
no place has to remember it.

The colours of the product must pass. They cannot be told from a stranger's by their form, so that `paint`
does not write them: it sets marks with a number drawn when the process starts, which no stranger knows, and
`show` turns these marks, and nothing else, into colours.
"""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Mapping
from typing import Literal, TextIO

Role = Literal[
    "good", "warn", "bad", "faint", "strong", "first", "second", "third", "fourth", "fifth", "sixth"
]
"""What a piece of text is: how well something stands, or which of several curves it belongs to."""

_CODES: dict[Role, int] = {
    "good": 32, "warn": 33, "bad": 31, "faint": 2, "strong": 1, "first": 36, "second": 93, "third": 95,
    "fourth": 92, "fifth": 94, "sixth": 91,
}  # fmt: skip
_SECRET = secrets.token_hex(8)
_MARK = re.compile(f"\x00{_SECRET}([0-9]+)\x00")

# C0 but for tab and newline, DEL, C1; the marks of Unicode's bidirectional algorithm (UAX #9); line and
# paragraph separators; halves of surrogate pairs, which file names that are no UTF-8 hold and no stream takes
_ORDER = "\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069"
_STEERING = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_ORDER}\ud800-\udfff]")
_REORDERING = re.compile(f"[{_ORDER}]")


def escape_controls(text: str) -> str:
    r"""Return text of any number of lines in which control characters stand as `\x1b` or `\u202e`."""
    return _STEERING.sub(_escape, text)


def escape_reordering(text: str) -> str:
    """Escape only what turns the order of letters round, where control characters are seen to elsewhere."""
    return _REORDERING.sub(_escape, text)


def printable(text: str) -> str:
    """Return text as one line: as `escape_controls`, with tabs and line breaks escaped as well."""
    return escape_controls(text).replace("\t", "\\t").replace("\n", "\\n")


def paint(text: str, role: Role) -> str:
    """Mark text for `show` to colour. Of text that is never shown, the marks stay in."""
    return f"\x00{_SECRET}{_CODES[role]}\x00{text}\x00{_SECRET}0\x00"


def painted_parts(text: str) -> list[tuple[str, Role | None]]:
    """Return the pieces of a text that `paint` has marked, each with its role, and those between them."""
    roles = {str(code): role for role, code in _CODES.items()}
    found = _MARK.split(text)
    pairs = zip(found[::2], ["0", *found[1::2]], strict=True)
    return [(part, roles.get(code)) for part, code in pairs if part]


def show(text: str, *, colour: bool) -> str:
    """Return what may be written to a terminal: no controls but newlines, tabs and the colours of `paint`."""
    parts = _MARK.split(text)  # text, code, text, code, … text
    shown = [escape_controls(part) for part in parts[::2]]
    codes = [f"\x1b[{code}m" if colour else "" for code in parts[1::2]]
    return "".join(part for pair in zip(shown, [*codes, ""], strict=True) for part in pair)


def for_stream(message: object, stream: TextIO) -> tuple[str | bytes, bool]:
    """Return what a command writes to a stream of a message, and whether colours are in it.

    Bytes are data for programs: only where a terminal would read them is anything in them escaped.
    """
    if isinstance(message, bytes):
        if not stream.isatty():
            return message, False
        message = message.decode("utf-8", "replace")
    colour = wants_colour(stream)
    return show(str(message), colour=colour), colour


def wants_colour(stream: TextIO, *, environ: Mapping[str, str] = os.environ) -> bool:
    """Say whether to colour what a stream gets: by NO_COLOR, FORCE_COLOR, TERM and what the stream is."""
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    return environ.get("TERM") != "dumb" and stream.isatty()


def _escape(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
