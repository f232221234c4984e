"""The kinds of objects that the launcher touches, and where the API keeps them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

KubeObject: TypeAlias = dict[str, Any]
"""A Kubernetes object as decoded JSON."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resource:
    """A kind of namespaced objects.

    Attributes:
        group: API group, empty for the core group.
        plural: Name in paths and RBAC rules, such as `paddlejobs`.
    """

    group: str = ""
    version: str = "v1"
    plural: str
    kind: str

    @property
    def api_version(self) -> str:
        """As objects state it: `v1`, `kubeflow.org/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version


PADDLE_JOBS = Resource(group="kubeflow.org", plural="paddlejobs", kind="PaddleJob")
CONFIG_MAPS = Resource(plural="configmaps", kind="ConfigMap")
PODS = Resource(plural="pods", kind="Pod")
EVENTS = Resource(plural="events", kind="Event")
