"""The driver of a study as a Job of a cluster: its objects, and how it is spoken with from elsewhere.

What the driver needs it has from a ConfigMap of its own. What it knows lies in a folder of the volume that
the trials write to, so that a pod that is made anew goes on there. Of that it copies what others ask for into
a second ConfigMap: whoever asks needs neither a pod nor the volume. What it is told, to stop, it finds as an
annotation of the first.

Here stands what concerns the cluster, in texts and bytes; what they mean is `launcher.sweep`'s.
"""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from launcher import objects
from launcher.backends.factory import open_backend
from launcher.errors import LaunchError, UsageError
from launcher.kinds.job import make_job_of_one_pod
from launcher.kube.api import KubeApi
from launcher.kube.errors import AbsentError, ConflictError
from launcher.names import SWEEP_LABEL
from launcher.objects import CONFIG_MAPS, EVENTS, JOBS, PODS, KubeObject
from launcher.runs.paths import runs_dir
from trainer.protocol.environment import WORKSPACE

if TYPE_CHECKING:
    from launcher.jobs.prepare import Draft

COMPONENT = "sweep-driver"
ACCOUNT = "ftlaunch-driver"
"""Service account of drivers: k8s/rbac/sweep.yaml."""
FOLDER = "/etc/ftlaunch-sweep"
"""Where the driver's pod finds what it needs."""
STUDY, CONFIG, SETTINGS = "study.json", "cfg.yaml", "settings.yaml"
SETTINGS_PATH = "ftlaunch/config.yaml"
"""Below `$XDG_CONFIG_HOME`, which is `FOLDER`: the settings file of the driver."""
HALTED = "ftlaunch.io/halted"
"""Annotation of the driver's ConfigMap: that it is to stop, and why, as JSON."""
UNFIT = 64
"""Exit code of a driver whose image lacks what it needs; a pod made anew would end alike."""
REFUSED = (2, UNFIT)
MOST_BYTES = 1000 * 1024
"""Of what is copied into a ConfigMap, compressed; the API server takes 1 MiB."""
_MOST_UNPACKED = 64 << 20
_LABELS = {"app.kubernetes.io/managed-by": "ftlaunch", "app.kubernetes.io/component": COMPONENT}
_OUTSIDE = ("persistentVolumeClaim", "hostPath", "nfs", "csi")
_COPIED = ("imagePullSecrets", "securityContext")
_CONTAINER = "driver"
_HOME, _TMP = "/home/trainer", "/tmp"  # noqa: S108 - of the pod
_FOLDERS = {"workspace": WORKSPACE, "home": _HOME, "tmp": _TMP}
_SECURITY = {
    "allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]},
}  # fmt: skip
_RESOURCES = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
_TRAINER, _DRIVER = "ftlaunch-trainer", "ftlaunch-driver"
# by hand and not by an import of ours: an image without us says so in a sentence, and not by a traceback
_BEGIN = """\
import importlib.util, os, sys
lacks = [name for name in ("launcher", "trainer", "optuna") if importlib.util.find_spec(name) is None]
if lacks:
    said = f"{sys.argv[1]}: expected an image with ftlaunch and optuna, got one without {', '.join(lacks)}"
    print(said, file=sys.stderr)
    with open("/dev/termination-log", "w") as file:
        file.write(said)
    sys.exit(64)
os.execv(sys.executable, [sys.executable, "-m", "launcher", "sweep", "drive", sys.argv[2]])
"""
State = Literal["Running", "Waiting", "Failed", "Ended", "Gone"]


@dataclass(frozen=True, kw_only=True, slots=True)
class DriverPlace:
    """Where a driver is.

    Attributes:
        study: Its name.
        namespace: Of Kubernetes.
        context: Of the kubeconfig; empty for its current one.
    """

    study: str
    namespace: str
    context: str = ""

    @property
    def name(self) -> str:
        """Name of its Job, and of its ConfigMap."""
        return f"{self.study}-driver"

    @property
    def copy_name(self) -> str:
        """Name of the ConfigMap with what it knows."""
        return f"{self.study}-study"


