"""What planning must know of the place where a job is to run: a row a backend, nothing asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from launcher.plan.handle import BackendKind


@dataclass(frozen=True, kw_only=True, slots=True)
class Capabilities:
    """What differs between places before any of them is talked to.

    Whoever decides by the kind of a backend asks for one of these instead of comparing names, so that a new
    backend is a row here, and no search for comparisons.

    Attributes:
        is_cluster: Nodes run the pods: they pull the image, mount claims and folders of their own, and have
            GPUs that this machine cannot count. Else pods run here, and folders of this machine stand for
            their volumes.
        has_containers: A pod has an image and a file system of its own. Else it is a process among the
            user's others, in whose paths and Python environment it runs.
    """

    is_cluster: bool
    has_containers: bool


CAPABILITIES: Mapping[BackendKind, Capabilities] = MappingProxyType(
    {
        "kubernetes": Capabilities(is_cluster=True, has_containers=True),
        "docker": Capabilities(is_cluster=False, has_containers=True),
        "local": Capabilities(is_cluster=False, has_containers=False),
    }
)
