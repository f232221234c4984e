"""Whether the nodes have room for a job: now, later, or never. Pure; also asked before a submit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from launcher.objects import KubeObject
from launcher.quantity import format_quantity
from launcher.why.node_capacity import (
    PODS,
    Amounts,
    Room,
    count_fit,
    holds,
    is_selected,
    requests_of,
    taint_against,
)
from launcher.why.queries import MANY
from launcher.why.verdict import Outlook, Verdict, evidence

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


def judge_room(spec: KubeObject, *, pods: int, more: int, rooms: Sequence[Room]) -> Verdict | None:
    """Say what keeps pods from the nodes.

    Args:
        spec: Of a pod.
        pods: How many the job has in all.
        more: How many of them have no node yet.
        rooms: All nodes.

    Returns:
        None where there is room for all, or where it is not known what is free and there might be.
    """
    asked = requests_of(spec)
    if not rooms:
        return Verdict(
            code="no-nodes",
            sentence="the cluster has no nodes",
            cure="kubectl get nodes",
            outlook=Outlook.NEVER,
        )
    able = [room for room in rooms if holds(room.whole, asked)]
    if not able:
        return _never_fits(asked, rooms)
    selected = [room for room in able if is_selected(spec, room)]
    if not selected:
        return _not_selected(spec, able, rooms)
    tolerated = [room for room in selected if taint_against(spec, room) is None]
    if not tolerated:
        return _not_tolerated(spec, selected)
    if not any(room.is_open for room in tolerated) and count_fit(asked, tolerated).ever >= pods:
        return _none_open(tolerated)
    return _judge_amount(asked, pods=pods, more=more, rooms=tolerated)


def code_of_resource(name: str) -> str:
    """Return the code for too little of a resource."""
    return _CODES.get(name, "insufficient-gpu" if "gpu" in name.lower() else "insufficient-resource")


def advise_less(name: str) -> str:
    """Return how to ask for less of a resource."""
    return _LESS.get(name, "ask for fewer with --gpus" if "gpu" in name.lower() else f"ask for less {name}")


def _judge_amount(asked: Amounts, *, pods: int, more: int, rooms: Sequence[Room]) -> Verdict | None:
    fit = count_fit(asked, rooms)
    if fit.ever >= pods and (fit.now is None or fit.now >= more) and fit.later >= pods:
        return None
    if fit.now is not None and fit.now >= more:
        return None
    short = _shortest(asked, rooms, whole=fit.now is None)
    need = _need(asked, short, pods=pods)
    block, host = _largest(rooms, short, whole=fit.now is None)
    largest = f"the largest node has {format_quantity(block, short)} (node {host})"
    now = ""
    if fit.now is not None:
        waiting = "waiting pods" if more < pods else "pods"
        now = f"; {fit.now} of {more} {waiting} {'fits' if fit.now == 1 else 'fit'} now"
        largest = f"the largest free block is {format_quantity(block, short)} (node {host})"
        largest = largest if block > 0 else "no node has any free"
    closed = [room for room in rooms if not room.is_open]
    if pods <= fit.later:
        then, outlook = "it starts when other pods have ended", Outlook.LATER
    elif pods <= fit.ever:
        then, outlook = f"it will not start until {_closed(closed)} again", Outlook.LATER
    else:
        then = f"the nodes hold {fit.ever} of its {pods} pods even if nothing else runs"
        outlook = Outlook.NEVER
    return Verdict(
        code=code_of_resource(short),
        sentence=f"it needs {need}{now}, and {largest}: {then}",
        evidence=evidence(*_describe(rooms, short), *_describe_closed(closed)),
        cure=advise_less(short) + (", or wait" if outlook is Outlook.LATER else ", or have nodes added"),
        outlook=outlook,
    )


def _never_fits(asked: Amounts, rooms: Sequence[Room]) -> Verdict:
    """Say what no node has enough of for one pod."""
    candidates = list(rooms)
    for name in _by_order(asked):
        enough = [room for room in candidates if room.whole.get(name, Decimal(0)) >= asked[name]]
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
                evidence=evidence(*_describe(rooms, name)),
                cure=(
                    "install the device plug-in of that resource, or correct Launch.gpu_resource; --gpus 0 "
                    "trains on CPUs"
                ),
                outlook=Outlook.NEVER,
            )
        among = "" if len(candidates) == len(rooms) else " of those that would do"
        shown = format_quantity(block, name)
        plain = "/" in name and "gpu" in name
        return Verdict(
            code=code_of_resource(name),
            sentence=(
                f"each pod needs {format_quantity(asked[name], name)} {name}, and the largest node{among} has"
                f" {shown} (node {host}): it can never start"
            ),
            evidence=evidence(*_describe(candidates, name)),
            cure=f"--gpus {shown} and more --nodes" if plain else f"{advise_less(name)} to at most {shown}",
            outlook=Outlook.NEVER,
        )
    raise AssertionError("a pod that fits on no node lacks something on each")


def _not_selected(spec: KubeObject, able: Sequence[Room], rooms: Sequence[Room]) -> Verdict:
    wanted = ", ".join(f"{key}={value}" for key, value in (spec.get("nodeSelector") or {}).items())
    small = [room.name for room in rooms if is_selected(spec, room)]
    asked = wanted or "the required node affinity"
    sentence = f"no node has {asked}"
    if small:
        sentence = f"the nodes with {asked} ({', '.join(small[:MANY])}) are too small for a pod"
    return Verdict(
        code="node-selector",
        sentence=sentence,
        evidence=evidence(
            *(
                f"node {room.name}: "
                + (
                    ", ".join(f"{key}={room.labels.get(key, '-')}" for key in spec.get("nodeSelector") or {})
                    or "no match"
                )
                for room in able[:MANY]
            )
        ),
        cure="correct Launch.node_selector, or label a node: kubectl label node NODE KEY=VALUE",
        outlook=Outlook.NEVER,
    )


def _not_tolerated(spec: KubeObject, rooms: Sequence[Room]) -> Verdict:
    taints = [(room, taint_against(spec, room)) for room in rooms]
    found = {f"{taint['key']}={taint.get('value', '')}:{taint['effect']}" for _, taint in taints if taint}
    first = next(taint for _, taint in taints if taint)
    value = f", value: {first['value']}" if first.get("value") else ", operator: Exists"
    return Verdict(
        code="untolerated-taint",
        sentence=(
            f"the nodes that would do have a taint that the job does not tolerate: {', '.join(sorted(found))}"
        ),
        evidence=evidence(*(f"node {room.name}: {taint['key']}" for room, taint in taints[:MANY] if taint)),
        cure=f"add to Launch.tolerations: {{key: {first['key']}{value}, effect: {first['effect']}}}",
        outlook=Outlook.NEVER,
    )


def _none_open(rooms: Sequence[Room]) -> Verdict:
    return Verdict(
        code="nodes-cordoned",
        sentence=f"the nodes that would do take no pods: it will not start until {_closed(rooms)} again",
        evidence=evidence(*_describe_closed(rooms)),
        cure=(
            f"kubectl uncordon {rooms[0].name}"
            if rooms[0].is_cordoned
            else f"kubectl describe node {rooms[0].name}"
        ),
        outlook=Outlook.LATER,
    )


def _closed(rooms: Sequence[Room]) -> str:
    cordoned = [room.name for room in rooms if room.is_cordoned]
    silent = [room.name for room in rooms if not room.is_cordoned]
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


def _shortest(asked: Amounts, rooms: Sequence[Room], *, whole: bool) -> str:
    """Return the resource of which there is room for the fewest pods."""
    open_rooms = [room for room in rooms if room.is_open]

    def count(name: str) -> int:
        return sum(holds(_amounts(room, whole=whole), {name: asked[name]}) for room in open_rooms)

    return min((name for name in _by_order(asked) if asked[name] > 0), key=count)


def _largest(rooms: Iterable[Room], name: str, *, whole: bool) -> tuple[Decimal, str]:
    blocks = [
        (_amounts(room, whole=whole).get(name, Decimal(0)), room.name)
        for room in rooms
        if whole or room.is_open
    ]
    return max(blocks, key=lambda block: block[0], default=(Decimal(0), ""))


def _amounts(room: Room, *, whole: bool) -> Amounts:
    return room.whole if whole or room.free is None else room.free


def _need(asked: Amounts, name: str, *, pods: int) -> str:
    each = format_quantity(asked[name], name)
    return f"{pods} × {each} {name}" if name != PODS else f"{pods} pods"


def _describe(rooms: Iterable[Room], name: str) -> list[str]:
    lines = []
    order = sorted(rooms, key=lambda room: -_amounts(room, whole=False).get(name, Decimal(0)))
    for room in order[:MANY]:
        whole = format_quantity(room.whole.get(name, Decimal(0)), name)
        free = "" if room.free is None else f", {format_quantity(room.free.get(name, Decimal(0)), name)} free"
        lines.append(f"node {room.name}: {whole} {name}{free}")
    return lines


def _describe_closed(rooms: Iterable[Room]) -> list[str]:
    return [f"node {room.name}: {'cordoned' if room.is_cordoned else 'not ready'}" for room in rooms][:MANY]
