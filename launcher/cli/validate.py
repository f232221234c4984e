"""`ftlaunch validate`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from launcher.backends.factory import open_backend
from launcher.cli.host_folders import host_folders
from launcher.cli.options import (
    Asked,
    config_argument,
    on_option,
    output_option,
    override_option,
    strict_option,
)
from launcher.cli.prepare import current_layers, place_faults, prepare
from launcher.cli.printing import echo
from launcher.errors import CliExit, Issue, UsageError
from launcher.plan.capabilities import CAPABILITIES
from launcher.plan.handle import BackendKind
from launcher.runs.paths import runs_dir
from trainer.config.problems import ConfigError, Problem, format_path


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
    from launcher.config.load import load_run_config
    from launcher.render.patch import find_patch_faults

    problems: tuple[Problem, ...] = ()
    try:
        config = load_run_config(path, overrides=overrides, strict=strict, layers=current_layers())
        problems = config.warnings
        if on is not None:
            prepared = prepare(Asked(path=path, overrides=overrides, on=on, strict=strict))
            if not CAPABILITIES[on].is_cluster:
                host_folders(prepared, open_backend(on, runs_folder=runs_dir()), make=False)
        else:
            faults = find_patch_faults(config.job.launch.pod_patch or {})
            problems = (*problems, *place_faults(config, faults))
    except ConfigError as error:
        problems = (*problems, *error.problems)
    except UsageError as error:  # of this machine, not of a line: folders and files that are not here
        found = error.problems or (error.issue,)
        problems = (*problems, *(_to_problem(item, path) for item in found))
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


def _to_problem(item: Problem | Issue, path: Path) -> Problem:
    return item if isinstance(item, Problem) else Problem(file=str(path), message=str(item))


def _to_json(problem: Problem) -> dict[str, str | int | bool | None]:
    return {
        "file": problem.file, "line": problem.line, "column": problem.column,
        "path": format_path(problem.path), "message": problem.message, "warning": problem.warning,
    }  # fmt: skip
