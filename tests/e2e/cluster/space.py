"""A namespace for one test: the `restricted` level enforced, two volumes, a user with our least privilege."""

from __future__ import annotations

import json
import secrets
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

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
        # All at once: a kubectl for each would take longer than many a test.
        made = [item for claim in (self.data_claim, "runs") for item in self._volume(claim)]
        space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.name, "labels": _LEVEL}}
        self.cluster.apply(space, *made, *self._user())
        bound = "--for=jsonpath={.status.phase}=Bound"
        # Controllers look again up to half a minute late once the API server has been away a few times.
        self.kubectl("wait", bound, f"pvc/{self.data_claim}", "pvc/runs", "--timeout=200s")
        self.kubectl("wait", "--for=create", "serviceaccount/default", "--timeout=200s")  # pods need it
        self._write_kubeconfig(self.kubectl("create", "token", USER).strip())

    def _volume(self, claim: str) -> tuple[dict[str, Any], dict[str, Any]]:
        name = f"{self.name}-{claim}"
        spec = {"accessModes": ["ReadWriteMany"], "storageClassName": name}
        volume = {
            **spec, "capacity": {"storage": "1Gi"}, "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(self.folder / claim)},
            # Else a claim that is looked at before its volume is known waits for 15 s.
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": self.name,
                         "name": claim},
        }  # fmt: skip
        asked = {**spec, "volumeName": name, "resources": {"requests": {"storage": "1Gi"}}}
        return (
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": volume},
            {"apiVersion": "v1", "kind": "PersistentVolumeClaim",
             "metadata": {"name": claim, "namespace": self.name}, "spec": asked},
        )  # fmt: skip

    def _user(self) -> list[dict[str, Any]]:
        """Return the user, and what gives it our roles here."""
        subject = {"kind": "ServiceAccount", "name": USER, "namespace": self.name}
        made: list[dict[str, Any]] = [
            {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": USER}}
        ]
        for role, file in ROLES.items():
            made += filter(None, yaml.safe_load_all((REPOSITORY / "k8s/rbac" / file).read_text()))
            made.append({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": {"name": role}, "subjects": [subject],
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role},
            })  # fmt: skip
        for item in made:
            item["metadata"]["namespace"] = self.name
        return made

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
        kinds = f"{self.cluster.job_kinds},pods"
        self.kubectl("delete", kinds, "--all", "--wait=false", "--grace-period=1", code=None)
        gone = [f"pv/{self.name}-{claim}" for claim in (self.data_claim, "runs")]
        self.cluster.kubectl("delete", f"namespace/{self.name}", *gone, "--wait=false", code=None)
