"""Who a job's containers run as, and which folders of this machine they may have.

A container runs an image of the config's choice, with the rights of whoever submits or of a user that root
chose. A dataset lies in no folder that holds keys, or that the machine itself runs on.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.render.manifest import Manifest

_DEFAULT_ID = 1000  # the image's own


@dataclass(frozen=True, kw_only=True, slots=True)
class ContainerUser:
    """Numbers of a user, and of a group that its processes are in besides their own."""

    user: int
    group: int
    fs_group: int


def choose_user(manifest: Manifest) -> str:
    """Return `uid:gid` of the containers: whoever submits, and for root the manifest's."""
    if os.geteuid():
        return f"{os.geteuid()}:{os.getegid()}"
    user = user_of(manifest)
    return f"{user.user}:{user.group}"


def user_of(manifest: Manifest) -> ContainerUser:
    """Return whom the manifest names, who is the containers' where root submits."""
    context: Mapping[str, Any] = manifest.pod_spec.get("securityContext") or {}
    return ContainerUser(
        user=context.get("runAsUser", _DEFAULT_ID), group=context.get("runAsGroup", _DEFAULT_ID),
        fs_group=context.get("fsGroup", _DEFAULT_ID),
    )  # fmt: skip


def make_folder(folder: Path, user: ContainerUser) -> str | None:
    """As root, make a folder for containers to write to; one that is there stays as it is.

    The kubelet gives a claim to a pod's fsGroup, and never a folder of the node: whoever writes a config
    would else have root give away any folder by naming it.

    Returns:
        What to do where the containers could not write to it; None where they can.

    Raises:
        OSError: It cannot be made.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir()
    except FileExistsError:
        found = folder.stat()
        group = user.fs_group
        if stat.S_ISDIR(found.st_mode) and not _can_write(found, user):
            return (
                f"expected a folder that user {user.user} or group {group} can write to, got mode "
                f"{stat.S_IMODE(found.st_mode):o} of {found.st_uid}:{found.st_gid}; as root, a folder that "
                f"is there is not given away: `chgrp {group} {folder} && chmod g+rwxs {folder}`, name one "
                "that is not there yet, or submit as yourself"
            )
        return None
    os.chown(folder, -1, user.fs_group)
    folder.chmod(0o2770)
    return None


def _can_write(found: os.stat_result, user: ContainerUser) -> bool:
    if found.st_uid == user.user:
        bits = found.st_mode >> 6
    elif found.st_gid in (user.group, user.fs_group):
        bits = found.st_mode >> 3
    else:
        bits = found.st_mode
    return bits & 0o3 == 0o3


_WHOLE = ("/", "/home", "/opt", "/srv", "/var", "/mnt", "/media")
_TREES = (
    "/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys", "/usr",
    "/var/lib", "/var/log", "/var/run", "/var/spool",
)  # fmt: skip
_OPEN = ("/dev/shm", "/run/media", "/usr/local/share", "/usr/share")  # noqa: S108 - data may lie there
_KEYS = frozenset({
    ".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".config", ".password-store", ".pki", ".mozilla",
    ".local", ".git", ".netrc",
})  # fmt: skip


def is_sensitive(folder: Path, *, home: Path) -> bool:
    """Say whether a folder holds keys or parts of the system, or holds such folders.

    Args:
        folder: Absolute, without links.
        home: The user's.
    """
    if folder == home or home.is_relative_to(folder) or str(folder) in _WHOLE:
        return True
    if any(folder.is_relative_to(tree) for tree in _OPEN):
        return bool(_KEYS & {*folder.parts})
    return bool(_KEYS & {*folder.parts}) or any(folder.is_relative_to(tree) for tree in _TREES)
