"""The rules before a job is sent: may it be made, do its claims suit it, is there room now, later, or never.

One round of at most ten requests, side by side, with a limit on their number, their size and their time:
what is not known in time is not waited for. Nothing is changed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from launcher import objects
from launcher.backends.kubernetes.gangs import makes_gangs
from launcher.backends.kubernetes.kueue import find_kind
from launcher.backends.states import JobState, JobStatus
from launcher.errors import LaunchError
from launcher.kinds.base import JobKind
from launcher.kinds.registry import DEFAULT
from launcher.kube.api import Keep, KubeApi, whole
from launcher.kube.errors import InvalidError, UnservedError
from launcher.kube.rules import ask_for_rules, grants, is_whole, rules_in
from launcher.objects import (
    CLAIMS,
    CONFIG_MAPS,
    JOBS,
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
from launcher.threads import run_within
from launcher.why.gather import ALIVE, MAX_OTHERS, describe_skipped, has_claims
from launcher.why.node_capacity import read_capacities
from launcher.why.queries import template_of
from launcher.why.rules.capacity import check_capacity
from launcher.why.rules.claims import check_claims
from launcher.why.rules.gangs import foresee_gang
from launcher.why.rules.queueing import check_queue
from launcher.why.rules.quotas import measure_limits, measure_quotas
from launcher.why.snapshot import Objects, Skipped, Snapshot, reduce_pod
from launcher.why.verdict import Resolves, Verdict

WITHIN_S = 4.0
MAX_NODES, MAX_PODS = 1000, 2000
"""Where there are more, whether there is room is not asked: it would take longer than it is worth."""
REFUSED = frozenset({
    "create-denied", "claim-missing", "claim-lost", "claim-being-deleted", "quota-never", "limit-range",
    "quota-needs-requests", "job-refused", "kueue-missing", "queue-ignored", "queue-missing",
})  # fmt: skip
"""What no patience and no autoscaler mends. Of the rest a job is only warned."""
_IMAGES_NAMED = 50  # a kubelet names its largest images only (kubernetes v1.34, nodeStatusMaxImages)
_ROOM = "room on the nodes"

T = TypeVar("T")
_THREADS = 4
"""Each has a connection, whose handshake costs more than two queries on a connection that stands."""

Query = Callable[[], Objects]


@dataclass(frozen=True, kw_only=True, slots=True)
class Preflight:
    """What was found.

    Attributes:
        errors: Reasons not to send the job.
        warnings: What keeps it from starting at once, or for ever as things are.
        notes: What is good to know.
        skipped: What could not be looked at.
    """

    errors: tuple[Verdict, ...] = ()
    warnings: tuple[Verdict, ...] = ()
    notes: tuple[Verdict, ...] = ()
    skipped: tuple[Skipped, ...] = ()


def check_before(
    api: KubeApi,
    job: KubeObject,
    *,
    namespace: str,
    now_s: float,
    within_s: float = WITHIN_S,
    kind: JobKind = DEFAULT,
    rules: KubeObject | None = None,
    beside: Sequence[KubeObject] = (),
) -> Preflight:
    """Hold a job that has not been sent against its cluster.

    Args:
        api: The cluster.
        job: Its object.
        namespace: Where it is to go.
        now_s: Unix time.
        within_s: How long answers are waited for.
        kind: Of it.
        rules: The review of what the user may do, where it was asked for already.
        beside: Its companions.
    """
    handle = Handle(backend="kubernetes", namespace=namespace, job=objects.name_of(job))
    status = JobStatus(
        handle=handle, run_id=objects.run_id_of(job), state=JobState.SUBMITTED, pods=(), created_s=now_s
    )
    wanted = Snapshot(now_s=now_s, status=status, kind=kind, job=job, beside=tuple(beside))
    queries = _queries(api, wanted, namespace)
    if rules is not None:
        del queries["rules"]
    gathered = gather_within(queries, within_s=within_s)
    skipped = [
        _describe_skipped(name, namespace, error) for name, error in gathered.failed.items()
        if not isinstance(error, UnservedError) and not _is_verdict(name, error)
    ]  # fmt: skip
    reason = f"no answer within {within_s:g} s"
    skipped += [Skipped(what=name, reason=reason) for name in queries if name in gathered.late]
    found: dict[str, Any] = {
        name: items for name, items in gathered.given.items() if name not in ("rules", "stored", "inner")
    }
    review = rules or next(iter(gathered.given.get("rules", ())), None)
    snapshot = replace(wanted, **found)
    verdicts = [
        *_check_rules(review, namespace, kind),
        *_check_limits(snapshot),
        *check_claims(snapshot),
    ]
    if (error := gathered.failed.get("inner")) is not None and _is_verdict("inner", error):
        verdicts.append(_say_inner(kind, error))
    verdicts += [*_check_capacity(snapshot, skipped), *_check_image(snapshot)]
    has_kueue = not isinstance(gathered.failed.get("local_queues"), UnservedError)
    verdicts += check_queue(
        snapshot, has_kueue=has_kueue, stored=next(iter(gathered.given.get("stored", ())), None)
    )
    return _sort(verdicts, skipped)


def _is_verdict(name: str, error: Exception) -> bool:
    return name == "inner" and isinstance(error, InvalidError)


def _say_inner(kind: JobKind, error: Exception) -> Verdict:
    return Verdict(
        code="job-refused",
        sentence=f"the Job that its {kind.resource.kind} makes would be refused, and never be made: {error}",
        fix="mend what it names, in Launch.pod_patch or a template of yours",
        resolves=Resolves.BY_CHANGE,
    )


def _queries(api: KubeApi, wanted: Snapshot, namespace: str) -> dict[str, Query]:
    job, kind = wanted.job, wanted.kind

    def ask(
        resource: Resource, *, where: str = namespace, fields: str = "", at_most: int = MAX_OTHERS,
        keep: Keep = whole,
    ) -> Query:  # fmt: skip
        return lambda: api.list(resource, namespace=where, fields=fields, at_most=at_most, keep=keep)

    queries: dict[str, Query] = {
        "rules": lambda: (api.create(RULES_REVIEWS, ask_for_rules(namespace), namespace=""),),
        "quotas": ask(QUOTAS),
        "limit_ranges": ask(LIMIT_RANGES),
        "nodes": ask(NODES, where="", at_most=MAX_NODES),
        "placed": ask(PODS, where="", fields=ALIVE, at_most=MAX_PODS, keep=reduce_pod),
    }
    if objects.queue_of(job):
        queries |= {
            "local_queues": lambda: _list_queues(api, namespace),
            "stored": lambda: _try_out(api, kind.resource, job, namespace),
        }
    if (
        inner := kind.inner_job_of(job, wanted.beside or ())
    ) is not None:  # its controller takes what the Job's own checks refuse, and then never makes it
        queries["inner"] = lambda: (api.create(JOBS, inner, namespace=namespace, dry_run=True),)
    if has_claims(wanted):
        queries |= {"claims": ask(CLAIMS), "storage_classes": ask(STORAGE_CLASSES, where="")}
    return queries


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


def _check_rules(review: KubeObject | None, namespace: str, kind: JobKind) -> Iterator[Verdict]:
    if review is None or not is_whole(review):
        return
    beside = ((resource, ("create", "patch")) for resource in (CONFIG_MAPS, *kind.companions))
    for resource, verbs in (*beside, (kind.resource, ("create",))):
        for verb in verbs:
            if not grants(rules_in(review), group=resource.group, resource=resource.plural, verb=verb):
                rule = {"apiGroups": [resource.group], "resources": [resource.plural], "verbs": [verb]}
                yield Verdict(
                    code="create-denied",
                    sentence=f"you may not {verb} {resource.plural} in namespace {namespace!r}",
                    fix=f"ask for this rule: {json.dumps(rule)}",
                    resolves=Resolves.BY_CHANGE,
                )


def _check_limits(snapshot: Snapshot) -> Iterator[Verdict]:
    spec, replicas = template_of(snapshot), snapshot.kind.needed_of(snapshot.job)
    ranges = snapshot.limit_ranges
    for verdict in measure_quotas(spec, pods=replicas, more=replicas, quotas=snapshot.quotas or ()):
        # a limit range may state for the pods what they do not
        if verdict.code != "quota-needs-requests" or (
            ranges is not None and not any(map(_has_defaults, ranges))
        ):
            yield verdict
    yield from measure_limits(spec, ranges=ranges or ())


def _check_capacity(snapshot: Snapshot, skipped: list[Skipped]) -> Iterator[Verdict]:
    nodes, placed = snapshot.nodes, snapshot.placed
    if nodes is None:
        return
    if len(nodes) >= MAX_NODES:
        skipped.append(Skipped(what=_ROOM, reason=f"there are more than {MAX_NODES}"))
        return
    if placed is not None and len(placed) >= MAX_PODS:
        skipped.append(Skipped(what=_ROOM, reason=f"there are more than {MAX_PODS} pods"))
        placed = None
    on_nodes = None if placed is None else [pod for pod in placed if objects.host_of(pod)]
    replicas = snapshot.kind.needed_of(snapshot.job)
    capacities = read_capacities(nodes, on_nodes)
    verdict = check_capacity(template_of(snapshot), pods=replicas, more=replicas, capacities=capacities)
    if verdict is not None and makes_gangs(placed or (), kind=snapshot.kind):
        yield foresee_gang(snapshot, verdict, capacities=capacities)
    elif verdict is not None:
        yield verdict
    elif on_nodes is not None:
        yield Verdict(
            code="fits-now", sentence=f"there is room for its {replicas} pods now", resolves=Resolves.ITSELF
        )


def _check_image(snapshot: Snapshot) -> Iterator[Verdict]:
    containers = template_of(snapshot)["containers"]
    own = next(item for item in containers if item["name"] == snapshot.kind.container)
    told = [(node.get("status") or {}).get("images") or [] for node in snapshot.nodes or ()]
    if not told or any(len(images) >= _IMAGES_NAMED for images in told):
        return  # not all are named
    image = _whole_name(str(own["image"]))
    if any(image in (entry.get("names") or ()) for images in told for entry in images):
        return
    if own.get("imagePullPolicy") == "Never":
        yield Verdict(
            code="image-never-pulled",
            sentence=f"no node has {own['image']}, and none may pull it",
            fix="load it onto the nodes, or take image_pull_policy: Never out",
            resolves=Resolves.BY_CHANGE,
        )
    else:
        yield Verdict(
            code="image-absent",
            sentence=f"no node has {own['image']} yet, so the first start pulls it",
            resolves=Resolves.ITSELF,
        )


def _whole_name(image: str) -> str:
    """Return an image's name as nodes say it (distribution/reference: docker.io/library, latest)."""
    first, slash, _ = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif "." not in first and ":" not in first and first != "localhost":
        image = f"docker.io/{image}"
    return image if ":" in image.rpartition("/")[2] or "@" in image else f"{image}:latest"


