"""Installs Kueue in a cluster as its own manifests do, and takes it away again.

It differs from a plain installation where that would get in others' way: it looks after PaddleJobs only, in
namespaces with a label of ours only (while it is away its webhooks refuse all that they are asked about,
`failurePolicy: Fail`); it serves no aggregated API, whose absence would keep namespaces from being deleted.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import yaml

from tests.e2e.cluster.access import Cluster
from tests.e2e.cluster.kueue.build import Built

Item = dict[str, Any]
VERSION = "kueue.x-k8s.io/v1beta2"
NAMESPACE, DEPLOYMENT, CONFIG = "kueue-system", "kueue-controller-manager", "kueue-manager-config"
CONFIG_FILE = "controller_manager_config.yaml"
MANAGED = {"ftlaunch-e2e/kueue": "managed"}
"""Label of the namespaces that Kueue looks after."""
FRAMEWORK = "kubeflow.org/paddlejob"
_OWN_KINDS = ("workload", "localqueue", "clusterqueue", "cohort", "resourceflavor", "paddlejob")
_LEFT_OUT = ("APIService",)
_WAIT = "--timeout=240s"


class Kueue:
    """Kueue in one cluster."""

    def __init__(self, cluster: Cluster, built: Built) -> None:
        self._cluster, self._built = cluster, built

    def install(self, **settings: Any) -> None:
        """Bring it up, or up to other settings of its configuration, and wait until it answers."""
        if not self._cluster.has_image(self._built.archive.image):
            self._cluster.load(self._built.archive)
        items = list(read_manifests(self._built, settings))
        definitions = [item for item in items if item["kind"] == "CustomResourceDefinition"]
        self._cluster.apply(*(item for item in items if item["kind"] == "Namespace"), *definitions)
        names = [f"crd/{item['metadata']['name']}" for item in definitions]
        self._cluster.kubectl("wait", "--for=condition=Established", *names, _WAIT)
        self._cluster.apply(*(item for item in items if item not in definitions))
        where = ["-n", NAMESPACE]
        self._cluster.kubectl(*where, "rollout", "status", f"deployment/{DEPLOYMENT}", _WAIT)

    def adopt(self, namespace: str) -> None:
        """Look after a namespace."""
        labels = [f"{key}={value}" for key, value in MANAGED.items()]
        self._cluster.kubectl("label", "namespace", namespace, *labels)

    def add_flavor(self, name: str) -> None:
        self._cluster.apply({"apiVersion": VERSION, "kind": "ResourceFlavor", "metadata": {"name": name}})

    def add_queue(self, name: str, *, namespace: str, cpu: str, flavor: str, **spec: Any) -> None:
        """Make a ClusterQueue of so many CPUs and memory enough, and a LocalQueue of this name."""
        amounts = [{"name": "cpu", "nominalQuota": cpu}, {"name": "memory", "nominalQuota": "1Ti"}]
        group = {"coveredResources": ["cpu", "memory"], "flavors": [{"name": flavor, "resources": amounts}]}
        whole = {
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
            "preemption": {"withinClusterQueue": "LowerPriority"}, "resourceGroups": [group], **spec,
        }  # fmt: skip
        cluster_queue = f"{namespace}-{name}"
        self._cluster.apply({
            "apiVersion": VERSION, "kind": "ClusterQueue", "metadata": {"name": cluster_queue}, "spec": whole,
        })  # fmt: skip
        self.add_local_queue(name, namespace=namespace, cluster_queue=cluster_queue)

    def add_local_queue(self, name: str, *, namespace: str, cluster_queue: str, **spec: Any) -> None:
        item = {
            "apiVersion": VERSION, "kind": "LocalQueue", "metadata": {"name": name},
            "spec": {"clusterQueue": cluster_queue, **spec},
        }  # fmt: skip
        self._cluster.apply(item, namespace=namespace)

    def add_priority(self, name: str, value: int) -> None:
        item = {"apiVersion": VERSION, "kind": "WorkloadPriorityClass", "metadata": {"name": name}}
        self._cluster.apply({**item, "value": value})

    def remove(self) -> None:
        """Take everything away: what it looks after first, while it can still let go of that."""
        of_spaces = "workloads.kueue.x-k8s.io,localqueues.kueue.x-k8s.io"
        of_cluster = ",".join(
            f"{kind}.kueue.x-k8s.io"
            for kind in ("clusterqueues", "cohorts", "resourceflavors", "workloadpriorityclasses")
        )
        self._cluster.kubectl("delete", of_spaces, "--all", "-A", _WAIT, code=None)
        self._cluster.kubectl("delete", of_cluster, "--all", _WAIT, code=None)
        items = list(read_manifests(self._built, {}))
        items.sort(key=lambda item: "Webhook" not in item["kind"])  # they would refuse the rest
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        self._cluster.kubectl("delete", "--ignore-not-found", _WAIT, "-f", "-", given=document)


def read_manifests(built: Built, settings: Item) -> Iterator[Item]:
    """Return what is installed; `settings` are laid over Kueue's configuration."""
    for item in yaml.safe_load_all(built.manifests.read_text()):
        if item["kind"] in _LEFT_OUT:
            continue
        if item["kind"].endswith("WebhookConfiguration"):
            item["webhooks"] = [_narrow(hook) for hook in item["webhooks"] if _is_own(hook)]
        elif item["metadata"]["name"] == CONFIG:
            item["data"][CONFIG_FILE] = yaml.safe_dump(_configure(item["data"][CONFIG_FILE], settings))
        elif item["kind"] == "Deployment":
            _adapt(item, built.archive.image, json.dumps(settings, sort_keys=True))
        yield item


def _is_own(hook: Item) -> bool:
    name = str(hook["name"]).partition(".")[0]  # such as mpaddlejob.kb.io
    return name[1:] in _OWN_KINDS


def _narrow(hook: Item) -> Item:
    return {**hook, "namespaceSelector": {"matchLabels": MANAGED}} if "paddlejob" in hook["name"] else hook


def _configure(text: str, settings: Item) -> Item:
    return {
        **yaml.safe_load(text),
        "integrations": {"frameworks": [FRAMEWORK]},
        "managedJobsNamespaceSelector": {"matchLabels": MANAGED},
        "featureGates": {"VisibilityOnDemand": False},
        "leaderElection": {"leaderElect": False},  # one replica, and the next one need not wait for a lease
        **settings,
    }


def _adapt(deployment: Item, image: str, settings: str) -> None:
    template = deployment["spec"]["template"]
    template["metadata"]["annotations"]["ftlaunch-e2e/settings"] = settings  # others: another pod
    template["spec"]["securityContext"]["runAsUser"] = 65532  # as upstream's image says of itself
    container = template["spec"]["containers"][0]
    container.update(image=image, imagePullPolicy="Never")
    container["resources"] = {"requests": {"cpu": "10m", "memory": "128Mi"}}
    container["readinessProbe"].update(initialDelaySeconds=1, periodSeconds=1)
