"""Why Kueue has not let a job in, or takes its place back. Pure; what Kueue says is read in `workloads`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from launcher import objects
from launcher.backends.kubernetes import workloads
from launcher.backends.states import JobState
from launcher.names import TOPOLOGY_ANNOTATION
from launcher.objects import Condition, KubeObject
from launcher.why.queries import kubectl, name_of, namespace_of
from launcher.why.snapshot import Snapshot
from launcher.why.verdict import Resolves, Verdict, evidence

PATIENCE_S = 30.0
"""What a Kueue that is alive never takes to make a Workload."""
_MISSING = re.compile(r"(?P<kind>Local|Cluster)Queue \S+ (?:doesn't exist|not found)")
_INACTIVE = re.compile(r"(Local|Cluster)Queue \S+ is (inactive|stopped)|Queue is stopped")
_LATE = "PodsReadyTimeout"
_CAUSE = re.compile(r"due to ([^;]+)")


def explain_queue(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say where a job of a Kueue queue stands, and what the queue lacks."""
    job, state = snapshot.job, snapshot.status.state
    if is_unnamed(snapshot):
        yield _explain_unnamed(snapshot)
    elif state is JobState.RUNNING and snapshot.kind.is_queued(job) and not snapshot.kind.is_cancelled(job):
        yield _explain_stopping(snapshot)
    elif state is JobState.QUEUED:
        workload = workloads.own_workload(job, snapshot.workloads or ())
        yield _explain_unheard(snapshot) if workload is None else _explain_waiting(snapshot, workload)


def check_queue(snapshot: Snapshot, *, has_kueue: bool, stored: KubeObject | None) -> Iterator[Verdict]:
    """Say of a job that has not been sent whether its queue would hold it and let it go.

    Args:
        snapshot: Of the job and what is around it.
        has_kueue: Whether the cluster serves Kueue's kinds.
        stored: The job as the server would store it, or None where that is not known.
    """
    queue, queues = objects.queue_of(snapshot.job), snapshot.local_queues
    if not queue:
        return
    if not has_kueue:
        yield Verdict(
            code="kueue-missing",
            sentence=f"it is for queue {queue!r} of Kueue, and this cluster has no Kueue, so it would start"
            " at once",
            fix="take Launch.queue out, or have an administrator install Kueue",
            resolves=Resolves.BY_CHANGE,
        )
        return
    if stored is not None and not snapshot.kind.is_suspended(stored):
        yield Verdict(
            code="queue-ignored",
            sentence=f"it is for queue {queue!r}, and Kueue would let it start at once: it does not look"
            f" after {snapshot.kind.resource.kind}s, or not in namespace {namespace_of(snapshot)!r}",
            fix=_settings(snapshot),
            resolves=Resolves.BY_CHANGE,
        )
    local = _find(queues or (), queue)
    if queues is not None and local is None:
        yield _say_missing(snapshot, f"LocalQueue {queue} doesn't exist")
    elif local is not None and (closed := _closed(local)) is not None:
        yield _say_inactive(snapshot, str(closed.get("message") or ""))


def name_of_closed(job: KubeObject, local_queues: Sequence[KubeObject]) -> str:
    """Return the ClusterQueue behind a job's LocalQueue where it takes nothing in; else an empty string."""
    local = _find(local_queues, objects.queue_of(job))
    closed = None if local is None else _closed(local)
    return str(local["spec"].get("clusterQueue") or "") if local is not None and closed is not None else ""


def is_unnamed(snapshot: Snapshot) -> bool:
    """Say whether Kueue holds a job because it names no queue: it has never run, and there are queues.

    A job that ran before it was suspended has had a condition Running, or, of kinds that know none, was not
    suspended from the beginning.
    """
    job = snapshot.job
    if snapshot.status.state is not JobState.SUSPENDED or objects.queue_of(job) or not snapshot.local_queues:
        return False
    conditions = (job.get("status") or {}).get("conditions") or []
    stopped = snapshot.kind.stopped_of(job)
    late_s = ((stopped.since_s if stopped else None) or 0.0) - objects.created_s(job)
    return late_s <= PATIENCE_S and not any(item["type"] == "Running" for item in conditions)


def _explain_unnamed(snapshot: Snapshot) -> Verdict:
    names = _open_queues(snapshot)
    return Verdict(
        code="queue-unnamed",
        sentence="it has been held since it was sent, and names no queue; where Kueue manages all jobs of a"
        " namespace, it starts them from a queue only",
        evidence=evidence(f"LocalQueues here that take something in: {', '.join(names) or 'none'}"),
        fix=kubectl(snapshot, _name_queue(snapshot, (*names, "QUEUE")[0]))
        + "; Launch.queue.kueue for the next one",
        resolves=Resolves.BY_CHANGE,
    )


