"""What the commands print with."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterator

import click

from trainer.protocol.printable import for_stream

_MAX_WORDS = 1024 * 1024


def echo(message: object = "", *, err: bool = False, nl: bool = True) -> None:
    """Write to stdout, or to stderr, what cannot steer a terminal; see `trainer.protocol.printable`."""
    text, colour = for_stream(message, sys.stderr if err else sys.stdout)
    click.echo(text, err=err, nl=nl, color=colour)


def warn(text: str) -> None:
    """Write a line for people, beside the results, to stderr."""
    echo(text, err=True)


def print_log(text: str) -> None:
    """Write a line of a training to stdout at once, with the time: what a user of PaddleClas watches."""
    from trainer.engine.run_log import format_line

    echo(format_line(text))


def echo_error(error: click.ClickException) -> None:
    """Write what click says of a command line to stderr; it quotes words of the command line."""
    text = io.StringIO()
    error.show(file=text)
    echo(text.getvalue(), err=True, nl=False)


@contextlib.contextmanager
def hush_decoders() -> Iterator[None]:
    """Count what image decoders write to standard error meanwhile, instead of showing each word.

    libjpeg has no other way to say that something is odd in an image that it reads all the same, and names no
    file. It writes past `sys.stderr`, to descriptor 2; what is ours goes on to where that led.
    """
    shown = os.dup(2)
    before = sys.stderr
    sys.stderr.flush()
    try:
        is_shown = before.fileno() == 2
    except (OSError, ValueError):  # a stream of a test, or none
        is_shown = False
    with tempfile.TemporaryFile() as heard:
        if is_shown:
            sys.stderr = os.fdopen(shown, "w", encoding=before.encoding, errors=before.errors, buffering=1)
        os.dup2(heard.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(shown, 2)
            if is_shown:
                sys.stderr.close()
                sys.stderr = before
            else:
                os.close(shown)
            count = heard.tell()
            heard.seek(0)
            words = heard.read(_MAX_WORDS).decode(errors="replace").splitlines() if count else []
    if words:
        more = f" and {len(words) - 1} more like it" if len(words) > 1 else ""
        warn(f"an image decoder said: {words[0]!r}{more}, of images that it read all the same")