@dataclass(frozen=True, kw_only=True, slots=True)
class DriverFiles:
    """What a driver begins with.

    Attributes:
        study: What the study was asked for, as JSON.
        config: That of the trials.
        settings: A settings file that stands for those of whoever has begun the study.
        variables: `FTLAUNCH_…` of theirs.
    """

    study: str
    config: bytes
    settings: str
    variables: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class DriverLook:
    """What is seen of a driver.

    Attributes:
        state: Whether its pod runs, waits to, or what became of it.
        reason: What is said of that; empty where nothing is.
        halted: JSON of why it is to stop, or None.
        files: What it has copied, by name.
        texts: The same, of what is no file.
    """

    state: State
    reason: str = ""
    halted: str | None = None
    files: Mapping[str, bytes]
    texts: Mapping[str, str]


def driver_image(image: str) -> str:
    """Return the image of drivers that goes with a trainer's; of an image of one's own that itself."""
    head, slash, name = image.rpartition("/")
    base, colon, tag = name.partition(":")
    if base != _TRAINER:
        return image
    return f"{head}{slash}{_DRIVER}{colon}{tag.partition('-')[0].partition('@')[0]}"


def make_objects(
    draft: Draft, place: DriverPlace, files: DriverFiles, *, image: str | None
) -> tuple[KubeObject, KubeObject]:
    """Return a driver's ConfigMap and its Job. Pure.

    Args:
        draft: A trial's, called as the driver's Job is: its pods' volumes and identity are the driver's too.
        place: Where it goes.
        files: What it begins with.
        image: With the launcher and optuna; None for the one that goes with the trainer's.

    Raises:
        UsageError: The trials' output is on no volume, so that nothing outlives the driver's pod.
    """
    from launcher.jobs.prepare import plan_job, render_job  # with YAML and pydantic

    plan = plan_job(draft)
    spec = render_job(draft, plan).manifest.pod_spec
    container = next(item for item in spec["containers"] if item["image"] == plan.image)
    output = plan.node_file.output_dir.rstrip("/")
    mount, volume = _find_volume(spec, container, output)
    env = {
        **files.variables, "FTLAUNCH_STATE": f"{output}/{place.study}/driver", "FTLAUNCH_CONTEXT": "null",
        "FTLAUNCH_NAMESPACE": place.namespace, "XDG_CONFIG_HOME": FOLDER, "HOME": _HOME, "TMPDIR": _TMP,
        "PYTHONUNBUFFERED": "1",
    }  # fmt: skip
    chosen = image or driver_image(plan.image)
    driver = {
        "name": _CONTAINER, "image": chosen, "imagePullPolicy": plan.image_pull_policy,
        "workingDir": _FOLDERS["workspace"], "command": ["python3", "-c", _BEGIN, chosen, FOLDER],
        "env": [{"name": name, "value": value} for name, value in sorted(env.items())],
        "resources": _RESOURCES, "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": _SECURITY,
        "volumeMounts": [
            {"name": "study", "mountPath": FOLDER, "readOnly": True}, mount,
            *({"name": name, "mountPath": path} for name, path in _FOLDERS.items()),
        ],
    }  # fmt: skip
    items = [{"key": name, "path": name} for name in (STUDY, CONFIG)]
    items.append({"key": SETTINGS, "path": SETTINGS_PATH})
    pod = {
        "restartPolicy": "Never", "serviceAccountName": ACCOUNT, "automountServiceAccountToken": True,
        "enableServiceLinks": False, "terminationGracePeriodSeconds": 30,
        **{key: spec[key] for key in _COPIED if key in spec},
        "containers": [driver],
        "volumes": [
            {"name": "study", "configMap": {"name": place.name, "items": items}}, volume,
            *({"name": name, "emptyDir": {}} for name in _FOLDERS),
        ],
    }  # fmt: skip
    return _config_map(place, files), _job(place, pod)


def _metadata(place: DriverPlace) -> KubeObject:
    labels = {**_LABELS, SWEEP_LABEL: place.study}
    return {"name": place.name, "namespace": place.namespace, "labels": labels}


def _config_map(place: DriverPlace, files: DriverFiles) -> KubeObject:
    return {
        "apiVersion": CONFIG_MAPS.api_version, "kind": CONFIG_MAPS.kind, "metadata": _metadata(place),
        "data": {STUDY: files.study, SETTINGS: files.settings},
        "binaryData": {CONFIG: base64.b64encode(files.config).decode()},
    }  # fmt: skip


