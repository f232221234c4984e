"""The JobPlan: everything that the manifest says, decided and typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from launcher.config.launch import Resources, RunAs, Toleration
from launcher.names import KindName
from trainer.protocol.nodefile import NodeFile


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedVolume:
    """A volume in the pod.

    Attributes:
        volume: Its name inside the pod's spec.
        path: Where it is mounted.
        claim: PersistentVolumeClaim, or None.
        host_path: Folder of the node, or None; with neither it exists on this machine only.
        sub_path: Folder inside the volume, or None.
        local: Folder of this machine that stands for it, as written, or None.
        source: Another kind of volume: the name of its field in Kubernetes and what stands in that; or None.
    """

    volume: str
    path: str
    claim: str | None
    host_path: str | None
    sub_path: str | None
    read_only: bool
    local: str | None
    source: tuple[str, Mapping[str, Any]] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SecretFile:
    """One key of a Secret as a file in the pod; `local` is the file of this machine, as written."""

    volume: str
    secret: str
    key: str
    path: str
    local: str | None

    @property
    def file_name(self) -> str:
        """Last part of its path."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedCode:
    """The user's code, as an archive that each pod unpacks.

    Attributes:
        sha256: Of the archive before it was compressed, 64 hexadecimal digits.
        path: Where it lies in the pod.
        archive: It, in base64, for the ConfigMap; empty where that is too small for it.
        mount: Of the volume that holds it instead, or None.
    """

    sha256: str
    path: str
    archive: str
    mount: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobPlan:
    """A job.

    Attributes:
        job: Its name.
        run_id: 32 hexadecimal digits.
        api: Kind of job object.
        config: The user's bytes as text.
        node_file: For the node processes.
        command: Of the container.
        env: The user's variables.
        gpus: Devices a node; 0 for none.
        labels: Of all objects and the pods.
        job_labels: Of the job object: Kueue's queue is among them.
        gang_queue: Of the scheduler that the training operator was started with, or None.
        avoid_nodes: Names of nodes that no pod goes to.
        shares_topology: Node label that the pods should share, or None.
        ttl_s: Seconds until the finished job is deleted, or None.
        global_batch: Images a step over all ranks.
        gpus_missing: GPUs that were asked for and are run as CPU ranks, a node.
        gpu_ids: GPUs of this machine that the job may use, by name; None for any.
        pod_patch: Merged over the rendered pod template, last; None for nothing.
        code: The user's own, or None.
        notes: What a person should know, for standard error.
    """

    job: str
    run_id: str
    namespace: str | None
    image: str
    image_pull_policy: str
    image_pull_secrets: tuple[str, ...]
    config: str
    node_file: NodeFile
    command: tuple[str, ...]
    env: Mapping[str, str]
    gpus: int
    gpu_resource: str
    rdma: bool
    resources: Resources
    mounts: tuple[PlannedVolume, ...]
    secrets: tuple[SecretFile, ...]
    run_as: RunAs
    labels: Mapping[str, str]
    job_labels: Mapping[str, str]
    annotations: Mapping[str, str]
    pod_annotations: Mapping[str, str]
    node_selector: Mapping[str, str]
    avoid_nodes: tuple[str, ...]
    tolerations: tuple[Toleration, ...]
    shares_topology: str | None
    service_account: str | None
    priority_class: str | None
    gang_queue: str | None
    ttl_s: int | None
    grace_s: int
    global_batch: int
    gpus_missing: int = 0
    api: KindName = "paddlejob"
    gpu_ids: tuple[str, ...] | None = None
    pod_patch: Mapping[str, Any] | None = None
    code: PlannedCode | None = None
    notes: tuple[str, ...] = ()

    @property
    def nodes(self) -> int:
        """Number of pods."""
        return self.node_file.nodes

    @property
    def world_size(self) -> int:
        """Number of ranks."""
        return self.node_file.world_size

    def describe(self) -> str:
        """Say how large the job is, such as `2 nodes × 4 GPUs = 8 ranks, global batch 512`."""
        nodes = "1 node" if self.nodes == 1 else f"{self.nodes} nodes"
        if self.node_file.min_nodes is not None:
            nodes = f"{self.node_file.min_nodes} to {nodes}"
        procs = self.node_file.procs_per_node
        if procs < self.gpus:
            each = f"{procs} of {self.gpus} GPUs"
        elif self.gpus:
            each = "1 GPU" if self.gpus == 1 else f"{self.gpus} GPUs"
        else:
            each = "1 CPU rank" if procs == 1 else f"{procs} CPU ranks"
        ranks = "1 rank" if self.world_size == 1 else f"{self.world_size} ranks"
        if self.node_file.min_nodes is not None:
            ranks = f"up to {ranks}"
        return f"{nodes} × {each} = {ranks}, global batch {self.global_batch}"
