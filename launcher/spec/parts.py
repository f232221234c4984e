"""The mappings inside the `Launch` section."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, model_validator

from launcher.spec.scalars import LabelValue, MountPath, ObjectName, PlainText, Quantity, SecretKey, SubPath
from trainer.config.declaration import STRICT
from trainer.config.documented import Documented

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

    size: Quantity | None = None
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

    cpu: Quantity | None = None
    memory: Quantity | None = None
    """Counts /dev/shm too."""
    shm: Quantity = "1Gi"
    """Size of /dev/shm, which container runtimes leave at 64 MiB."""


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
    """As in Kubernetes."""

    key: PlainText | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: PlainText | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None


class RunAs(Part):
    """Who the processes are. hostPath volumes and many NFS ones ignore fs_group."""

    user: Annotated[int, Field(gt=0)] = 1000
    group: Annotated[int, Field(gt=0)] = 1000
    fs_group: Annotated[int, Field(gt=0)] = 1000
    supplemental_groups: Annotated[tuple[Annotated[int, Field(gt=0)], ...], Field(strict=False)] = ()


class Weights(Part):
    """Pretrained weights on a volume, mounted read-only."""

    claim: ObjectName
    path: MountPath
    local: PlainText | None = None
    """Folder of this machine that docker and local use instead."""
