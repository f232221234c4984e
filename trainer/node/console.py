"""The node process' standard output: whole tagged lines only, unbuffered.

Owns the file descriptor. Everything that a pod writes goes through here, so lines never interleave.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable

from trainer.protocol.tags import Tag, tag_line

Write = Callable[[bytes], None]


class Console:
    """Tags lines with the attempt and who wrote them.

    Attributes:
        attempt: Number of the attempt that own lines belong to; 0 before the first.
    """

    def __init__(self, *, node: int, write: Write) -> None:
        self.attempt = 0
        self._node = node
        self._write = write

    def copy_to(self, take: Write) -> None:
        """Have `take` told each line, just before it is written; it must not wait."""
        write = self._write

        def both(line: bytes) -> None:
            take(line)
            write(line)

        self._write = both

    def say(self, text: str) -> None:
        """Write a line of the node process itself."""
        self.say_bytes(text.replace("\n", " ").encode("utf-8", "backslashreplace"))

    def say_bytes(self, text: bytes) -> None:
        """Write a line of the node process itself that is encoded already."""
        self._write(tag_line(Tag(attempt=self.attempt, node=self._node), text) + b"\n")

    def pass_on(self, *, attempt: int, rank: int, text: bytes, dropped: int = 0) -> None:
        """Write a rank's line (without its newline), of which `dropped` bytes were not kept."""
        self._write(tag_line(Tag(attempt=attempt, rank=rank), text, dropped=dropped) + b"\n")


def write_stdout(data: bytes) -> None:
    """Write all of `data` to file descriptor 1; where nobody reads it any more, it is dropped."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(1, view) :]
        except BlockingIOError:  # an inherited descriptor may be non-blocking
            select.select([], [1], [])
        except BrokenPipeError:
            return
