"""Why a container cannot be made on its node: mounts, ConfigMaps, Secrets, user, program, network. Pure.

Words of kubernetes v1.34.7: pkg/volume/{configmap,secret,hostpath},
pkg/controller/volume/attachdetach/reconciler, pkg/kubelet/{kubelet_pods.go,kuberuntime,container}; and of
runc ("exec: … not found", "exec format error").
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from launcher import objects
from launcher.objects import KubeObject
from launcher.why.queries import ended_of, events_of, is_pending, not_started, quote, waiting_of, who
from launcher.why.snapshot import Snapshot
from launcher.why.verdict import Resolves, Verdict, evidence, last_words

_MOUNT_NOTES = ("FailedMount", "FailedAttachVolume", "FailedMapVolume")
_PROGRAM_REASONS = ("StartError", "ContainerCannotRun", "RunContainerError", "CreateContainerError")
_BUSY = ("", "ContainerCreating", "PodInitializing")

_MOUNTS: tuple[tuple[str, str, str, str], ...] = (
    (
        r'configmap "(?P<what>[^"]+)" not found',
        "config-map-missing",
        "ConfigMap {what!r} does not exist",
        "submit again: a job's ConfigMap is made with it",
    ),
    (
        r'secret "(?P<what>[^"]+)" not found',
        "secret-missing",
        "Secret {what!r} does not exist",
        (
            "correct Launch.secrets, or: kubectl -n {namespace} create secret generic {what}"
            " --from-file=KEY=FILE"
        ),
    ),
    (
        r"references non-existent (secret|config) key: (?P<what>\S+)",
        "secret-key-missing",
        "the Secret or ConfigMap has no key {what!r}",
        "correct the key in Launch.secrets",
    ),
    (
        r"hostPath type check failed: (?P<what>\S+) is not",
        "host-path-missing",
        "node {node} has no folder {what}",
        "make it on every node, or correct host_path in Launch.volumes",
    ),
    (
        (
            r"subPath for volumeMount \"(?P<what>[^\"]+)|create subPath directory for volumeMount"
            r" \"(?P<sub>[^\"]+)"
        ),
        "sub-path-failed",
        "the folder inside volume {what!r} cannot be mounted",
        "make the folder that sub_path names, for the user that pods run as",
    ),
    (
        r"Multi-Attach error for volume \"(?P<what>[^\"]+)|(?P<busy>already exclusively attached)",
        "volume-busy",
        "volume {what!r} is in use on another node, and can be used on one only",
        "wait for the pods that use it, or use a claim that is ReadWriteMany",
    ),
)
_PASSING = ("volume-busy", "mount-failed", "network-not-ready")


def explain_mounts(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say why volumes, ConfigMaps or Secrets of pods cannot be mounted."""
    for pod in not_started(snapshot):
        reason, message = waiting_of(pod)
        notes = events_of(snapshot, pod, *_MOUNT_NOTES)
        is_config = reason == "CreateContainerConfigError"
        if not (is_config or (reason in _BUSY and notes)):
            continue
        seen = evidence(
            f"{objects.name_of(pod)}: {reason}: {message}" if is_config else "", *map(quote, notes[:2])
        )
        verdict = _read_mount(snapshot, pod, [message, *(note.message for note in notes)], seen)
        if verdict is None and notes:
            text = " ".join(notes[0].message.split())
            verdict = Verdict(
                code="mount-failed",
                sentence=f"a volume of {objects.name_of(pod)} cannot be mounted: {text}",
                evidence=seen,
                fix="look at the volume, and at `ftlaunch events`",
                resolves=Resolves.LATER,
            )
        if verdict is not None:
            yield verdict
            return


def explain_container(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say why a container cannot be made or started."""
    for pod in snapshot.pods:
        reason, message = waiting_of(pod)
        ended = ended_of(pod)
        if not reason and ended.get("reason") in _PROGRAM_REASONS:
            reason, message = str(ended["reason"]), str(ended.get("message") or "")
        if reason == "CreateContainerConfigError" or reason in _PROGRAM_REASONS:
            verdict = _read_container(snapshot, pod, reason, message)
            if verdict is not None:
                yield verdict
                return
    yield from _explain_network(snapshot)


def _explain_network(snapshot: Snapshot) -> Iterator[Verdict]:
    for pod in not_started(snapshot):
        notes = events_of(snapshot, pod, "FailedCreatePodSandBox")
        if notes and waiting_of(pod)[0] in _BUSY:
            text = " ".join(notes[0].message.split())
            yield Verdict(
                code="network-not-ready",
                sentence=(
                    f"node {objects.host_of(pod)} cannot make the sandbox of {objects.name_of(pod)}:"
                    f" {last_words(text, most=160)}"
                ),
                evidence=evidence(quote(notes[0])),
                fix=f"kubectl describe node {objects.host_of(pod)}",
                resolves=Resolves.LATER,
            )
            return


def _read_mount(
    snapshot: Snapshot, pod: KubeObject, messages: list[str], seen: tuple[str, ...]
) -> Verdict | None:
    for message in messages:
        for pattern, code, head, fix in _MOUNTS:
            match = re.search(pattern, message)
            if match:
                what = next((value for value in match.groupdict().values() if value), "")
                words = {
                    "what": what,
                    "node": objects.host_of(pod),
                    "namespace": snapshot.status.handle.namespace,
                }
                waiting = [item for item in snapshot.pods if is_pending(item)]
                return Verdict(
                    code=code,
                    sentence=f"{head.format(**words)}, so {who(snapshot, waiting, 'wait')}",
                    evidence=seen,
                    fix=fix.format(**words),
                    resolves=Resolves.LATER if code in _PASSING else Resolves.BY_CHANGE,
                )
    return None


def _read_container(snapshot: Snapshot, pod: KubeObject, reason: str, message: str) -> Verdict | None:
    name = objects.name_of(pod)
    seen = evidence(f"{name}: {reason}: {message}")
    if "runAsNonRoot" in message or "image will run as root" in message:
        code, sentence = "runs-as-root", f"the image wants to run as root, which {name} may not"
        fix = "set Launch.run_as.user to the image's user, or give the image a numeric USER"
    elif "exec format error" in message:
        code, sentence = "image-wrong-platform", f"the image of {name} is for another kind of machine"
        fix = "build it for the node's platform, or set Launch.node_selector"
    elif re.search(r"executable file not found|no such file or directory|No module named", message):
        code, sentence = (
            "program-missing",
            f"the image of {name} does not hold the trainer: {last_words(message, most=160)}",
        )
        fix = "use a trainer image: Launch.image"
    elif reason == "CreateContainerConfigError" and re.search(r"not found|subPath|non-existent", message):
        return None  # `explain_mounts` says it
    else:
        code, sentence = "container-failed", f"the container of {name} cannot be started: {message[:200]}"
        fix = f"look at `ftlaunch events {snapshot.status.handle.job}`"
    return Verdict(code=code, sentence=sentence, evidence=seen, fix=fix, resolves=Resolves.BY_CHANGE)