def _job(place: DriverPlace, pod: KubeObject) -> KubeObject:
    # refused: a pod made anew would be refused alike. All else is made anew, and goes on from the volume.
    return make_job_of_one_pod(_metadata(place), pod, container=_CONTAINER, final_codes=REFUSED)


def _find_volume(spec: KubeObject, container: KubeObject, output: str) -> tuple[KubeObject, KubeObject]:
    """Return mount and volume of the folder that trials write to."""
    volumes = {volume["name"]: volume for volume in spec.get("volumes") or ()}
    inside = [
        mount for mount in container.get("volumeMounts") or ()
        if f"{output}/".startswith(f"{mount['mountPath'].rstrip('/')}/") and not mount.get("readOnly")
    ]  # fmt: skip
    mount = max(inside, key=lambda item: len(item["mountPath"]), default=None)
    if mount is None or not any(kind in volumes[mount["name"]] for kind in _OUTSIDE):
        raise UsageError(
            where="Global.output_dir", expected="a folder on one of Launch.volumes, where the study outlives "
            "the driver's pod", got=repr(output), fix="or leave --driver pod out: the driver then runs here",
        )  # fmt: skip
    return mount, volumes[mount["name"]]


def _api(place: DriverPlace) -> KubeApi:
    backend = open_backend(
        "kubernetes", runs_folder=runs_dir(), namespace=place.namespace, context=place.context or None
    )
    assert backend.cluster is not None
    return backend.cluster.api


def create_driver(
    place: DriverPlace, config_map: KubeObject, job: KubeObject, *, dry_run: bool = False
) -> None:
    """Make a driver's objects, ConfigMap first; what is there already of this study is renewed.

    Args:
        place: Where it goes.
        config_map: See `make_objects`.
        job: See `make_objects`.
        dry_run: Have the cluster check them, and make nothing.

    Raises:
        TakenError: A driver of this study runs.
        LaunchError: The cluster refuses them; nothing stays.
    """
    api = _api(place)
    if dry_run:
        api.create(CONFIG_MAPS, config_map, namespace=place.namespace, dry_run=True)
        api.create(JOBS, job, namespace=place.namespace, dry_run=True)
        return
    try:
        made = api.create(CONFIG_MAPS, config_map, namespace=place.namespace)
    except ConflictError:
        made = api.patch(CONFIG_MAPS, place.name, config_map, namespace=place.namespace)
    try:
        api.create(JOBS, job, namespace=place.namespace)
    except ConflictError:
        raise
    except LaunchError:
        api.delete(CONFIG_MAPS, place.name, namespace=place.namespace, uid=objects.uid_of(made))
        raise


def look_at_driver(place: DriverPlace) -> DriverLook:
    """Return how a driver stands and what it has copied: two requests, and two more where it does not run."""
    api = _api(place)
    labels = f"app.kubernetes.io/component={COMPONENT},{SWEEP_LABEL}={place.study}"
    found = {
        objects.name_of(item): item
        for item in api.list(CONFIG_MAPS, namespace=place.namespace, labels=labels)
    }
    own, copied = found.get(place.name, {}), found.get(place.copy_name, {})
    state, reason = _state_of(api, place, labels)
    return DriverLook(
        state=state, reason=reason,
        halted=(own.get("metadata", {}).get("annotations") or {}).get(HALTED),
        files={
            name: _unpack(text)
            for name, text in (copied.get("binaryData") or {}).items()
        },
        texts=copied.get("data") or {},
    )  # fmt: skip


def _unpack(text: str) -> bytes:
    """Return what was published, or nothing where somebody has put something else there."""
    try:
        return zlib.decompressobj(wbits=31).decompress(base64.b64decode(text), _MOST_UNPACKED)
    except (ValueError, zlib.error):
        return b""


