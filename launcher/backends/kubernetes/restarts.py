"""Numbers the restarts of pods.

Controllers make a pod again with a new uid, some under its old name, and count nothing; the kubelet counts
only its own restarts of a container. So the numbers are those that this process has seen, from 0.
"""

from __future__ import annotations

from dataclasses import dataclass

from launcher.kinds.pods import container_of, node_of
from launcher.objects import KubeObject, uid_of


@dataclass(frozen=True, kw_only=True, slots=True)
class PodStart:
    """One start of a pod's container.

    Attributes:
        number: From 0 at the first that was seen of this node's pods.
        has_started: There is a log to read.
    """

    number: int
    has_started: bool


@dataclass(slots=True)
class _Seen:
    uid: str
    base: int
    restarts: int


class RestartCounter:
    """What this process has seen of the pods' restarts."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], _Seen] = {}

    def look(self, job: KubeObject, pod: KubeObject) -> PodStart:
        """Return what a pod is now, and remember it."""
        container = container_of(pod)
        restarts = int(container.get("restartCount", 0))
        key = (uid_of(job), node_of(pod))
        seen = self._seen.get(key)
        if seen is None:
            seen = self._seen[key] = _Seen(uid=uid_of(pod), base=0, restarts=restarts)
        elif seen.uid != uid_of(pod):
            base = seen.base + seen.restarts + 1
            seen = self._seen[key] = _Seen(uid=uid_of(pod), base=base, restarts=restarts)
        seen.restarts = restarts
        state = container.get("state") or {}
        # between two restarts in place the API still gives the log of the one that ended
        last = (container.get("lastState") or {}) if "waiting" in state else state
        return PodStart(number=seen.base + restarts, has_started="terminated" in last or "running" in state)
