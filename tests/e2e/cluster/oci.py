"""Image archives in OCI's layout (opencontainers/image-spec 1.1), which `ctr images import` takes."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Archive:
    """An image in a file."""

    path: Path
    image: str


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A layer; without a path it is only referred to, and must be where the archive is imported."""

    path: Path | None
    digest: str
    size: int


def write_layer(root: Path, path: Path) -> Layer:
    """Write a folder as a layer: root's, readable by all, without times."""

    def tidy(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = member.mtime = 0
        member.uname = member.gname = ""
        member.mode |= 0o755 if member.isdir() else 0o444
        return member

    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as layer:
        for item in sorted(root.iterdir()):
            layer.add(item, arcname=item.name, filter=tidy)
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return Layer(path=path, digest=digest.hexdigest(), size=path.stat().st_size)


def write_archive(path: Path, *, images: Sequence[str], layers: Sequence[Layer], env: Sequence[str]) -> None:
    """Write one image under some names."""
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    config = _json({
        "architecture": machine, "os": "linux", "config": {"Env": list(env), "WorkingDir": "/workspace"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer.digest}" for layer in layers]},
    })  # fmt: skip
    manifest = _json({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": _descriptor("application/vnd.oci.image.config.v1+json", config),
        "layers": [
            {
                "mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": f"sha256:{layer.digest}",
                "size": layer.size,
            }
            for layer in layers
        ],
    })  # fmt: skip
    described = _descriptor("application/vnd.oci.image.manifest.v1+json", manifest)
    named = [{**described, "annotations": {"io.containerd.image.name": image}} for image in images]
    index = _json({"schemaVersion": 2, "manifests": named})
    with tarfile.open(path, "w") as archive:
        _add(archive, "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))
        for blob in (config, manifest):
            _add(archive, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
        for layer in layers:
            if layer.path is not None:
                archive.add(layer.path, arcname=f"blobs/sha256/{layer.digest}")
        _add(archive, "index.json", index)


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def _descriptor(media_type: str, blob: bytes) -> dict[str, Any]:
    digest = f"sha256:{hashlib.sha256(blob).hexdigest()}"
    return {"mediaType": media_type, "digest": digest, "size": len(blob)}


def _add(archive: tarfile.TarFile, name: str, blob: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(blob)
    archive.addfile(member, io.BytesIO(blob))
