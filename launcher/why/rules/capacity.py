"""Whether the nodes have room for a job: now, later, or never. Pure; also asked before a submit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from launcher.objects import KubeObject, requests_of
from launcher.quantity import format_quantity
from launcher.why.node_capacity import (
    PODS,
    Amounts,
    NodeCapacity,
    count_fit,
    holds,
    is_selected,
    taint_against,
)
from launcher.why.queries import MANY
from launcher.why.verdict import Resolves, Verdict, evidence

_ORDER = ("memory", "cpu", "ephemeral-storage", PODS)
"""Which resource is named where several are short: extended ones first, then these."""
_CODES = {
    "cpu": "insufficient-cpu",
    "memory": "insufficient-memory",
    "ephemeral-storage": "insufficient-disk",
    PODS: "too-many-pods",
}
_LESS = {
    "cpu": "lower Launch.resources.cpu",
    "memory": "lower Launch.resources.memory",
    PODS: "wait, or lower --nodes",
}


def check_capacity(
    spec: KubeObject, *, pods: int, more: int, capacities: Sequence[NodeCapacity]
) -> Verdict | None:
    """Say what keeps pods from the nodes.

    Args:
        spec: Of a pod.
        pods: How many the job has in all.
        more: How many of them have no node yet.
        capacities: All nodes.

    Returns:
        None where there is room for all, or where it is not known what is free and there might be.
    """
    asked = requests_of(spec)
    if not capacities:
        return Verdict(
            code="no-nodes",
            sentence="the cluster has no nodes",
            fix="kubectl get nodes",
            resolves=Resolves.BY_CHANGE,
        )
    # Each step narrows the nodes down, and the first that leaves none is the answer: what the whole cluster
    # lacks matters more than a label, and a label more than a taint, because mending the later one alone
    # would not help.
    able = [capacity for capacity in capacities if holds(capacity.whole, asked)]
    if not able:
        return _never_fits(asked, capacities)
    selected = [capacity for capacity in able if is_selected(spec, capacity)]
    if not selected:
        return _not_selected(spec, able, capacities)
    tolerated = [capacity for capacity in selected if taint_against(spec, capacity) is None]
    if not tolerated:
        return _not_tolerated(spec, selected)
    if not any(capacity.is_open for capacity in tolerated) and count_fit(asked, tolerated).ever >= pods:
        return _none_open(tolerated)
    return _check_amount(asked, pods=pods, more=more, capacities=tolerated)


def code_of_resource(name: str) -> str:
    """Return the code for too little of a resource."""
    return _CODES.get(name, "insufficient-gpu" if "gpu" in name.lower() else "insufficient-resource")


def advise_less(name: str) -> str:
    """Return how to ask for less of a resource."""
    return _LESS.get(name, "ask for fewer with --gpus" if "gpu" in name.lower() else f"ask for less {name}")


def _check_amount(
    asked: Amounts, *, pods: int, more: int, capacities: Sequence[NodeCapacity]
) -> Verdict | None:
    fit = count_fit(asked, capacities)
    if fit.ever >= pods and (fit.now is None or fit.now >= more) and fit.later >= pods:
        return None
    if fit.now is not None and fit.now >= more:
        return None
    short = _shortest(asked, capacities, whole=fit.now is None)
    need = _need(asked, short, pods=pods)
    block, host = _largest(capacities, short, whole=fit.now is None)
    largest = f"the largest node has {format_quantity(block, short)} (node {host})"
    now = ""
    if fit.now is not None:
        waiting = "waiting pods" if more < pods else "pods"
        now = f"; {fit.now} of {more} {waiting} {'fits' if fit.now == 1 else 'fit'} now"
        largest = f"the largest free block is {format_quantity(block, short)} (node {host})"
        largest = largest if block > 0 else "no node has any free"
    closed = [capacity for capacity in capacities if not capacity.is_open]
    if pods <= fit.later:
        then, resolves = "it starts when other pods have ended", Resolves.LATER
    elif pods <= fit.ever:
        then, resolves = f"it will not start until {_closed(closed)} again", Resolves.LATER
    else:
        then = f"the nodes hold {fit.ever} of its {pods} pods even if nothing else runs"
        resolves = Resolves.BY_CHANGE
    return Verdict(
        code=code_of_resource(short),
        sentence=f"it needs {need}{now}, and {largest}: {then}",
        evidence=evidence(*_describe(capacities, short), *_describe_closed(closed)),
        fix=advise_less(short) + (", or wait" if resolves is Resolves.LATER else ", or have nodes added"),
        resolves=resolves,
    )


def _never_fits(asked: Amounts, capacities: Sequence[NodeCapacity]) -> Verdict:
    """Say what no node has enough of for one pod."""
    candidates = list(capacities)
    for name in _by_order(asked):
        enough = [capacity for capacity in candidates if capacity.whole.get(name, Decimal(0)) >= asked[name]]
        if enough:
            candidates = enough
            continue
        block, host = _largest(candidates, name, whole=True)
        if block <= 0 and "/" in name:
            return Verdict(
                code="gpu-not-offered",
                sentence=(
                    f"no node offers {name}, of which each pod needs {format_quantity(asked[name], name)}"
                ),
                evidence=evidence(*_describe(capacities, name)),
                fix=(
                    "install the device plug-in of that resource, or correct Launch.gpu_resource; --gpus 0 "
                    "trains on CPUs"
                ),
                resolves=Resolves.BY_CHANGE,
            )
        among = "" if len(candidates) == len(capacities) else " of those that would do"
        shown = format_quantity(block, name)
        plain = "/" in name and "gpu" in name
        return Verdict(
            code=code_of_resource(name),
            sentence=(
                f"each pod needs {format_quantity(asked[name], name)} {name}, and the largest node{among} has"
                f" {shown} (node {host}): it can never start"
            ),
            evidence=evidence(*_describe(candidates, name)),
            fix=f"--gpus {shown} and more --nodes" if plain else f"{advise_less(name)} to at most {shown}",
            resolves=Resolves.BY_CHANGE,
        )
    raise AssertionError("a pod that fits on no node lacks something on each")


def _not_selected(
    spec: KubeObject, able: Sequence[NodeCapacity], capacities: Sequence[NodeCapacity]
) -> Verdict:
    wanted = ", ".join(f"{key}={value}" for key, value in (spec.get("nodeSelector") or {}).items())
    small = [capacity.name for capacity in capacities if is_selected(spec, capacity)]
    asked = wanted or "the required node affinity"
    sentence = f"no node has {asked}"
    if small:
        sentence = f"the nodes with {asked} ({', '.join(small[:MANY])}) are too small for a pod"
    return Verdict(
        code="node-selector",
        sentence=sentence,
        evidence=evidence(
            *(
                f"node {capacity.name}: "
                + (
                    ", ".join(
                        f"{key}={capacity.labels.get(key, '-')}" for key in spec.get("nodeSelector") or {}
                    )
                    or "no match"
                )
                for capacity in able[:MANY]
            )
        ),
        fix="correct Launch.node_selector, or label a node: kubectl label node NODE KEY=VALUE",
        resolves=Resolves.BY_CHANGE,
    )


def _not_tolerated(spec: KubeObject, capacities: Sequence[NodeCapacity]) -> Verdict:
    taints = [(capacity, taint_against(spec, capacity)) for capacity in capacities]
    found = {f"{taint['key']}={taint.get('value', '')}:{taint['effect']}" for _, taint in taints if taint}
    first = next(taint for _, taint in taints if taint)
    value = f", value: {first['value']}" if first.get("value") else ", operator: Exists"
    return Verdict(
        code="untolerated-taint",
        sentence=(
            f"the nodes that would do have a taint that the job does not tolerate: {', '.join(sorted(found))}"
        ),
        evidence=evidence(
            *(f"node {capacity.name}: {taint['key']}" for capacity, taint in taints[:MANY] if taint)
        ),
        fix=f"add to Launch.tolerations: {{key: {first['key']}{value}, effect: {first['effect']}}}",
        resolves=Resolves.BY_CHANGE,
    )


def _none_open(capacities: Sequence[NodeCapacity]) -> Verdict:
    return Verdict(
        code="nodes-cordoned",
        sentence=f"the nodes that would do take no pods: it will not start until {_closed(capacities)} again",
        evidence=evidence(*_describe_closed(capacities)),
        fix=(
            f"kubectl uncordon {capacities[0].name}"
            if capacities[0].is_cordoned
            else f"kubectl describe node {capacities[0].name}"
        ),
        resolves=Resolves.LATER,
    )


def _closed(capacities: Sequence[NodeCapacity]) -> str:
    cordoned = [capacity.name for capacity in capacities if capacity.is_cordoned]
    silent = [capacity.name for capacity in capacities if not capacity.is_cordoned]
    parts = []
    if cordoned:
        parts.append(f"{_names(cordoned)} {'is' if len(cordoned) == 1 else 'are'} uncordoned")
    if silent:
        parts.append(f"{_names(silent)} {'is' if len(silent) == 1 else 'are'} ready")
    return " or ".join(parts)


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MANY]) + (f" and {len(names) - MANY} more" if len(names) > MANY else "")
    return f"node {shown}" if len(names) == 1 else f"nodes {shown}"


def _by_order(asked: Amounts) -> list[str]:
    return sorted(asked, key=lambda name: (_ORDER.index(name) if name in _ORDER else -1, name))


def _shortest(asked: Amounts, capacities: Sequence[NodeCapacity], *, whole: bool) -> str:
    """Return the resource of which there is room for the fewest pods."""
    open_nodes = [capacity for capacity in capacities if capacity.is_open]

    def count(name: str) -> int:
        return sum(holds(_amounts(capacity, whole=whole), {name: asked[name]}) for capacity in open_nodes)

    return min((name for name in _by_order(asked) if asked[name] > 0), key=count)


def _largest(capacities: Iterable[NodeCapacity], name: str, *, whole: bool) -> tuple[Decimal, str]:
    blocks = [
        (_amounts(capacity, whole=whole).get(name, Decimal(0)), capacity.name)
        for capacity in capacities
        if whole or capacity.is_open
    ]
    return max(blocks, key=lambda block: block[0], default=(Decimal(0), ""))


def _amounts(capacity: NodeCapacity, *, whole: bool) -> Amounts:
    return capacity.whole if whole or capacity.free is None else capacity.free


def _need(asked: Amounts, name: str, *, pods: int) -> str:
    each = format_quantity(asked[name], name)
    return f"{pods} × {each} {name}" if name != PODS else f"{pods} pods"


def _describe(capacities: Iterable[NodeCapacity], name: str) -> list[str]:
    lines = []
    order = sorted(capacities, key=lambda capacity: -_amounts(capacity, whole=False).get(name, Decimal(0)))
    for capacity in order[:MANY]:
        whole = format_quantity(capacity.whole.get(name, Decimal(0)), name)
        free = (
            ""
            if capacity.free is None
            else f", {format_quantity(capacity.free.get(name, Decimal(0)), name)} free"
        )
        lines.append(f"node {capacity.name}: {whole} {name}{free}")
    return lines


def _describe_closed(capacities: Iterable[NodeCapacity]) -> list[str]:
    return [
        f"node {capacity.name}: {'cordoned' if capacity.is_cordoned else 'not ready'}"
        for capacity in capacities
    ][:MANY]
