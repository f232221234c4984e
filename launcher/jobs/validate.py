"""Checking a config, and with a backend all that a submit would refuse there, without sending anything."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from launcher.backends.factory import open_backend
from launcher.errors import Issue, UsageError
from launcher.jobs.findings import find_doubts
from launcher.jobs.host_folders import find_host_folders, find_missing_lists
from launcher.jobs.options import SubmitOptions
from launcher.jobs.prepare import place_faults, prepare
from launcher.jobs.settings import current_layers
from launcher.plan.capabilities import CAPABILITIES
from launcher.plan.handle import BackendKind
from launcher.runs.paths import runs_dir
from trainer.config.problems import ConfigError, Problem

if TYPE_CHECKING:
    from launcher.config.load import RunConfig


def validate(
    path: Path, *, overrides: tuple[str, ...] = (), on: BackendKind | None = None, strict: bool = False
) -> tuple[Problem | Issue, ...]:
    """Return every problem of a config, those that are only warnings too; empty where there is none.

    An `Issue` is about this machine or the backend, not about a line of the config.

    Args:
        path: The config.
        overrides: `KEY=VALUE` each.
        on: Where it is to run; None checks the config alone.
        strict: Unknown keys are errors.
    """
    from launcher.config.load import load_run_config

    problems: tuple[Problem | Issue, ...] = ()
    try:
        config = load_run_config(path, overrides=overrides, strict=strict, layers=current_layers())
        problems = (*config.warnings, *find_doubts(config, on=on, all_lists=True))
        if on is None:
            return (*problems, *_check_patch(config))
        prepared = prepare(path, SubmitOptions(on=on, overrides=overrides, strict=strict))
        if not CAPABILITIES[on].is_cluster:
            backend = open_backend(on, runs_folder=runs_dir())
            folders = find_host_folders(prepared.config, prepared.job, backend)
            return (*problems, *find_missing_lists(prepared.config, folders))
    except ConfigError as error:
        return (*problems, *error.problems)
    except UsageError as error:  # of this machine, not of a line: folders and files that are not here
        found = error.problems or (error.issue,)
        return (*problems, *found)
    return problems


def _check_patch(config: RunConfig) -> list[Problem]:
    from launcher.render.patch import find_patch_faults

    return place_faults(config, find_patch_faults(config.job.launch.pod_patch or {}))
