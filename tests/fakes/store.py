"""Objects with uid, version and owners, and what becomes of those whose owner goes."""

from __future__ import annotations

import copy
import re
from datetime import datetime, timezone
from typing import Any

from tests.fakes.admission import UnplayableError

KubeObject = dict[str, Any]
JOBS = ("paddlejobs", "jobs", "jobsets", "trainjobs")
"""What waits for its dependants where its end is asked for."""
_START_S = 1_795_000_000.0  # some day in 2026


class ObjectStore:
    """What etcd and the garbage collector are to a cluster."""

    def __init__(self) -> None:
        self.now_s = _START_S
        self._serial = 0
        self._objects: dict[tuple[str, str, str], KubeObject] = {}

    def now_text(self) -> str:
        return datetime.fromtimestamp(self.now_s, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def find(self, plural: str, namespace: str, name: str) -> KubeObject | None:
        """Return the stored object itself."""
        return self._objects.get((plural, namespace, name))

    def all(self, plural: str, namespace: str | None = None) -> list[KubeObject]:
        return [
            item for (kept, place, _), item in sorted(self._objects.items())
            if kept == plural and namespace in (None, place)
        ]  # fmt: skip

    def add(self, plural: str, item: KubeObject, *, namespace: str) -> None:
        serial = self._next()
        item["metadata"].update(
            namespace=namespace,
            uid=f"uid-{serial}",
            resourceVersion=serial,
            creationTimestamp=self.now_text(),
        )
        self._objects[plural, namespace, item["metadata"]["name"]] = item

    def replace(self, plural: str, item: KubeObject) -> None:
        item["metadata"]["resourceVersion"] = self._next()
        self._objects[plural, item["metadata"]["namespace"], item["metadata"]["name"]] = item

    def end(self, plural: str, namespace: str, name: str, *, at_once: bool = False) -> None:
        """Ask for an object's end: a running pod has its grace period, a job waits for its dependants."""
        item = self.find(plural, namespace, name)
        if item is None:
            return
        waits = plural in JOBS or (plural == "pods" and item["status"]["phase"] == "Running")
        if waits and not at_once:
            item["metadata"].setdefault("deletionTimestamp", self.now_text())
        else:
            del self._objects[plural, namespace, name]

    def collect(self) -> None:
        """Remove what has no owner any more, and owners that wait for nothing any more."""
        before = -1
        while before != len(self._objects):
            before = len(self._objects)
            living = {
                item["metadata"]["uid"]
                for (plural, _, _), item in self._objects.items()
                if plural not in JOBS or "deletionTimestamp" not in item["metadata"]
            }
            for (plural, namespace, name), item in list(self._objects.items()):
                owners = item["metadata"].get("ownerReferences", [])
                if owners and not any(owner["uid"] in living for owner in owners):
                    self.end(plural, namespace, name)
            for key, item in list(self._objects.items()):
                if key[0] in JOBS and item["metadata"]["uid"] not in living and not self._blocked(item):
                    del self._objects[key]

    def _blocked(self, job: KubeObject) -> bool:
        return any(
            owner["uid"] == job["metadata"]["uid"] and owner.get("blockOwnerDeletion")
            for item in self._objects.values()
            for owner in item["metadata"].get("ownerReferences", [])
        )

    def _next(self) -> str:
        self._serial += 1
        return str(self._serial)


def matches(item: KubeObject, selector: str) -> bool:
    """Say whether `a=b,c` or `a in (b,c)` matches an object's labels."""
    labels = item["metadata"].get("labels", {})
    if some := re.fullmatch(r"([^\s,]+) in \(([^()]+)\)", selector):
        return labels.get(some[1]) in some[2].split(",")
    for part in selector.split(",") if selector else ():
        key, equals, value = part.partition("=")
        if not key or key.startswith("!") or "(" in part or key.endswith("!"):
            raise UnplayableError(f"label selector {selector!r}")
        if key not in labels or (equals and labels[key] != value):
            return False
    return True


def matches_fields(item: KubeObject, selector: str) -> bool:
    """Say whether `a.b=c,d!=e` matches an object's fields."""
    for part in filter(None, selector.split(",")):
        path, equals, value = part.partition("=")
        if not equals:
            raise UnplayableError(f"field selector {selector!r}")
        here: object = item
        for key in path.removesuffix("!").split("."):
            here = here.get(key) if isinstance(here, dict) else None
        if (here == value) is path.endswith("!"):
            return False
    return True


def merge(old: KubeObject, patch: KubeObject) -> KubeObject:
    """Merge as RFC 7386 says: null removes, objects merge, all else replaces."""
    new = copy.deepcopy(old)
    for key, value in patch.items():
        if value is None:
            new.pop(key, None)
        elif isinstance(value, dict):
            kept = new.get(key)
            new[key] = merge(kept if isinstance(kept, dict) else {}, value)
        else:
            new[key] = copy.deepcopy(value)
    return new
