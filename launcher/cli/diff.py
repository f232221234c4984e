"""`ftlaunch diff`."""

from __future__ import annotations

import dataclasses
import shutil
import sys
from collections.abc import Sequence

import click

from launcher.cli.options import complete_job, echo_document, output_option
from launcher.cli.printing import echo
from launcher.cli.studies import find_job_or_best
from launcher.cli.table import format_table, shorten, wrap
from launcher.documents import make_document
from launcher.jobs.changes import Change
from launcher.jobs.comparison import Comparison, compare_jobs, describe_parting
from trainer.protocol.printable import paint

_PARTS = (
    ("config", "CONFIG"),
    ("data", "DATA"),
    ("versions", "VERSIONS"),
    ("size", "SIZE"),
    ("metrics", "RESULTS"),
)


@click.command("diff")
@click.argument("first", metavar="A", shell_complete=complete_job)
@click.argument("second", metavar="B", shell_complete=complete_job)
@output_option("json", "yaml")
def command(*, first: str, second: str, output: str) -> None:
    """Show what differs between two jobs: config, data, versions, size, results, where losses part.

    The name of a study stands for the job of its best trial.
    """
    jobs = [
        find_job_or_best(name, None, another="name another trial's job itself") for name in (first, second)
    ]
    found = compare_jobs(*jobs)
    if output != "text":
        echo_document(to_json(found), output)
        return
    lines = describe(found)
    if sys.stdout.isatty():
        lines = [shorten(line, columns=shutil.get_terminal_size().columns) for line in lines]
    echo("\n".join(lines))


def describe(found: Comparison) -> list[str]:
    """Write it for people: a table of what differs, and where the losses part."""
    rows: list[list[str]] = []
    for name, title in _PARTS:
        changes: Sequence[Change] = getattr(found, name)
        rows += [
            [title if index == 0 else "", change.key, _shown(change.before), _shown(change.after)]
            for index, change in enumerate(changes)
        ]
    lines = format_table(["", "", found.first, found.second], rows) if rows else ["nothing differs"]
    parting = describe_parting(found.parting)
    lines.append(parting if found.parting is None or found.parting.step is None else paint(parting, "strong"))
    for text in found.unknown:
        lines += wrap(text, start="not compared: ")
    return lines


def to_json(found: Comparison) -> dict[str, object]:
    """Write it for programs. Keys are only ever added."""
    parts = {name: [_change_json(change) for change in getattr(found, name)] for name, _ in _PARTS}
    return make_document(
        "diff", a=found.first, b=found.second, **parts,
        parting=dataclasses.asdict(found.parting) if found.parting is not None else None,
        unknown=list(found.unknown),
    )  # fmt: skip


def _change_json(change: Change) -> dict[str, str | None]:
    return {"key": change.key, "before": change.before, "after": change.after}


def _shown(value: str | None) -> str:
    return "-" if value is None else value
