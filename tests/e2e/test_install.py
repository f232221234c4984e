"""What the pages on installing print, typed in a folder that holds a release."""

from __future__ import annotations

import os
import re
import subprocess
import sys

from tests.docs.pages import commands
from tests.e2e.conftest import REPOSITORY, Place


def test_the_client_is_fetched_carried_over_and_installed_without_an_index(place: Place) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", place.folder, REPOSITORY]
    subprocess.run(build, check=True, capture_output=True)
    of_installer = re.compile(r"PIP_|SSL_|REQUESTS_|https?_proxy|no_proxy", re.IGNORECASE)
    place.env.update({name: value for name, value in os.environ.items() if of_installer.match(name)})
    lines = [
        "set -e",
        "sha256sum *.whl > SHA256SUMS",
        *commands("install"),
        "du -sm ftlaunch-env",
        "pip list --format=freeze",
        "ftlaunch schema status > /dev/null",
        "echo 'Global: {}' > cfg.yaml; trainer predict -c cfg.yaml a.jpg 2>&1 || true",
    ]
    done = subprocess.run(
        ["bash", "-c", "\n".join(lines)], cwd=place.folder, env=place.environ, text=True, capture_output=True,
        timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    version = re.search(r'^version = "(.+)"', (REPOSITORY / "pyproject.toml").read_text(), re.MULTILINE)
    assert version
    assert f"ftlaunch-{version[1]}-py3-none-any.whl: OK" in done.stdout
    assert f"ftlaunch {version[1]}" in done.stdout
    assert not re.search(r"^(paddlepaddle|numpy|opencv)", done.stdout, re.MULTILINE)
    assert "pip install" in done.stdout.rpartition("ftlaunch==")[2]  # what trainer lacks, and how to get it
