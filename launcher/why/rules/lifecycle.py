"""What somebody wants of a job, or it has done already; and what its controller has made of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from launcher import objects
from launcher.backends.kubernetes.pods import lost_pod
from launcher.backends.states import JobState, early_end
from launcher.kinds.base import JobKind
from launcher.why.queries import (
    MANY,
    events_inside,
    events_of,
    name_of,
    namespace_of,
    not_started,
    quote,
    who,
)
from launcher.why.rules.queueing import is_unnamed
from launcher.why.snapshot import Snapshot
from launcher.why.verdict import Resolves, Verdict, evidence

PATIENCE_S = 30.0
"""What an operator or a scheduler that is alive never takes to begin, even by another clock."""


def explain_end(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say of a job that has ended well, was cancelled, or got lost, that it has."""
    status, job = snapshot.status, snapshot.status.handle.job
    if status.state is JobState.SUCCEEDED:
        end = status.termination
        kept = f"; last checkpoint {end.checkpoint}" if end is not None and end.checkpoint else ""
        why = early_end(status.pods)
        sentence = f"it has succeeded{f': {why}' if why else ''}{kept}"
        yield Verdict(code="succeeded", sentence=sentence, resolves=Resolves.ITSELF)
    elif status.state is JobState.CANCELLED:
        yield Verdict(
            code="cancelled",
            sentence="it was cancelled: it has saved and stopped",
            fix=f"ftlaunch resume {job}",
            resolves=Resolves.BY_CHANGE,
        )
    elif status.state is JobState.LOST:
        yield Verdict(
            code="lost",
            sentence=status.reason or "what ran it is gone without a word",
            fix=f"ftlaunch resume {job}",
            resolves=Resolves.BY_CHANGE,
        )


