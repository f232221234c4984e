"""Kueue as the cluster's kit starts it, with a configuration of ours.

It looks after all kinds of job objects, in namespaces with a label of ours only, and there also after jobs
that name no queue.
"""

from __future__ import annotations

from typing import Any

import yaml

from launcher.kinds.registry import KINDS
from tests.e2e.cluster.access import Cluster
from tests.e2e.cluster.kit import Kit

Item = dict[str, Any]
VERSION = "kueue.x-k8s.io/v1beta2"
MANAGED = {"ftlaunch-e2e/kueue": "managed"}
"""Label of the namespaces that Kueue looks after."""
ALL_KINDS = [kind.kueue_framework for kind in KINDS]
# The kit runs it as a process of this machine, beside other controllers: these are its own ports for that.
_HOSTED: Item = {
    "webhook": {"port": 9446},
    "metrics": {"bindAddress": "127.0.0.1:8446"},
    "health": {"healthProbeBindAddress": "127.0.0.1:8086"},
    "leaderElection": {"leaderElect": False},
    "featureGates": {"VisibilityOnDemand": False},  # an aggregated API
}


class Kueue:
    """Kueue in one cluster."""

    def __init__(self, cluster: Cluster, kit: Kit) -> None:
        self._cluster, self._kit = cluster, kit

    def install(self, **settings: Any) -> None:
        """Bring it up, or up to other settings of its configuration, and wait until it answers."""
        whole = {
            "apiVersion": "config.kueue.x-k8s.io/v1beta2", "kind": "Configuration", **_HOSTED,
            "integrations": {"frameworks": ALL_KINDS},
            "managedJobsNamespaceSelector": {"matchLabels": MANAGED},
            "manageJobsWithoutQueueName": True, **settings,
        }  # fmt: skip
        path = self._kit.kubeconfig.with_name("kueue-tests.yaml")
        path.write_text(yaml.safe_dump(whole))
        self._kit.start_kueue(path)

    def adopt(self, namespace: str) -> None:
        """Look after a namespace."""
        labels = [f"{key}={value}" for key, value in MANAGED.items()]
        self._cluster.kubectl("label", "namespace", namespace, *labels)

    def add_flavor(self, name: str, **spec: Any) -> None:
        item = {"apiVersion": VERSION, "kind": "ResourceFlavor", "metadata": {"name": name}, "spec": spec}
        self._cluster.apply(item)

    def add_placing_flavor(self, name: str, *levels: str) -> None:
        """Make a topology of these node labels, and a flavour whose pods it places."""
        item = {"apiVersion": VERSION, "kind": "Topology", "metadata": {"name": name}}
        self._cluster.apply({**item, "spec": {"levels": [{"nodeLabel": level} for level in levels]}})
        self.add_flavor(name, topologyName=name, nodeLabels={"kubernetes.io/os": "linux"})

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
        """Take everything away, what it looks after first, while it can still let go of that."""
        for kinds in ("workloads", "clusterqueues", "resourceflavors", "topologies"):  # each holds the next
            self._cluster.kubectl("delete", f"{kinds}.kueue.x-k8s.io", "--all", "-A", "--timeout=30s")
        self._kit.run("kueue-down")
