"""What of a rendered pod is less protected than ours are, field by field. Pure.

Two kinds. What the level `restricted` of the pod security standards refuses (kubernetes.io, "Pod Security
Standards", as of v1.34, whose controls are all below), which `--require-restricted` refuses too. And what
that level allows, but our pods do not have: a token of the API, a root file system that can be written to,
programs beside the trainer, variables that load code, mounts over what the image has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from launcher.kinds.registry import DEFAULT
from launcher.objects import KubeObject
from launcher.plan.code_variables import loads_code
from launcher.render.crds import FieldPath

Level = Literal["baseline", "restricted", "ours"]
_VOLUMES = (
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected",
    "secret",
)  # fmt: skip
_BASELINE_CAPABILITIES = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
})  # fmt: skip
_SELINUX_TYPES = ("", "container_t", "container_init_t", "container_kvm_t", "container_engine_t")
_SYSCTLS = frozenset({
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
})  # fmt: skip
_APPARMOR = "container.apparmor.security.beta.kubernetes.io/"
_OF_THE_IMAGE = ("/bin", "/etc", "/lib", "/lib32", "/lib64", "/opt", "/root", "/sbin", "/usr", "/var")
_HANDLERS = ("exec", "httpGet", "tcpSocket")
_PROBES = ("livenessProbe", "readinessProbe", "startupProbe")


@dataclass(frozen=True, kw_only=True, slots=True)
class Weakening:
    """One thing that protects less.

    Attributes:
        path: In the pod template.
        level: The least level of pod security that refuses it; `ours` where none does.
        what: What it is, as the rest of a sentence that begins with the field's name.
    """

    path: FieldPath
    level: Level
    what: str

    @property
    def sentence(self) -> str:
        """What it is, and who does not allow it."""
        levels = {
            "baseline": ", which the pod security levels baseline and restricted refuse",
            "restricted": ", which the pod security level restricted refuses",
            "ours": "",
        }
        return self.what + levels[self.level]


def find_weakenings(template: KubeObject, *, trainer: str = DEFAULT.container) -> list[Weakening]:
    """Return what of a pod template protects less than what we render from a config without such wishes.

    Args:
        template: As it is to be sent.
        trainer: Name of the container that is ours.
    """
    spec = _mapping(template.get("spec"))
    found = [*_pod(spec), *_annotations(template), *_volumes(spec)]
    for kind in ("initContainers", "containers", "ephemeralContainers"):
        for index, container in enumerate(_items(spec.get(kind))):
            at: FieldPath = ("spec", kind, index)
            found += [*_container(container, spec, at), *_additions(container, kind, at, trainer)]
    return found


def _pod(spec: KubeObject) -> Iterator[Weakening]:
    for field, what in (
        ("hostNetwork", "the pod is in the network of its node (hostNetwork)"),
        ("hostPID", "the pod sees all processes of its node (hostPID)"),
        ("hostIPC", "the pod shares memory with its node's processes (hostIPC)"),
    ):
        if spec.get(field):
            yield Weakening(path=("spec", field), level="baseline", what=what)
    if spec.get("shareProcessNamespace"):
        what = "the containers see each other's processes and files (shareProcessNamespace)"
        yield Weakening(path=("spec", "shareProcessNamespace"), level="ours", what=what)
    if spec.get("automountServiceAccountToken") is not False:
        what = "the pod gets the token of its service account, with what that may do in the cluster"
        yield Weakening(path=("spec", "automountServiceAccountToken"), level="ours", what=what)
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account and account != "default":
        yield Weakening(
            path=("spec", "serviceAccountName"), level="ours", what=f"the pod is service account {account!r}"
        )
    if spec.get("nodeName"):
        what = "the pod passes the scheduler by, with its taints and queues (nodeName)"
        yield Weakening(path=("spec", "nodeName"), level="ours", what=what)
    context = _mapping(spec.get("securityContext"))
    for index, item in enumerate(_items(context.get("sysctls"))):
        if item.get("name") not in _SYSCTLS:
            what = f"the unsafe sysctl {item.get('name')!r} is set"
            path = ("spec", "securityContext", "sysctls", index)
            yield Weakening(path=path, level="baseline", what=what)
    yield from _security(context, ("spec", "securityContext"))


def _annotations(template: KubeObject) -> Iterator[Weakening]:
    annotations = _mapping(_mapping(template.get("metadata")).get("annotations"))
    for name, value in annotations.items():
        if str(name).startswith(_APPARMOR) and value == "unconfined":
            path = ("metadata", "annotations", str(name))
            yield Weakening(path=path, level="baseline", what="AppArmor is switched off")


def _volumes(spec: KubeObject) -> Iterator[Weakening]:
    for index, volume in enumerate(_items(spec.get("volumes"))):
        for kind in volume:
            path = ("spec", "volumes", index, kind)
            if kind == "hostPath":
                folder = _mapping(volume[kind]).get("path")
                what = f"the pod sees {folder!r} of its node (hostPath)"
                yield Weakening(path=path, level="baseline", what=what)
            elif kind != "name" and kind not in _VOLUMES:
                what = f"the pod mounts a volume of the kind {kind}"
                yield Weakening(path=path, level="restricted", what=what)
        sources = _items(_mapping(volume.get("projected")).get("sources"))
        if any("serviceAccountToken" in source for source in sources):
            path = ("spec", "volumes", index, "projected")
            yield Weakening(path=path, level="ours", what="the pod gets a token of its service account")


def _security(context: KubeObject, at: FieldPath) -> Iterator[Weakening]:
    """Yield what a securityContext says, be it the pod's or a container's."""
    if context.get("runAsUser") == 0:
        yield Weakening(
            path=(*at, "runAsUser"), level="restricted", what="processes run as root (runAsUser: 0)"
        )
    for field in ("runAsGroup", "fsGroup"):
        if context.get(field) == 0:
            yield Weakening(
                path=(*at, field), level="ours", what=f"processes are of the group root ({field}: 0)"
            )
    if 0 in (context.get("supplementalGroups") or ()):
        path = (*at, "supplementalGroups")
        yield Weakening(path=path, level="ours", what="processes are of the group root (supplementalGroups)")
    if _mapping(context.get("windowsOptions")).get("hostProcess"):
        path = (*at, "windowsOptions", "hostProcess")
        yield Weakening(path=path, level="baseline", what="the pod is a process of its node (hostProcess)")
    for field, word in (("seccompProfile", "seccomp"), ("appArmorProfile", "AppArmor")):
        if _mapping(context.get(field)).get("type") == "Unconfined":
            what = f"{word} is switched off ({field}: Unconfined)"
            yield Weakening(path=(*at, field), level="baseline", what=what)
    options = _mapping(context.get("seLinuxOptions"))
    if options.get("user") or options.get("role") or options.get("type", "") not in _SELINUX_TYPES:
        what = "processes get an SELinux label of the config's choice (seLinuxOptions)"
        yield Weakening(path=(*at, "seLinuxOptions"), level="baseline", what=what)


def _container(container: KubeObject, spec: KubeObject, at: FieldPath) -> Iterator[Weakening]:
    name = container.get("name")
    own, pod = _mapping(container.get("securityContext")), _mapping(spec.get("securityContext"))
    here = (*at, "securityContext")
    yield from _security(own, here)
    if own.get("privileged"):
        what = f"container {name!r} may do everything on its node (privileged)"
        yield Weakening(path=(*here, "privileged"), level="baseline", what=what)
    if own.get("allowPrivilegeEscalation") is not False:
        what = f"container {name!r} may gain privileges (allowPrivilegeEscalation is not false)"
        yield Weakening(path=(*here, "allowPrivilegeEscalation"), level="restricted", what=what)
    if own.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        what = f"container {name!r} may run as root (runAsNonRoot is not true)"
        where = here if "runAsNonRoot" in own else ("spec", "securityContext")
        yield Weakening(path=(*where, "runAsNonRoot"), level="restricted", what=what)
    if not own.get("seccompProfile") and not pod.get("seccompProfile"):
        what = f"container {name!r} has no seccomp profile (seccompProfile)"
        path = ("spec", "securityContext", "seccompProfile")  # that ours have, and containers inherit
        yield Weakening(path=path, level="restricted", what=what)
    if own.get("procMount", "Default") != "Default":
        what = f"container {name!r} sees what is hidden of /proc (procMount)"
        yield Weakening(path=(*here, "procMount"), level="baseline", what=what)
    if own.get("readOnlyRootFilesystem") is not True:
        what = f"container {name!r} may write to its root file system (readOnlyRootFilesystem is not true)"
        yield Weakening(path=(*here, "readOnlyRootFilesystem"), level="ours", what=what)
    yield from _capabilities(_mapping(own.get("capabilities")), name, here)
    for index, port in enumerate(_items(container.get("ports"))):
        if port.get("hostPort"):
            what = f"container {name!r} takes port {port['hostPort']} of its node (hostPort)"
            yield Weakening(path=(*at, "ports", index, "hostPort"), level="baseline", what=what)


def _capabilities(capabilities: KubeObject, name: object, at: FieldPath) -> Iterator[Weakening]:
    path = (*at, "capabilities")
    if "ALL" not in (capabilities.get("drop") or ()):
        what = f"container {name!r} keeps the capabilities of its runtime (capabilities.drop without ALL)"
        yield Weakening(path=path, level="restricted", what=what)
    for added in capabilities.get("add") or ():
        if added != "NET_BIND_SERVICE":
            level: Level = "restricted" if added in _BASELINE_CAPABILITIES else "baseline"
            yield Weakening(path=path, level=level, what=f"container {name!r} gets the capability {added}")


def _additions(container: KubeObject, kind: str, at: FieldPath, trainer: str) -> Iterator[Weakening]:
    """Yield programs and files that are not the image's and the trainer's own."""
    name = container.get("name")
    if kind != "containers" or name != trainer:
        what = f"another program runs in the pod: {name!r}, image {container.get('image')!r}"
        yield Weakening(path=at, level="ours", what=what)
    lifecycle = _mapping(container.get("lifecycle"))
    for field, handler in lifecycle.items():
        if isinstance(handler, Mapping) and any(how in handler for how in _HANDLERS):
            what = f"container {name!r} runs something beside the trainer (lifecycle.{field})"
            yield Weakening(path=(*at, "lifecycle", field), level="ours", what=what)
    for field, handler in [*lifecycle.items(), *((probe, container.get(probe)) for probe in _PROBES)]:
        if any(_mapping(_mapping(handler).get(how)).get("host") for how in _HANDLERS):
            path = (*at, *(("lifecycle",) if field in lifecycle else ()), field)
            what = f"the node asks a host of the config's choice ({field}.host)"
            yield Weakening(path=path, level="baseline", what=what)
    if _mapping(container.get("livenessProbe")).get("exec"):
        what = f"container {name!r} runs something beside the trainer (livenessProbe)"
        yield Weakening(path=(*at, "livenessProbe"), level="ours", what=what)
    for index, item in enumerate(_items(container.get("env"))):
        if loads_code(str(item.get("name"))):
            what = f"the variable {item['name']} decides which code container {name!r} loads"
            yield Weakening(path=(*at, "env", index), level="ours", what=what)
    if container.get("envFrom"):
        what = f"container {name!r} gets all variables of another object (envFrom)"
        yield Weakening(path=(*at, "envFrom"), level="ours", what=what)
    for index, mount in enumerate(_items(container.get("volumeMounts"))):
        place = str(mount.get("mountPath"))
        if any(place == folder or place.startswith(f"{folder}/") for folder in _OF_THE_IMAGE):
            if place.startswith("/etc/ftlaunch"):
                continue
            what = f"the mount {place} hides what the image of {name!r} has there"
            yield Weakening(path=(*at, "volumeMounts", index), level="ours", what=what)


def _mapping(value: object) -> KubeObject:
    return value if isinstance(value, dict) else {}


def _items(value: Any) -> list[KubeObject]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
