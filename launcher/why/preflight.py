"""The rules before a job is sent: may it be made, do its claims suit it, is there room now, later, or never.

One round of at most ten requests, side by side, with a limit on their number, their size and their time:
what is not known in time is not waited for. Nothing is changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from launcher import objects
from launcher.backends.kubernetes.gangs import makes_gangs
from launcher.backends.kubernetes.kueue import find_kind
from launcher.backends.states import JobState, JobStatus
from launcher.errors import LaunchError
from launcher.kinds.base import JobKind
from launcher.kinds.registry import DEFAULT
from launcher.kube.api import Keep, KubeApi, whole
from launcher.kube.errors import UnservedError
from launcher.kube.rules import ask_for_rules, grants, is_whole, rules_in
from launcher.objects import (
    CLAIMS,
    CONFIG_MAPS,
    LIMIT_RANGES,
    LOCAL_QUEUES,
    NODES,
    PODS,
    QUOTAS,
    RULES_REVIEWS,
    STORAGE_CLASSES,
    KubeObject,
    Resource,
)
from launcher.plan.handle import Handle
from launcher.why.gather import ALIVE, MAX_OTHERS, describe_unseen, has_claims
from launcher.why.node_capacity import read_rooms
from launcher.why.queries import template_of
from launcher.why.rules.capacity import judge_room
from launcher.why.rules.claims import judge_claims
from launcher.why.rules.gangs import foresee_gang
from launcher.why.rules.queueing import judge_queue
from launcher.why.rules.quotas import measure_limits, measure_quotas
from launcher.why.snapshot import Objects, Snapshot, reduce_pod
from launcher.why.together import ask_together
from launcher.why.verdict import Outlook, Verdict, evidence

WITHIN_S = 4.0
MAX_NODES, MAX_PODS = 1000, 2000
"""Where there are more, whether there is room is not asked: it would take longer than it is worth."""
REFUSED = frozenset({
    "create-denied", "claim-missing", "claim-lost", "claim-being-deleted", "quota-never", "limit-range",
    "quota-needs-requests", "kueue-missing", "queue-ignored", "queue-missing",
})  # fmt: skip
"""What no patience and no autoscaler mends. Of the rest a job is only warned."""
_IMAGES_TOLD = 50  # a kubelet names its largest images only (kubernetes v1.34, nodeStatusMaxImages)
_ROOM = "room on the nodes"

Question = Callable[[], Objects]


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What was found.

    Attributes:
        refusals: Reasons not to send the job.
        warnings: What keeps it from starting at once, or for ever as things are.
        notes: What is good to know.
        unseen: What could not be looked at.
    """

    refusals: tuple[Verdict, ...] = ()
    warnings: tuple[Verdict, ...] = ()
    notes: tuple[Verdict, ...] = ()
    unseen: tuple[str, ...] = ()


def look_before(
    api: KubeApi,
    job: KubeObject,
    *,
    namespace: str,
    now_s: float,
    within_s: float = WITHIN_S,
    kind: JobKind = DEFAULT,
) -> Findings:
    """Hold a job that has not been sent against its cluster.

    Args:
        api: The cluster.
        job: Its object.
        namespace: Where it is to go.
        now_s: Unix time.
        within_s: How long answers are waited for.
        kind: Of it.
    """
    questions = _questions(api, job, namespace, kind)
    answers = ask_together(questions, within_s=within_s)
    unseen = [
        _say_unseen(name, namespace, error) for name, error in answers.failed.items()
        if not isinstance(error, UnservedError)
    ]  # fmt: skip
    unseen += [f"{name}: no answer within {within_s:g} s" for name in questions if name in answers.late]
    found: dict[str, Any] = {
        name: items for name, items in answers.given.items() if name not in ("rules", "stored")
    }
    review = next(iter(answers.given.get("rules", ())), None)
    handle = Handle(backend="kubernetes", namespace=namespace, job=objects.name_of(job))
    status = JobStatus(
        handle=handle, run_id=objects.run_id_of(job), state=JobState.SUBMITTED, pods=(), created_s=now_s
    )
    snapshot = replace(Snapshot(now_s=now_s, status=status, kind=kind, job=job), **found)
    judged = [
        *_judge_rules(review, namespace, kind.resource),
        *_judge_limits(snapshot),
        *judge_claims(snapshot),
    ]
    judged += [*_judge_room(snapshot, unseen), *_judge_image(snapshot)]
    has_kueue = not isinstance(answers.failed.get("local_queues"), UnservedError)
    judged += judge_queue(
        snapshot, has_kueue=has_kueue, stored=next(iter(answers.given.get("stored", ())), None)
    )
    return _sort(judged, unseen)