def _sort(verdicts: list[Verdict], skipped: list[Skipped]) -> Preflight:
    errors = [verdict for verdict in verdicts if verdict.code in REFUSED or _is_certain(verdict)]
    others = [verdict for verdict in verdicts if verdict not in errors]
    return Preflight(
        errors=tuple(errors),
        warnings=tuple(verdict for verdict in others if verdict.resolves is not Resolves.ITSELF),
        notes=tuple(verdict for verdict in others if verdict.resolves is Resolves.ITSELF),
        skipped=tuple(dict.fromkeys(skipped)),
    )


def _is_certain(verdict: Verdict) -> bool:
    # ReadWriteOnce is one node, on which all pods may meet; the others cannot work
    return verdict.code == "claim-access-mode" and "ReadWriteOnce)" not in verdict.sentence


def _has_defaults(limit_range: KubeObject) -> bool:
    limits = (limit_range.get("spec") or {}).get("limits") or []
    return any(limit.get("default") or limit.get("defaultRequest") for limit in limits)


def _describe_skipped(name: str, namespace: str, error: Exception) -> Skipped:
    kinds = {
        "quotas": QUOTAS, "limit_ranges": LIMIT_RANGES, "nodes": NODES, "placed": PODS, "claims": CLAIMS,
        "storage_classes": STORAGE_CLASSES, "rules": RULES_REVIEWS, "local_queues": LOCAL_QUEUES,
        "inner": JOBS,
    }  # fmt: skip
    of_cluster = name in ("nodes", "placed", "storage_classes", "rules")
    assert isinstance(error, LaunchError)
    return describe_skipped(kinds[name], namespace="" if of_cluster else namespace, error=error)


class Gathered(Generic[T]):
    """What came of several queries.

    Attributes:
        given: Answers, by the query's name.
        failed: Refusals and failures, by the query's name.
        late: Names of the queries without an answer in time.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.given: dict[str, T] = {}
        self.failed: dict[str, Exception] = {}
        self.late = set(names)


def gather_within(queries: Mapping[str, Callable[[], T]], *, within_s: float) -> Gathered[T]:
    """Send queries side by side, and wait for the answers only so long.

    A few threads do, which end with the process at the latest.

    Raises:
        Exception: What a query raised that is no error of ours: a bug.
    """
    gathered: Gathered[T] = Gathered(tuple(queries))
    ended = run_within(list(queries.values()), within_s=within_s, at_once=_THREADS)
    for name, answer in zip(queries, ended, strict=True):
        if answer is None:
            continue
        gathered.late.discard(name)
        if isinstance(answer.error, LaunchError):
            gathered.failed[name] = answer.error
        else:
            gathered.given[name] = answer.result()
    return gathered
