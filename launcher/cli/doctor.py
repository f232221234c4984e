"""`ftlaunch doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from launcher.cli.options import echo_document, output_option
from launcher.cli.printing import echo
from launcher.documents import make_document
from launcher.errors import CliExit
from launcher.plan.handle import BACKENDS, BackendKind
from trainer.protocol.printable import Role, paint

if TYPE_CHECKING:  # the clients of cluster and engine: `--help` does without
    from launcher.doctor.findings import Finding


@click.command("doctor")
@click.option(
    "--on",
    type=click.Choice(BACKENDS),
    help="Backend to check; by default the one that runs jobs, else kubernetes.",
)
@click.option("--namespace", metavar="NAME", help="Kubernetes namespace; by default that of the context.")
@click.option("--context", metavar="NAME", help="Context of the kubeconfig; by default the current one.")
@click.option(
    "--container-runtime", "runtime", metavar="docker|podman|PATH", envvar="FTLAUNCH_CONTAINER_RUNTIME",
    help="Container engine of --on docker.",
)  # fmt: skip
@output_option("json")
def command(
    *, on: BackendKind | None, namespace: str | None, context: str | None, runtime: str | None, output: str
) -> int:
    """Check for everything that a job needs: a line for each check, and how to fix what fails.

    Exit code 7 where a check fails, 3 where there is no cluster to look at.
    """
    from launcher.doctor.findings import Level
    from launcher.jobs.examination import examine

    found = examine(on=on, namespace=namespace, context=context, runtime=runtime)
    show(found.findings, on=found.on, output=output)
    if not found.reached:
        return CliExit.UNREACHABLE
    return CliExit.DIFFERS if any(item.level is Level.FAIL for item in found.findings) else CliExit.OK


def show(findings: Sequence[Finding], *, on: BackendKind, output: str) -> None:
    """Print findings, a line each with what fixes it below, or as JSON, whose keys are only ever added."""
    from launcher.doctor.findings import Level

    if output == "json":
        checks = [
            {"check": item.check, "level": item.level.value, "message": item.message, "fix": item.fix or None}
            for item in findings
        ]
        healthy = all(item.level is not Level.FAIL for item in findings)
        echo_document(make_document("doctor", on=on, ok=healthy, checks=checks), output)
        return
    roles: dict[Level, Role] = {Level.OK: "good", Level.WARN: "warn", Level.FAIL: "bad", Level.SKIP: "faint"}
    for item in findings:
        level = paint(f"{item.level.value:<4}", roles[item.level])
        echo(f"{level}  {item.check:<11}  {item.message}")
        if item.fix:
            echo(f"{'':<17}  → {item.fix}")