def _questions(api: KubeApi, job: KubeObject, namespace: str, kind: JobKind) -> dict[str, Question]:
    def ask(
        resource: Resource, *, where: str = namespace, fields: str = "", at_most: int = MAX_OTHERS,
        keep: Keep = whole,
    ) -> Question:  # fmt: skip
        return lambda: api.list(resource, namespace=where, fields=fields, at_most=at_most, keep=keep)

    questions: dict[str, Question] = {
        "rules": lambda: (api.create(RULES_REVIEWS, ask_for_rules(namespace), namespace=""),),
        "quotas": ask(QUOTAS),
        "limit_ranges": ask(LIMIT_RANGES),
        "nodes": ask(NODES, where="", at_most=MAX_NODES),
        "placed": ask(PODS, where="", fields=ALIVE, at_most=MAX_PODS, keep=reduce_pod),
    }
    if objects.queue_of(job):
        questions |= {
            "local_queues": lambda: _list_queues(api, namespace),
            "stored": lambda: _try_out(api, kind.resource, job, namespace),
        }
    if has_claims(job, kind):
        questions |= {"claims": ask(CLAIMS), "storage_classes": ask(STORAGE_CLASSES, where="")}
    return questions


def _list_queues(api: KubeApi, namespace: str) -> Objects:
    kind = find_kind(api, LOCAL_QUEUES.plural)
    if kind is None:
        raise UnservedError(expected="a cluster with Kueue", got=f"one without {LOCAL_QUEUES.plural}")
    return api.list(kind, namespace=namespace, at_most=MAX_OTHERS)


def _try_out(api: KubeApi, resource: Resource, job: KubeObject, namespace: str) -> Objects:
    """Return the job as the server would store it: whoever admits jobs has had a hand in it."""
    try:
        return (api.create(resource, job, namespace=namespace, dry_run=True),)
    except LaunchError:  # the submit says it better, at its place in the config
        return ()


def _judge_rules(review: KubeObject | None, namespace: str, jobs: Resource) -> Iterator[Verdict]:
    if review is None or not is_whole(review):
        return
    for resource, verbs in ((CONFIG_MAPS, ("create", "patch")), (jobs, ("create",))):
        for verb in verbs:
            if not grants(rules_in(review), group=resource.group, resource=resource.plural, verb=verb):
                rule = {"apiGroups": [resource.group], "resources": [resource.plural], "verbs": [verb]}
                yield Verdict(
                    code="create-denied",
                    sentence=f"you may not {verb} {resource.plural} in namespace {namespace!r}",
                    cure=f"ask for this rule: {json.dumps(rule)}",
                    outlook=Outlook.NEVER,
                )


def _judge_limits(snapshot: Snapshot) -> Iterator[Verdict]:
    spec, replicas = template_of(snapshot), snapshot.kind.replicas_of(snapshot.job)
    ranges = snapshot.limit_ranges
    for verdict in measure_quotas(spec, pods=replicas, more=replicas, quotas=snapshot.quotas or ()):
        # a limit range may state for the pods what they do not
        if verdict.code != "quota-needs-requests" or (
            ranges is not None and not any(map(_has_defaults, ranges))
        ):
            yield verdict
    yield from measure_limits(spec, ranges=ranges or ())


