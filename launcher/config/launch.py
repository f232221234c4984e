"""The `Launch` section: what PaddleClas does not know of a job, and ignores.

First the mappings inside it, a model each, then the section itself. Amounts of memory and disk are Kubernetes
quantities of bytes (`8Gi`), those of CPUs cores (`0.5`, `500m`), and times carry their unit (`90s`, `10m`,
`24h`, `7d`).
"""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, field_validator, model_validator

from launcher.config.field_types import (
    Bytes,
    Cores,
    Duration,
    EnvName,
    ExtraModule,
    Image,
    LabelKey,
    LabelValue,
    MountPath,
    Namespace,
    ObjectName,
    Percent,
    PlainText,
    Procs,
    ResourceName,
    SecretKey,
    SubPath,
    TaintKey,
)
from launcher.config.targets import as_text, check_target
from launcher.names import EARLIER_NAMES, MAX_PREFIX, is_dns_label
from launcher.quantity import read_quantity
from trainer.config.registry import STRICT, Documented
from trainer.protocol.environment import API_ACCESS, COORDINATOR_PORT, STORE_PORT, WORKSPACE
from trainer.protocol.log_files import DEFAULT_BYTES
from trainer.protocol.nodefile import NOTIFY_ON, Happening
from trainer.protocol.tracking import Target

_SHM = "1Gi"
UserId = Annotated[int, Field(gt=0, lt=2**31)]
_SEVERAL = {2: "both", 3: "all three", 4: "all four", 5: "all five", 6: "all of them"}


class Subsection(Documented):
    """A mapping of the section. It refuses keys that it does not know, as typing errors mostly are."""

    model_config = ConfigDict(**STRICT, extra="forbid")


class Nfs(Subsection):
    """A folder that a server exports; the nodes mount it."""

    server: PlainText
    path: MountPath
    """Exported folder."""


class Csi(Subsection):
    """A volume that a CSI driver makes for each pod (kubernetes.io, "CSI ephemeral inline volumes")."""

    driver: PlainText
    attributes: dict[PlainText, PlainText] = Field(default_factory=dict)
    fs_type: PlainText | None = None
    secret: ObjectName | None = None
    """Secret that the driver is given."""


class EmptyDir(Subsection):
    """A folder of the node that lives as long as the pod."""

    size: Bytes | None = None
    """Most bytes that it may hold, such as 8Gi; null for what the node has."""
    memory: bool = False
    """In memory, which counts as the pod's."""


class Volume(Subsection):
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
        told = {
            "claim": self.claim, "host_path": self.host_path, "nfs": self.nfs, "csi": self.csi,
            "empty_dir": self.empty_dir, "config_map": self.config_map,
        }  # fmt: skip
        return tuple(key for key, value in told.items() if value is not None)


class Secret(Subsection):
    """One key of a Kubernetes Secret as a file. Values never stand in a config."""

    name: ObjectName
    key: SecretKey
    mount: MountPath
    """Path of the file."""
    local: PlainText | None = None
    """File of this machine that docker and local use instead; `~` is the home folder."""


class NotifySection(Subsection):
    """Whom the job tells what happens to it. Addresses hold tokens, so they stand in a secret."""

    file: MountPath
    """The mount of one of `secrets`, with an address a line."""
    on: Annotated[tuple[Happening, ...], Field(strict=False)] = NOTIFY_ON
    """What is told."""


Setting = str | bool | int | float


def _one_tracker(value: object) -> object:
    """Refuse a mapping that names none or several."""
    if isinstance(value, dict) and len(value) != 1:
        raise ValueError(
            f"expected one tracker with its settings, such as {{mlflow: {{uri: http://…}}}}, got {len(value)}"
        )
    return value


TrackEntry = Annotated[str | dict[str, dict[str, Setting] | None], BeforeValidator(_one_tracker)]


def _short_notify(value: object) -> object:
    """Take the file alone."""
    return {"file": value} if isinstance(value, str) else value


