"""Who a job's containers run as, and what they may write to."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from launcher.backends.replicas import Pod
from launcher.render.manifest import Manifest

_DEFAULT_ID = 1000  # the image's own


def choose_user(manifest: Manifest) -> str:
    """Return `uid:gid` of the containers: whoever submits, and for root the manifest's."""
    if os.geteuid():
        return f"{os.geteuid()}:{os.getegid()}"
    context = _security_context(manifest)
    return f"{context.get('runAsUser', _DEFAULT_ID)}:{context.get('runAsGroup', _DEFAULT_ID)}"


def give_folders(manifest: Manifest, pod: Pod, folders: Mapping[str, str]) -> None:
    """As root, give the folders that a pod writes to to its fsGroup, as the kubelet does with a volume.

    Raises:
        OSError: One cannot be given.
    """
    if os.geteuid():
        return
    group = _security_context(manifest).get("fsGroup", _DEFAULT_ID)
    for folder in _written(pod, folders):
        if folder.is_dir() and folder.stat().st_gid != group:
            os.chown(folder, -1, group)
            folder.chmod(folder.stat().st_mode | 0o2770)


def _written(pod: Pod, folders: Mapping[str, str]) -> Iterable[Path]:
    return (
        Path(folders[mount.path]) for mount in pod.mounts if mount.path in folders and not mount.read_only
    )


def _security_context(manifest: Manifest) -> Mapping[str, Any]:
    context: Mapping[str, Any] = manifest.pod_spec.get("securityContext") or {}
    return context
