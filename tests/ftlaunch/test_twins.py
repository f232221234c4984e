"""Every command has its function, and every function of the API is a command's or says what it is."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click
import pytest

import ftlaunch
from ftlaunch import Job
from launcher.cli.main import group as launcher_group
from trainer.cli.main import group as trainer_group

TWINS = {
    "ftlaunch init": "init",
    "ftlaunch validate": "validate",
    "ftlaunch render": "render",
    "ftlaunch submit": "submit",
    "ftlaunch sweep run": "sweep",
    "ftlaunch sweep resume": "resume_sweep",
    "ftlaunch sweep status": "find_sweep",
    "ftlaunch sweep best": "best_config",
    "ftlaunch sweep report": "sweep_report",
    "ftlaunch sweep suggest": "suggest_sweep",
    "ftlaunch list": "jobs",
    "ftlaunch top": "top",
    "ftlaunch status": "Job.status",
    "ftlaunch plot": "plot",
    "ftlaunch diff": "Job.diff",
    "ftlaunch track": "Job.track",
    "ftlaunch why": "Job.why",
    "ftlaunch logs": "Job.logs",
    "ftlaunch wait": "Job.wait",
    "ftlaunch events": "Job.events",
    "ftlaunch cancel": "Job.cancel",
    "ftlaunch resume": "Job.resume",
    "ftlaunch delete": "Job.delete",
    "ftlaunch exec": "Job.exec",
    "ftlaunch doctor": "doctor",
    "ftlaunch ckpt ls": "Job.checkpoints",
    "ftlaunch ckpt pull": "Job.pull_checkpoint",
    "ftlaunch ckpt verify": "Job.verify_checkpoints",
    "ftlaunch report": "Job.report",
    "ftlaunch data push": "push_data",
    "ftlaunch data check": "check_data",
    "ftlaunch data report": "report_claim",
    "ftlaunch trust": "trust",
    "ftlaunch schema": "schema",
    "ftlaunch version": "versions",
    "trainer train": "train",
    "trainer eval": "evaluate",
    "trainer predict": "predict",
    "trainer export": "export",
    "trainer ckpt average": "average_checkpoints",
    "trainer check": "check",
    "trainer lr-find": "find_rate",
    "trainer fit-batch": "fit_batch",
    "trainer data-report": "report_data",
    "trainer profile": "profile_steps",
    "trainer resize": "resize",
    "trainer make-lists": "make_lists",
    "trainer weights list": "list_weights",
    "trainer weights fetch": "fetch_weights",
    "trainer weights inspect": "inspect_weights",
    "trainer weights convert": "convert_weights",
}
OF_A_SHELL = {"ftlaunch completion", "ftlaunch ui"}
"""What a program cannot want: what a shell reads, and a page for a person's browser."""
BESIDE = {"find_job", "Job.watch", "Job.metrics", "Job.best", "Job.changes", "team_jobs", "compare_weights"}
"""What only a program needs: a job by its name, its changes one by one, what it measured as values, its best
evaluation and what differs from the run before, which `status` and `list` print; `ftlaunch list --all`, whose
jobs are nobody's here; and `trainer eval` of several weights."""


def commands(group: click.Group, name: str) -> Iterator[str]:
    context = click.Context(group)
    for child in group.list_commands(context):
        command = group.get_command(context, child)
        assert command is not None
        if command.hidden:
            continue
        if isinstance(command, click.Group):
            yield from commands(command, f"{name} {child}")
        else:
            yield f"{name} {child}"


def found(name: str) -> object:
    return getattr(Job, name.removeprefix("Job.")) if name.startswith("Job.") else getattr(ftlaunch, name)


def test_every_command_has_a_function() -> None:
    typed = {*commands(launcher_group, "ftlaunch"), *commands(trainer_group, "trainer")}
    assert typed - OF_A_SHELL == set(TWINS)


def test_every_function_is_a_commands_or_one_that_only_programs_need() -> None:
    exported = {name for name in ftlaunch.__all__ if inspect.isfunction(getattr(ftlaunch, name))}
    methods = {
        f"Job.{name}" for name, value in vars(Job).items() if inspect.isfunction(value) and name[0] != "_"
    }
    assert (exported | methods) - BESIDE == set(TWINS.values())


@pytest.mark.parametrize("name", sorted({*TWINS.values(), *BESIDE}))
def test_a_function_says_what_it_does_and_gives_its_types(name: str) -> None:
    function = found(name)
    assert inspect.getdoc(function)
    signature = inspect.signature(function)  # type: ignore[arg-type]
    assert signature.return_annotation is not inspect.Signature.empty
    for parameter in signature.parameters.values():
        assert parameter.name == "self" or parameter.annotation is not inspect.Parameter.empty


def test_the_page_names_every_function() -> None:
    from tests.docs.pages import REPOSITORY

    page = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
    for command, name in TWINS.items():
        assert f"`{command}`" in page, command
        assert name.replace("Job.", "job.") in page, name


def test_every_function_that_the_page_names_is_there() -> None:
    from tests.docs.pages import REPOSITORY

    page = (REPOSITORY / "docs" / "python.md").read_text(encoding="utf-8")
    table = [line.split("|")[2] for line in page.splitlines() if re.match(r"\| `(ftlaunch|trainer) ", line)]
    named = {name for cell in table for name in re.findall(r"`(?:ftlaunch\.)?([a-z_]+)\(", cell)}
    assert len(named) > 30
    assert {name for name in named if name not in ftlaunch.__all__} == set()
