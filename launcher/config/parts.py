"""The mappings inside the `Launch` section."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from launcher.config.scalars import (
    Bytes,
    Cores,
    LabelValue,
    MountPath,
    ObjectName,
    PlainText,
    SecretKey,
    SubPath,
    TaintKey,
)
from launcher.quantity import read_quantity
from trainer.config.registry import STRICT, Documented

_SHM = "1Gi"
UserId = Annotated[int, Field(gt=0, lt=2**31)]
_SEVERAL = {2: "both", 3: "all three", 4: "all four", 5: "all five", 6: "all of them"}


class Part(Documented):
    """A mapping that refuses keys it does not know."""

    model_config = ConfigDict(**STRICT, extra="forbid")


class Nfs(Part):
    """A folder that a server exports; the nodes mount it."""

    server: PlainText
    path: MountPath
    """Exported folder."""


class Csi(Part):
    """A volume that a CSI driver makes for each pod (kubernetes.io, "CSI ephemeral inline volumes")."""

    driver: PlainText
    attributes: dict[PlainText, PlainText] = Field(default_factory=dict)
    fs_type: PlainText | None = None
    secret: ObjectName | None = None
    """Secret that the driver is given."""


class EmptyDir(Part):
    """A folder of the node that lives as long as the pod."""

    size: Bytes | None = None
    memory: bool = False
    """In memory, which counts as the pod's."""


class Volume(Part):
    """Something that is mounted into every pod, and what stands for it on this machine."""

    mount: MountPath
    """Path in the pod."""
    claim: ObjectName | None = None
    """Name of a PersistentVolumeClaim."""
    host_path: MountPath | None = None
    """Folder of the node, instead of a claim."""
    nfs: Nfs | None = None
    csi: Csi | None = None
    empty_dir: EmptyDir | None = None
    config_map: ObjectName | None = None
    """Name of a ConfigMap, whose keys become files."""
    sub_path: SubPath | None = None
    """Folder inside the volume; `{job}` in it becomes the job's name, for a folder a run."""
    read_only: bool = False
    local: PlainText | None = None
    """Folder of this machine that docker and local use instead, relative to where `submit` runs."""

    @model_validator(mode="after")
    def _one_source(self) -> Volume:
        if len(self.sources) > 1:
            raise ValueError(f"expected {' or '.join(self.sources)}, got {_SEVERAL[len(self.sources)]}")
        return self

    @property
    def sources(self) -> tuple[str, ...]:
        """Keys that say what is mounted on a cluster: one, or none for what is on this machine only."""
        names = ("claim", "host_path", "nfs", "csi", "empty_dir", "config_map")
        return tuple(name for name in names if getattr(self, name) is not None)


class Secret(Part):
    """One key of a Kubernetes Secret as a file. Values never stand in a config."""

    name: ObjectName
    key: SecretKey
    mount: MountPath
    """Path of the file."""
    local: PlainText | None = None
    """File of this machine that docker and local use instead; `~` is the home folder."""


class Resources(Part):
    """What each pod asks for; requests and limits are the same."""

    cpu: Cores | None = None
    memory: Bytes | None = None
    """Counts /dev/shm too."""
    shm: Bytes | None = Field(default=None, json_schema_extra={"default": "1Gi"})
    """Size of /dev/shm, which container runtimes leave at 64 MiB; 1Gi, or half of a memory below 2Gi."""

    @model_validator(mode="after")
    def _shm_fits(self) -> Resources:
        if None not in (self.memory, self.shm) and _bytes(self.shm) > _bytes(self.memory):
            raise ValueError(
                f"expected shm of at most {self.memory}, the memory that counts it, got {self.shm}"
            )
        return self

    @property
    def shm_size(self) -> str:
        """Size of /dev/shm where none is written too."""
        if self.shm is not None:
            return self.shm
        small = self.memory is not None and _bytes(self.memory) < 2 * _bytes(_SHM)
        return str(int(_bytes(self.memory) // 2)) if small else _SHM


def _bytes(text: str | None) -> Decimal:
    return read_quantity(text or "0")


class Queue(Part):
    """Gang scheduling: all pods start together or none."""

    kueue: LabelValue | None = None
    """A LocalQueue."""
    volcano: ObjectName | None = None
    """A queue of Volcano, or of another scheduler that the training operator was started with."""

    @model_validator(mode="after")
    def _one(self) -> Queue:
        if (self.kueue is None) == (self.volcano is None):
            raise ValueError("expected exactly one of kueue and volcano")
        return self


class Toleration(Part):
    """As in Kubernetes (core/v1 Toleration, and what its API server asks of one)."""

    key: TaintKey | None = None
    """Taint; every one where it is not given, which needs the operator Exists."""
    operator: Literal["Exists", "Equal"] = "Equal"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = Field(default=None, alias="tolerationSeconds")
    """How long a pod stays on a node that gets the taint; with effect NoExecute."""

    @model_validator(mode="after")
    def _agree(self) -> Toleration:
        problems = []
        if self.key is None and self.operator != "Exists":
            problems.append("expected operator Exists where no key is given, got Equal")
        if self.operator == "Exists" and self.value:
            problems.append(f"expected no value beside operator Exists, got {self.value!r}")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            problems.append(f"expected effect NoExecute beside tolerationSeconds, got {self.effect!r}")
        if problems:
            raise ValueError("; ".join(problems))
        return self


class RunAs(Part):
    """Who the processes are. hostPath volumes and many NFS ones ignore fs_group."""

    user: UserId = 1000
    group: UserId = 1000
    fs_group: UserId = 1000
    supplemental_groups: Annotated[tuple[UserId, ...], Field(strict=False)] = ()


class Weights(Part):
    """Pretrained weights on a volume, mounted read-only."""

    claim: ObjectName
    path: MountPath
    local: PlainText | None = None
    """Folder of this machine that docker and local use instead."""
