"""Why Kueue has not let a job in. Pure.

Kueue speaks through the Workload's condition QuotaReserved (kueue v0.9 to v0.17,
pkg/controller/core/workload_controller.go and pkg/scheduler/flavorassigner/flavorassigner.go).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from launcher.backends.base import JobState
from launcher.kube import paddlejob
from launcher.kube.resources import KubeObject
from launcher.why.looking import name_of, namespace_of
from launcher.why.snapshot import Snapshot
from launcher.why.verdict import Outlook, Verdict, evidence

_MISSING = re.compile(r"(Local|Cluster)Queue \S+ doesn't exist")
_INACTIVE = re.compile(r"(Local|Cluster)Queue \S+ is inactive|is stopped|deactivated", re.IGNORECASE)
_NEVER = re.compile(
    r"request > maximum capacity|insufficient quota for \S+ in flavor \S+ in ClusterQueue|unavailable in"
    r" ClusterQueue"
    r"|exceeds? (the )?max(imum)?"
)
_LACK = re.compile(r"insufficient unused quota[^,]*in flavor (?P<flavor>\S+), (?P<more>\S+) more needed")


def explain_queue(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say where a job of a Kueue queue stands, and what the queue lacks."""
    if snapshot.status.state is not JobState.QUEUED:
        return
    queue = snapshot.job["metadata"]["labels"][paddlejob.QUEUE_LABEL]
    workload = _own(snapshot)
    look = f"kubectl -n {namespace_of(snapshot)} get localqueue {queue}"
    if workload is None:
        seen = snapshot.workloads is not None
        yield Verdict(
            code="queue-waiting",
            sentence=f"it waits in queue {queue!r}"
            + ("; Kueue has not made its Workload yet" if seen else "; its Workload may not be looked at"),
            cure=look,
            outlook=Outlook.LATER,
        )
        return
    said = _said(workload)
    place = _place(snapshot, workload)
    note = f"Workload {paddlejob.name_of(workload)}: {said}"
    if _MISSING.search(said):
        code, sentence, outlook = (
            "queue-missing",
            f"it waits in a queue that does not exist: {said}",
            Outlook.NEVER,
        )
    elif _INACTIVE.search(said) or (workload.get("spec") or {}).get("active") is False:
        code, sentence, outlook = "queue-inactive", f"queue {queue!r} lets nothing in: {said}", Outlook.NEVER
    elif _NEVER.search(said):
        code, sentence = "queue-never", f"it asks for more than queue {queue!r} can ever give: {said}"
        outlook = Outlook.NEVER
    else:
        lack = _LACK.search(said)
        more = f"{lack['more']} more needed in flavour {lack['flavor']}" if lack else said
        code, sentence = "queue-waiting", f"it waits in queue {queue!r}{place}: {more or 'no quota yet'}"
        outlook = Outlook.LATER
    yield Verdict(code=code, sentence=sentence, evidence=evidence(note), cure=look, outlook=outlook)


def _own(snapshot: Snapshot) -> KubeObject | None:
    uid, name = snapshot.job["metadata"].get("uid"), name_of(snapshot)
    for workload in snapshot.workloads or ():
        owners = workload["metadata"].get("ownerReferences") or []
        if any(owner.get("uid") == uid or (uid is None and owner.get("name") == name) for owner in owners):
            return workload
    return None


def _said(workload: KubeObject) -> str:
    conditions = (workload.get("status") or {}).get("conditions") or []
    told = [item for item in conditions if item.get("type") in ("QuotaReserved", "Admitted", "Evicted")]
    waiting = [item for item in told if item.get("status") == "False"]
    return " ".join(str((waiting or told or [{}])[0].get("message", "")).split())


def _place(snapshot: Snapshot, workload: KubeObject) -> str:
    """Return the place among those of the queue that wait: by priority, then by age, as Kueue takes them."""
    waiting = [
        other
        for other in snapshot.workloads or ()
        if (other.get("spec") or {}).get("queueName") == (workload.get("spec") or {}).get("queueName")
        and not any(
            item.get("type") == "QuotaReserved" and item.get("status") == "True"
            for item in (other.get("status") or {}).get("conditions") or []
        )
    ]
    order = sorted(
        waiting,
        key=lambda other: (-int((other.get("spec") or {}).get("priority") or 0), paddlejob.created_s(other)),
    )
    names = [paddlejob.name_of(other) for other in order]
    name = paddlejob.name_of(workload)
    return f", place {names.index(name) + 1} of {len(names)}" if name in names else ""
