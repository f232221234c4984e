"""How a line is shown to a person or to a program. Pure."""

from __future__ import annotations

import datetime
import json
import re
from dataclasses import dataclass
from typing import Literal

from launcher.logs.lines import LogLine
from trainer.protocol.printable import escape_reordering

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
class Form:
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


def present(line: LogLine, form: Form) -> str:
    """Write a line without its newline; of a progress bar only the last state is left."""
    text = line.text.decode("utf-8", "replace").rstrip("\r").rpartition("\r")[2]
    if form.output == "json":
        return _as_json(line, escape_reordering(_CONTROL.sub("", text)))
    parts = []
    if form.timestamps:
        parts.append(format_time(line.instant_ns))
    if form.prefix:
        parts.append(begin(line, form).rstrip(" "))
    parts.append(escape_reordering(_keep_colours(text) if form.colour else _CONTROL.sub("", text)))
    return " ".join(parts)


def _keep_colours(text: str) -> str:
    kept = _CONTROL.sub(lambda found: found[0] if _COLOUR.fullmatch(found[0]) else "", text)
    return f"{kept}\x1b[0m" if _COLOUR.search(kept) else kept


def format_time(instant_ns: int) -> str:
    """Write nanoseconds of Unix time as RFC 3339 in UTC with milliseconds."""
    moment = datetime.datetime.fromtimestamp(instant_ns // 1_000_000_000, datetime.timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{instant_ns // 1_000_000 % 1000:03d}Z"


def begin(line: LogLine, form: Form) -> str:
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
        "time": format_time(line.instant_ns), "node": line.node,
        "rank": tag.rank if tag is not None else None,
        "attempt": tag.attempt if tag is not None else None, "text": text,
    }  # fmt: skip
    return json.dumps(document, ensure_ascii=False)
