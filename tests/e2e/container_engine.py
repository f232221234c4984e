"""The engine that the docker tests use, and the image that `docker/build` has made."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
VERSION = re.search(r'^version = "(.+)"$', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
IMAGE = os.environ.get("IMAGE") or f"ftlaunch-trainer:{VERSION[1] if VERSION else 0}-cpu"
RUNTIME = os.environ.get("FTLAUNCH_CONTAINER_RUNTIME")
_VARIABLES = (
    "DOCKER_HOST",
    "DOCKER_CONTEXT",
    "FTLAUNCH_CONTAINER_RUNTIME",
    "CONTAINERS_CONF",
    "CONTAINERS_STORAGE_CONF",
)
PLACES = {name: os.environ[name] for name in _VARIABLES if name in os.environ}


def engine(*argv: str, code: int | None = 0, timeout_s: float = 120.0) -> subprocess.CompletedProcess[str]:
    program = shutil.which(RUNTIME) if RUNTIME else shutil.which("docker") or shutil.which("podman")
    assert program, "expected docker or podman, found neither: `docker/with-engine --install make e2e-docker`"
    done = subprocess.run([program, *argv], text=True, capture_output=True, timeout=timeout_s)
    if code is not None:
        assert done.returncode == code, f"{' '.join(argv)} -> {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def strict_options(*, user: str = "34567:45678") -> list[str]:
    """What the strictest cluster gives a pod, and 64 MiB of shared memory."""
    return [
        "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--network", "none",
        "--user", user, "--shm-size", "64m", "--memory", "2g", "--cpus", "2", "--tmpfs", "/tmp",
    ]  # fmt: skip


def in_container(document: dict[str, Any]) -> dict[str, Any]:
    """A config whose data lie at /data and whose output goes to /output."""
    document["Global"]["output_dir"] = "/output/run"
    for name, part in (("train", "Train"), ("val", "Eval")):
        dataset = document["DataLoader"][part]["dataset"]
        dataset.update(image_root="/data", cls_label_path=f"/data/{name}_list.txt")
    return document