class StopIfSection(Subsection):
    """When the job saves and ends by itself, so that what it does not use is others'."""

    gpu_below: Percent | None = None
    """Use of its GPUs, such as 10%, as NVIDIA's driver counts it."""
    progress_below: Annotated[float, Field(gt=0)] | None = None
    """Images a second that all ranks train on together, such as 50."""
    lasting: Duration = Field(default=1800.0, alias="for", json_schema_extra={"default": "30m"})
    """Time over which the mean is taken, such as 30m; a job is never ended before."""

    @model_validator(mode="after")
    def _any(self) -> StopIfSection:
        if self.gpu_below is None and self.progress_below is None:
            raise ValueError("expected gpu_below, progress_below or both, got neither")
        return self


class Resources(Subsection):
    """What each pod asks for; requests and limits are the same."""

    cpu: Cores | None = None
    """Cores, such as 16, 0.5 or 500m."""
    memory: Bytes | None = None
    """Bytes, such as 64Gi; counts /dev/shm too."""
    shm: Bytes | None = Field(default=None, json_schema_extra={"default": "1Gi"})
    """Bytes of /dev/shm, which container runtimes leave at 64 MiB; 1Gi, or half of a memory below 2Gi."""

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


class Queue(Subsection):
    """Gang scheduling: all pods start together or none."""

    kueue: LabelValue | None = None
    """Name of a LocalQueue of Kueue."""
    volcano: ObjectName | None = None
    """Name of a queue of Volcano, or of another scheduler that the training operator was started with."""
    topology: Literal["preferred", "required"] | None = None
    """Have Kueue place all pods where they share `topology_key`; its flavours must have a topology."""

    @model_validator(mode="after")
    def _one(self) -> Queue:
        if (self.kueue is None) == (self.volcano is None):
            raise ValueError("expected exactly one of kueue and volcano")
        if self.topology is not None and self.kueue is None:
            raise ValueError("expected topology beside kueue, which places pods by it")
        return self


class Toleration(Subsection):
    """As in Kubernetes (core/v1 Toleration, and what its API server asks of one)."""

    key: TaintKey | None = None
    """Taint; every one where it is not given, which needs the operator Exists."""
    operator: Literal["Exists", "Equal"] = "Equal"
    value: LabelValue | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: int | None = Field(default=None, alias="tolerationSeconds")
    """Seconds that a pod stays on a node that gets the taint; with effect NoExecute."""

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


class RunAs(Subsection):
    """Who the processes are. hostPath volumes and many NFS ones ignore fs_group."""

    user: UserId = 1000
    """Number of the user; never 0, which is root."""
    group: UserId = 1000
    """Number of the main group."""
    fs_group: UserId = 1000
    """Number of the group that volumes are given to, where their kind allows it."""
    supplemental_groups: Annotated[tuple[UserId, ...], Field(strict=False)] = ()
    """Numbers of further groups, such as those of an NFS server's folders."""


class Weights(Subsection):
    """Pretrained weights on a volume, mounted read-only."""

    claim: ObjectName
    path: MountPath
    local: PlainText | None = None
    """Folder of this machine that docker and local use instead."""


# What every pod has by itself; /workspace may be mounted below, because relative paths lead there.
_TAKEN = ("/dev", "/etc/ftlaunch", API_ACCESS, "/home/trainer", "/proc", "/sys", "/tmp")  # noqa: S108 - a pod's
_ANNOTATIONS_BYTES = 255 * 1024  # a server takes 256 KiB, and some of them are ours
_NODES = 1000  # pods are `<job>-worker-<i>` with at most three digits


class NodeRange(Subsection):
    """Nodes of a job that may train with fewer of them than it asks for."""

    min: Annotated[int, Field(ge=1, le=_NODES)]
    """Number of pods (nodes) with which it begins and goes on, the first one among them; below max."""
    max: Annotated[int, Field(ge=2, le=_NODES)]
    """Number of pods (nodes) that it asks for, 2 to 1000; the global batch is that of all of them."""
    patience: Duration = Field(default=120.0, json_schema_extra={"default": "2m"})
    """Time that missing nodes are waited for before the others train without them, such as 2m."""

    @model_validator(mode="after")
    def _ascend(self) -> NodeRange:
        if self.min >= self.max:
            raise ValueError(f"expected min below max, got {self.min} and {self.max}; or give one number")
        return self


