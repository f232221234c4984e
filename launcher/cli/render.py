"""`ftlaunch render`."""

from __future__ import annotations

import hashlib
import json
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli.options import echo_document, launch_options, output_option
from launcher.cli.printing import echo, print_note
from launcher.documents import make_document
from launcher.errors import UsageError
from launcher.jobs.options import SubmitOptions
from launcher.jobs.prepare import Prepared, explain_values, plan_notes, prepare

if TYPE_CHECKING:  # pydantic: `--help` does without
    from launcher.plan.explain import Row

_TITLES = {"on": "place", "launch": "Launch", "env": "environment", "argv": "command", "mount": "mounts"}
_MAX_VALUE = 60
_STABLE_NOTE = (
    "this rendering holds no secret, so that it is the same each time and can lie in git; the nodes of a job "
    "made from it know each other by the run id alone, which is a label; submit draws a secret"
)


@click.command("render")
@launch_options
@click.option("--explain", "explaining", is_flag=True, help="Print where every value comes from instead.")
@click.option(
    "--stable", is_flag=True,
    help="Print the same text for the same config each time, also without --name: for git and for diffs.",
)  # fmt: skip
@output_option("json", default="text")
def command(path: Path, options: SubmitOptions, explaining: bool, stable: bool, output: str) -> None:
    """Print the manifest that `submit` would act on, byte for byte.

    Each submit draws a new run id, and a secret by which the job's nodes know each other. With --name or
    --stable the printed run id is made of the name and the config instead, and there is no secret, so that
    two renderings differ only where what is asked for differs.
    """
    if output == "json" and not explaining:
        raise UsageError(where="--output json", expected="--explain beside it")
    if options.run_id is not None or stable or options.name:
        run_id = options.run_id or _stable_run_id(path, options.name)
        options = replace(options, run_id=run_id, without_secret=True)
    prepared = prepare(path, options, notes=print_note)
    print_plan(prepared)
    if options.without_secret and prepared.job.nodes > 1:
        echo(_STABLE_NOTE, err=True)
    if explaining:
        _print_values(explain_values(prepared), output=output)
        return
    echo(prepared.manifest.text.encode("utf-8"), nl=False)  # bytes: the terminal's encoding has no say


def print_plan(prepared: Prepared) -> None:
    """Say on stderr what a person should know before the job runs."""
    for note in plan_notes(prepared):
        print_note(note)


def _stable_run_id(path: Path, name: str | None) -> str:
    """Return 32 hexadecimal digits of the name, or of the config's bytes where there is none."""
    content = b""
    if name is None:
        with suppress(OSError):  # `prepare` says what is wrong with the file
            content = path.read_bytes()
    return hashlib.sha256(f"{name or path.name}\0".encode() + content).hexdigest()[:32]


def _print_values(rows: list[Row], *, output: str) -> None:
    """Print every value with its source, as a table or as JSON."""
    if output == "json":
        listed = [{"kind": r.kind, "name": r.name, "value": r.value, "from": r.source} for r in rows]
        echo_document(make_document("render-explain", rows=listed), output)
        return
    width = max(len(row.name) for row in rows)
    kind = ""
    for row in rows:
        if row.kind != kind:
            kind = row.kind
            echo(f"{_TITLES[kind]}:")
        text = row.value if isinstance(row.value, str) else json.dumps(row.value, ensure_ascii=False)
        shown = text if len(text) <= _MAX_VALUE else text[: _MAX_VALUE - 1] + "…"
        echo(f"  {row.name:<{width}}  {shown:<{_MAX_VALUE}}  {row.source}")
