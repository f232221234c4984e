"""From a file to a manifest: the way that `render` and `submit` share."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.backends.devices import count_gpus
from launcher.cli.ancestor import find_ancestor
from launcher.cli.options import Asked
from launcher.errors import UsageError
from launcher.names import is_run_id, new_run_id
from launcher.render.manifest import Manifest

if TYPE_CHECKING:  # pydantic: `--help` does without
    from launcher.plan.jobplan import JobPlan
    from launcher.spec.load import RunConfig


def prepare(asked: Asked, *, template_dirs: tuple[Path, ...] = ()) -> tuple[RunConfig, JobPlan, Manifest]:
    """Load, plan and render, without any side effect.

    Raises:
        ConfigError: The config is refused.
        LaunchError: What is asked for cannot be.
    """
    from launcher.plan.plan import plan
    from launcher.render.render import render
    from launcher.spec.load import load_run_config

    if asked.run_id is not None and not is_run_id(asked.run_id):
        raise UsageError(f"--run-id: expected 32 hexadecimal digits, got {asked.run_id!r}")
    if asked.continues is not None and asked.overwrite:
        raise UsageError(
            "--continue: expected no --overwrite beside it, which throws away what it goes on from"
        )
    ancestor = find_ancestor(asked.continues) if asked.continues is not None else None
    config = load_run_config(asked.path, overrides=asked.overrides, flags=asked.flags, strict=asked.strict)
    job = plan(
        config,
        run_id=asked.run_id or new_run_id(),
        on=asked.on,
        exact_name=asked.name,
        gpus_here=None if asked.on == "kubernetes" else count_gpus(),
        overwrite=asked.overwrite,
        continues=ancestor.run_id if ancestor else None,
        version=metadata.version("ftlaunch"),
    )
    if ancestor is not None:
        ancestor.require_same_output(job.node_file.output_dir)
    if job.gpus_missing and asked.require_gpu:
        raise UsageError(
            f"--require-gpu: expected {job.gpus_missing * job.nodes} GPUs on this machine, got fewer; "
            "ask for fewer with --gpus, or leave --require-gpu out to run as CPU ranks"
        )
    return config, job, render(job, template_dirs=template_dirs)


def narrate(config: RunConfig, job: JobPlan) -> None:
    """Say on stderr what a person should know before the job runs."""
    for warning in config.warnings:
        click.echo(str(warning), err=True)
    for note in job.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"{job.job}: {job.describe()}", err=True)
