"""Pods that start together or not at all, and what the coscheduling plug-in says of those that do not. Pure.

Its words are those of scheduler-plugins v0.34.7, pkg/coscheduling/core/core.go (`PreFilter`,
`CheckClusterResource`) and pkg/coscheduling/coscheduling.go (`PostFilter`, `Unreserve`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from decimal import Decimal

from launcher import objects
from launcher.kinds.base import JobKind
from launcher.kinds.registry import DEFAULT
from launcher.objects import KubeObject
from launcher.quantity import format_quantity

_ABOUT = re.compile(r"PodGroup |podGroup |sibling pods|resource gap|rejection in (?:PostFilter|Unreserve)")
_GAP = re.compile(r"resource gap: map\[((?:[^\s:\[\]]+:\{\{.*?\} \{.*?\} .*?\}\s?)+)\]")
# Go's form of a quantity: {{value scale} {what is larger} text format}
_AMOUNT = re.compile(r"([^\s:]+):\{\{(-?\d+) (-?\d+)\} \{<nil>\} .*?\}")
_SIBLINGS = re.compile(
    r"pre-filter pod \S+ cannot find enough sibling pods, current pods number: (\d+), "
    r"minMember of group: (\d+)"
)
_LITTLE = re.compile(
    r"sibling pods|pods of its gang was there|rejection in (?:PostFilter|Unreserve)|failed recently"
)


def in_group(pod: KubeObject) -> bool:
    """Say whether a pod belongs to a pod group."""
    return objects.POD_GROUP_LABEL in (pod["metadata"].get("labels") or {})


def makes_gangs(pods: Iterable[KubeObject], *, kind: JobKind = DEFAULT) -> bool | None:
    """Say whether a kind's controller makes pod groups, by the newest of its pods; None without any.

    Nothing else shows whether it was started with `--gang-scheduler-name`.
    """
    made = [pod for pod in pods if kind.job_label in (pod["metadata"].get("labels") or {})]
    return in_group(max(made, key=objects.created_s)) if made else None


def is_about_gang(message: str) -> bool:
    """Say whether a scheduler's message is about a pod group."""
    return bool(_ABOUT.search(message))


def tells_little(message: str) -> bool:
    """Say whether a message, as it was or in plain words, only says that the others did not start either.

    The first pods of a group are looked at before the last one is made, and may not be looked at again for
    minutes; what is missing then stands in the messages of the last ones only.
    """
    return bool(_LITTLE.search(message))


def read_gap(message: str) -> dict[str, Decimal]:
    """Return what all nodes together lacked for a whole group, by resource."""
    found = _GAP.search(message)
    amounts = _AMOUNT.findall(found[1]) if found else []
    return {name: Decimal(value).scaleb(int(scale)) for name, value, scale in amounts}


def format_gap(gap: Mapping[str, Decimal]) -> str:
    """Write what is lacking for people, such as `0.5 cpu and 4 nvidia.com/gpu`."""
    return " and ".join(f"{format_quantity(amount, name)} {name}" for name, amount in gap.items())


def say_plainly(message: str) -> str:
    """Put into words what the plug-in prints of its own data."""
    gap = read_gap(message)
    short = f"Insufficient {', '.join(gap)} for all pods of its gang (short of {format_gap(gap)})"
    plain = _GAP.sub(short, message) if gap else message
    return _SIBLINGS.sub(r"\1 of the \2 pods of its gang was there", plain)
