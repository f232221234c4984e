"""Volumes of the kinds that are neither claims nor folders of the node, as Kubernetes writes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.config.launch import Csi, Volume


def find_source(volume: Volume) -> tuple[str, Mapping[str, Any]] | None:
    """Return the name of a volume's field in a pod and what stands in it; None for the two plain kinds."""
    if volume.nfs is not None:
        return "nfs", {"server": volume.nfs.server, "path": volume.nfs.path, "readOnly": volume.read_only}
    if volume.csi is not None:
        return "csi", _csi(volume.csi, read_only=volume.read_only)
    if volume.empty_dir is not None:
        empty = volume.empty_dir
        medium = {"medium": "Memory"} if empty.memory else {}
        return "emptyDir", medium | ({"sizeLimit": empty.size} if empty.size is not None else {})
    if volume.config_map is not None:
        return "configMap", {"name": volume.config_map}
    return None


def _csi(csi: Csi, *, read_only: bool) -> Mapping[str, Any]:
    made: dict[str, Any] = {"driver": csi.driver, "readOnly": read_only}
    if csi.attributes:
        made["volumeAttributes"] = dict(csi.attributes)
    if csi.fs_type is not None:
        made["fsType"] = csi.fs_type
    if csi.secret is not None:
        made["nodePublishSecretRef"] = {"name": csi.secret}
    return made
