"""`ftlaunch validate`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from launcher.cli.options import config_argument, on_option, output_option, override_option, strict_option
from launcher.cli.printing import echo
from launcher.errors import CliExit
from launcher.jobs.validate import validate
from launcher.plan.handle import BackendKind
from trainer.config.problems import Problem, format_path


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
    refused = any(not problem.warning for problem in problems)
    if output == "json":
        document = {
            "schema": 1,
            "file": str(path),
            "ok": not refused,
            "problems": [_to_json(problem) for problem in problems],
        }
        echo(json.dumps(document, indent=2))
    else:
        for problem in problems:
            echo(str(problem), err=True)
        if not refused:
            echo(f"{path}: ok")
    return CliExit.USAGE if refused else CliExit.OK


def _to_json(problem: Problem) -> dict[str, str | int | bool | None]:
    return {
        "file": problem.file, "line": problem.line, "column": problem.column,
        "path": format_path(problem.path), "message": problem.message, "warning": problem.warning,
    }  # fmt: skip
