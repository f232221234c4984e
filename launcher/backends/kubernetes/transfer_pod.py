"""Pods that live for as long as files pass: they mount a volume and wait for the agent. Always deleted."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any

from launcher import objects
from launcher.backends.kubernetes.pods import PULL_TROUBLES
from launcher.errors import LaunchError, UsageError
from launcher.kinds.base import JobKind
from launcher.kinds.pods import container_of
from launcher.kinds.registry import DEFAULT
from launcher.kube.api import KubeApi, PodPrograms
from launcher.kube.remarks import remark
from launcher.names import MAX_PREFIX
from launcher.objects import CLAIMS, EVENTS, PODS, KubeObject
from launcher.volumes import agent
from launcher.volumes.place import SCRATCH, Channel, Place, Scratch, VolumeError
from trainer.config.problems import suggest

LABELS = {"app.kubernetes.io/managed-by": "ftlaunch", "app.kubernetes.io/component": "volume-reader"}
CONTAINER = "reader"
LIFETIME_S = 4 * 3600
"""After so long its node ends one whose maker was killed; the maker of the next one deletes it. A kubelet
counts from when it has the pod: one that never got a node it does not end."""
START_S = 300.0
ABANDONED_S = 3 * START_S
"""One that has not started after so long nobody waits for: its maker gives up after `START_S`, and the clocks
of two machines differ by less than the rest."""
_LOOK_S = 0.5
_TELL_S = 5.0
_NAMED = 10
_OUTSIDE = ("persistentVolumeClaim", "hostPath", "nfs", "csi")
_SLEEP = ["python3", "-c", f"import time; time.sleep({LIFETIME_S})"]
_SECURITY = {
    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
}  # fmt: skip
_RESOURCES = {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
_COPIED = ("imagePullSecrets", "nodeSelector", "securityContext", "serviceAccountName", "tolerations")


class PodPlace(Place):
    """A folder in a pod."""

    def __init__(
        self,
        programs: PodPrograms,
        *,
        namespace: str,
        pod: str,
        container: str,
        root: str,
        title: str,
        fixes: Mapping[int, str] | None = None,
    ) -> None:
        super().__init__(root=root, title=title)
        self._programs, self._namespace, self._pod, self._container = programs, namespace, pod, container
        self.fixes = {**self.fixes, **(fixes or {})}

    def start(self, argv: Sequence[str]) -> AbstractContextManager[Channel]:
        """See `Place`."""
        return self._programs.run_in_pod(
            self._pod, argv, namespace=self._namespace, container=self._container
        )


def pod_for_job(
    job: KubeObject,
    *,
    kind: JobKind = DEFAULT,
    beside: Sequence[KubeObject] = (),
    read_only: bool = True,
) -> KubeObject:
    """Return a pod that mounts the volumes of a job's pods as these do, and nothing else of theirs."""
    spec = kind.pod_template_of(job, beside)["spec"]
    container = next(item for item in spec["containers"] if item["name"] == kind.container)
    volumes = [volume for volume in spec.get("volumes") or [] if any(kind in volume for kind in _OUTSIDE)]
    names = {volume["name"] for volume in volumes}
    mounts = [mount for mount in container.get("volumeMounts") or [] if mount["name"] in names]
    if read_only:
        mounts = [{**mount, "readOnly": True} for mount in mounts]
    copied = {key: spec[key] for key in _COPIED if key in spec}
    image = {key: container[key] for key in ("image", "imagePullPolicy") if key in container}
    return _pod(objects.name_of(job)[:MAX_PREFIX], image=image, volumes=volumes, mounts=mounts, more=copied)