class LaunchSection(Subsection):
    """Where and how the job runs. Flags of the command line win over it."""

    name: PlainText | None = None
    """Prefix of the job's name; the file's stem where it is not given."""
    image: Image | None = None
    """Container image with ftlaunch's trainer."""
    nodes: Annotated[int, Field(ge=1, le=_NODES)] | NodeRange = 1
    """Number of pods (nodes), 1 to 1000; or {min, max} for a job that may train with fewer than max."""
    gpus: Annotated[int, Field(ge=0, le=64)] = 0
    """Devices a node, 0 to 64; 0 trains on CPUs over gloo."""
    procs_per_node: Procs = "auto"
    """Ranks (processes) a node, 1 to 512; auto is one a GPU, or one where there are none."""
    resources: Resources = Field(default_factory=Resources)
    volumes: Annotated[tuple[Volume, ...], Field(strict=False)] = ()
    env: dict[EnvName, PlainText] = Field(default_factory=dict)
    """Environment of the trainer. Secrets are files: see `secrets`."""
    not_secret: Annotated[tuple[EnvName, ...], Field(strict=False)] = ()
    """Variables of `env` and `pod_patch` that hold no secret, though their names sound like one."""
    secrets: Annotated[tuple[Secret, ...], Field(strict=False)] = ()
    queue: Queue | None = None
    namespace: Namespace | None = None
    """Kubernetes namespace; that of the context where it is not given."""
    context: PlainText | None = None
    """Context of the kubeconfig; the current one where it is not given."""
    api: Literal["auto", "paddlejob", "jobset", "job", "trainjob"] = "auto"
    """Kind of job object; auto is the first of them that the cluster serves and that you may create."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """When a node pulls the image anew."""
    image_pull_secrets: Annotated[tuple[ObjectName, ...], Field(strict=False)] = ()
    """Names of Secrets with the registry's credentials."""
    priority_class: ObjectName | None = None
    """Name of a PriorityClass; the cluster's default where it is not given."""
    node_selector: dict[LabelKey, LabelValue] = Field(default_factory=dict)
    """Labels that a node must have."""
    avoid_nodes: Annotated[tuple[ObjectName, ...], Field(strict=False)] = ()
    """Names of nodes that no pod of the job goes to, such as one with a broken GPU."""
    tolerations: Annotated[tuple[Toleration, ...], Field(strict=False)] = ()
    """Taints of nodes that pods of the job bear."""
    topology_key: LabelKey | None = None
    """Node label, such as a rack's, that pods of the job should share."""
    service_account: ObjectName | None = None
    """Name of the ServiceAccount of the pods; its token is mounted for `publish_progress` alone."""
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
    code: PlainText | None = None
    """File or folder of this machine with Python of your own, which every pod unpacks and can import."""
    code_volume: MountPath | None = None
    """Mount of the volume for code that is too large for a ConfigMap, some 900 KB compressed."""
    max_restarts: Annotated[int, Field(ge=0)] = 3
    """Number of attempts after the first, from 0; an attempt is one start of all ranks."""
    deadline: Duration | None = None
    """Longest time from the first start to the last save, over all attempts, such as 24h; null for no end."""
    keep_finished: Duration | None = None
    """Time after its end when the cluster deletes the job, such as 7d; never where it is not given."""
    grace_period: Duration = Field(default=120.0, json_schema_extra={"default": "120s"})
    """Time that the pods have to save after SIGTERM."""
    hang_timeout: Duration | None = Field(default=600.0, json_schema_extra={"default": "10m"})
    """Silence of a rank, such as 10m, that counts as a hang; null switches it off."""
    keep_logs: Bytes | None = f"{DEFAULT_BYTES // 2**20}Mi"
    """Bytes of log that each node keeps in the output folder, such as 50Mi, the newest; null keeps none."""
    stop_if: StopIfSection | None = None
    notify: Annotated[NotifySection | None, BeforeValidator(_short_notify)] = None
    """Whom to tell that the job started, was first evaluated, failed and goes on, or is over."""
    track: Annotated[tuple[TrackEntry, ...], Field(strict=False)] = ()
    """Experiment trackers that the job sends its rows to, by name or with settings: `[tensorboard, {mlflow:
    {uri: http://…, experiment: flowers}}]`."""
    metrics_port: Annotated[int, Field(ge=1024, le=65000)] | None = None
    """TCP port at which each pod answers Prometheus under `/metrics`; null: nothing listens."""
    publish_progress: bool = False
    """Write step, epoch, metric and time left into annotations of the job object, by a token of
    `service_account`, which may patch it."""
    pod_patch: dict[str, Any] | None = None
    """Strategic merge over the rendered pod template, last; not over the command and ftlaunch's variables."""

    @field_validator("name")
    @classmethod
    def _label(cls, value: str | None) -> str | None:
        if value is not None and not is_dns_label(value[:MAX_PREFIX].rstrip("-")):
            raise ValueError(f"expected lower-case letters, digits and '-', a letter first, got {value!r}")
        return value

    @field_validator("metrics_port")
    @classmethod
    def _free_port(cls, value: int | None) -> int | None:
        if value in (COORDINATOR_PORT, STORE_PORT):
            raise ValueError(
                f"expected another port, got {value}, at which the nodes of a job find each other"
            )
        return value

    @property
    def max_nodes(self) -> int:
        """Number of pods (nodes) that the job asks for."""
        return self.nodes if isinstance(self.nodes, int) else self.nodes.max

    @property
    def node_range(self) -> NodeRange | None:
        """Its nodes, where it may train with fewer than all; else None."""
        return None if isinstance(self.nodes, int) else self.nodes

    @field_validator("api", mode="before")
    @classmethod
    def _kind_is_offered(cls, value: object) -> object:
        if value == "batch":
            raise ValueError(
                "expected 'auto' or the name of a kind, got 'batch': PaddleJobs of batch.paddlepaddle.org/v1"
                " are not made any more; leave Launch.api out"
            )
        return EARLIER_NAMES.get(value, value) if isinstance(value, str) else value

    @field_validator("annotations")
    @classmethod
    def _annotations_fit(cls, value: dict[str, str]) -> dict[str, str]:
        size = sum(len(key.encode()) + len(text.encode()) for key, text in value.items())
        if size > _ANNOTATIONS_BYTES:
            raise ValueError(f"expected at most {_ANNOTATIONS_BYTES} bytes of annotations, got {size}")
        return value

    @model_validator(mode="after")
    def _topology_has_a_level(self) -> LaunchSection:
        if self.queue is not None and self.queue.topology is not None and self.topology_key is None:
            raise ValueError(
                "expected topology_key beside queue.topology: the node label of a level of Kueue's topology"
            )
        return self

    @model_validator(mode="after")
    def _stop_if_there_are_gpus(self) -> LaunchSection:
        if self.stop_if is not None and self.stop_if.gpu_below is not None and not self.gpus:
            raise ValueError("expected gpus beside stop_if.gpu_below, got 0: there is no use to look at")
        return self

    @model_validator(mode="after")
    def _publish_as_somebody(self) -> LaunchSection:
        if self.publish_progress and self.service_account is None:
            raise ValueError(
                "expected service_account beside publish_progress: one that may patch jobs, such as "
                "ftlaunch-progress of k8s/rbac/progress.yaml"
            )
        return self

    @model_validator(mode="after")
    def _notify_by_a_secret(self) -> LaunchSection:
        mounts = [secret.mount for secret in self.secrets]
        if self.notify is not None and self.notify.file not in mounts:
            known = (
                f"one of {', '.join(mounts)}" if mounts else "a mount of `secrets`, of which there are none"
            )
            raise ValueError(
                f"expected notify.file to be {known}, got {self.notify.file!r}: addresses hold tokens"
            )
        return self

    @model_validator(mode="after")
    def _track_fits(self) -> LaunchSection:
        mounts = [secret.mount for secret in self.secrets]
        targets = self.targets
        problems = [
            problem
            for target in targets
            for problem in check_target(target, mounts=mounts, variables=self.env)
        ]
        keys = [target.key for target in targets]
        problems += [
            f"expected each tracker once, got {target.title} again"
            for index, target in enumerate(targets)
            if target.key in keys[:index]
        ]
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @property
    def targets(self) -> tuple[Target, ...]:
        """Where `track` sends rows."""
        return tuple(
            Target(tracker=name, settings={key: as_text(value) for key, value in (settings or {}).items()})
            for entry in self.track
            for name, settings in ([(entry, None)] if isinstance(entry, str) else entry.items())
        )

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
