"""Arithmetic of room: how many pods of one shape the nodes hold, now and if everything else ended. Pure.

All pods of a job ask for the same, so the numbers are exact but for what the scheduler weighs besides
(affinity, ports, volumes). What a pod takes is counted as the scheduler does (kubernetes v1.34.7,
k8s.io/component-helpers/resource): the sum of its containers, at least its largest init container, and its
overhead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from launcher.objects import KubeObject, requests_of
from launcher.quantity import parse_quantity

PODS = "pods"
_STAYING = ("DaemonSet", "Node")
"""Owners whose pods never make room: they belong to the node."""

Amounts = Mapping[str, Decimal]


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeCapacity:
    """A node.

    Attributes:
        free: What is not asked for by any pod; None where the pods were not looked at.
        whole: What there is when only the node's own pods are left.
        is_open: It is ready and not cordoned.
    """

    name: str
    labels: Mapping[str, str]
    taints: Sequence[Mapping[str, str]]
    whole: Amounts
    free: Amounts | None
    is_open: bool
    is_cordoned: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Fit:
    """How many pods of one shape there is room for.

    Attributes:
        now: In what is free; None where that is not known.
        later: On the nodes that are open, when everything else has ended.
        ever: With the nodes that are cordoned or not ready, too.
    """

    now: int | None
    later: int
    ever: int


def read_capacities(
    nodes: Iterable[KubeObject], placed: Iterable[KubeObject] | None
) -> tuple[NodeCapacity, ...]:
    """Read nodes and what stands on them; `placed` is None where that was not looked at."""
    used: dict[str, dict[str, Decimal]] = {}
    staying: dict[str, dict[str, Decimal]] = {}
    for pod in placed or ():
        host, asked = pod["spec"].get("nodeName", ""), requests_of(pod["spec"])
        _add(used.setdefault(host, {}), asked)
        if any(owner.get("kind") in _STAYING for owner in pod["metadata"].get("ownerReferences") or []):
            _add(staying.setdefault(host, {}), asked)
    return tuple(
        _read_capacity(node, used=None if placed is None else used, staying=staying)
        for node in sorted(nodes, key=lambda node: str(node["metadata"]["name"]))
    )


def count_fit(asked: Amounts, capacities: Iterable[NodeCapacity]) -> Fit:
    """Count how many pods that ask for `asked` these nodes hold.

    Nodes are counted one by one and added up, because a pod cannot be split: two nodes with half a pod's room
    each hold none. All pods of a job ask for the same, so the sum is exact and needs no search for the best
    packing.
    """
    capacities = tuple(capacities)
    open_nodes = [capacity for capacity in capacities if capacity.is_open]
    free = [capacity.free for capacity in open_nodes]
    return Fit(
        now=(
            None
            if any(amounts is None for amounts in free)
            else sum(holds(amounts, asked) for amounts in free if amounts is not None)
        ),
        later=sum(holds(capacity.whole, asked) for capacity in open_nodes),
        ever=sum(holds(capacity.whole, asked) for capacity in capacities),
    )


def holds(amounts: Amounts, asked: Amounts) -> int:
    """Return how many pods fit into amounts."""
    counts = [int(amounts.get(name, Decimal(0)) // amount) for name, amount in asked.items() if amount > 0]
    return max(0, min(counts, default=0))


def is_selected(spec: KubeObject, capacity: NodeCapacity) -> bool:
    """Say whether a pod's node selector and required node affinity take a node."""
    wanted = spec.get("nodeSelector") or {}
    if any(capacity.labels.get(key) != value for key, value in wanted.items()):
        return False
    affinity = ((spec.get("affinity") or {}).get("nodeAffinity") or {}).get(
        "requiredDuringSchedulingIgnoredDuringExecution"
    )
    terms = (affinity or {}).get("nodeSelectorTerms") or []
    return not affinity or any(_matches(term, capacity) for term in terms)


def taint_against(spec: KubeObject, capacity: NodeCapacity) -> Mapping[str, str] | None:
    """Return a taint of a node that keeps a pod away and that it does not tolerate, or None.

    Those that say that a node is cordoned or not ready are left out: `NodeCapacity.is_open` says so.
    """
    for taint in capacity.taints:
        passing = str(taint.get("key", "")).startswith("node.kubernetes.io/")
        keeps_away = taint.get("effect") in ("NoSchedule", "NoExecute") and not passing
        if keeps_away and not any(_tolerates(item, taint) for item in spec.get("tolerations") or []):
            return taint
    return None


def _matches(term: KubeObject, capacity: NodeCapacity) -> bool:
    labels = [*(term.get("matchExpressions") or [])]
    names = [*(term.get("matchFields") or [])]
    return (
        bool(labels or names)
        and all(_meets(capacity.labels.get(item["key"]), item) for item in labels)
        and all(_meets(capacity.name, item) for item in names)
    )


def _meets(value: str | None, item: KubeObject) -> bool:
    operator, values = item.get("operator"), item.get("values") or []
    if operator in ("In", "NotIn"):
        return (value in values) is (operator == "In")
    if operator in ("Exists", "DoesNotExist"):
        return (value is not None) is (operator == "Exists")
    if value is None or not values or not value.lstrip("-").isdigit():
        return False
    return int(value) > int(values[0]) if operator == "Gt" else int(value) < int(values[0])


def _tolerates(toleration: KubeObject, taint: Mapping[str, str]) -> bool:
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint.get("key"))
    same_value = (toleration.get("value") or "") == (taint.get("value") or "")
    return toleration.get("key") == taint.get("key") and same_value


def _read_capacity(
    node: KubeObject, *, used: dict[str, dict[str, Decimal]] | None, staying: dict[str, dict[str, Decimal]]
) -> NodeCapacity:
    name, spec, status = str(node["metadata"]["name"]), node.get("spec") or {}, node.get("status") or {}
    allocatable = {key: parse_quantity(text) for key, text in (status.get("allocatable") or {}).items()}
    conditions = {item["type"]: item["status"] for item in status.get("conditions") or []}
    cordoned = bool(spec.get("unschedulable"))
    return NodeCapacity(
        name=name,
        labels=node["metadata"].get("labels") or {},
        taints=spec.get("taints") or [],
        whole=_less(allocatable, staying.get(name, {})),
        free=None if used is None else _less(allocatable, used.get(name, {})),
        is_open=not cordoned and conditions.get("Ready", "True") == "True",
        is_cordoned=cordoned,
    )


def _add(total: dict[str, Decimal], more: Amounts) -> None:
    for name, amount in more.items():
        total[name] = total.get(name, Decimal(0)) + amount


def _less(whole: Amounts, taken: Amounts) -> dict[str, Decimal]:
    return {name: amount - taken.get(name, Decimal(0)) for name, amount in whole.items()}
