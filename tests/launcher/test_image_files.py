"""What the image is built from fits the rest of the repository."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
PIN = re.compile(r"^([a-z0-9-]+)==(\S+)( ; [^\\]+)?", re.MULTILINE)


def pins(name: str) -> set[tuple[str, str]]:
    text = (REPOSITORY / "requirements" / name).read_text()
    return {(match[1], match[2]) for match in PIN.finditer(text)}


@pytest.mark.parametrize("name", ["image.txt", "image-cpu.txt", "image-build.txt"])
def test_image_and_checkout_have_the_same_versions(name):
    assert pins(name)
    assert pins(name) <= pins("run.txt")


def test_the_image_has_nothing_that_only_the_launcher_needs():
    names = {name for name, _ in pins("image.txt") | pins("image-cpu.txt")}
    assert names.isdisjoint({"kubernetes", "hatchling", "scikit-learn", "pip"})
    assert {"paddlepaddle", "numpy", "opencv-python-headless", "pillow", "pydantic", "pyyaml"} <= names
    assert "jinja2" in names  # the pages of reports


def test_all_that_the_wheel_takes_reaches_the_build():
    project = (REPOSITORY / "pyproject.toml").read_text()
    section = project.partition("[tool.hatch.build.targets.wheel.force-include]")[2].partition("\n[")[0]
    taken = re.findall(r'^"([^"]+)" =', section, re.MULTILINE)
    dockerfile = (REPOSITORY / "docker" / "Dockerfile").read_text()
    copied = re.findall(r"^COPY (\S+) \S+$", dockerfile, re.MULTILINE)
    allowed = re.findall(r"^!(\S+)", (REPOSITORY / ".dockerignore").read_text(), re.MULTILINE)
    for path in taken:
        assert any(path == folder or path.startswith(f"{folder}/") for folder in copied), path
        assert any(path == folder or path.startswith(f"{folder}/") for folder in allowed), path


def test_no_secret_of_a_site_is_a_build_argument():
    dockerfile = (REPOSITORY / "docker" / "Dockerfile").read_text()
    arguments = set(re.findall(r"^ARG (\w+)", dockerfile, re.MULTILINE))
    assert arguments == {
        "BASE_IMAGE", "GPU_BASE_IMAGE", "PADDLE_GPU", "PADDLE_INDEX", "VERSION", "REVISION", "CREATED",
    }  # fmt: skip
