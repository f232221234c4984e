"""`-v` and FTLAUNCH_LOG: what happens behind a command, on stderr, without secrets.

Libraries of ours write to loggers below `ftlaunch` (`logging`); nobody listens unless it is asked for, and
loggers of others stay as they are: some of them write headers, and with them tokens.
"""

from __future__ import annotations

import logging
import os
import time

import click

from launcher.cli.printing import echo
from launcher.errors import UsageError

VARIABLE = "FTLAUNCH_LOG"
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING}


class _ToStderr(logging.Handler):
    """Writes a record on one line, which no record can break or leave, and in which no secret stands."""

    def emit(self, record: logging.LogRecord) -> None:
        from launcher.config.confidential import hide

        moment = time.strftime("%H:%M:%S", time.localtime(record.created))
        name = record.name.removeprefix("ftlaunch.")
        text = " ".join(hide(record.getMessage()).split())
        echo(f"{moment}.{record.msecs:03.0f} {record.levelname.lower()} {name}: {text}", err=True)


def listen(ctx: click.Context, *, verbose: bool) -> None:
    """Listen to our loggers until the command has ended.

    Args:
        ctx: Of the command.
        verbose: To everything; else as much as FTLAUNCH_LOG asks for.

    Raises:
        UsageError: FTLAUNCH_LOG is no level.
    """
    level = logging.DEBUG if verbose else _level_of_variable()
    root = logging.getLogger("ftlaunch")
    if level is None or any(isinstance(handler, _ToStderr) for handler in root.handlers):
        if verbose:
            root.setLevel(logging.DEBUG)  # behind the command, where the variable asks for less
        return
    handler, before, passes_on = _ToStderr(), root.level, root.propagate
    root.addHandler(handler)
    root.setLevel(level)
    root.propagate = False  # it is said once

    def restore() -> None:
        root.removeHandler(handler)
        root.setLevel(before)
        root.propagate = passes_on

    ctx.find_root().call_on_close(restore)


def _level_of_variable() -> int | None:
    said = os.environ.get(VARIABLE, "")
    if said and said.lower() not in LEVELS:
        raise UsageError(where=VARIABLE, expected=f"one of {', '.join(LEVELS)}", got=repr(said))
    return LEVELS.get(said.lower())
