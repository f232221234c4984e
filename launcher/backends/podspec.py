"""What a pod mounts, read from its spec; unknown parts are collected as problems. Pure."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from launcher.errors import LaunchError

_SOURCES = {
    "configMap": {"name", "items", "defaultMode"},
    "emptyDir": {"medium", "sizeLimit"},
    "persistentVolumeClaim": {"claimName", "readOnly"},
    "hostPath": {"path", "type"},
    "nfs": {"server", "path", "readOnly"},
    "csi": {"driver", "readOnly", "volumeAttributes", "fsType", "nodePublishSecretRef"},
    "secret": {"secretName", "items", "defaultMode"},
}


class Source(Enum):
    """Where the content of a mount comes from."""

    FILES = "configMap"
    EMPTY = "emptyDir"
    MEMORY = "memory"
    OUTSIDE = "outside"
    """A claim, a host path or a secret: something of this machine must stand for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Mount:
    """A mount of a container.

    Attributes:
        path: In the container.
        volume: Name of the volume within the pod.
        files: Of a ConfigMap: path below the mount -> content.
        sub_path: Part of the volume that is mounted, or empty for all of it.
    """

    path: str
    volume: str
    source: Source
    files: Mapping[str, bytes] = field(default_factory=dict)
    sub_path: str = ""
    read_only: bool = False


class Problems:
    """What cannot be played, collected to be said at once."""

    def __init__(self) -> None:
        self._sentences: list[str] = []

    def add(self, where: str, expected: str, got: object) -> None:
        """Note one."""
        sentence = (
            f"manifest: {where}: expected {expected}, got {str(got)[:200]!r}; only a cluster plays more"
        )
        if sentence not in self._sentences:
            self._sentences.append(sentence)

    def raise_any(self, error: type[LaunchError]) -> None:
        """Raise all that were noted, if any."""
        if self._sentences:
            raise error("\n".join(self._sentences))


def require_known(mapping: Mapping[str, Any], known: Set[str], *, at: str, problems: Problems) -> None:
    """Note every key that is not known."""
    for key in sorted(set(mapping) - known):
        problems.add(f"{at}.{key}", "no such field", mapping[key])


def read_mounts(
    spec: Mapping[str, Any],
    container: Mapping[str, Any],
    config_map: Mapping[str, Any],
    problems: Problems,
) -> tuple[Mount, ...]:
    """Return what a container mounts.

    Args:
        spec: Of the pod.
        container: One of its containers.
        config_map: The only one that exists.
        problems: Where the unknown is noted.
    """
    volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
    mounts = []
    for item in container.get("volumeMounts", []):
        at = f"volumeMounts {item['mountPath']}"
        require_known(item, {"name", "mountPath", "subPath", "readOnly"}, at=at, problems=problems)
        volume = volumes.get(item["name"])
        if volume is None:
            problems.add(at, "a volume of the pod", item["name"])
            continue
        source = _read_source(volume, problems)
        if source is None:
            continue
        if source is Source.FILES and volume["configMap"].get("name") != config_map["metadata"]["name"]:
            source = Source.OUTSIDE  # one of the cluster's own
        mounts.append(
            Mount(
                path=item["mountPath"],
                volume=item["name"],
                source=source,
                files=_read_files(volume, config_map, problems) if source is Source.FILES else {},
                sub_path=item.get("subPath", ""),
                read_only=bool(item.get("readOnly", False)) or source is Source.FILES,
            )
        )
    return tuple(mounts)


def _read_source(volume: Mapping[str, Any], problems: Problems) -> Source | None:
    kinds = set(volume) - {"name"}
    kind = next(iter(kinds)) if len(kinds) == 1 else ""
    if kind not in _SOURCES:
        problems.add(f"volume {volume['name']}", f"one of {', '.join(_SOURCES)}", ", ".join(sorted(kinds)))
        return None
    require_known(volume[kind], _SOURCES[kind], at=f"volume {volume['name']}.{kind}", problems=problems)
    if kind == "configMap":
        return Source.FILES
    if kind == "emptyDir":
        return Source.MEMORY if volume[kind].get("medium") == "Memory" else Source.EMPTY
    return Source.OUTSIDE


def _read_files(
    volume: Mapping[str, Any], config_map: Mapping[str, Any], problems: Problems
) -> Mapping[str, bytes]:
    source = volume["configMap"]
    if source.get("name") != config_map["metadata"]["name"]:
        problems.add(f"volume {volume['name']}", config_map["metadata"]["name"], source.get("name"))
        return {}
    content = {key: str(text).encode() for key, text in (config_map.get("data") or {}).items()}
    for key, text in (config_map.get("binaryData") or {}).items():
        content[key] = base64.b64decode(text)
    if "items" not in source:
        return content
    chosen = {}
    for item in source["items"]:
        if item["key"] in content:
            chosen[item["path"]] = content[item["key"]]
        else:
            problems.add(f"volume {volume['name']}.items", f"one of {sorted(content)}", item["key"])
    return chosen
