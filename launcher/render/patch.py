"""`Launch.pod_patch`: a strategic merge over the rendered pod template, after everything else. Pure."""

from __future__ import annotations

import copy
import posixpath
from collections.abc import Iterator, Mapping
from typing import Any

from launcher.errors import UsageError
from launcher.render.crds import find_template_faults
from launcher.render.manifest import KubeObject
from trainer.protocol.environment import CONFIG_MOUNT

CONTAINER = "paddle"
_DIRECTIVE = "$patch"
# Of k8s.io/api/core/v1 (patchMergeKey); lists of other names are replaced.
_MERGE_KEYS = {
    "containers": "name", "initContainers": "name", "ephemeralContainers": "name", "volumes": "name",
    "env": "name", "volumeMounts": "mountPath", "volumeDevices": "devicePath", "ports": "containerPort",
    "imagePullSecrets": "name", "hostAliases": "ip", "topologySpreadConstraints": "topologyKey",
    "resourceClaims": "name", "schedulingGates": "name",
}  # fmt: skip
_OUR_FIELDS = ("command", "args", "workingDir", "terminationMessagePath", "name")


class PatchError(UsageError):
    """`pod_patch` touches what is not its own, or gives what no cluster takes."""


def patch_template(template: KubeObject, patch: Mapping[str, Any]) -> KubeObject:
    """Return a pod template with a patch laid over it.

    Raises:
        PatchError: It changes what ftlaunch relies on, or the result is no pod template; says all of it.
    """
    patched = _merge(template, patch, "")
    assert isinstance(patched, dict)
    faults = [*_touched(template, patched), *find_template_faults(patched)]
    if faults:
        raise PatchError("\n".join(f"Launch.pod_patch: {fault}" for fault in faults))
    return patched


def _merge(old: Any, patch: Any, name: str) -> Any:
    if isinstance(patch, Mapping):
        if patch.get(_DIRECTIVE) == "replace" or not isinstance(old, dict):
            return {key: _merge(None, item, key) for key, item in patch.items() if _kept(key, item)}
        merged = dict(old)
        for key, item in patch.items():
            if item is None:
                merged.pop(key, None)
            elif key != _DIRECTIVE:
                merged[key] = _merge(old.get(key), item, key)
        return merged
    if isinstance(patch, list | tuple):
        return _merge_list(old if isinstance(old, list) else [], list(patch), name)
    return copy.deepcopy(patch)


def _kept(key: str, item: Any) -> bool:
    return key != _DIRECTIVE and item is not None


def _merge_list(old: list[Any], patch: list[Any], name: str) -> list[Any]:
    key = _MERGE_KEYS.get(name)
    items = [item for item in patch if item != {_DIRECTIVE: "replace"}]
    if key is None or len(items) < len(patch) or not all(isinstance(item, Mapping) for item in items):
        return [_merge(None, item, "") for item in items]
    merged = list(old)
    for item in items:
        at = next((index for index, other in enumerate(merged) if other.get(key) == item.get(key)), None)
        if item.get(_DIRECTIVE) == "delete":
            merged = [other for other in merged if other.get(key) != item.get(key)]
        elif at is None:
            merged.append(_merge(None, item, ""))
        else:
            merged[at] = _merge(merged[at], item, "")
    return merged


def _touched(old: KubeObject, new: KubeObject) -> Iterator[str]:
    """Say what of ours is no longer as it was rendered."""
    before, after = _container(old), _container(new)
    if after is None or before is None:
        yield f"expected the container {CONTAINER!r} to stay, got none"
        return
    for field in _OUR_FIELDS:
        if before.get(field) != after.get(field):
            yield f"expected {field} of {CONTAINER!r} as it was rendered, got {after.get(field)!r:.80}"
    if _ours(before) != _ours(after):
        yield "expected FTL_* and PADDLE_* variables as they were rendered, got others"
    if _config(before) != _config(after):
        yield f"expected the mount {CONFIG_MOUNT} as it was rendered, got another"
    labels, changed = (metadata(item).get("labels") or {} for item in (old, new))
    for name, value in labels.items():
        if changed.get(name) != value:
            yield f"expected the label {name} as it was rendered, got {changed.get(name)!r:.80}"
    if (new.get("spec") or {}).get("restartPolicy") != (old.get("spec") or {}).get("restartPolicy"):
        yield "expected no other restartPolicy: the operator sets it"


def metadata(template: KubeObject) -> KubeObject:
    """Return a template's metadata, which may be missing."""
    found = template.get("metadata") or {}
    assert isinstance(found, dict)
    return found


def _container(template: KubeObject) -> KubeObject | None:
    containers = (template.get("spec") or {}).get("containers") or []
    found = [item for item in containers if isinstance(item, dict) and item.get("name") == CONTAINER]
    return found[0] if found else None


def _ours(container: KubeObject) -> list[Any]:
    names = ("FTL_", "PADDLE_")
    listed = container.get("env") or []
    return [item for item in listed if isinstance(item, dict) and str(item.get("name")).startswith(names)]


def _config(container: KubeObject) -> list[Any]:
    listed = [item for item in container.get("volumeMounts") or [] if isinstance(item, dict)]
    return [
        item for item in listed if posixpath.normpath(str(item.get("mountPath"))).startswith(CONFIG_MOUNT)
    ]
