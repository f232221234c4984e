"""Why the API server does not take a job's pods. Pure.

Who makes the pods writes what it is told into an event: the training operator FailedCreatePod of the job, the
Job controller FailedCreate of the Job, which stands inside a JobSet or TrainJob. A JobSet whose Job is
refused says so in JobCreationFailed, every few seconds and in no condition; so does the JobSet of a TrainJob,
which itself says TrainJobResourcesCreationFailed where it cannot make that one. The words are those of
kubernetes v1.34.7: plugin/pkg/admission/{limitranger,serviceaccount,priority}, and v0.34.4 of
apiserver/pkg/admission/plugin/{resourcequota,namespace/lifecycle}, apiserver/pkg/util/webhook/error.go and
pod-security-admission/admission.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from launcher.backends.states import JobEvent
from launcher.why.queries import ended_for_another, events_inside, events_of, kubectl, quote, template_of
from launcher.why.rules.quotas import measure_quotas
from launcher.why.snapshot import Snapshot
from launcher.why.verdict import Resolves, Verdict, evidence

FAILED_CREATE = ("FailedCreatePod", "FailedCreate")
NEVER_MADE = ("JobCreationFailed", "TrainJobResourcesCreationFailed")

_REFUSALS: tuple[tuple[str, str, str, str], ...] = (
    (
        r"because it is being terminated",
        "namespace-ending",
        "the namespace is being deleted",
        "submit into another: --namespace NAME",
    ),
    (
        r"failed quota: (?P<said>.*must specify .*)",
        "quota-needs-requests",
        "the namespace's quota counts what the job does not state",
        "set Launch.resources.cpu and .memory",
    ),
    (
        r"exceeded quota: (?P<said>.*)",
        "quota-exceeded",
        "the namespace's quota is used up",
        "describe resourcequotas",
    ),
    (
        r"(?P<said>(maximum|minimum) .* usage per (Container|Pod) is .*)",
        "limit-range",
        "the namespace's limit range forbids pods of this size",
        "change Launch.resources",
    ),
    (
        r"violates PodSecurity (?P<said>.*)",
        "pod-security",
        "the namespace's pod security level forbids the pods",
        "take rdma and hostPath volumes out of Launch, or use a namespace with another level",
    ),
    (
        r"error looking up service account \S*: (?P<said>.*)|serviceaccount \S+ not found",
        "service-account-missing",
        "the service account does not exist",
        "correct Launch.service_account, or create it",
    ),
    (
        r"(?P<said>no PriorityClass with name .* was found)",
        "priority-class-missing",
        "the priority class does not exist",
        "correct Launch.priority_class; kubectl get priorityclasses",
    ),
    (
        r"failed calling webhook (?P<said>.*)",
        "webhook-unreachable",
        "an admission webhook does not answer",
        "tell whoever keeps the cluster",
    ),
    (
        r"admission webhook (?P<said>.*denied the request.*)",
        "webhook-denied",
        "an admission webhook refuses the pods",
        "change the job as it says",
    ),
)
_PASSING = ("quota-exceeded", "webhook-unreachable")
_PARTS = re.compile(
    r"exceeded quota: (?P<name>[^,]+), requested: (?P<asked>.*), used: (?P<used>.*), limited: (?P<hard>.*)"
)


def explain_refused_pods(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say why the pods that are missing may not be made."""
    ended = ended_for_another(snapshot)
    missing = snapshot.kind.replicas_of(snapshot.job) - len(snapshot.pods) + len(ended)
    if snapshot.status.state.is_terminal or missing <= 0 or snapshot.kind.is_suspended(snapshot.job):
        return
    if refused := events_of(snapshot, snapshot.job, *NEVER_MADE) or events_inside(snapshot, *NEVER_MADE):
        yield Verdict(
            code="job-refused",
            sentence=f"the Job that its {snapshot.kind.resource.kind} makes is refused, so it has no pods: "
            f"{' '.join(refused[0].message.split())}",
            evidence=evidence(quote(refused[0])),
            fix="mend what it names (Launch.pod_patch, or a template of yours) and submit it again",
            resolves=Resolves.BY_CHANGE,
        )
        return
    owners = (snapshot.job, *(snapshot.inner_jobs or ()))
    # Where only ended pods are to be made again, what was said before they had ended is about others.
    since_s = min(ended.values()) if len(ended) == missing else 0.0
    notes = [
        note
        for owner in owners
        for note in events_of(snapshot, owner, *FAILED_CREATE)
        if note.time_s >= since_s
    ]
    if not notes:
        return
    note = max(notes, key=lambda each: each.time_s)
    verdict = read_refusal(snapshot, note)
    if verdict.code == "quota-exceeded":
        counted = measure_quotas(
            template_of(snapshot),
            pods=snapshot.kind.replicas_of(snapshot.job),
            more=missing,
            quotas=snapshot.quotas or (),
        )
        exact = min(counted, key=lambda item: item.code != "quota-never", default=None)
        if exact is not None:
            verdict = replace(exact, evidence=(*exact.evidence, *verdict.evidence))
    yield verdict


def read_refusal(snapshot: Snapshot, note: JobEvent) -> Verdict:
    """Say what the API server's refusal of a pod means."""
    message = " ".join(note.message.split())
    for pattern, code, head, fix in _REFUSALS:
        match = re.search(pattern, message)
        if match:
            said = _said(match) or message
            resolves = Resolves.LATER if code in _PASSING else Resolves.BY_CHANGE
            return Verdict(
                code=code,
                sentence=f"{head}: {said}",
                evidence=evidence(quote(note)),
                fix=kubectl(snapshot, fix) if fix.startswith("describe") else fix,
                resolves=resolves,
            )
    return Verdict(
        code="pod-refused",
        sentence=f"the API server refuses the pods: {message}",
        evidence=evidence(quote(note)),
        fix="change the job as it says",
        resolves=Resolves.BY_CHANGE,
    )


def _said(match: re.Match[str]) -> str:
    parts = _PARTS.search(match.string)
    if parts:
        return (
            f"{parts['name']} has {parts['used']} used of {parts['hard']}, and a pod asks for"
            f" {parts['asked']}"
        )
    return match.groupdict().get("said") or ""
