"""`ftlaunch top`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import click
from click.core import ParameterSource

from launcher.cli.options import echo_document, output_option
from launcher.cli.printing import echo
from launcher.cli.table import format_table
from launcher.documents import format_time, make_document
from launcher.jobs.team import TeamTop, read_top
from launcher.team.capacity import GpuUsage, IdleJob, NodeGpus, Top
from launcher.times import format_duration

FEW = 10
"""Nodes that are shown one by one unless all are asked for: those with something free first."""
_WATCH_S = 10.0


@click.command("top")
@click.option(
    "--all-namespaces/--this-namespace", "-A", "everywhere", default=True,
    help="Jobs of all namespaces (the default, where the role allows it), or of one.",
)  # fmt: skip
@click.option("--namespace", metavar="NAME", help="Kubernetes namespace; implies --this-namespace.")
@click.option("--context", metavar="NAME", help="Context of the kubeconfig; by default the current one.")
@click.option("--watch", "-w", "watching", is_flag=True, help="Show it again every 10 s, until interrupted.")
@output_option("wide", "json", "yaml")
def command(
    *, everywhere: bool, namespace: str | None, context: str | None, watching: bool, output: str
) -> None:
    """Show who holds which GPUs of a cluster: by user, queue and node, what is free and what is idle."""
    typed = click.get_current_context().get_parameter_source("everywhere") is ParameterSource.COMMANDLINE
    if namespace is not None and everywhere and typed:
        raise click.UsageError(f"--all-namespaces: expected no --namespace {namespace} beside it")
    while True:
        found = read_top(
            namespace=namespace, all_namespaces=everywhere and namespace is None, context=context
        )
        if watching and sys.stdout.isatty():
            click.clear()
        show(found, output=output)
        if not watching:
            return
        time.sleep(_WATCH_S)


def show(found: TeamTop, *, output: str) -> None:
    """Print who holds which GPUs."""
    if output in ("json", "yaml"):
        echo_document(to_json(found), output)
        return
    echo("\n".join(describe(found, whole=output == "wide")))
    for item in found.team.skipped:
        echo(f"not looked at: {item}", err=True)


def describe(found: TeamTop, *, whole: bool = False) -> list[str]:
    """Write it for people; every node of a large cluster only with `whole`."""
    top = found.top
    lines = [_headline(top), ""]
    lines += _usage_rows(top.users, "USER") if top.users else ["no job of ftlaunch is here"]
    if top.queues:
        lines += ["", *_usage_rows(top.queues, "QUEUE")]
    if top.nodes:
        lines += ["", *_node_rows(top.nodes, whole=whole)]
    if top.idle:
        lines += ["", *_idle_rows(top.idle)]
    if top.unheard:
        lines.append(f"of {top.unheard} running {'job' if top.unheard == 1 else 'jobs'} no progress was seen")
    return lines


def _headline(top: Top) -> str:
    if top.gpus is None:
        return f"{top.held} GPUs are held by jobs of ftlaunch; nodes may not be looked at"
    words = [f"{top.gpus} GPUs", f"{top.held} held by jobs of ftlaunch"]
    if top.others is not None:
        words.append(f"{top.others} by other pods")
    if top.free is not None:
        words.append(f"{top.free} free")
    closed = sum(node.gpus for node in top.nodes or () if not node.is_open)
    if closed:
        words.append(f"{closed} on nodes that take nothing in")
    line = ", ".join(words)
    if top.blocks:
        rooms = ", ".join(f"{count} of {size}" for size, count in top.blocks.items())
        line += f"\nroom now for pods: {rooms} {'GPUs' if len(top.blocks) > 1 else 'GPU'}"
    return line


def _usage_rows(usages: Sequence[GpuUsage], title: str) -> list[str]:
    has_quota = any(usage.quota is not None for usage in usages)
    header = [title, "GPUS", "JOBS", "WAITING", "GPUS-WAITING", "GPU-HOURS"]
    rows = [
        [
            usage.name, str(usage.gpus), str(usage.running), str(usage.waiting), str(usage.gpus_waiting),
            format_hours(usage.gpu_hours, usage.is_estimate),
        ]
        for usage in usages
    ]  # fmt: skip
    if has_quota:
        header[2:2] = ["QUOTA", "BORROWED"]
        for row, usage in zip(rows, usages, strict=True):
            row[2:2] = ["" if value is None else str(value) for value in (usage.quota, usage.borrowed)]
    return format_table(header, rows, right="GPUS QUOTA BORROWED JOBS WAITING GPUS-WAITING GPU-HOURS")


def _node_rows(nodes: Sequence[NodeGpus], *, whole: bool) -> list[str]:
    order = sorted(nodes, key=lambda node: (-(node.free or 0) if node.is_open else 1, node.name))
    shown = order if whole else order[:FEW]
    rows = [
        [
            node.name, str(node.gpus), "" if node.free is None else str(node.free),
            "" if node.is_open else "takes nothing in",
            ", ".join(f"{user} {gpus}" for user, gpus in sorted(node.users.items())),
        ]
        for node in shown
    ]  # fmt: skip
    lines = format_table(["NODE", "GPUS", "FREE", "", "USERS"], rows, right="GPUS FREE")
    if len(order) > len(shown):
        lines.append(f"and {len(order) - len(shown)} more nodes; all of them: --output wide")
    return lines


def _idle_rows(idle: Sequence[IdleJob]) -> list[str]:
    rows = [
        [
            str(item.job.status.handle), item.job.user, str(item.gpus), item.job.status.state.value,
            format_duration(item.idle_s), item.reason,
        ]
        for item in idle
    ]  # fmt: skip
    return format_table(["IDLE", "USER", "GPUS", "STATE", "SINCE", "WHY"], rows, right="GPUS")


def format_hours(hours: float, is_estimate: bool) -> str:
    """Write GPU-hours for people; ~ stands before what is an estimate."""
    return f"{'~' if is_estimate else ''}{hours:.1f}"


def to_json(found: TeamTop) -> dict[str, object]:
    """Write it for programs. Keys are only ever added."""
    top, team = found.top, found.team
    return make_document(
        "top",
        at=format_time(team.now_s),
        namespace=team.namespace or None,
        gpus=top.gpus, held=top.held, others=top.others, free=top.free,
        blocks=None if top.blocks is None else [
            {"gpus": size, "pods": count} for size, count in top.blocks.items()
        ],
        users=[_usage_to_json(usage, "user") for usage in top.users],
        queues=[_usage_to_json(usage, "queue") for usage in top.queues],
        nodes=None if top.nodes is None else [
            {
                "node": node.name, "gpus": node.gpus, "free": node.free, "open": node.is_open,
                "users": dict(node.users),
            }
            for node in top.nodes
        ],
        idle=[
            {
                "handle": str(item.job.status.handle), "user": item.job.user or None, "gpus": item.gpus,
                "state": item.job.status.state.value, "idle_s": round(item.idle_s), "reason": item.reason,
            }
            for item in top.idle
        ],
        unheard=top.unheard,
        skipped=[{"what": item.what, "reason": item.reason} for item in team.skipped],
    )  # fmt: skip


def _usage_to_json(usage: GpuUsage, key: str) -> dict[str, object]:
    return {
        key: usage.name, "gpus": usage.gpus, "running": usage.running, "waiting": usage.waiting,
        "gpus_waiting": usage.gpus_waiting, "gpu_hours": round(usage.gpu_hours, 3),
        "gpu_hours_estimate": usage.is_estimate, "quota": usage.quota, "borrowed": usage.borrowed,
    }  # fmt: skip