def _state_of(api: KubeApi, place: DriverPlace, labels: str) -> tuple[State, str]:
    try:
        job = api.get(JOBS, place.name, namespace=place.namespace)
    except AbsentError:
        return "Gone", f"there is no Job {place.name} in {place.namespace}"
    status = job.get("status") or {}
    holding = {item["type"] for item in status.get("conditions") or () if item.get("status") == "True"}
    if "Complete" in holding:
        return "Ended", ""
    if status.get("ready") and "Failed" not in holding:
        return "Running", ""
    pods = api.list(PODS, namespace=place.namespace, labels=labels)
    said = next((text for pod in reversed(pods) if (text := _said_by(pod))), "")
    if "Failed" in holding:
        return "Failed", said or "its pod failed"
    if any(objects.phase_of(pod) == "Running" for pod in pods):
        return "Running", ""
    if not said:
        events = api.list(EVENTS, namespace=place.namespace, fields=f"involvedObject.name={place.name}")
        said = next((str(e.get("message", "")) for e in reversed(events) if e.get("type") == "Warning"), "")
    return "Waiting", said


def _said_by(pod: KubeObject) -> str:
    """Return what a pod's container has left, or waits for."""
    for container in (pod.get("status") or {}).get("containerStatuses") or ():
        state = container.get("state") or {}
        ended, waiting = state.get("terminated") or {}, state.get("waiting") or {}
        if ended.get("exitCode"):
            lines = str(ended.get("message") or "").strip().splitlines()
            return lines[-1] if lines else f"exit code {ended['exitCode']}"
        if waiting.get("reason") not in (None, "ContainerCreating"):
            return f"{waiting['reason']}: {waiting.get('message', '')}"
    return ""


def tell_driver(place: DriverPlace, halted: str | None) -> None:
    """Have a driver stop, or let it go on again.

    Args:
        place: Where it is.
        halted: JSON of why it is to stop; None where it is not.

    Raises:
        AbsentError: It has no ConfigMap any more.
    """
    body = {"metadata": {"annotations": {HALTED: halted}}}
    _api(place).patch(CONFIG_MAPS, place.name, body, namespace=place.namespace)


def read_told(place: DriverPlace) -> str | None:
    """Return what a driver was told, as `tell_driver` has it."""
    own = _api(place).get(CONFIG_MAPS, place.name, namespace=place.namespace)
    found: str | None = (own["metadata"].get("annotations") or {}).get(HALTED)
    return found


def publish(place: DriverPlace, files: Mapping[str, bytes], texts: Mapping[str, str]) -> None:
    """Copy what a driver knows for others.

    Args:
        place: Where it is.
        files: By name; kept compressed.
        texts: By name; kept as they are.

    Raises:
        UsageError: It is more than a ConfigMap holds.
    """
    packed = {name: gzip.compress(data, compresslevel=6, mtime=0) for name, data in files.items()}
    size = sum(map(len, packed.values()))
    if size > MOST_BYTES:
        raise UsageError(
            where=place.study, expected=f"at most {MOST_BYTES:,} bytes of a study, compressed",
            got=f"{size:,}",
        )  # fmt: skip
    body: KubeObject = {
        "data": dict(texts),
        "binaryData": {name: base64.b64encode(data).decode() for name, data in packed.items()},
    }
    api = _api(place)
    try:
        api.patch(CONFIG_MAPS, place.copy_name, body, namespace=place.namespace)
    except AbsentError:
        labels = {**_LABELS, SWEEP_LABEL: place.study}
        metadata = {"name": place.copy_name, "namespace": place.namespace, "labels": labels}
        made = {"apiVersion": CONFIG_MAPS.api_version, "kind": CONFIG_MAPS.kind, "metadata": metadata, **body}
        api.create(CONFIG_MAPS, made, namespace=place.namespace)


def remove_driver(place: DriverPlace, *, copies: bool = True) -> None:
    """Delete a driver's Job, then its ConfigMaps; what is gone already is passed over.

    Args:
        place: Where it is.
        copies: The ConfigMaps, too.
    """
    api = _api(place)
    kinds = [(JOBS, place.name)]
    kinds += [(CONFIG_MAPS, place.name), (CONFIG_MAPS, place.copy_name)] if copies else []
    for resource, name in kinds:
        try:
            item = api.get(resource, name, namespace=place.namespace)
            api.delete(resource, name, namespace=place.namespace, uid=objects.uid_of(item), first=True)
        except (AbsentError, ConflictError):
            continue
