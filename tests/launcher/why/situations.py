"""Parts of snapshots as a cluster gives them, for situations that a test cluster cannot be brought into.

Words of events and conditions are those of Kubernetes v1.34.7, containerd 2, Kueue 0.14 and the training
operator v1.9.3, as named in the rules that read them.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

from trainer.protocol.progress import Progress, RankProgress, format_progress
from trainer.protocol.step_times import StepTimes
from trainer.protocol.termination import Termination, format_termination

Item = dict[str, Any]
NOW_S = 1_764_000_000.0
JOB, NAMESPACE, UID = "flowers", "team-a", "job-uid"
IMAGE = "registry.example/ftlaunch-trainer:1.0-gpu"


def clock(age_s: float) -> str:
    """Return a time so many seconds ago."""
    return datetime.fromtimestamp(NOW_S - age_s, tz=timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def template(
    *, gpus: int = 8, cpu: str = "16", memory: str = "64Gi", claims: tuple[str, ...] = (), **spec: Any
) -> Item:
    """Return a pod's spec; claims are written to, those that end with `:ro` are read."""
    amounts = {"cpu": cpu, "memory": memory} | ({"nvidia.com/gpu": gpus} if gpus else {})
    names = [claim.removesuffix(":ro") for claim in claims]
    container = {
        "name": "paddle",
        "image": IMAGE,
        "resources": {"requests": amounts, "limits": amounts},
        "volumeMounts": [
            {"name": f"v-{name}", "mountPath": f"/{name}", "readOnly": claim.endswith(":ro")}
            for name, claim in zip(names, claims, strict=True)
        ],
    }
    volumes = [{"name": f"v-{name}", "persistentVolumeClaim": {"claimName": name}} for name in names]
    return {"containers": [container], "volumes": volumes, **spec}


def job(
    *conditions: str,
    replicas: int = 1,
    spec: Item | None = None,
    age_s: float = 120,
    queue: str = "",
    annotations: Item | None = None,
    start: bool = False,
    deleted: bool = False,
    **policy: Any,
) -> Item:
    """Return a PaddleJob with these conditions, such as `Created` or `Failed: message`."""
    labels = {"ftlaunch.io/run-id": "0" * 32} | ({"kueue.x-k8s.io/queue-name": queue} if queue else {})
    metadata: Item = {
        "name": JOB,
        "namespace": NAMESPACE,
        "uid": UID,
        "creationTimestamp": clock(age_s),
        "labels": labels,
        "annotations": annotations or {},
    }
    if deleted:
        metadata["deletionTimestamp"] = clock(5)
    status: Item = (
        {
            "conditions": [
                {
                    "type": text.partition(":")[0],
                    "status": "True",
                    "message": text.partition(": ")[2],
                    "reason": f"PaddleJob{text.partition(':')[0]}",
                    "lastTransitionTime": clock(age_s),
                }
                for text in conditions
            ],
        }
        if conditions
        else {}
    )
    if start:
        status["startTime"] = clock(age_s)
    worker = {"replicas": replicas, "restartPolicy": "ExitCode", "template": {"spec": spec or template()}}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PaddleJob",
        "metadata": metadata,
        "spec": {"runPolicy": policy, "paddleReplicaSpecs": {"Worker": worker}},
        "status": status,
    }


