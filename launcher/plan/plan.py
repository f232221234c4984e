"""RunConfig -> JobPlan: everything that a manifest says is decided here, before anything is rendered or sent.

Templates decide nothing, so that all backends and all kinds of job objects get the same names, paths and
arguments, and what is decided can be tested without YAML. What has to be drawn or asked (run id, secret, GPUs
of this machine, the kind that a cluster serves) is handed in: the same arguments give the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.config.launch import Csi, LaunchSection, Toleration, Volume
from launcher.config.load import RunConfig
from launcher.errors import UsageError
from launcher.kinds.base import JobKind
from launcher.kinds.registry import DEFAULT, KINDS, kind_named
from launcher.names import (
    MIN_NODES,
    QUEUE_LABEL,
    RUN_ID_LABEL,
    SUBMITTED_BY,
    SWEEP_LABEL,
    TOPOLOGY_ANNOTATION,
    KindName,
    is_dns_label,
    job_name,
    to_dns_label,
)
from launcher.plan.capabilities import CAPABILITIES
from launcher.plan.handle import BackendKind
from launcher.plan.jobplan import JobPlan, PlannedCode, PlannedVolume, SecretFile
from launcher.plan.parent_run import ParentRun, find_lost_folder, find_output_volume
from launcher.plan.paths import pod_path
from launcher.plan.validate import find_problems, is_given
from launcher.quantity import read_quantity
from launcher.times import format_duration
from trainer.config.document import Location
from trainer.config.problems import ConfigError
from trainer.config.zoo import find_foreign
from trainer.protocol.environment import CONFIG_FILE, CONFIG_MOUNT, COORDINATOR_PORT
from trainer.protocol.lastrun import JOB_MARK
from trainer.protocol.nodefile import JobObject, NodeFile, Notify, StopIf
from trainer.protocol.tracking import Track

_BACKOFF_S = 5.0
_RENDEZVOUS_S = 600.0
_UNKNOWN_IMAGE = "ftlaunch-trainer"
_POD_ANNOTATIONS = {
    "sidecar.istio.io/inject": "false",  # a mesh breaks the rendezvous (kubeflow.org, PaddleJob user guide)
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",  # moving one pod restarts all ranks
    "karpenter.sh/do-not-disrupt": "true",
}


def plan(
    config: RunConfig, *, run_id: str, on: BackendKind, secret: str | None = None,
    exact_name: str | None = None, gpus_here: int | None = None, overwrite: bool = False,
    parent: ParentRun | None = None, gpu_ids: tuple[str, ...] | None = None, api: KindName | None = None,
    version: str = "0", output_dir: str | None = None, submitted_by: str = "",
    code: PlannedCode | None = None, track_facts: Mapping[str, str] | None = None, study: str = "",
) -> JobPlan:  # fmt: skip
    """Decide everything that the manifest says.

    Args:
        config: Checked.
        run_id: 32 hexadecimal digits, drawn by the caller.
        secret: 64 hexadecimal digits that only the job's pods are to know, drawn by the caller, or None.
        on: Where the job is to run.
        exact_name: Name of the job where its last part is not to be made from the run id.
        gpus_here: GPUs of this machine, for docker and local; fewer than asked run as that many CPU ranks.
        overwrite: Let the job take an output folder that another run filled.
        parent: The run whose output the job goes on from, or None.
        gpu_ids: GPUs of this machine that the job may use, by name; None for any.
        api: Kind of job that the cluster serves; None where none was asked.
        version: Of ftlaunch, for a label.
        output_dir: Where the job writes instead of Global.output_dir, `{job}` in it being its name.
        code: The user's own, packed by the caller, or None.
        track_facts: What trackers are told besides what the pod knows, such as the commit.
        submitted_by: Who submits it, for others who see it on the cluster; empty leaves that out.
        study: Name of the study that the job is a trial of, for a label; empty for none.

    Raises:
        UsageError: The exact name is none.
        ConfigError: The config asks for what cannot be there; holds every problem.
    """
    launch = config.job.launch
    kind = kind_named(api or launch.api) if api or launch.api != "auto" else _first_that_can(launch)
    name = _job_name(config, launch, run_id, exact_name, kind)
    labels = {**_labels(config, launch, name, run_id, version), **({SWEEP_LABEL: study} if study else {})}
    queue = launch.queue
    on_gpus, missing = _devices(launch, on, gpus_here)
    procs = launch.procs_per_node if launch.procs_per_node != "auto" else max(launch.gpus, 1)
    output_dir = output_dir.replace(JOB_MARK, name) if output_dir is not None else None
    mounts = _mounts(config, name, parent)
    # All of them at once, and before the plan: a plan that exists can be rendered.
    problems = find_problems(config, mounts, on=on, kind=kind, code=code) + find_lost_folder(config, parent)
    if problems:
        raise ConfigError(problems)
    return JobPlan(
        job=name,
        run_id=run_id,
        namespace=launch.namespace,
        image=launch.image or _default_image(config, version, on_gpus=bool(on_gpus)),
        image_pull_policy=launch.image_pull_policy,
        image_pull_secrets=launch.image_pull_secrets,
        config=config.content.decode("utf-8"),
        node_file=_node_file(
            config,
            launch,
            name,
            run_id,
            coordinator=kind.coordinator_host(name),
            secret=secret,
            procs=procs,
            nccl=on_gpus,
            overwrite=overwrite,
            continues=parent.run_id if parent else None,
            output_dir=output_dir,
            code=code,
            track_facts=track_facts or {},
            publish=_publish(launch, kind, on),
        ),
        command=_command(config, cpu=not on_gpus, output_dir=output_dir),
        env=dict(launch.env),
        gpus=launch.gpus if on_gpus else 0,
        gpu_resource=launch.gpu_resource,
        rdma=launch.rdma,
        resources=launch.resources,
        mounts=mounts,
        secrets=_secrets(launch),
        run_as=launch.run_as,
        labels=labels,
        job_labels={**labels, QUEUE_LABEL: queue.kueue} if queue and queue.kueue else labels,
        annotations={
            **launch.annotations,
            **({SUBMITTED_BY: submitted_by} if submitted_by else {}),
            **({MIN_NODES: str(launch.node_range.min)} if launch.node_range else {}),
        },
        pod_annotations={**_POD_ANNOTATIONS, **_topology(launch), **launch.annotations},
        node_selector=dict(launch.node_selector),
        avoid_nodes=tuple(dict.fromkeys((*launch.avoid_nodes, *(parent.faulty_nodes if parent else ())))),
        tolerations=_tolerations(launch, on_gpus=on_gpus),
        shares_topology=None if _topology(launch) else launch.topology_key,  # Kueue places them itself
        service_account=launch.service_account,
        priority_class=launch.priority_class,
        gang_queue=queue.volcano if queue else None,
        ttl_s=None if launch.keep_finished is None else round(launch.keep_finished),
        grace_s=max(1, round(launch.grace_period)),
        global_batch=launch.max_nodes * procs * config.job.data.Train.sampler.batch_size,
        gpus_missing=missing,
        api=kind.name,
        pod_patch=launch.pod_patch or None,
        gpu_ids=gpu_ids,
        code=code,
        notes=(*_notes(config, on, missing), *_code_notes(parent, code), *_fault_notes(parent)),
    )


def _first_that_can(launch: LaunchSection) -> JobKind:
    """Return what `auto` is where no cluster is asked."""
    return next((kind for kind in KINDS if not any(is_given(launch, key) for key in kind.cannot)), DEFAULT)


def _default_image(config: RunConfig, version: str, *, on_gpus: bool) -> str:
    """Return the image that `make image` builds; with more networks in it where the config names one."""
    zoo = "-zoo" if any(find_foreign(config.job.arch)) else ""
    return f"{_UNKNOWN_IMAGE}:{version}-{'gpu' if on_gpus else 'cpu'}{zoo}"


def _job_name(config: RunConfig, launch: LaunchSection, run_id: str, exact: str | None, kind: JobKind) -> str:
    if exact is None:
        return job_name(to_dns_label(launch.name or config.path.stem), run_id=run_id)
    longest = kind.max_name_of(launch.max_nodes)
    if not is_dns_label(exact) or len(exact) > longest:
        raise UsageError(
            where="--name",
            expected=f"at most {longest} lower-case letters, digits and '-', a letter first",
            got=f"{exact!r}",
            fix=f"such as {to_dns_label(exact)[:longest].rstrip('-')!r}",
        )
    return exact


def _devices(launch: LaunchSection, on: BackendKind, gpus_here: int | None) -> tuple[bool, int]:
    if launch.gpus == 0:
        return False, 0
    if CAPABILITIES[on].is_cluster or gpus_here is None or gpus_here >= launch.gpus * launch.max_nodes:
        return True, 0
    return False, launch.gpus


def _mounts(config: RunConfig, job: str, parent: ParentRun | None) -> tuple[PlannedVolume, ...]:
    launch = config.job.launch
    kept = find_output_volume(config) if parent else None
    mounts = [
        PlannedVolume(
            volume=f"volume-{index}", path=volume.mount, claim=volume.claim, host_path=volume.host_path,
            sub_path=_sub_path(volume, job, parent if index == kept else None),
            read_only=volume.read_only or volume.config_map is not None, local=volume.local,
            source=_source_of(volume),
        )
        for index, volume in enumerate(launch.volumes)
    ]  # fmt: skip
    if launch.weights is not None:
        mounts.append(
            PlannedVolume(
                volume="weights", path=launch.weights.path, claim=launch.weights.claim, host_path=None,
                sub_path=None, read_only=True, local=launch.weights.local,
            )
        )  # fmt: skip
    return tuple(mounts)


def _sub_path(volume: Volume, job: str, parent: ParentRun | None) -> str | None:
    if volume.sub_path is None or JOB_MARK not in volume.sub_path:
        return volume.sub_path
    if parent is not None and parent.sub_path is not None:
        return parent.sub_path or None
    return volume.sub_path.replace(JOB_MARK, job)


def _secrets(launch: LaunchSection) -> tuple[SecretFile, ...]:
    return tuple(
        SecretFile(
            volume=f"secret-{index}", secret=secret.name, key=secret.key, path=secret.mount,
            local=secret.local,
        )
        for index, secret in enumerate(launch.secrets)
    )  # fmt: skip


def _command(config: RunConfig, *, cpu: bool, output_dir: str | None) -> tuple[str, ...]:
    overrides = [*config.overrides]
    if cpu and config.job.run.device != "cpu":
        overrides.append("Global.device=cpu")
    if output_dir is not None:
        overrides.append(f"Global.output_dir={output_dir}")
    return (
        "python", "-m", "trainer.node", "--", "train", "-c", f"{CONFIG_MOUNT}/{CONFIG_FILE}",
        *(part for override in overrides for part in ("-o", override)),
        *(part for module in config.job.launch.extra_modules for part in ("--extra-module", module)),
        "--resume", "auto",
    )  # fmt: skip


def _node_file(
    config: RunConfig,
    launch: LaunchSection,
    name: str,
    run_id: str,
    *,
    coordinator: str,
    secret: str | None,
    procs: int,
    nccl: bool,
    overwrite: bool,
    continues: str | None,
    output_dir: str | None,
    code: PlannedCode | None,
    track_facts: Mapping[str, str],
    publish: JobObject | None,
) -> NodeFile:
    elastic = launch.node_range
    return NodeFile(
        run_id=run_id, secret=secret, job=name, nodes=launch.max_nodes, procs_per_node=procs,
        coordinator_host=coordinator, coordinator_port=COORDINATOR_PORT,
        backend="nccl" if nccl else "gloo", output_dir=pod_path(output_dir or config.job.run.output_dir),
        overwrite=overwrite, continues=continues, max_restarts=launch.max_restarts, backoff_s=_BACKOFF_S,
        deadline_s=launch.deadline, grace_s=launch.grace_period,
        rendezvous_timeout_s=_RENDEZVOUS_S + (elastic.patience if elastic else 0.0),
        min_nodes=elastic.min if elastic else None, patience_s=elastic.patience if elastic else None,
        hang_timeout_s=launch.hang_timeout, code_path=code.path if code else None,
        code_sha256=code.sha256 if code else None, metrics_port=launch.metrics_port,
        keep_logs_bytes=int(read_quantity(launch.keep_logs)) if launch.keep_logs is not None else None,
        notify=Notify(file=launch.notify.file, on=launch.notify.on) if launch.notify else None,
        track=Track(targets=launch.targets, facts=track_facts) if launch.track else None,
        stop_if=_stop_if(launch, nccl=nccl), publish=publish,
    )  # fmt: skip


def _publish(launch: LaunchSection, kind: JobKind, on: BackendKind) -> JobObject | None:
    """Return the job object that progress is written into; on this machine there is none."""
    if not launch.publish_progress or not CAPABILITIES[on].is_cluster:
        return None
    return JobObject(api=kind.resource.api_version, resource=kind.resource.plural)


def _stop_if(launch: LaunchSection, *, nccl: bool) -> StopIf | None:
    wanted = launch.stop_if
    if wanted is None:
        return None
    gpu_below = wanted.gpu_below if nccl else None  # ranks on CPUs use none
    if gpu_below is None and wanted.progress_below is None:
        return None
    return StopIf(gpu_below=gpu_below, progress_below=wanted.progress_below, for_s=wanted.lasting)


def _labels(
    config: RunConfig, launch: LaunchSection, name: str, run_id: str, version: str
) -> Mapping[str, str]:
    return {
        "app.kubernetes.io/name": to_dns_label(launch.name or config.path.stem),
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/component": "trainer",
        "app.kubernetes.io/managed-by": "ftlaunch",
        "app.kubernetes.io/version": version,
        RUN_ID_LABEL: run_id,
        **launch.labels,
    }


def _topology(launch: LaunchSection) -> dict[str, str]:
    """Return the annotation by which Kueue places pods (kueue.sigs.k8s.io, "Topology Aware Scheduling")."""
    if launch.queue is None or launch.queue.topology is None or launch.topology_key is None:
        return {}
    return {TOPOLOGY_ANNOTATION.format(launch.queue.topology): launch.topology_key}


def _tolerations(launch: LaunchSection, *, on_gpus: bool) -> tuple[Toleration, ...]:
    own = (Toleration(key=launch.gpu_resource, operator="Exists"),) if on_gpus else ()
    return own + launch.tolerations


def _notes(config: RunConfig, on: BackendKind, missing: int) -> tuple[str, ...]:
    launch = config.job.launch
    notes = []
    if missing:
        asked = launch.gpus * launch.max_nodes
        few = "no GPU is here" if asked == 1 else f"fewer than {asked} GPUs are here"
        notes.append(f"{few}: the job runs as CPU ranks over gloo")
    if not launch.gpus and config.job.run.device != "cpu" and "gpus" not in launch.model_fields_set:
        notes.append("no GPUs are asked for, so the job runs on CPUs; ask with --gpus N or Launch.gpus")
    if (elastic := launch.node_range) is not None:
        notes.append(
            f"it trains with {elastic.min} to {elastic.max} nodes: missing ones are waited for "
            f"{format_duration(elastic.patience)}, and let in later where an epoch ends; the global batch "
            f"stays that of {elastic.max}"
        )
    if launch.procs_per_node != "auto" and launch.procs_per_node < launch.gpus:
        notes.append(f"{launch.gpus - launch.procs_per_node} GPUs of each node stay idle: procs_per_node")
    if CAPABILITIES[on].is_cluster and launch.image is None:
        notes.append("no image is named: set Launch.image or pass --image, unless the nodes have the default")
    if CAPABILITIES[on].is_cluster and (aim := _aim(config)):
        notes.append(aim)
    return tuple(notes)


def _fault_notes(parent: ParentRun | None) -> tuple[str, ...]:
    if parent is None or not parent.faulty_nodes:
        return ()
    names = ", ".join(parent.faulty_nodes)
    return (f"it keeps off {names}, where {parent.asked} met a broken GPU [gpu-fault]",)


def _code_notes(parent: ParentRun | None, code: PlannedCode | None) -> tuple[str, ...]:
    now = code.sha256 if code else None
    if parent is None or parent.output_dir is None or parent.code_sha256 == now:
        return ()
    before, after = (text[:12] if text else "none" for text in (parent.code_sha256, now))
    return (f"code: the run that it goes on from has other code: SHA-256 {before}, now {after}",)


def _aim(config: RunConfig) -> str | None:
    """Say where files send the job: whoever wrote them chose, not who types the command."""
    launch, locations = config.job.launch, config.document.locations
    said = {
        key: value
        for key, value in (("context", launch.context), ("namespace", launch.namespace))
        if value is not None and not (_source(locations.get(("Launch", key))) or "").startswith("-")
    }
    if not said:
        return None
    keys = ", ".join(f"Launch.{key}" for key in said)
    return f"{keys}: the job goes to " + ", ".join(f"{key} {value!r}" for key, value in said.items())


def _source(location: Location | None) -> str | None:
    return None if location is None else location.source


def _source_of(volume: Volume) -> tuple[str, Mapping[str, Any]] | None:
    """Return the name of a volume's field in a pod and what stands in it; None for the two plain kinds."""
    if volume.nfs is not None:
        return "nfs", {"server": volume.nfs.server, "path": volume.nfs.path, "readOnly": volume.read_only}
    if volume.csi is not None:
        return "csi", _csi_source(volume.csi, read_only=volume.read_only)
    if volume.empty_dir is not None:
        empty = volume.empty_dir
        medium = {"medium": "Memory"} if empty.memory else {}
        return "emptyDir", medium | ({"sizeLimit": empty.size} if empty.size is not None else {})
    if volume.config_map is not None:
        return "configMap", {"name": volume.config_map}
    return None


def _csi_source(csi: Csi, *, read_only: bool) -> Mapping[str, Any]:
    made: dict[str, Any] = {"driver": csi.driver, "readOnly": read_only}
    if csi.attributes:
        made["volumeAttributes"] = dict(csi.attributes)
    if csi.fs_type is not None:
        made["fsType"] = csi.fs_type
    if csi.secret is not None:
        made["nodePublishSecretRef"] = {"name": csi.secret}
    return made
