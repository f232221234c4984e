"""Finds the last progress line in the end of a log. Pure."""

from __future__ import annotations

from trainer.protocol.progress import Progress
from trainer.protocol.progress import last_progress as find_last
from trainer.protocol.tags import parse_line

PROGRESS_LINES = 512
"""The API cuts a log's end by lines only; about 64 KiB of usual ones."""


def last_progress(log: bytes) -> Progress | None:
    """Return what the last whole progress line of a log says, or None.

    Args:
        log: Its last lines, each as `RFC3339Nano text`.
    """
    return find_last([parse_line(line.partition(b" ")[2]).text for line in log.split(b"\n")])
