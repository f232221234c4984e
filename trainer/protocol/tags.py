"""The tag in front of every line that a pod writes: `[a2 r3] text` or `[a2 n1] text`.

A rank's bytes pass through untouched (UTF-8 and carriage returns included), but for a cut at 64 KiB.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_LINE_BYTES = 64 * 1024

_TAGGED = re.compile(rb"\[a(\d{1,9}) ([rn])(\d{1,9})\] ")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tag:
    """Who wrote a line: a rank, or the node process itself.

    Attributes:
        attempt: Start of all ranks that the line belongs to, from 1; 0 before the first.
        rank: Global rank, or None for the node process.
        node: Index of the node for its own lines, or None for a rank's.
    """

    attempt: int
    rank: int | None = None
    node: int | None = None

    def __post_init__(self) -> None:
        if (self.rank is None) == (self.node is None):
            raise ValueError(f"tag: expected a rank or a node, got rank {self.rank!r} and node {self.node!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TaggedLine:
    """One line of a pod's log without its end-of-line; `tag` is None where the line carries none."""

    tag: Tag | None
    text: bytes


def tag_line(tag: Tag, text: bytes, *, dropped: int = 0) -> bytes:
    """Put `tag` before a line (without its newline) and cut it at `MAX_LINE_BYTES`, saying by how much.

    Args:
        tag: Who wrote it.
        text: The line, or where `dropped` is not 0 its first `MAX_LINE_BYTES` or more.
        dropped: Bytes of the line that did not get as far as `text`.
    """
    who = f"r{tag.rank}" if tag.rank is not None else f"n{tag.node}"
    return f"[a{tag.attempt} {who}] ".encode() + cut_line(text, dropped=dropped)


def cut_line(text: bytes, *, dropped: int = 0) -> bytes:
    """Cut a line at `MAX_LINE_BYTES` on a character boundary and append how many bytes went."""
    if len(text) <= MAX_LINE_BYTES:
        return text
    end = MAX_LINE_BYTES
    while end > MAX_LINE_BYTES - 4 and text[end] & 0xC0 == 0x80:  # a UTF-8 continuation byte
        end -= 1
    return text[:end] + f" …[{len(text) - end + dropped} bytes cut]".encode()


def parse_line(line: bytes) -> TaggedLine:
    """Split a pod's line into its tag and the text after it."""
    match = _TAGGED.match(line)
    if match is None:
        return TaggedLine(tag=None, text=line)
    attempt, kind, number = int(match[1]), match[2], int(match[3])
    tag = Tag(attempt=attempt, rank=number) if kind == b"r" else Tag(attempt=attempt, node=number)
    return TaggedLine(tag=tag, text=line[match.end() :])
