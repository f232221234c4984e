"""What a use case has to say while it works, as values: a command prints them, a program may ignore them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Note:
    """A sentence for people.

    Attributes:
        text: Without a line break, but for problems of a config, which name their file.
        level: `warning` where it may go against what was meant, `note` where it was decided or left out for
            the caller, `info` where it says how things go on, `problem` of a config's problem that stops
            nothing, whose text says itself that it is a warning.
    """

    text: str
    level: Literal["info", "note", "warning", "problem"] = "info"

    def __str__(self) -> str:
        return self.text if self.level in ("info", "problem") else f"{self.level}: {self.text}"


Notes = Callable[[Note], None]
"""Takes notes one by one, each when it is made. Called in the thread of the use case."""
Progress = Callable[[int], AbstractContextManager[Callable[[int], None]]]
"""From the bytes that may pass to what is told of each number of bytes that has."""


def ignore(note: Note) -> None:
    """Pass a note over."""
    del note


def no_progress(total_bytes: int) -> AbstractContextManager[Callable[[int], None]]:
    """Show nothing of how far a transfer is."""
    del total_bytes
    return nullcontext(lambda _: None)
