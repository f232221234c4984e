"""Reads what the scheduler says of a pod that it finds no node for. Pure.

The sentence is `0/5 nodes are available: 1 node(s) …, 2 Insufficient cpu. preemption: …`
(kubernetes v1.34.7, pkg/scheduler/framework/types.go, FitError.Error); the reasons stand in
pkg/scheduler/framework/plugins/*. A node is counted under the first filter that it fails, so the node that
came furthest says most; `BLOCKERS` has the filters' order, the last first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from launcher.backends.kubernetes.pods import EVICTIONS

BLOCKERS: tuple[tuple[str, str], ...] = (
    (r"pod affinity rules|anti-affinity rules", "pod-affinity"),
    (r"topology spread constraints", "topology-spread"),
    # until 1.32 "volume node affinity conflict"
    (
        r"PersistentVolume's node affinity|volume node affinity conflict|no available volume zone"
        r"|find available persistent volumes to bind|enough free storage",
        "volume-zone",
    ),
    (r"ReadWriteOncePod|had no available disk", "volume-busy"),
    (r"non-existent pv", "claim-lost"),
    (r"max volume count", "volume-limit"),
    (r"Insufficient (?P<resource>\S+)", "insufficient"),
    (r"Too many pods", "too-many-pods"),
    (r"free ports for the requested pod ports", "host-port"),
    (r"node affinity/selector|node affinity$|requested node name", "node-selector"),
    (r"untolerated taint|pod didn't tolerate", "untolerated-taint"),
    (r"were unschedulable|unknown conditions|not ready", "nodes-cordoned"),
)
_COUNTED = re.compile(r"(?:^|, )(\d+) (.*?)(?=, \d+ |$)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Blocker:
    """Why some nodes will not do.

    Attributes:
        nodes: How many.
        code: Of `BLOCKERS`, or empty.
        resource: What is insufficient, or empty.
        text: The scheduler's words.
    """

    nodes: int
    code: str
    resource: str
    text: str


def read_blockers(message: str) -> tuple[Blocker, ...]:
    """Return why nodes will not do, the one that says most first; none where the sentence is another."""
    _, found, rest = message.partition("nodes are available:")
    if not found:
        return ()
    listed = EVICTIONS.sub("", rest.strip()).rstrip(". ")
    blockers = [_classify(int(count), text) for count, text in _COUNTED.findall(listed)]
    order = [code for _, code in BLOCKERS] + [""]
    return tuple(sorted(blockers, key=lambda blocker: (order.index(blocker.code), -blocker.nodes)))


def without_evictions(message: str) -> str:
    """Leave out how little it would help to evict other pods."""
    return EVICTIONS.sub(".", message)


def _classify(nodes: int, text: str) -> Blocker:
    for pattern, code in BLOCKERS:
        match = re.search(pattern, text)
        if match:
            resource = match.groupdict().get("resource") or ""
            return Blocker(nodes=nodes, code=code, resource=resource, text=text)
    return Blocker(nodes=nodes, code="", resource="", text=text)
