"""Room that a test alone uses: nodes offer a resource of its own, as an administrator may have them do.

A kubelet keeps what it does not know of a node's capacity (kubernetes.io, "Advertise Extended Resources for a
Node"), so pods that ask for it run as any others.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.e2e.cluster.access import Cluster


@dataclass(kw_only=True)
class Seats:
    """A resource of which each node offers as many as a test wants.

    Attributes:
        resource: Its name, for requests.
    """

    cluster: Cluster
    resource: str = field(default_factory=lambda: f"example.com/seat-{secrets.token_hex(3)}")

    @property
    def nodes(self) -> Sequence[str]:
        return [item["metadata"]["name"] for item in self.cluster.get("nodes", "-l", "kit=real")["items"]]

    def offer(self, *counts: int) -> None:
        """Have the first node offer so many, the second so many, and so on."""
        for node, count in zip(self.nodes, counts, strict=True):
            self._patch(node, "add", value=str(count))

    def withdraw(self) -> None:
        for node in self.nodes:
            self._patch(node, "remove")

    def ask(self, count: int = 1) -> dict[str, Any]:
        """Return the `resources` of a container that takes seats."""
        return {"limits": {self.resource: str(count)}}

    def _patch(self, node: str, operation: str, **value: str) -> None:
        name = self.resource.replace("/", "~1")
        changes = [{"op": operation, "path": f"/status/{part}/{name}", **value}
                   for part in ("capacity", "allocatable")]  # fmt: skip
        patch = ("patch", "node", node, "--subresource=status", "--type=json", "-p", json.dumps(changes))
        self.cluster.kubectl(*patch)
