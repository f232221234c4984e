"""A job's events: what operator, scheduler and kubelets have noted about it and its pods. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from launcher import objects
from launcher.backends.states import JobEvent
from launcher.kinds.base import JobKind
from launcher.kinds.registry import DEFAULT
from launcher.objects import KubeObject

LOUD = "FailedScheduling"
WARNINGS = f"type=Warning,reason!={LOUD}"
"""Fields to ask for. Of a gang that is tried again and again there are tens of the other a second."""
_READ = ("type", "reason", "message", "series", "lastTimestamp", "eventTime", "count")


def read_events(items: Iterable[KubeObject], *, job: str, kind: JobKind = DEFAULT) -> tuple[JobEvent, ...]:
    """Return the events about a job, its pods and services, oldest first."""
    own = [
        read_event(item)
        for item in items
        if kind.is_name_of(str(item["involvedObject"].get("name", "")), job=job)
    ]
    return tuple(sorted(own, key=lambda event: event.time_s))


def trim_event(item: KubeObject) -> KubeObject:
    """Keep of an event what `read_event` reads: a namespace may have tens of thousands."""
    about, metadata = item["involvedObject"], item["metadata"]
    return {
        "metadata": {"creationTimestamp": metadata.get("creationTimestamp")},
        "involvedObject": {"name": about.get("name", "")},
        **{key: item[key] for key in _READ if item.get(key)},
    }


def last_warning(items: Iterable[KubeObject], *, job: str, kind: JobKind) -> str:
    """Return the last warning as `reason: message`, or an empty string."""
    warnings = [event for event in read_events(items, job=job, kind=kind) if event.is_warning]
    return f"{warnings[-1].reason}: {warnings[-1].message}" if warnings else ""


def read_event(item: KubeObject) -> JobEvent:
    """Read one event, of either API that writes them."""
    about = item["involvedObject"]
    series = item.get("series") or {}
    times = (series.get("lastObservedTime"), item.get("lastTimestamp"), item.get("eventTime"))
    time_s = next((objects.unix_time(time) for time in times if time), None)
    return JobEvent(
        time_s=time_s or objects.created_s(item),
        is_warning=item.get("type") == "Warning",
        reason=str(item.get("reason") or ""),
        message=str(item.get("message") or "").strip(),
        about=str(about.get("name", "")),
        count=int(series.get("count") or item.get("count") or 1),
    )
