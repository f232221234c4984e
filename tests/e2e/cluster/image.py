"""Makes the trainer's image out of this environment: no engine, no registry, no network.

Two archives in OCI's layout. The base holds the interpreter, `ftlaunch[trainer,sweep]`'s dependencies and the
system libraries that these load; it is kept in a cache folder under a key made of the lock file. The top
holds our own code, refers to the base by its digest, and takes no time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

from tests.e2e.cluster.oci import Archive, Layer, write_archive, write_layer

REPOSITORY = Path(__file__).resolve().parents[3]
NAME = "docker.io/library/ftlaunch-trainer"  # what a config's `ftlaunch-trainer:…` means to a kubelet
_PYTHON = f"python{sys.version_info.major}.{sys.version_info.minor}"
_SITE, _APP = "usr/local/lib/trainer-site", "usr/local/lib/trainer-app"
_ENV = [
    "PATH=/usr/local/bin:/usr/bin:/bin",
    f"PYTHONPATH=/{_APP}:/{_SITE}",
    "LD_LIBRARY_PATH=/usr/local/lib",  # where the interpreter's own library lies, if it has one
    "LANG=C.UTF-8",
]
_UNUSED = {"__pycache__", "site-packages", "dist-packages", "test", "tests", "idlelib", "tkinter", "config-*"}
_UNUSED_PACKAGES = {"kubernetes"}  # the launcher's alone, and large
# paddle asks `ldd --version | awk` at import, and ldd is a bash script
_TOOLS = ("sh", "bash", "awk", "ldd", "cat", "grep", "ls")
_ETC = {
    "etc/passwd": "root:x:0:0:root:/root:/bin/false\ntrainer:x:1000:1000::/home/trainer:/bin/false\n",
    "etc/group": "root:x:0:\ntrainer:x:1000:\n",
    "etc/nsswitch.conf": "hosts: files dns\n",
}


def build_base(cache: Path) -> Archive:
    """Return the base, made anew where the cache has none for this environment (about a minute)."""
    path = cache / f"base-{_key()}.tar"
    image = f"ftlaunch.local/trainer-base:{_key()}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "base.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not path.exists():
            for old in cache.glob("base-*"):  # a gigabyte each
                old.unlink()
            with tempfile.TemporaryDirectory(dir=cache) as folder:
                root = Path(folder, "root")
                _stage_base(root)
                layer = write_layer(root, Path(folder, "layer.tar"))
                made = Path(folder, "base.tar")
                write_archive(made, images=[image], layers=[layer], env=_ENV)
                path.with_suffix(".json").write_text(json.dumps([layer.digest, layer.size]))
                made.rename(path)
    return Archive(path=path, image=image)


def build_top(cache: Path, folder: Path, *, version: str) -> Archive:
    """Return our code as a layer above the base, which must be on the node before it is imported.

    Its name is made of its content. The name that a config without `Launch.image` means is given to it as
    well, and goes to whoever comes last.
    """
    digest, size = json.loads(build_base(cache).path.with_suffix(".json").read_text())
    root = folder / "root"
    for package in ("launcher", "trainer", "k8s"):  # the last has the launcher's templates
        _copy(REPOSITORY / package, root / _APP / package, unused={"__pycache__"})
    _copy(_info("ftlaunch"), root / _APP / _info("ftlaunch").name, unused=set())
    _compile(root / _APP)
    layer = write_layer(root, folder / "layer.tar")
    path, image = folder / "top.tar", f"{NAME}:{version}-{layer.digest[:12]}"
    base = Layer(path=None, digest=digest, size=size)
    write_archive(path, images=[image, f"{NAME}:{version}-cpu"], layers=[base, layer], env=_ENV)
    return Archive(path=path, image=image)


def _key() -> str:
    parts = [(REPOSITORY / "requirements/run.txt").read_bytes(), Path(__file__).read_bytes()]
    parts.append(f"{sys.version} {platform.machine()} {sys.base_prefix}".encode())
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:12]


def _stage_base(root: Path) -> None:
    prefix = Path(sys.base_prefix)
    _copy(prefix / "lib" / _PYTHON, root / "usr/local/lib" / _PYTHON, unused=_UNUSED)
    binaries = root / "usr/local/bin"
    binaries.mkdir(parents=True)
    shutil.copy2(os.path.realpath(sys.executable), binaries / _PYTHON)
    for alias in ("python3", "python"):
        (binaries / alias).symlink_to(_PYTHON)
    for tool in _TOOLS:
        if found := shutil.which(tool):
            _copy_file(Path(found).resolve(), root / "usr/bin" / tool)
    (root / "bin").symlink_to("usr/bin")
    for library in (prefix / "lib").glob("libpython*.so.*"):
        shutil.copy2(library, root / "usr/local/lib" / library.name)
    for distribution in _dependencies("ftlaunch", extras={"trainer", "sweep"}):
        for file in distribution.files or ():
            source = Path(str(distribution.locate_file(file)))
            # `bin/` leads out of site-packages, headers are for compilers
            if not {"..", "__pycache__", "include"} & set(file.parts):
                _copy_file(source, root / _SITE / file)
    _compile(root / "usr/local/lib")
    for library in _system_libraries(root):
        _copy_file(library.resolve(), root / str(library).lstrip("/"))
    for name, text in _ETC.items():
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    for name in ("tmp", "workspace", "data", "output", "home/trainer", "proc", "sys", "dev"):
        (root / name).mkdir(parents=True, exist_ok=True)


def _dependencies(name: str, *, extras: set[str]) -> Iterable[metadata.Distribution]:
    found: dict[str, metadata.Distribution] = {}
    asked = [(name, frozenset(extras))]
    while asked:
        name, wanted = asked.pop()
        distribution = metadata.distribution(name)
        for text in distribution.requires or ():
            requirement = Requirement(text)
            marker = requirement.marker
            if marker and not any(marker.evaluate({"extra": extra}) for extra in (*wanted, "")):
                continue
            if requirement.name in _UNUSED_PACKAGES:
                continue
            if requirement.name not in found:
                found[requirement.name] = metadata.distribution(requirement.name)
                asked.append((requirement.name, frozenset(requirement.extras)))
    return found.values()


def _info(name: str) -> Path:
    path = getattr(metadata.distribution(name), "_path", None)
    assert isinstance(path, Path), f"expected the installed {name}, got {path!r}"
    return path


def _copy(source: Path, target: Path, *, unused: set[str]) -> None:
    shutil.copytree(
        source, target, symlinks=True, copy_function=_copy_file, ignore=shutil.ignore_patterns(*unused)
    )


def _copy_file(source: Any, target: Any) -> None:
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except FileExistsError:
        return
    except OSError:  # another file system
        shutil.copy2(source, target)


def _compile(folder: Path) -> None:
    # a pod's root cannot be written to: what is not compiled here is compiled at each start of each rank
    argv = [
        sys.executable,
        "-m",
        "compileall",
        "-q",
        "-q",
        "-j",
        "0",
        "--invalidation-mode",
        "unchecked-hash",
    ]
    subprocess.run([*argv, str(folder)], check=False, stdout=subprocess.DEVNULL)  # templates are not Python


def _system_libraries(root: Path) -> set[Path]:
    """Return the libraries outside of `root` that what lies in it loads, the loader included."""
    programs = [str(path) for path in root.rglob("*.so*") if path.is_file()]
    programs += [str(path) for folder in ("usr/local/bin", "usr/bin") for path in (root / folder).iterdir()]
    own = sorted({str(Path(path).parent) for path in programs})
    env = {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(own)}
    listed = subprocess.run(["ldd", *programs], env=env, capture_output=True, text=True, check=False).stdout
    words = (word for line in listed.splitlines() for word in line.split() if word.startswith("/"))
    paths = {Path(word.rstrip(":")) for word in words}
    return {path for path in paths if not path.is_relative_to(root) and path.is_file()}
