"""A job as a notebook shows it."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator

from launcher.backends.states import JobStatus


def as_table(rows: Iterable[tuple[str, str]]) -> str:
    """Write names and values as a table of HTML."""
    cells = "".join(
        f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
        for name, value in rows
    )
    return f"<table>{cells}</table>"


def describe_status(status: JobStatus) -> Iterator[tuple[str, str]]:
    """Yield names and values of how a job stands."""
    yield "state", status.state.value + (f": {status.reason}" if status.reason else "")
    yield "pods", ", ".join(f"{pod.pod}: {pod.state.value}" for pod in status.pods) or "none yet"
    if status.progress is not None and status.progress.evaluated is not None:
        from trainer.protocol.evaluated import describe_evaluated

        yield "last evaluation", describe_evaluated(status.progress.evaluated)
