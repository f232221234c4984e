"""`ftlaunch doctor`."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from launcher.cli.interrupted import stale_records
from launcher.cli.options import output_option
from launcher.cli.prepare import current_layers
from launcher.cli.printing import echo
from launcher.errors import CliExit
from launcher.plan.capabilities import CAPABILITIES
from launcher.plan.handle import BACKENDS, BackendKind
from launcher.runs.paths import runs_dir
from launcher.runs.store import RunStore
from trainer.protocol.printable import Role, paint

if TYPE_CHECKING:  # the Kubernetes client: `--help` does without
    from launcher.config.layers import Layers
    from launcher.doctor.findings import Finding
    from launcher.doctor.leftovers import Stale


@click.command("doctor")
@click.option(
    "--on", type=click.Choice(BACKENDS), help="What to look at; else where jobs run by default, kubernetes."
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
    """Check that everything is there that a job needs; a line each, and how to fix what is not.

    Exit code 7 where a check fails, 3 where there is no cluster to look at.
    """
    from launcher.config.layers import DEFAULT_BACKEND  # pydantic
    from launcher.doctor.examine import examine_cluster, examine_machine
    from launcher.doctor.findings import Level

    layers = current_layers()
    place = on or (layers.on[0] if layers.on else DEFAULT_BACKEND)
    reached = True
    if CAPABILITIES[place].is_cluster:
        found, reached = examine_cluster(
            context=context or _setting(layers, "context"),
            namespace=namespace or _setting(layers, "namespace"),
            gpu_resource=_setting(layers, "gpu_resource") or "nvidia.com/gpu",
            state=runs_dir(),
            stale=_stale,
        )
    else:
        found = examine_machine(place, state=runs_dir(), runtime=runtime)
    show(found, on=place, output=output)
    if not reached:
        return CliExit.UNREACHABLE
    return CliExit.DIFFERS if any(item.level is Level.FAIL for item in found) else CliExit.OK


def _setting(layers: Layers, key: str) -> str | None:
    """Return what the environment or a settings file says of a key of `Launch`."""
    for document in (layers.above, layers.below):
        section = document.values.get("Launch")
        if isinstance(section, dict) and section.get(key) is not None:
            return str(section[key])
    return None


def _stale(namespace: str, context: str) -> list[Stale]:
    from launcher.doctor.leftovers import Stale

    records = stale_records(RunStore(runs_dir()), namespace=namespace, context=context, now_s=time.time())
    return [Stale(job=record.handle.job, run_id=record.run_id) for record in records]


def show(findings: Sequence[Finding], *, on: BackendKind, output: str) -> None:
    """Print findings, a line each with what fixes it below, or as JSON, whose keys are only ever added."""
    from launcher.doctor.findings import Level

    if output == "json":
        checks = [
            {"check": item.check, "level": item.level.value, "message": item.message, "fix": item.fix or None}
            for item in findings
        ]
        healthy = all(item.level is not Level.FAIL for item in findings)
        echo(json.dumps({"schema": 2, "on": on, "ok": healthy, "checks": checks}, indent=2))
        return
    roles: dict[Level, Role] = {Level.OK: "good", Level.WARN: "warn", Level.FAIL: "bad", Level.SKIP: "faint"}
    for item in findings:
        level = paint(f"{item.level.value:<4}", roles[item.level])
        echo(f"{level}  {item.check:<11}  {item.message}")
        if item.fix:
            echo(f"{'':<17}  → {item.fix}")
