"""What the checks of a cluster look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

from launcher.kube.api import KubeApi
from launcher.kube.transport import Response
from launcher.names import KindName


class ClusterApi(KubeApi, Protocol):
    """A cluster's API, with what it says of itself."""

    def read(self, path: str) -> Response:
        """Return what stands at a path, such as `/version`, with the answer's headers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterInfo:
    """A cluster, and where in it jobs are to run.

    Attributes:
        namespace: Of the jobs.
        wanted: The kind of job object that settings ask for.
    """

    api: ClusterApi
    namespace: str
    wanted: Literal["auto"] | KindName = "auto"