def _explain_stopping(snapshot: Snapshot) -> Verdict:
    workload = workloads.own_workload(snapshot.job, snapshot.workloads or ())
    evicted = None if workload is None else workloads.eviction_of(workload)
    why = f" ({_shorten(evicted)})" if evicted is not None else ""
    return Verdict(
        code="queue-stopping",
        sentence=f"queue {objects.queue_of(snapshot.job)!r} takes its place back{why}: its pods save and"
        " stop, and it goes on from there when it is let in again",
        evidence=evidence(evicted.message if evicted is not None else ""),
        fix=_look(snapshot),
        resolves=Resolves.LATER,
    )


def _explain_unheard(snapshot: Snapshot) -> Verdict:
    queue = objects.queue_of(snapshot.job)
    waited_s = snapshot.now_s - snapshot.status.created_s
    if snapshot.workloads is not None and waited_s > PATIENCE_S:
        return Verdict(
            code="queue-unheard",
            sentence=f"Kueue has made no Workload for it in {waited_s:.0f} s: it does not run, or does not"
            f" look after {snapshot.kind.resource.kind}s, or not in this namespace",
            fix=f"{_settings(snapshot)}; `kubectl -n kueue-system get pods`",
            resolves=Resolves.BY_CHANGE,
        )
    seen = snapshot.workloads is not None
    return Verdict(
        code="queue-waiting",
        sentence=f"it waits in queue {queue!r}"
        + ("; Kueue has not made its Workload yet" if seen else "; its Workload may not be looked at"),
        fix=_look(snapshot),
        resolves=Resolves.LATER,
    )


def _explain_waiting(snapshot: Snapshot, workload: KubeObject) -> Verdict:
    queue, said = objects.queue_of(snapshot.job), workloads.read_refusal(workload)
    evicted = workloads.eviction_of(workload)
    note = evidence(f"Workload {objects.name_of(workload)}: {said}", evicted.message if evicted else "")
    if not workloads.is_active(workload):
        words = evicted.message if evicted is not None else said or "active is false"
        return Verdict(
            code="queue-deactivated",
            sentence=f"Kueue may not start it: {words}",
            evidence=note,
            fix=f"ftlaunch resume {name_of(snapshot)}",
            resolves=Resolves.BY_CHANGE,
        )
    if workloads.has_quota(workload):
        let_in = workloads.let_in_of(workload)
        return _say_checks(snapshot, workload) if let_in is None else _say_let_in(snapshot, let_in)
    if _MISSING.search(said):
        return _say_missing(snapshot, said)
    if _INACTIVE.search(said):
        return _say_inactive(snapshot, said)
    more = workloads.shorten_refusal(said)
    if workloads.fits_never(said):
        return Verdict(
            code="queue-never",
            sentence=f"it asks for more than queue {queue!r} can ever give: {more}",
            evidence=note,
            fix="ask for less (--nodes, --gpus, Launch.resources), or name another queue",
            resolves=Resolves.BY_CHANGE,
        )
    place = workloads.find_place(workload, snapshot.workloads or ())
    waits = f"it waits in queue {queue!r}{', ' if place else ''}{place}"
    code, sentence = "queue-waiting", f"{waits}: {more or 'Kueue has not looked at it yet'}"
    fix = _look(snapshot)
    if workloads.is_scattered(said):
        code, fix = "queue-topology", _say_nearer(snapshot)
    if evicted is not None:
        code = "queue-preempted" if evicted.reason == workloads.PREEMPTED else "queue-evicted"
        still = f": {more}" if more and more != evicted.message else ""
        sentence = f"Kueue took its place back ({_shorten(evicted)}); {waits}{still}"
        fix = f"ftlaunch events {name_of(snapshot)}" if evicted.reason == _LATE else fix
    return Verdict(code=code, sentence=sentence, evidence=note, fix=fix, resolves=Resolves.LATER)


def _say_nearer(snapshot: Snapshot) -> str:
    template = snapshot.kind.pod_template_of(snapshot.job, snapshot.beside or ())
    is_required = TOPOLOGY_ANNOTATION.format("required") in (
        (template.get("metadata") or {}).get("annotations") or {}
    )
    wish = ", or wish for it only: `topology: preferred` in Launch.queue" if is_required else ""
    return (
        "wait where nodes come free; else ask for less a pod (Launch.resources, --gpus), for fewer pods"
        f" (--nodes){wish}"
    )


def _say_let_in(snapshot: Snapshot, let_in: Condition) -> Verdict:
    """Kueue's next act is to end the suspension, which a webhook of the kind's controller may refuse."""
    since_s = snapshot.now_s - (let_in.since_s or snapshot.now_s)
    queue, kind = objects.queue_of(snapshot.job), snapshot.kind.resource.kind
    if since_s <= PATIENCE_S:
        return Verdict(
            code="queue-starting", sentence=f"queue {queue!r} has let it in, and it begins in a moment",
            fix=_look(snapshot), resolves=Resolves.LATER,
        )  # fmt: skip
    return Verdict(
        code="queue-starting",
        sentence=f"queue {queue!r} let it in {since_s:.0f} s ago, and Kueue has not started it: it does not"
        f" run, or may not change this {kind}",
        fix="an administrator: `kubectl -n kueue-system logs deployment/kueue-controller-manager`, and"
        f" whether the webhook for {kind}s answers",
        resolves=Resolves.BY_CHANGE,
    )