def pod_for_claim(
    claim: str, *, image: str, run_as: Mapping[str, int], read_only: bool, scratch: Scratch | None = None
) -> KubeObject:
    """Return a pod that mounts a claim at `/volume`.

    Args:
        claim: Its name.
        image: Any with Python 3.
        run_as: `user`, `group` and `fs_group`, which files are written as.
        read_only: Mount it so.
        scratch: A folder of its own to write to, and more to compute with; None for neither.
    """
    source = {"claimName": claim, "readOnly": read_only}
    security = {
        "runAsNonRoot": True, "runAsUser": run_as["user"], "runAsGroup": run_as["group"],
        "fsGroup": run_as["fs_group"], "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }  # fmt: skip
    volumes: list[dict[str, Any]] = [{"name": "volume", "persistentVolumeClaim": source}]
    mounts: list[dict[str, Any]] = [{"name": "volume", "mountPath": "/volume", "readOnly": read_only}]
    resources: Mapping[str, Any] = _RESOURCES
    if scratch is not None:
        volumes.append({"name": "scratch", "emptyDir": {}})
        mounts.append({"name": "scratch", "mountPath": SCRATCH})
        asked = {"cpu": scratch.cpu, "memory": scratch.memory}
        resources = {"requests": asked, "limits": asked}
    return _pod(
        claim[:MAX_PREFIX].rstrip("-.").replace(".", "-"),
        image={"image": image, "imagePullPolicy": "IfNotPresent"},
        volumes=volumes,
        mounts=mounts,
        more={"securityContext": security},
        resources=resources,
    )


def _pod(
    prefix: str,
    *,
    image: Mapping[str, str],
    volumes: list[dict[str, Any]],
    mounts: list[dict[str, Any]],
    more: Mapping[str, Any],
    resources: Mapping[str, Any] = _RESOURCES,
) -> KubeObject:
    container = {
        "name": CONTAINER, **image, "command": _SLEEP, "securityContext": _SECURITY, "resources": resources,
        "volumeMounts": mounts,
    }  # fmt: skip
    spec = {
        "restartPolicy": "Never", "activeDeadlineSeconds": LIFETIME_S, "terminationGracePeriodSeconds": 0,
        "automountServiceAccountToken": False, "enableServiceLinks": False,
        "containers": [container], "volumes": volumes, **more,
    }  # fmt: skip
    name = f"{prefix}-files-{secrets.token_hex(3)}"
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": LABELS}, "spec": spec}


@contextmanager
def running(
    api: KubeApi, pod: KubeObject, *, namespace: str, pause: Callable[[float], None] = time.sleep
) -> Iterator[str]:
    """Make a transfer pod and wait until it runs; gives its name. It is deleted with the context.

    What it waits for is remarked after some seconds, and again when that changes.

    Raises:
        UsageError: A claim that it mounts is not there, or cannot be mounted any more.
        VolumeError: It does not start; says why.
        LaunchError: The cluster refuses it; see `launcher.kube.failures`.
    """
    _require_claims(api, pod, namespace=namespace)
    _sweep(api, namespace=namespace)
    made = api.create(PODS, pod, namespace=namespace)
    name = objects.name_of(made)
    try:
        _wait(api, name, namespace=namespace, pause=pause)
        yield name
    finally:
        with suppress(LaunchError):  # what is already gone, or a cluster that has fallen silent
            api.delete(PODS, name, namespace=namespace, uid=objects.uid_of(made))


def _require_claims(api: KubeApi, pod: KubeObject, *, namespace: str) -> None:
    """Look for the claims that a pod mounts: without them it waits for a node until nobody waits for it."""
    volumes = pod["spec"]["volumes"]
    wanted = [
        item["persistentVolumeClaim"]["claimName"] for item in volumes if "persistentVolumeClaim" in item
    ]
    if not wanted:
        return
    try:
        there = {objects.name_of(claim): claim for claim in api.list(CLAIMS, namespace=namespace)}
    except LaunchError:  # whoever may not list claims, or gets no answer, learns it from the pod
        return
    for name in wanted:
        if name not in there:
            others = sorted(there)
            named = ", ".join(others[:_NAMED]) + (", …" if len(others) > _NAMED else "")
            raise UsageError(
                where=f"claim {name!r}",
                expected=f"a PersistentVolumeClaim of namespace {namespace!r}, which has {named or 'none'}",
                got=f"none of this name{suggest(name, others)}",
                fix="correct its name or --namespace, or create the claim",
            )
        ends = objects.is_being_deleted(there[name])
        if ends or (there[name].get("status") or {}).get("phase") == "Lost":
            raise UsageError(
                where=f"claim {name!r}",
                expected="one that can be mounted",
                got="one that is being deleted" if ends else "one whose volume is gone (Lost)",
                fix="take another one",
            )


def _wait(api: KubeApi, name: str, *, namespace: str, pause: Callable[[float], None]) -> None:
    waited_s, look_s = 0.0, _TELL_S
    told: str | None = None
    while True:
        pod = api.get(PODS, name, namespace=namespace)
        phase, why = objects.phase_of(pod), _why(pod)
        if phase == "Running":
            return
        has_no_image = why.partition(":")[0] in PULL_TROUBLES
        if phase != "Pending" or waited_s >= START_S or has_no_image:
            why = why or _last_event(api, pod, namespace=namespace)
            raise VolumeError(
                where=f"pod {namespace}/{name}",
                expected=f"it to mount the volume and run, it is {phase}{f' ({why})' if why else ''}",
                fix="check its image" if has_no_image else "check its image, the claim and the quota",
            )
        if waited_s >= look_s:
            look_s += _TELL_S
            why = why or _last_event(api, pod, namespace=namespace) or "it has no node yet"
            if why != told:
                remark(f"waiting for pod {namespace}/{name}: {why}")
                told = why
        pause(_LOOK_S)
        waited_s += _LOOK_S


def _last_event(api: KubeApi, pod: KubeObject, *, namespace: str) -> str:
    """Return what was noted last of a pod: that a volume cannot be mounted stands nowhere else."""
    from launcher.backends.kubernetes.events import read_event

    try:
        found = api.list(EVENTS, namespace=namespace, fields=f"involvedObject.uid={objects.uid_of(pod)}")
    except LaunchError:
        return ""
    events = sorted(map(read_event, found), key=lambda event: (event.time_s, event.is_warning))
    return f"{events[-1].reason}: {' '.join(events[-1].message.split())}" if events else ""


def _why(pod: KubeObject) -> str:
    status = pod.get("status") or {}
    for container in status.get("containerStatuses") or ():
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") not in (None, "ContainerCreating"):
            return f"{waiting['reason']}: {waiting.get('message', '')}"
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason')}: {condition.get('message', '')}"
    return str(status.get("reason") or "")


def _sweep(api: KubeApi, *, namespace: str) -> None:
    for pod in find_abandoned(api, namespace=namespace, now_s=time.time()):
        with suppress(LaunchError):
            api.delete(PODS, objects.name_of(pod), namespace=namespace, uid=objects.uid_of(pod))


def find_abandoned(api: KubeApi, *, namespace: str, now_s: float) -> list[KubeObject]:
    """Return transfer pods that nobody waits for: those that have ended, and that have not begun for long.

    Args:
        api: Of the cluster.
        namespace: Where.
        now_s: Unix time.
    """
    labels = ",".join(f"{key}={value}" for key, value in LABELS.items())
    return [
        pod
        for pod in api.list(PODS, namespace=namespace, labels=labels)
        if objects.phase_of(pod) in ("Failed", "Succeeded")
        or (objects.phase_of(pod) == "Pending" and now_s - objects.created_s(pod) >= ABANDONED_S)
    ]


def open_of_job(
    api: KubeApi,
    programs: PodPrograms,
    *,
    namespace: str,
    pods: Sequence[KubeObject],
    job: KubeObject,
    beside: Sequence[KubeObject],
    kind: JobKind,
    path: str,
) -> AbstractContextManager[Place]:
    """Reach a folder of a job: through its first pod while that runs, else through a transfer pod.

    Args:
        api: The cluster.
        programs: Runs programs in its pods.
        namespace: Of the job.
        pods: The job's own, by node index.
        job: As it is in the cluster or was sent to it.
        beside: Its companions.
        kind: Of the job.
        path: Absolute path in its pods.
    """
    title = f"{path} of {objects.name_of(job)}"
    if pods and "running" in (container_of(pods[0]).get("state") or {}):
        place = PodPlace(
            programs, namespace=namespace, pod=objects.name_of(pods[0]), container=kind.container,
            root=path, title=title,
        )  # fmt: skip
        return nullcontext(place)
    pod = pod_for_job(job, kind=kind, beside=beside)
    return _through(api, programs, pod, namespace=namespace, root=path, title=title)


def open_claim(
    api: KubeApi,
    programs: PodPrograms,
    claim: str,
    folder: str,
    *,
    namespace: str,
    image: str,
    run_as: Mapping[str, int],
    read_only: bool,
    scratch: Scratch | None = None,
) -> AbstractContextManager[Place]:
    """Reach a folder of a claim, through a transfer pod.

    Args:
        api: The cluster.
        programs: Runs programs in its pods.
        claim: Its name.
        folder: Below its root; empty for that.
        namespace: Of the claim.
        image: See `pod_for_claim`, as for the next two.
        run_as: Whom files are written as.
        read_only: Mount it so.
        scratch: See `pod_for_claim`.
    """
    pod = pod_for_claim(claim, image=image, run_as=run_as, read_only=read_only, scratch=scratch)
    root, title = (f"/volume/{folder}", f"{claim}:{folder}") if folder else ("/volume", claim)
    user, group = run_as["user"], run_as["group"]
    denied = (
        f"let the claim's folder belong to user {user}, or to group {group} (`chgrp {group}` and `chmod "
        "2775`), or pass --user and --group of its owner"
    )
    fixes = {agent.EXIT_DENIED: denied}
    return _through(api, programs, pod, namespace=namespace, root=root, title=title, fixes=fixes)


@contextmanager
def _through(
    api: KubeApi,
    programs: PodPrograms,
    pod: KubeObject,
    *,
    namespace: str,
    root: str,
    title: str,
    fixes: Mapping[int, str] | None = None,
) -> Iterator[Place]:
    with running(api, pod, namespace=namespace) as name:
        yield PodPlace(
            programs, namespace=namespace, pod=name, container=CONTAINER, root=root, title=title, fixes=fixes
        )
