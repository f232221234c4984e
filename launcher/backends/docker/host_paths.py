"""Folders of this machine that a config may not hand to a container by naming them.

A container runs an image of the config's choice, with the rights of whoever submits or of a user that root
chose. A dataset lies in none of these folders; keys, and what the machine itself runs on, do.
"""

from __future__ import annotations

from pathlib import Path

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
