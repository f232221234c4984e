"""Which checks belong to which place, and the order that people read them in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from launcher.doctor import controller, engine, facilities, leftovers, machine, permissions, probe
from launcher.doctor.cluster_info import Site
from launcher.doctor.findings import Check, Finding, Level, findings_of
from launcher.doctor.leftovers import Stale
from launcher.errors import UnreachableError
from launcher.kube.client import connect
from launcher.kube.transport import Timeouts
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
        return findings_of([*_here(state), Check(name="engine", look=lambda: engine.look_at_engine(runtime))])
    trainer = Check(name="paddle", look=machine.look_at_trainer)
    return findings_of([*_here(state), trainer, Check(name="gpus", look=machine.look_at_devices)])


def examine_cluster(
    *,
    context: str | None,
    namespace: str | None,
    gpu_resource: str,
    state: Path,
    stale: Callable[[str, str], Sequence[Stale]],
) -> tuple[list[Finding], bool]:
    """Look at a cluster, and at what this machine needs to probe it.

    Args:
        context: Of the kubeconfig; None for its current one.
        namespace: None for that of the context.
        gpu_resource: Name of the extended resource that GPUs are.
        state: Folder of run records.
        stale: From a namespace and a context to the submits of ours that were cut off there.

    Returns:
        What was found, and whether the cluster answers and lets us in.
    """
    local = findings_of([*_here(state), Check(name="client", look=machine.look_at_client)])
    try:
        client = connect(context=context, timeouts=TIMEOUTS)
        site = Site(api=client, namespace=namespace or client.namespace)
        first = [*probe.look_at_server(site), *probe.look_at_user(site)]
    except UnreachableError as error:
        unreached = Finding(check="cluster", level=Level.FAIL, said=error.finding, cure=error.fix)
        return [*local, unreached], False
    ours = stale(site.namespace, client.context)
    return [*local, *first, *findings_of(_of_cluster(site, ours, gpu_resource))], True


def _here(state: Path) -> list[Check]:
    return [
        Check(name="python", look=machine.look_at_python),
        Check(name="templates", look=machine.look_at_parts),
        Check(name="state", look=lambda: machine.look_at_state(state)),
    ]


def _of_cluster(site: Site, ours: Sequence[Stale], gpu_resource: str) -> list[Check]:
    looks: dict[str, Callable[[Site], Sequence[Finding]]] = {
        "permission": permissions.look_at_permissions,
        "paddlejobs": controller.look_at_kinds,
        "operator": controller.look_at_operator,
        "namespace": facilities.look_at_namespace,
        "gpus": lambda site: facilities.look_at_gpus(site, resource=gpu_resource),
        "storage": facilities.look_at_storage,
        "dns": facilities.look_at_names,
        "queues": facilities.look_at_queues,
        "leftovers": lambda site: leftovers.look_at_leftovers(site, ours),
    }
    return [Check(name=name, look=partial(look, site)) for name, look in looks.items()]
