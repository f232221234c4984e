"""What the commands print with."""

from __future__ import annotations

import io
import sys

import click

from trainer.protocol.printable import for_stream


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