def pod(
    index: int = 0,
    *,
    host: str = "",
    phase: str = "Pending",
    state: Item | None = None,
    last: Item | None = None,
    restarts: int = 0,
    unscheduled: str = "",
    gated: bool = False,
    ready: bool | None = None,
    age_s: float = 110,
    spec: Item | None = None,
    labels: Item | None = None,
    deleted_s: float | None = None,
    **status: Any,
) -> Item:
    conditions = list(status.pop("conditions", []))
    if unscheduled:
        reason = "SchedulingGated" if gated else "Unschedulable"
        conditions.append(
            {"type": "PodScheduled", "status": "False", "reason": reason, "message": unscheduled}
        )
    if ready is not None:
        conditions.append({"type": "Ready", "status": str(ready), "lastTransitionTime": clock(60)})
    metadata: Item = {
        "name": f"{JOB}-worker-{index}",
        "namespace": NAMESPACE,
        "uid": f"pod-{index}",
        "creationTimestamp": clock(age_s),
        "labels": {"training.kubeflow.org/replica-index": str(index), **(labels or {})},
        "ownerReferences": [{"kind": "PaddleJob", "name": JOB, "uid": UID}],
    }
    if deleted_s is not None:
        metadata["deletionTimestamp"] = clock(deleted_s)
    status = {"phase": phase, "conditions": conditions, **status}
    if state is not None:
        status["containerStatuses"] = [
            {"name": "paddle", "restartCount": restarts, "state": state, "lastState": last or {}}
        ]
    return {"metadata": metadata, "spec": {**(spec or template()), "nodeName": host}, "status": status}


def waits(reason: str = "ContainerCreating", message: str = "", index: int = 0, **more: Any) -> Item:
    waiting = {"reason": reason} | ({"message": message} if message else {})
    return pod(index, host=more.pop("host", "g1"), state={"waiting": waiting}, **more)


def runs(index: int = 0, *, since_s: float = 100, **more: Any) -> Item:
    host = more.pop("host", f"g{index + 1}")
    more.setdefault("ready", True)
    return pod(index, host=host, phase="Running", state={"running": {"startedAt": clock(since_s)}}, **more)


def ended(
    code: int, words: str = "", *, reason: str = "Error", index: int = 0, own: int | None = None, **more: Any
) -> Item:
    """Return a pod that ended; with `own` the words are those of a node process that gave this exit code."""
    message = words
    if own is not None:
        end = Termination(exit=own, attempt=1, step=40, reason=words, checkpoint=more.pop("checkpoint", None))
        message = format_termination(end).decode()
    terminated = {
        "exitCode": code,
        "reason": reason,
        "message": message,
        "startedAt": clock(90),
        "finishedAt": clock(20),
    }
    return pod(
        index,
        host=f"g{index + 1}",
        phase="Failed" if code else "Succeeded",
        state={"terminated": terminated},
        **more,
    )


def event(
    about: Item, reason: str, message: str, *, age_s: float = 30, kind: str = "Pod", normal: bool = False
) -> Item:
    metadata = about["metadata"]
    return {
        "metadata": {"name": f"{metadata['name']}.{reason}.{len(message)}", "namespace": NAMESPACE},
        "involvedObject": {
            "kind": kind,
            "name": metadata["name"],
            "uid": metadata.get("uid"),
            "namespace": NAMESPACE,
        },
        "reason": reason,
        "message": message,
        "type": "Normal" if normal else "Warning",
        "lastTimestamp": clock(age_s),
        "count": 4,
    }


def node(
    name: str,
    *,
    gpus: int = 8,
    cpu: str = "96",
    memory: str = "512Gi",
    cordoned: bool = False,
    ready: str = "True",
    labels: Item | None = None,
    taints: tuple[Item, ...] = (),
) -> Item:
    amounts = {"cpu": cpu, "memory": memory, "pods": "110", "ephemeral-storage": "400Gi"}
    amounts |= {"nvidia.com/gpu": str(gpus)} if gpus else {}
    spec: Item = ({"unschedulable": True} if cordoned else {}) | ({"taints": list(taints)} if taints else {})
    conditions = [
        {
            "type": "Ready",
            "status": ready,
            "message": "" if ready == "True" else "Kubelet stopped posting node status.",
        }
    ]
    return {
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, **(labels or {})}},
        "spec": spec,
        "status": {"allocatable": amounts, "capacity": amounts, "conditions": conditions},
    }


