"""What the checks of a cluster look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from launcher.kube.api import KubeApi
from launcher.kube.transport import Response


class ClusterApi(KubeApi, Protocol):
    """A cluster's API, with what it says of itself."""

    def read(self, path: str) -> Response:
        """Return what stands at a path, such as `/version`, with the answer's headers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterInfo:
    """A cluster and the namespace in it that jobs are to run in."""

    api: ClusterApi
    namespace: str
