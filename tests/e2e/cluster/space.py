"""A namespace for one test: the `restricted` level enforced, two volumes, a user with our least privilege."""

from __future__ import annotations

import json
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.e2e.cluster.access import Cluster

REPOSITORY = Path(__file__).resolve().parents[3]
USER = "ftlaunch-user"
ROLES = {"ftlaunch-user": "user.yaml", "ftlaunch-files-user": "files.yaml"}
_LEVEL = {"pod-security.kubernetes.io/enforce": "restricted"}


@dataclass(kw_only=True)
class Space:
    """One namespace.

    Attributes:
        data_claim: Name of the claim with the images.
        data: Folder behind it, read by all.
        output: Folder behind the claim `runs`, written by all.
        kubeconfig: Of a user who may do what `k8s/rbac/{user,files}.yaml` say, here and nowhere else.
    """

    cluster: Cluster
    name: str = field(default_factory=lambda: f"ftl-e2e-{secrets.token_hex(3)}")
    kubeconfig: Path
    data_claim: str = "data"

    @property
    def folder(self) -> Path:
        return self.cluster.folder / self.name

    @property
    def data(self) -> Path:
        return self.folder / self.data_claim

    @property
    def output(self) -> Path:
        return self.folder / "runs"

    def make(self, *, images: Path | None) -> None:
        self.output.mkdir(parents=True)
        self.folder.chmod(0o755)
        self.output.chmod(0o777)  # hostPath volumes ignore fsGroup
        if images is not None:
            shutil.copytree(images, self.data)
        else:
            self.data.mkdir()
        meta = {"name": self.name, "labels": _LEVEL}
        self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
        made = [self._volume(claim) for claim in (self.data_claim, "runs")]
        self.cluster.apply(*(volume for volume, _ in made))
        free = "--for=jsonpath={.status.phase}=Available"  # a claim that is made earlier waits for 15 s
        names = [f"pv/{volume['metadata']['name']}" for volume, _ in made]
        # Controllers look again up to half a minute late once the API server has been away a few times.
        self.cluster.kubectl("wait", free, *names, "--timeout=200s")
        self.cluster.apply(*(claim for _, claim in made), namespace=self.name)
        bound = "--for=jsonpath={.status.phase}=Bound"
        self.kubectl("wait", bound, f"pvc/{self.data_claim}", "pvc/runs", "--timeout=200s")
        self.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=200s")  # pods need it
        self.kubectl("create", "serviceaccount", USER)
        for role, file in ROLES.items():
            self.kubectl("apply", "-f", str(REPOSITORY / "k8s/rbac" / file))
            account = f"--serviceaccount={self.name}:{USER}"
            self.kubectl("create", "rolebinding", role, f"--role={role}", account)
        self._write_kubeconfig(self.kubectl("create", "token", USER).strip())

    def _volume(self, claim: str) -> tuple[dict[str, Any], dict[str, Any]]:
        spec = {"accessModes": ["ReadWriteMany"], "storageClassName": f"{self.name}-{claim}"}
        volume = {
            **spec, "capacity": {"storage": "1Gi"}, "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(self.folder / claim)},
        }  # fmt: skip
        asked = {**spec, "resources": {"requests": {"storage": "1Gi"}}}
        return (
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": f"{self.name}-{claim}"},
             "spec": volume},
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim",
             "metadata": {"name": claim, "namespace": self.name}, "spec": asked},
        )  # fmt: skip

    def _write_kubeconfig(self, token: str) -> None:
        config = json.loads(
            self.cluster.kubectl("config", "view", "--raw", "--flatten", "--minify", "-o", "json")
        )
        config["users"] = [{"name": USER, "user": {"token": token}}]
        config["contexts"] = [{
            "name": "e2e",
            "context": {"cluster": config["clusters"][0]["name"], "user": USER, "namespace": self.name},
        }]  # fmt: skip
        config["current-context"] = "e2e"
        self.kubeconfig.write_text(json.dumps(config))

    def kubectl(self, *argv: str, given: str | None = None, code: int | None = 0) -> str:
        return self.cluster.kubectl("-n", self.name, *argv, given=given, code=code)

    def get(self, *argv: str) -> dict[str, Any]:
        return self.cluster.get("-n", self.name, *argv)

    def names(self, kind: str) -> list[str]:
        return [item["metadata"]["name"] for item in self.get(kind)["items"]]

    def leftovers(self) -> list[str]:
        """Return what is here of jobs, as `kind/name`."""
        found = self.get(f"{self.cluster.job_kinds},pods,services,configmaps")["items"]
        names = [f"{item['kind']}/{item['metadata']['name']}" for item in found]
        return sorted(name for name in names if name != "ConfigMap/kube-root-ca.crt")

    def evict(self, pod: str) -> None:
        """Ask for a pod's end as whoever empties a node does."""
        body = {
            "apiVersion": "policy/v1", "kind": "Eviction",
            "metadata": {"name": pod, "namespace": self.name},
        }  # fmt: skip
        path = f"/api/v1/namespaces/{self.name}/pods/{pod}/eviction"
        self.kubectl("create", "--raw", path, "-f", "-", given=json.dumps(body))

    def withdraw(self, plural: str) -> None:
        """Take from the user's role what it says of a kind of objects."""
        role = self.get("role", "ftlaunch-user")
        kept = [rule for rule in role["rules"] if plural not in rule["resources"]]
        patch = json.dumps({"rules": kept})
        self.kubectl("patch", "role", "ftlaunch-user", "--type=merge", "-p", patch)

    def run_in_pod(self, pod: str, code: str) -> str:
        """Run Python in a pod's container."""
        return self.kubectl("exec", pod, "--", "python", "-c", code)

    def describe(self) -> str:
        """Return what a person would look at after a failure."""
        objects = self.kubectl("get", f"{self.cluster.job_kinds},pods,pvc", "-o", "wide", code=None)
        events = self.kubectl("get", "events", "--sort-by=.lastTimestamp", code=None)
        pods = self.kubectl("get", "pods", "-o", "name", code=None).split()
        logs = [f"{pod}:\n{self.kubectl('logs', '--tail=30', pod, code=None)}" for pod in pods]
        return "\n".join([objects, events, *logs])

    def remove(self) -> None:
        """Ask for the end of everything; `cluster` waits for it at the end."""
        self.kubectl("delete", self.cluster.job_kinds, "--all", "--wait=false", code=None)
        self.kubectl("delete", "pods", "--all", "--wait=false", "--grace-period=1", code=None)
        self.cluster.kubectl("delete", "namespace", self.name, "--wait=false", code=None)
        volumes = [f"{self.name}-{self.data_claim}", f"{self.name}-runs"]
        self.cluster.kubectl("delete", "persistentvolume", *volumes, "--wait=false", code=None)