def explain_submitted(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say of a job that nothing has happened to it yet."""
    if (
        snapshot.status.state is JobState.SUBMITTED
        and snapshot.now_s - snapshot.status.created_s <= PATIENCE_S
    ):
        yield Verdict(
            code="submitted",
            sentence="it was submitted moments ago; look again soon",
            resolves=Resolves.ITSELF,
        )


def explain_wishes(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say that somebody has suspended, cancelled or deleted it."""
    status, job, name = snapshot.status, snapshot.job, snapshot.status.handle.job
    if status.state.is_terminal:
        return
    if objects.is_being_deleted(job):
        yield Verdict(
            code="being-deleted",
            sentence="it is being deleted, its pods first",
            evidence=evidence(f"{name}: deletionTimestamp {job['metadata']['deletionTimestamp']}"),
            resolves=Resolves.ITSELF,
        )
    elif snapshot.kind.is_cancelled(job):
        yield Verdict(
            code="cancelling",
            sentence="it was cancelled: its pods save and stop",
            evidence=evidence(
                "1 pod is left" if len(snapshot.pods) == 1 else f"{len(snapshot.pods)} pods are left"
            ),
            resolves=Resolves.ITSELF,
        )
    elif snapshot.kind.is_queued(job) or is_unnamed(snapshot):
        return  # it is Kueue that does so
    elif snapshot.kind.is_suspended(job) and any(objects.is_living(pod) for pod in snapshot.pods):
        yield Verdict(
            code="suspended",
            sentence="somebody else than ftlaunch has suspended it: its pods save and stop",
            evidence=evidence(f"{name}: {'.'.join(snapshot.kind.suspend_path)} is true"),
            fix=f"ftlaunch resume {name}, once they have",
            resolves=Resolves.BY_CHANGE,
        )
    elif status.state is JobState.SUSPENDED:
        yield Verdict(
            code="suspended",
            sentence="somebody else than ftlaunch has suspended it, so it has no pods",
            evidence=evidence(f"{name}: {'.'.join(snapshot.kind.suspend_path)} is true"),
            fix=f"ftlaunch resume {name}",
            resolves=Resolves.BY_CHANGE,
        )


def explain_stuck_pods(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say that pods should be gone and their node does not let them go."""
    overdue = [
        pod
        for pod in snapshot.pods
        if objects.is_being_deleted(pod)
        and snapshot.now_s - (objects.unix_time(pod["metadata"]["deletionTimestamp"]) or 0.0) > PATIENCE_S
    ]
    if not overdue or snapshot.status.state.is_terminal:
        return
    hosts = sorted({objects.host_of(pod) for pod in overdue})
    yield Verdict(
        code="delete-stuck",
        sentence=(
            f"{who(snapshot, overdue)} should be gone, and node {', '.join(hosts)} does not say that they"
            " are; no new pod is made until it answers or they are removed by force"
        ),
        evidence=evidence(
            *(
                f"{objects.name_of(pod)}: to be gone by {pod['metadata']['deletionTimestamp']}"
                for pod in overdue[:MANY]
            )
        ),
        fix=snapshot.kind.free_lost_pod(
            pod=objects.name_of(overdue[0]), host=hosts[0], namespace=namespace_of(snapshot)
        )
        + " (only if that node is off: else two pods write to one folder)",
        resolves=Resolves.BY_CHANGE,
    )


def explain_no_controller(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say that no controller has looked at the job."""
    job, kind = snapshot.job, snapshot.kind
    made = bool(snapshot.inner_jobs or snapshot.pods)
    told = events_of(snapshot, job) or events_inside(snapshot)
    if kind.is_noticed(job) or made or told or snapshot.status.state.is_terminal:
        return
    waited_s = snapshot.now_s - snapshot.status.created_s
    if waited_s > PATIENCE_S:
        yield Verdict(
            code="no-controller",
            sentence=f"no {_title_of(kind)} has looked at it for {waited_s:.0f} s",
            evidence=evidence(f"{name_of(snapshot)}: status.conditions is empty"),
            fix=f"kubectl get deployments -A | grep {kind.controller.deployment}, and have it started or"
            " installed"
            if kind.controller is not None
            else "an administrator: whether kube-controller-manager runs",
            resolves=Resolves.BY_CHANGE,
        )


def _title_of(kind: JobKind) -> str:
    return kind.controller.title if kind.controller is not None else "Job controller"


def explain_missing_runtime(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say that what holds the pods' template is gone, without which the job cannot be changed any more."""
    if snapshot.status.state.is_terminal or not snapshot.kind.pods_beside or snapshot.beside != ():
        return
    name, what = name_of(snapshot), snapshot.kind.companions[-1].kind
    goes_on = any(objects.is_living(pod) for pod in snapshot.pods)
    yield Verdict(
        code="runtime-missing",
        sentence=f"its {what} {name!r} is gone: "
        + ("it runs to its end, and can neither be cancelled nor resumed" if goes_on else "it cannot start"),
        evidence=evidence(f"{what} {namespace_of(snapshot)}/{name}: not found"),
        fix=f"ftlaunch delete {name} --force; what it has saved stays: submit it again with the same output",
        resolves=Resolves.BY_CHANGE,
    )


def explain_missing_pods(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say that pods are still being made."""
    replicas, job = snapshot.kind.replicas_of(snapshot.job), snapshot.job
    made = len(snapshot.pods)
    if snapshot.kind.is_suspended(job) or snapshot.status.state.is_terminal:
        return
    if made < replicas and (made or snapshot.kind.is_noticed(job)):
        yield Verdict(
            code="pods-missing",
            sentence=f"{snapshot.kind.maker} has made {made} of {replicas} pods so far",
            fix=f"ftlaunch events {name_of(snapshot)}",
            resolves=Resolves.ITSELF,
        )


def explain_starting(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say that pods are on their nodes and being made ready."""
    waiting = not_started(snapshot)
    if not waiting or lost_pod(snapshot.pods) is not None:
        return
    notes = [note for pod in waiting[:MANY] for note in events_of(snapshot, pod, "Pulling")]
    pulling = f"; {waiting[0]['spec']['containers'][0].get('image')} is being pulled" if notes else ""
    if snapshot.status.state is JobState.RESTARTING:
        yield Verdict(
            code="restarting",
            sentence=f"{who(snapshot, waiting, 'begin')} again, from the last checkpoint{pulling}",
            evidence=evidence(*(quote(note) for note in notes[:1])),
            resolves=Resolves.ITSELF,
        )
        return
    yield Verdict(
        code="container-starting",
        sentence=f"volumes, image and container of {who(snapshot, waiting)} are being made ready{pulling}",
        evidence=evidence(*(quote(note) for note in notes[:1])),
        resolves=Resolves.ITSELF,
    )


def explain_restart(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say that a job begins again for which nothing more telling was found."""
    if snapshot.status.state is JobState.RESTARTING:
        reason = f": {snapshot.status.reason}" if snapshot.status.reason else ""
        yield Verdict(
            code="restarting",
            sentence=f"a pod begins again, from the last checkpoint{reason}",
            fix=f"ftlaunch events {name_of(snapshot)}",
            resolves=Resolves.ITSELF,
        )