def _say_checks(snapshot: Snapshot, workload: KubeObject) -> Verdict:
    checks = [
        item for item in (workload.get("status") or {}).get("admissionChecks") or ()
        if item.get("state") != "Ready"
    ]  # fmt: skip
    names = ", ".join(f"{item['name']} ({item.get('state')})" for item in checks) or "not named"
    return Verdict(
        code="queue-checks",
        sentence=f"queue {objects.queue_of(snapshot.job)!r} has room for it; admission checks are not done:"
        f" {names}",
        evidence=evidence(*(f"{item['name']}: {item.get('message') or ''}" for item in checks)),
        fix="an administrator: `kubectl get admissionchecks`",
        resolves=Resolves.LATER,
    )


def _say_missing(snapshot: Snapshot, said: str) -> Verdict:
    found, queue = _MISSING.search(said), objects.queue_of(snapshot.job)
    if found is not None and found["kind"] == "Cluster":
        sentence = f"behind its queue {queue!r} there is nothing: {said}"
        fix = f"an administrator: make it, or have the LocalQueue name another; {_look(snapshot)}"
    else:
        sentence, fix = f"it names a queue that does not exist: {said}", _name_another(snapshot)
    return Verdict(code="queue-missing", sentence=sentence, fix=fix, resolves=Resolves.BY_CHANGE)


def _name_another(snapshot: Snapshot) -> str:
    names = _open_queues(snapshot)
    if snapshot.local_queues is None:
        return kubectl(snapshot, "get localqueues")
    if not names:
        return f"an administrator makes one; namespace {namespace_of(snapshot)!r} has none that takes jobs"
    fix = f"name one of this namespace: {', '.join(names)} (Launch.queue.kueue)"
    if "uid" in snapshot.job["metadata"]:  # it has been sent
        label = _name_queue(snapshot, names[0])
        fix += f"; of this job: {kubectl(snapshot, label)}"
    return fix


def _say_inactive(snapshot: Snapshot, said: str) -> Verdict:
    queue = objects.queue_of(snapshot.job)
    local = _find(snapshot.local_queues or (), queue)
    above = name_of_closed(snapshot.job, snapshot.local_queues or ())
    cluster = _find(snapshot.cluster_queues or (), above)
    words = [str((_closed(item) or {}).get("message") or "") for item in (cluster, local) if item is not None]
    stopped = local is not None and (local["spec"].get("stopPolicy") or "None") != "None"
    fix = kubectl(snapshot, f"get localqueue {queue} -o yaml")
    if stopped:
        patch = """'{"spec": {"stopPolicy": null}}'"""
        fix = f"an administrator: {kubectl(snapshot, f'patch localqueue {queue} --type=merge -p {patch}')}"
    elif above:
        fix = f"an administrator: `kubectl get clusterqueue {above} -o yaml`, its condition Active"
    told = words[-1] if stopped else next((word for word in words if word), said)
    return Verdict(
        code="queue-inactive",
        sentence=f"queue {queue!r} lets nothing in: {told or said}",
        evidence=evidence(said, *words),
        fix=fix,
        resolves=Resolves.BY_CHANGE,
    )


def _look(snapshot: Snapshot) -> str:
    return kubectl(snapshot, f"get localqueue {objects.queue_of(snapshot.job)}")


def _open_queues(snapshot: Snapshot) -> list[str]:
    return [objects.name_of(item) for item in snapshot.local_queues or () if _closed(item) is None]


def _shorten(evicted: Condition) -> str:
    if evicted.reason == _LATE:
        return "not all of its pods were ready in the time that Kueue's waitForPodsReady gives"
    found = _CAUSE.search(evicted.message)
    return f"preempted: {found[1]}" if found and evicted.reason == workloads.PREEMPTED else evicted.message


def _find(items: Sequence[KubeObject], name: str) -> KubeObject | None:
    return next((item for item in items if name and objects.name_of(item) == name), None)


def _closed(queue: KubeObject) -> KubeObject | None:
    conditions = (queue.get("status") or {}).get("conditions") or []
    return next(
        (item for item in conditions if item.get("type") == "Active" and item.get("status") == "False"), None
    )


def _settings(snapshot: Snapshot) -> str:
    return (
        f"an administrator: Kueue's settings integrations.frameworks ({snapshot.kind.kueue_framework}) and"
        " managedJobsNamespaceSelector"
    )


def _name_queue(snapshot: Snapshot, queue: str) -> str:
    resource = snapshot.kind.resource.kind.lower()
    return f"label {resource} {name_of(snapshot)} kueue.x-k8s.io/queue-name={queue} --overwrite"
