"""What commands print with: `echo` for all that they say, `LogPrinter` for the lines of a log."""

from __future__ import annotations

import io
import os
import select
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

import click

from launcher.cli.table import cut, wrap
from trainer.protocol.printable import for_stream, printable, show, wants_colour

if TYPE_CHECKING:  # `--help` does without
    from launcher.jobs.notes import Note

_MOMENT_S = 0.01


class LogPrinter:
    """Writes lines of a log to stdout."""

    def __init__(self) -> None:
        self._out = sys.stdout.buffer

    def show(self, lines: list[bytes]) -> None:
        """Write lines, which lack their newlines. May be called without any, as a clock.

        Raises:
            BrokenPipeError: Nobody reads any more, though nothing is written either: `… -f | head` ends with
                its reader, not with the next line.
        """
        if lines:
            self._write_all(b"\n".join(lines) + b"\n")
        elif self._is_deserted():
            raise BrokenPipeError

    def _is_deserted(self) -> bool:
        # of a pipe's writing end POLLERR says that the reading end is closed, on Linux and macOS (poll(2))
        try:
            watch = select.poll()
            watch.register(self._out.fileno(), 0)
            return any(event & select.POLLERR for _, event in watch.poll(0))
        except (OSError, ValueError, AttributeError):  # not a file of the system's; Windows has no `poll`
            return False

    def _write_all(self, data: bytes) -> None:
        """Write all, to whatever stdout is.

        With PYTHONUNBUFFERED it takes a part only (`io.RawIOBase.write`); where a program that shares the
        terminal has set it to O_NONBLOCK it takes none while the terminal is busy.
        """
        left = memoryview(data)
        while left:
            try:
                written = self._out.write(left)
            except BlockingIOError as error:
                written = error.characters_written
            left = left[written or 0 :]
            while not self._flush():
                self._wait()
            if left:
                self._wait()

    def _wait(self) -> None:
        """Wait until more can be written; on Windows, which waits for sockets alone, for a moment."""
        try:
            select.select((), (self._out,), ())
        except (OSError, ValueError):
            time.sleep(_MOMENT_S)

    def _flush(self) -> bool:
        try:
            self._out.flush()
        except BlockingIOError:
            return False
        return True


def chooses_colour(choice: str) -> bool:
    """Say whether `--color` asks for colours on stdout: always, never, or as `wants_colour` says of it."""
    return wants_colour(sys.stdout) if choice == "auto" else choice == "always"


def echo(message: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Write to stdout, or to stderr, what cannot steer a terminal; see `trainer.protocol.printable`."""
    text, colour = for_stream(message, sys.stderr if err else sys.stdout)
    click.echo(text, err=err, nl=nl, color=colour)


def print_note(note: Note) -> None:
    """Say on stderr what a use case has to say."""
    text = str(note)
    if sys.stderr.isatty():  # a file, and who searches it, have a sentence on one line
        text = "\n".join(line for part in text.split("\n") for line in wrap(part))
    echo(text, err=True)


def echo_error(error: click.ClickException) -> None:
    """Write what click says of a command line to stderr; it quotes words of the command line."""
    text = io.StringIO()
    error.show(file=text)
    echo(text.getvalue(), err=True, nl=False)


class StatusLine:
    """A line of a terminal's stderr that is written over again and again, cut to the terminal's width."""

    def write(self, text: str) -> None:
        """Show text, of which nothing can steer the terminal, in place of what stood there."""
        columns = shutil.get_terminal_size().columns - 1
        click.echo(f"\r\x1b[K{cut(printable(text), columns=columns)}", err=True, nl=False)

    def clear(self) -> None:
        """Take the line away, so that what comes next begins on an empty one."""
        click.echo("\r\x1b[K", err=True, nl=False)


def can_show() -> bool:
    """Say whether there is a terminal for it: one that both streams are, and whose cursor can be moved."""
    return sys.stdout.isatty() and sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Screen:
    """The whole of a terminal, drawn again and again; what stood there before is there when it is left.

    It is the terminal's other screen (xterm's private mode 1049), so that what is drawn leaves nothing
    behind, whatever the terminal's size becomes meanwhile.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._colour = wants_colour(stream)

    def enter(self) -> None:
        """Take the terminal, and hide its cursor."""
        self._write("\x1b[?1049h\x1b[?25l")

    def draw(self, lines: Sequence[str]) -> None:
        """Show lines, coloured by `paint`, in place of what stands there; they fit the terminal."""
        flat = (line.replace("\n", " ").replace("\t", " ") for line in lines)
        text = "\x1b[K\n".join(show(line, colour=self._colour) for line in flat)
        self._write(f"\x1b[H{text}\x1b[J")

    def leave(self) -> None:
        """Give the terminal back."""
        self._write("\x1b[?25h\x1b[?1049l")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


@contextmanager
def show_progress(total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error where that is a terminal; gives what is told each number of bytes."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=max(1, total_bytes), file=sys.stderr) as bar:
        yield bar.update


@contextmanager
def count_progress(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar with a count on standard error where that is a terminal; gives what is told each number."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(
        length=max(1, total), label=printable(doing), file=sys.stderr, show_pos=True
    ) as bar:
        yield bar.update