def _judge_room(snapshot: Snapshot, unseen: list[str]) -> Iterator[Verdict]:
    nodes, placed = snapshot.nodes, snapshot.placed
    if nodes is None:
        return
    if len(nodes) >= MAX_NODES:
        unseen.append(f"{_ROOM}: there are more than {MAX_NODES}")
        return
    if placed is not None and len(placed) >= MAX_PODS:
        unseen.append(f"{_ROOM}: there are more than {MAX_PODS} pods")
        placed = None
    on_nodes = None if placed is None else [pod for pod in placed if objects.host_of(pod)]
    replicas = snapshot.kind.replicas_of(snapshot.job)
    rooms = read_rooms(nodes, on_nodes)
    verdict = judge_room(template_of(snapshot), pods=replicas, more=replicas, rooms=rooms)
    if verdict is not None and makes_gangs(placed or (), kind=snapshot.kind):
        yield foresee_gang(snapshot, verdict, rooms=rooms)
    elif verdict is not None:
        yield verdict
    elif on_nodes is not None:
        yield Verdict(
            code="fits-now", sentence=f"there is room for its {replicas} pods now", outlook=Outlook.NOW
        )


def _judge_image(snapshot: Snapshot) -> Iterator[Verdict]:
    containers = template_of(snapshot)["containers"]
    own = next(item for item in containers if item["name"] == snapshot.kind.container)
    told = [(node.get("status") or {}).get("images") or [] for node in snapshot.nodes or ()]
    if not told or any(len(images) >= _IMAGES_TOLD for images in told):
        return  # not all are named
    image = _whole_name(str(own["image"]))
    if any(image in (entry.get("names") or ()) for images in told for entry in images):
        return
    if own.get("imagePullPolicy") == "Never":
        yield Verdict(
            code="image-never-pulled",
            sentence=f"no node has {own['image']}, and none may pull it",
            cure="load it onto the nodes, or take image_pull_policy: Never out",
            outlook=Outlook.NEVER,
        )
    else:
        yield Verdict(
            code="image-absent",
            sentence=f"no node has {own['image']} yet, so the first start pulls it",
            outlook=Outlook.NOW,
        )


def _whole_name(image: str) -> str:
    """Return an image's name as nodes say it (distribution/reference: docker.io/library, latest)."""
    first, slash, _ = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif "." not in first and ":" not in first and first != "localhost":
        image = f"docker.io/{image}"
    return image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"


def _sort(judged: list[Verdict], unseen: list[str]) -> Findings:
    refusals = [verdict for verdict in judged if verdict.code in REFUSED or _is_certain(verdict)]
    others = [verdict for verdict in judged if verdict not in refusals]
    return Findings(
        refusals=tuple(refusals),
        warnings=tuple(verdict for verdict in others if verdict.outlook is not Outlook.NOW),
        notes=tuple(verdict for verdict in others if verdict.outlook is Outlook.NOW),
        unseen=evidence(*unseen),
    )


def _is_certain(verdict: Verdict) -> bool:
    # ReadWriteOnce is one node, on which all pods may meet; the others cannot work
    return verdict.code == "claim-access-mode" and "ReadWriteOnce)" not in verdict.sentence


def _has_defaults(limit_range: KubeObject) -> bool:
    limits = (limit_range.get("spec") or {}).get("limits") or []
    return any(limit.get("default") or limit.get("defaultRequest") for limit in limits)


def _say_unseen(name: str, namespace: str, error: Exception) -> str:
    kinds = {
        "quotas": QUOTAS, "limit_ranges": LIMIT_RANGES, "nodes": NODES, "placed": PODS, "claims": CLAIMS,
        "storage_classes": STORAGE_CLASSES, "rules": RULES_REVIEWS, "local_queues": LOCAL_QUEUES,
    }  # fmt: skip
    of_cluster = name in ("nodes", "placed", "storage_classes", "rules")
    assert isinstance(error, LaunchError)
    return describe_unseen(kinds[name], namespace="" if of_cluster else namespace, error=error)
