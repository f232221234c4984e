"""The `Launch` section: what PaddleClas does not know of a job, and ignores."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from launcher.names import MAX_PREFIX, is_dns_label
from launcher.spec.parts import Part, Queue, Resources, RunAs, Secret, Toleration, Volume, Weights
from launcher.spec.scalars import Duration, LabelKey, LabelValue, ObjectName, PlainText
from trainer.protocol.environment import WORKSPACE

_SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD", re.IGNORECASE)
_CREDENTIALS = re.compile(r"://[^/\s:@]+:[^/\s@]+@")
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OURS = re.compile(r"(FTL|PADDLE)_.*|FLAGS_selected_gpus|HOME|TMPDIR|PYTHONUNBUFFERED")
_RESERVED_MOUNTS = ("/etc/ftlaunch", "/dev/shm", "/tmp", "/home/trainer")  # noqa: S108 - a pod's own


class LaunchSection(Part):
    """Where and how the job runs. Flags of the command line win over it."""

    name: PlainText | None = None
    """Prefix of the job's name; the file's stem where it is not given."""
    image: PlainText | None = None
    """Container image with ftlaunch's trainer."""
    nodes: Annotated[int, Field(ge=1, le=1000)] = 1
    """Pods."""
    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    """Devices a node; 0 trains on CPUs over gloo."""
    procs_per_node: Annotated[int, Field(ge=1, le=512)] | Literal["auto"] = "auto"
    """Ranks a node; auto is one a GPU, or one where there are none."""
    resources: Resources = Resources()
    volumes: Annotated[tuple[Volume, ...], Field(strict=False)] = ()
    env: dict[str, PlainText] = Field(default_factory=dict)
    """Environment of the trainer. Secrets are files: see `secrets`."""
    secrets: Annotated[tuple[Secret, ...], Field(strict=False)] = ()
    queue: Queue | None = None
    namespace: ObjectName | None = None
    """Of kubernetes; that of the context where it is not given."""
    context: PlainText | None = None
    """Of the kubeconfig; the current one where it is not given."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    image_pull_secrets: Annotated[tuple[ObjectName, ...], Field(strict=False)] = ()
    priority_class: ObjectName | None = None
    node_selector: dict[PlainText, LabelValue] = Field(default_factory=dict)
    tolerations: Annotated[tuple[Toleration, ...], Field(strict=False)] = ()
    topology_key: PlainText | None = None
    """Node label, such as a rack's, that pods of the job should share."""
    service_account: ObjectName | None = None
    gpu_resource: PlainText = "nvidia.com/gpu"
    """Name of the extended resource that `gpus` counts."""
    rdma: bool = False
    """Add the capability IPC_LOCK, which no pod security level but privileged allows."""
    run_as: RunAs = RunAs()
    labels: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    annotations: dict[PlainText, PlainText] = Field(default_factory=dict)
    weights: Weights | None = None
    max_restarts: Annotated[int, Field(ge=0)] = 3
    """Attempts after the first."""
    deadline: Duration | None = None
    """Time from the first start to the last save, over all attempts."""
    keep_finished: Duration | None = None
    """When the cluster deletes the finished job; never where it is not given."""
    grace_period: Duration = 120.0
    """Time to save after SIGTERM."""
    hang_timeout: Duration | None = 600.0
    """Silence of a rank that counts as a hang; null switches it off."""

    @field_validator("name")
    @classmethod
    def _label(cls, value: str | None) -> str | None:
        if value is not None and not is_dns_label(value[:MAX_PREFIX].rstrip("-")):
            raise ValueError(f"expected lower-case letters, digits and '-', a letter first, got {value!r}")
        return value

    @field_validator("env")
    @classmethod
    def _no_secrets(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not _ENV_NAME.fullmatch(name):
                raise ValueError(f"expected names of letters, digits and '_', got {name!r}")
            if _OURS.fullmatch(name):
                raise ValueError(f"expected a variable of your own, got {name}, which ftlaunch sets")
            if _SECRET_NAME.search(name) or _CREDENTIALS.search(text):
                raise ValueError(
                    f"{name}: expected no secret in a config; write `secrets: [{{name: SECRET, key: KEY, "
                    f"mount: /secrets/{name.lower()}}}]` and read the file"
                )
        return value

    @model_validator(mode="after")
    def _mounts_apart(self) -> LaunchSection:
        mounts = [volume.mount for volume in self.volumes]
        mounts += [self.weights.path] if self.weights else []
        for mount in mounts:
            if mount == WORKSPACE or any(f"{mount}/".startswith(f"{ours}/") for ours in _RESERVED_MOUNTS):
                raise ValueError(f"volumes: expected a mount of your own, got {mount!r}, which every pod has")
        twice = sorted({mount for mount in mounts if mounts.count(mount) > 1})
        if twice:
            raise ValueError(f"volumes: expected each mount once, got {twice[0]!r} again")
        return self
