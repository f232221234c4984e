"""`ftlaunch validate`."""

from __future__ import annotations

from pathlib import Path

import click

from launcher.cli.options import (
    config_argument,
    echo_document,
    on_option,
    output_option,
    override_option,
    strict_option,
)
from launcher.cli.printing import echo
from launcher.documents import describe_problem, make_document
from launcher.errors import CliExit, Issue
from launcher.jobs.validate import validate
from launcher.plan.handle import BackendKind


@click.command("validate")
@config_argument
@override_option
@on_option
@strict_option
@output_option("json")
def command(
    path: Path, overrides: tuple[str, ...], on: BackendKind | None, strict: bool, output: str
) -> CliExit:
    """Check a config: every key and value, and with --on all that `render` and `submit` refuse there."""
    problems = validate(path, overrides=overrides, on=on, strict=strict)
    refused = any(isinstance(problem, Issue) or not problem.warning for problem in problems)
    if output == "json":
        listed = [describe_problem(problem, file=str(path)) for problem in problems]
        echo_document(make_document("validate", file=str(path), ok=not refused, problems=listed), output)
    else:
        for problem in problems:
            echo(f"{path}: {problem}" if isinstance(problem, Issue) else str(problem), err=True)
        if not refused:
            echo(f"{path}: ok")
    return CliExit.USAGE if refused else CliExit.OK
