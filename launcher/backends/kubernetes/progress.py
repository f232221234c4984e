"""Finds the last progress line in the end of a log. Pure."""

from __future__ import annotations

from trainer.protocol.fields import FormatError
from trainer.protocol.progress import Progress, parse_progress
from trainer.protocol.tags import parse_line

PROGRESS_LINES = 512
"""The API cuts a log's end by lines only; about 64 KiB of usual ones."""


def last_progress(log: bytes) -> Progress | None:
    """Return what the last whole progress line of a log says, or None.

    Args:
        log: Its last lines, each as `RFC3339Nano text`.
    """
    for line in reversed(log.split(b"\n")):
        _, _, text = line.partition(b" ")
        try:
            progress = parse_progress(parse_line(text).text)
        except FormatError:  # cut by the tail, or still being written
            continue
        if progress is not None:
            return progress
    return None
