"""Which checks belong to which place, and the order that people read them in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from launcher.doctor import controller, facilities, leftovers, machine, permissions, probe
from launcher.doctor.cluster_info import ClusterInfo
from launcher.doctor.findings import Check, Finding, Level, run_checks
from launcher.doctor.leftovers import InterruptedSubmit
from launcher.errors import UnreachableError
from launcher.kube.client import connect
from launcher.kube.transport import Timeouts
from launcher.names import KindName
from launcher.plan.capabilities import CAPABILITIES
from launcher.plan.handle import BackendKind

TIMEOUTS = Timeouts(connect_s=3.0, read_s=8.0)


def examine_machine(on: BackendKind, *, state: Path, runtime: str | None) -> list[Finding]:
    """Look at what a job of this machine needs.

    Args:
        on: Docker or local.
        state: Folder of run records.
        runtime: Container engine by name or path; None for the first that is there.
    """
    if CAPABILITIES[on].has_containers:
        return run_checks([*_here(state), Check(name="engine", run=lambda: machine.check_engine(runtime))])
    trainer = Check(name="paddle", run=machine.check_trainer)
    return run_checks([*_here(state), trainer, Check(name="gpus", run=machine.check_devices)])


def examine_cluster(
    *,
    context: str | None,
    namespace: str | None,
    wanted: Literal["auto"] | KindName = "auto",
    gpu_resource: str,
    state: Path,
    interrupted: Callable[[str, str], Sequence[InterruptedSubmit]],
) -> tuple[list[Finding], bool]:
    """Look at a cluster, and at what this machine needs to probe it.

    Args:
        context: Of the kubeconfig; None for its current one.
        namespace: None for that of the context.
        wanted: The kind of job object that settings ask for.
        gpu_resource: Name of the extended resource that GPUs are.
        state: Folder of run records.
        interrupted: From a namespace and a context to the submits of ours that were cut off there.

    Returns:
        What was found, and whether the cluster answers and lets us in.
    """
    local = run_checks([*_here(state), Check(name="client", run=machine.check_client)])
    try:
        client = connect(context=context, timeouts=TIMEOUTS)
        info = ClusterInfo(api=client, namespace=namespace or client.namespace, wanted=wanted)
        first = [*probe.probe_server(info), *probe.probe_user(info)]
    except UnreachableError as error:
        unreached = Finding(check="cluster", level=Level.FAIL, message=error.finding, fix=error.fix)
        return [*local, unreached], False
    ours = interrupted(info.namespace, client.context)
    return [*local, *first, *run_checks(_of_cluster(info, ours, gpu_resource))], True


def _here(state: Path) -> list[Check]:
    return [
        Check(name="python", run=machine.check_python),
        Check(name="templates", run=machine.check_templates),
        Check(name="state", run=lambda: machine.check_state(state)),
    ]


def _of_cluster(info: ClusterInfo, ours: Sequence[InterruptedSubmit], gpu_resource: str) -> list[Check]:
    checks: dict[str, Callable[[ClusterInfo], Sequence[Finding]]] = {
        "permission": permissions.check_permissions,
        "kinds": controller.check_kinds,
        "operator": controller.check_operator,
        "namespace": facilities.check_namespace,
        "gpus": lambda info: facilities.check_gpus(info, resource=gpu_resource),
        "storage": facilities.check_storage,
        "dns": facilities.check_dns,
        "queues": facilities.check_queues,
        "queued kinds": facilities.check_queued_kinds,
        "leftovers": lambda info: leftovers.check_leftovers(info, ours),
    }
    roles = {"gpus": "capacity.yaml", "storage": "capacity.yaml"}
    return [
        Check(name=name, run=partial(run, info), role=roles.get(name, "")) for name, run in checks.items()
    ]
