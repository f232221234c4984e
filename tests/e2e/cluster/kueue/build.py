"""Builds Kueue's manager, unmodified, out of its Go module, and wraps it as an image: no registry, no engine.

`go.mod` and `go.sum` beside this file pin it and all that it needs by hash. The manifests are those that the
same module carries (kubernetes-sigs/kueue v0.17.0, config/default). Both are kept in the cache folder. Cold
it takes seven minutes of one core. `python -m tests.e2e.cluster.kueue.build` does that, and needs nothing but
Python, Go and kubectl.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.cluster.cache import cache_folder
from tests.e2e.cluster.oci import Archive, write_archive, write_layer

FOLDER = Path(__file__).parent
MODULE = "sigs.k8s.io/kueue"
BUILD_S = 3000.0  # beside others; it is seven minutes of one core
FLAGS, LINK = "-mod=readonly -trimpath -buildvcs=false", ("-ldflags", "-s -w")


class NoGoError(Exception):
    """It cannot be built here."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """What an installation takes.

    Attributes:
        archive: The image; its program is `/manager`.
        manifests: YAML of a plain installation.
    """

    archive: Archive
    manifests: Path


def build_kueue(cache: Path) -> Built:
    """Return the manager, made anew where the cache has none (minutes).

    Raises:
        NoGoError: There is no Go, or a module cannot be had.
    """
    cache.mkdir(parents=True, exist_ok=True)
    built = Built(
        archive=Archive(path=cache / f"kueue-{_key()}.tar", image=f"ftlaunch.local/kueue:{_key()}"),
        manifests=cache / f"kueue-{_key()}.yaml",
    )
    with (cache / "kueue.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (built.archive.path.exists() and built.manifests.exists()):
            for old in cache.glob("kueue-*"):
                old.unlink()
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                _build(Path(folder), built)
    return built


def _build(scratch: Path, built: Built) -> None:
    root = scratch / "root"
    root.mkdir()
    _go("build", *LINK, "-o", str(root / "manager"), f"{MODULE}/cmd/kueue")
    module = _go("list", "-m", "-f", "{{.Dir}}", MODULE).strip()
    manifests = scratch / "manifests.yaml"
    manifests.write_text(_run(["kubectl", "kustomize", f"{module}/config/default"]))
    archive = scratch / "image.tar"
    layer = write_layer(root, scratch / "layer.tar")
    write_archive(archive, images=[built.archive.image], layers=[layer], env=["PATH=/"])
    manifests.rename(built.manifests)
    archive.rename(built.archive.path)


def _key() -> str:
    parts = [(FOLDER / name).read_bytes() for name in ("go.mod", "go.sum")]
    parts.append(" ".join((FLAGS, *LINK)).encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def _go(*argv: str) -> str:
    if shutil.which("go") is None:
        raise NoGoError("Kueue is built from its Go module: expected Go 1.25 or newer in PATH, found none")
    return _run(["go", *argv])


def _run(argv: list[str]) -> str:
    environ = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": FLAGS}
    done = subprocess.run(
        argv, cwd=FOLDER, env=environ, capture_output=True, text=True, timeout=BUILD_S, check=False
    )
    if done.returncode:
        raise NoGoError(f"{' '.join(argv)} -> {done.returncode}\n{done.stderr[-4000:]}")
    return done.stdout


def main() -> None:
    try:
        sys.stdout.write(f"{build_kueue(cache_folder()).archive.path}\n")
    except NoGoError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
