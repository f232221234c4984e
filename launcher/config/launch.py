"""The `Launch` section: what PaddleClas does not know of a job, and ignores."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from launcher.config.parts import Part, Queue, Resources, RunAs, Secret, Toleration, Volume, Weights
from launcher.config.scalars import (
    Duration,
    EnvName,
    ExtraModule,
    Image,
    LabelKey,
    LabelValue,
    Namespace,
    ObjectName,
    PlainText,
    Procs,
    ResourceName,
)
from launcher.names import MAX_PREFIX, is_dns_label
from trainer.protocol.environment import WORKSPACE

# What every pod has by itself; /workspace may be mounted below, because relative paths lead there.
_TAKEN = ("/dev", "/etc/ftlaunch", "/home/trainer", "/proc", "/sys", "/tmp")  # noqa: S108 - a pod's own
_ANNOTATIONS_BYTES = 255 * 1024  # a server takes 256 KiB, and some of them are ours
_NODES = 1000  # pods are `<job>-worker-<i>` with at most three digits


class LaunchSection(Part):
    """Where and how the job runs. Flags of the command line win over it."""

    name: PlainText | None = None
    """Prefix of the job's name; the file's stem where it is not given."""
    image: Image | None = None
    """Container image with ftlaunch's trainer."""
    nodes: Annotated[int, Field(ge=1, le=_NODES)] = 1
    """Pods."""
    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    """Devices a node; 0 trains on CPUs over gloo."""
    procs_per_node: Procs = "auto"
    """Ranks a node; auto is one a GPU, or one where there are none."""
    resources: Resources = Field(default_factory=Resources)
    volumes: Annotated[tuple[Volume, ...], Field(strict=False)] = ()
    env: dict[EnvName, PlainText] = Field(default_factory=dict)
    """Environment of the trainer. Secrets are files: see `secrets`."""
    not_secret: Annotated[tuple[EnvName, ...], Field(strict=False)] = ()
    """Variables of `env` and `pod_patch` that hold no secret, though their names sound like one."""
    secrets: Annotated[tuple[Secret, ...], Field(strict=False)] = ()
    queue: Queue | None = None
    namespace: Namespace | None = None
    """Of kubernetes; that of the context where it is not given."""
    context: PlainText | None = None
    """Of the kubeconfig; the current one where it is not given."""
    api: Literal["auto", "kubeflow"] = "auto"
    """Kind of job: a PaddleJob of kubeflow.org/v1; auto is what the cluster serves."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: Annotated[tuple[ObjectName, ...], Field(strict=False)] = ()
    priority_class: ObjectName | None = None
    node_selector: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    tolerations: Annotated[tuple[Toleration, ...], Field(strict=False)] = ()
    topology_key: LabelKey | None = None
    """Node label, such as a rack's, that pods of the job should share."""
    service_account: ObjectName | None = None
    gpu_resource: ResourceName = "nvidia.com/gpu"
    """Name of the extended resource that `gpus` counts."""
    rdma: bool = False
    """Add the capability IPC_LOCK, which no pod security level but privileged allows."""
    run_as: RunAs = Field(default_factory=RunAs)
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    annotations: dict[LabelKey, PlainText] = Field(default_factory=dict)
    weights: Weights | None = None
    extra_modules: Annotated[tuple[ExtraModule, ...], Field(strict=False)] = ()
    """Python that the trainer imports first, and that brings names of your own; a file is under a mount."""
    max_restarts: Annotated[int, Field(ge=0)] = 3
    """Attempts after the first."""
    deadline: Duration | None = None
    """Time from the first start to the last save, over all attempts."""
    keep_finished: Duration | None = None
    """When the cluster deletes the finished job; never where it is not given."""
    grace_period: Duration = Field(default=120.0, json_schema_extra={"default": "120s"})
    """Time to save after SIGTERM."""
    hang_timeout: Duration | None = Field(default=600.0, json_schema_extra={"default": "10m"})
    """Silence of a rank that counts as a hang; null switches it off."""
    pod_patch: dict[str, Any] | None = None
    """Strategic merge over the rendered pod template, last; not over the command and ftlaunch's variables."""

    @field_validator("name")
    @classmethod
    def _label(cls, value: str | None) -> str | None:
        if value is not None and not is_dns_label(value[:MAX_PREFIX].rstrip("-")):
            raise ValueError(f"expected lower-case letters, digits and '-', a letter first, got {value!r}")
        return value

    @field_validator("api", mode="before")
    @classmethod
    def _kind_is_offered(cls, value: object) -> object:
        if value == "batch":
            raise ValueError(
                "expected 'auto' or 'kubeflow', got 'batch': PaddleJobs of batch.paddlepaddle.org/v1 are not"
                " made any more; leave Launch.api out, on a cluster that has the training operator"
            )
        return value

    @field_validator("annotations")
    @classmethod
    def _annotations_fit(cls, value: dict[str, str]) -> dict[str, str]:
        size = sum(len(key.encode()) + len(text.encode()) for key, text in value.items())
        if size > _ANNOTATIONS_BYTES:
            raise ValueError(f"expected at most {_ANNOTATIONS_BYTES} bytes of annotations, got {size}")
        return value

    @model_validator(mode="after")
    def _mounts_apart(self) -> LaunchSection:
        mounts = [volume.mount for volume in self.volumes] + [secret.mount for secret in self.secrets]
        mounts += [self.weights.path] if self.weights else []
        problems = [
            f"expected a mount of your own, got {mount!r}, which every pod has"
            for mount in mounts
            if mount == WORKSPACE or any(mount == own or mount.startswith(own + "/") for own in _TAKEN)
        ]
        twice = sorted({mount for mount in mounts if mounts.count(mount) > 1})
        problems += [f"expected each mount once, got {mount!r} again" for mount in twice]
        if problems:
            raise ValueError("; ".join(problems))
        return self
