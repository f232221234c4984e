"""What commands that move files show meanwhile."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click


@contextmanager
def show_progress(total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error where that is a terminal; gives what is told each number of bytes."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    with click.progressbar(length=max(1, total_bytes), file=sys.stderr) as bar:
        yield bar.update
