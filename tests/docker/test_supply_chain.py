"""What a build takes, and from where: base images by digest, packages by hash, one index a package."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
DIGEST = "sha256:" + "ab" * 32
DOCKERFILE = (REPOSITORY / "docker" / "Dockerfile").read_text()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """The build's files, and an engine that only writes down what it is asked."""
    folder = tmp_path / "checkout"
    shutil.copytree(REPOSITORY / "docker", folder / "docker")
    shutil.copy(REPOSITORY / "pyproject.toml", folder)
    engine = tmp_path / "docker"
    engine.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\ncase "$2" in imagetools) echo "$ANSWER" ;; esac\n'
    )
    engine.chmod(0o755)
    return folder


def call(folder: Path, script: str, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "CONTAINER_RUNTIME": str(folder.parent / "docker"), **environ}
    return subprocess.run(
        [str(folder / "docker" / script), *arguments], env=env, text=True, capture_output=True, check=False
    )


def asked(folder: Path) -> str:
    return (folder.parent / "asked").read_text()


@pytest.mark.parametrize("target", ["cpu", "gpu"])
def test_base_images_are_named_by_digest(checkout, target):
    done = call(checkout, "build", target, REQUIRE_DIGESTS="1")
    assert (done.returncode, done.stderr) == (0, "")
    assert (
        len(re.findall(r"^ARG (?:GPU_)?BASE_IMAGE=\S+@sha256:[0-9a-f]{64}$", DOCKERFILE, re.MULTILINE)) == 2
    )


@pytest.mark.parametrize(("target", "name"), [("cpu", "BASE_IMAGE"), ("gpu-zoo", "GPU_BASE_IMAGE")])
def test_a_base_image_of_ones_own_without_a_digest_is_told_of_or_refused(checkout, target, name):
    own = {name: "registry.example/debian:12"}
    done = call(checkout, "build", target, **own)
    assert done.returncode == 0
    assert "registry.example/debian:12: expected a base image by digest, got a name" in done.stderr
    assert f"--build-arg {name}=registry.example/debian:12" in asked(checkout)
    refused = call(checkout, "build", target, REQUIRE_DIGESTS="1", **own)
    assert refused.returncode == 1
    assert call(checkout, "build", target, **{name: f"{own[name]}@{DIGEST}"}).stderr == ""


def test_digests_are_renewed_in_the_dockerfile(checkout):
    assert call(checkout, "lock-images", ANSWER=DIGEST).returncode == 0
    text = (checkout / "docker" / "Dockerfile").read_text()
    assert f"\nARG BASE_IMAGE=python:3.12-slim-bookworm@{DIGEST}\n" in text
    assert re.search(rf"\nARG GPU_BASE_IMAGE=nvidia/cuda:\S+@{DIGEST}\n", text)
    assert re.sub(r"@sha256:[0-9a-f]{64}", "", text) == re.sub(r"@sha256:[0-9a-f]{64}", "", DOCKERFILE)
    inspected = [line for line in asked(checkout).splitlines() if "imagetools" in line]
    assert [line.split()[-1].partition(":")[0] for line in inspected] == [
        "docker.io/library/python", "docker.io/nvidia/cuda",
    ]  # fmt: skip


@pytest.mark.parametrize("answer", ["", "sha256:abc", "latest"])
def test_what_is_no_digest_is_not_written_down(checkout, answer):
    assert call(checkout, "lock-images", ANSWER=answer).returncode == 1
    assert (checkout / "docker" / "Dockerfile").read_text() == DOCKERFILE
    assert sorted(path.name for path in (checkout / "docker").iterdir()) == sorted(
        path.name for path in (REPOSITORY / "docker").iterdir()
    )


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "requirements").glob("*.txt")), ids=lambda path: path.name
)
def test_every_locked_package_has_a_hash(path):
    logical = path.read_text().replace("\\\n", " ").splitlines()
    packages = [line for line in logical if re.match(r"[A-Za-z0-9]", line)]
    assert packages
    assert [line for line in packages if "--hash=sha256:" not in line] == []
    assert not re.search(r"^(--index|--extra-index|--find-links)", path.read_text(), re.MULTILINE)


def test_the_image_installs_by_hash_or_from_one_index_alone():
    installs = re.findall(r"/run/site pip (.*?)(?:; \\|&& \\|$)", DOCKERFILE, re.MULTILINE)
    assert len(installs) >= 4
    for arguments in installs:
        by_hash = "--require-hashes" in arguments and "--no-deps" in arguments
        assert by_hash or ("--no-deps --index-url" in arguments and "extra" not in arguments), arguments


PACKAGES = {
    "PIL": "pillow", "cv2": "opencv-python-headless", "paddle": "paddlepaddle",
    "prometheus_client": "prometheus-client", "pydantic_core": "pydantic", "pynvml": "nvidia-ml-py",
    "tensorboardX": "tensorboardx", "yaml": "pyyaml",
}  # fmt: skip
"""Where a package of the index has another name than its module."""
OF_EXTRAS = {"mlflow", "onnxruntime", "paddle2onnx", "paddleclas", "swanlab", "visualdl", "wandb"}
"""What the trainer does without, and says so."""


def test_the_image_has_every_package_that_the_trainer_imports():
    listed = (REPOSITORY / "requirements/image.in").read_text().splitlines()
    packages = {line for line in listed if line and not line.startswith("#")}
    imported = {
        name.partition(".")[0]
        for path in (REPOSITORY / "trainer").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    needed = imported - set(sys.stdlib_module_names) - OF_EXTRAS - {"trainer"}
    assert {PACKAGES.get(name, name) for name in needed} <= packages


def test_what_images_are_made_of_is_written_with_hashes(tmp_path):
    content = (REPOSITORY / "requirements/image.txt").read_text()
    done = subprocess.run(
        [sys.executable, "-m", "cyclonedx_py", "requirements", "--output-reproducible", "-"], input=content,
        text=True, capture_output=True, check=True,
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert document["bomFormat"] == "CycloneDX"
    components = {item["name"]: item for item in document["components"]}
    assert {"numpy", "pydantic", "click"} <= set(components)
    hashes = components["numpy"]["externalReferences"][0]["hashes"]
    assert {item["alg"] for item in hashes} == {"SHA-256"}