def placed(
    host: str, *, gpus: int = 0, cpu: str = "1", memory: str = "1Gi", owner: str = "ReplicaSet"
) -> Item:
    spec = template(gpus=gpus, cpu=cpu, memory=memory)
    return {
        "metadata": {
            "name": "other",
            "namespace": "team-b",
            "ownerReferences": [{"kind": owner, "uid": "o"}],
        },
        "spec": {"nodeName": host, "containers": [{"resources": spec["containers"][0]["resources"]}]},
    }


def claim(
    name: str, *modes: str, phase: str = "Bound", storage_class: str | None = "nfs", deleted: bool = False
) -> Item:
    metadata: Item = {"name": name, "namespace": NAMESPACE, "uid": f"claim-{name}"}
    if deleted:
        metadata["deletionTimestamp"] = clock(40)
    spec: Item = {"accessModes": list(modes) or ["ReadWriteMany"]}
    if storage_class is not None:
        spec["storageClassName"] = storage_class
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase}}


def storage_class(name: str, *, default: bool = False, mode: str = "Immediate") -> Item:
    marks = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {
        "metadata": {"name": name, "annotations": marks},
        "volumeBindingMode": mode,
        "provisioner": f"{name}.example",
    }


def quota(name: str, **hard_used: tuple[str, str]) -> Item:
    """Return a quota; `requests_cpu=("64", "60")` is limit and use of `requests.cpu`."""
    keys = {key: key.replace("_", ".", 1) for key in hard_used}
    hard = {keys[key]: pair[0] for key, pair in hard_used.items()}
    used = {keys[key]: pair[1] for key, pair in hard_used.items()}
    return {
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"hard": hard},
        "status": {"hard": hard, "used": used},
    }


def workload(
    name: str,
    message: str,
    *,
    age_s: float,
    own: bool = False,
    queue: str = "team-queue",
    reserved: bool = False,
) -> Item:
    owners = [{"kind": "PaddleJob", "name": JOB, "uid": UID}] if own else []
    condition = {"type": "QuotaReserved", "status": str(reserved), "reason": "Pending", "message": message}
    return {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "creationTimestamp": clock(age_s),
            "ownerReferences": owners,
        },
        "spec": {"queueName": queue, "priority": 0},
        "status": {"conditions": [condition]},
    }


def line(text: str, age_s: float = 10) -> str:
    return f"{clock(age_s)[:-1]}.000000000Z {text}"


def progress(*ranks: RankProgress, age_s: float = 10, world_size: int = 0, attempt: int = 1) -> str:
    report = Progress(
        time_s=NOW_S - age_s,
        attempt=attempt,
        world_size=world_size or len(ranks),
        total_steps=400,
        ranks=ranks,
    )
    return line(f"[a{attempt} n0] {format_progress(report).decode()}", age_s)


def rank(
    number: int, *, step: int = 120, phase: str = "compute", silent_s: float = 0.4,
    times: StepTimes | None = None,
) -> RankProgress:  # fmt: skip
    return RankProgress(
        rank=number,
        node=number // 2,
        step=step,
        epoch=2,
        phase=phase,
        loss=0.71,
        images_per_s=310.0,
        silent_s=silent_s,
        times=times,
    )


def steps(step_s: float, *, wait_s: float = 0.01, peers_s: float = 0.01, workers: int = 4) -> StepTimes:
    return StepTimes(
        steps=50, step_s=step_s, wait_s=wait_s, copy_s=0.0, peers_s=peers_s, fetch_s=0.0, eval_s=0.0,
        save_s=0.0, workers=workers, ranks=2, cores=32.0,
    )  # fmt: skip


def snapshot(job: Item, *pods: Item, **more: Any) -> Item:
    """Return the JSON of a snapshot."""
    logs = more.pop("logs", {})
    document = {
        "schema": 1,
        "version": "v1.34.7",
        "now_s": NOW_S,
        "skipped": more.pop("skipped", []),
        "job": job,
        "pods": list(pods),
        "events": list(more.pop("events", ())),
        **{name: list(items) for name, items in more.items()},
        "logs": logs,
    }
    return json.loads(json.dumps(document))
