"""The cluster that the tests run on, as its administrator."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.kinds.registry import KINDS
from tests.e2e.cluster.image import Archive
from tests.e2e.cluster.kit import Kit

HOW = (
    "no cluster to test on: set FTLAUNCH_CLUSTER_KIT to the folder of a cluster kit, or KUBECONFIG together "
    "with FTLAUNCH_E2E_IMAGE (a trainer image that its nodes have or can pull) and FTLAUNCH_E2E_FOLDER (a "
    "folder that is the same on this machine and on every node)"
)


class NoClusterError(Exception):
    """Nobody has said where the tests are to run."""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """One cluster.

    Attributes:
        kubeconfig: Of an administrator.
        image: With the trainer, for `Launch.image`.
        folder: The same folder on this machine and on every node; volumes are made in it.
        kit: What made the cluster, or None where it was there before.
    """

    kubeconfig: Path
    image: str
    folder: Path
    kit: Kit | None = None
    _served: set[str] = field(default_factory=set)

    def kubectl(self, *argv: str, given: str | None = None, code: int | None = 0) -> str:
        done = subprocess.run(
            ["kubectl", "--kubeconfig", str(self.kubeconfig), *argv],
            input=given, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        if code is not None:
            assert done.returncode == code, f"kubectl {' '.join(argv)}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def apply(self, *items: dict[str, Any], namespace: str | None = None) -> None:
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        where = ["-n", namespace] if namespace else []
        self.kubectl("apply", "--server-side", *where, "-f", "-", given=document)

    def get(self, *argv: str) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.kubectl("get", *argv, "-o", "json"))
        return document

    @property
    def job_kinds(self) -> str:
        """Kinds of job objects that the cluster serves, as kubectl takes them."""
        resources = [resource for kind in KINDS for resource in (*kind.companions, kind.resource)]
        wanted = [f"{each.plural}.{each.group}" for each in resources if each.group]
        if not self._served.issuperset(wanted):  # none goes away while tests run
            self._served.update(self.kubectl("api-resources", "--verbs=list", "-o", "name").split())
        return ",".join(name for name in wanted if name in self._served)

    def has_image(self, image: str) -> bool:
        """Say whether every node has said that it has an image; they say so every few seconds."""
        nodes = self.get("nodes")["items"]
        names = [{name for item in node["status"].get("images", []) for name in item.get("names") or ()}
                 for node in nodes]  # fmt: skip
        return bool(names) and all(image in own for own in names)

    def load(self, archive: Archive) -> None:
        assert self.kit is not None, "only a kit's nodes take archives"
        self.kit.run("load-image", str(archive.path), timeout_s=600)


def named_cluster(environ: dict[str, str]) -> Cluster | Kit:
    """Return what the environment names.

    Raises:
        NoClusterError: It names nothing, or not all that is needed.
    """
    if environ.get("KUBECONFIG"):
        image, folder = environ.get("FTLAUNCH_E2E_IMAGE"), environ.get("FTLAUNCH_E2E_FOLDER")
        if not image or not folder:
            raise NoClusterError(HOW)
        return Cluster(kubeconfig=Path(environ["KUBECONFIG"]).absolute(), image=image, folder=Path(folder))
    if environ.get("FTLAUNCH_CLUSTER_KIT"):
        kit = Path(environ["FTLAUNCH_CLUSTER_KIT"]).absolute()
        if not (kit / "lib.sh").is_file():
            raise NoClusterError(f"FTLAUNCH_CLUSTER_KIT: expected a kit's folder, got {str(kit)!r}")
        return Kit(kit)
    raise NoClusterError(HOW)
