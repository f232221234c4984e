"""What the pages on installing print, typed in a folder that holds a release."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

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


def test_a_release_is_signed_and_a_changed_one_is_told(tmp_path: Path) -> None:
    key, home = "release@example.org", tmp_path / "keys"
    home.mkdir(mode=0o700)
    env = {**os.environ, "GNUPGHOME": str(home)}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=tmp_path, env=env, text=True, capture_output=True, timeout=100, check=False
        )

    (tmp_path / "SHA256SUMS").write_text("00  ftlaunch.whl\n")
    made = run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", key, "ed25519", "sign", "never")
    assert made.returncode == 0, made.stderr
    try:
        signed = run("make", "-C", str(REPOSITORY), "sign", f"DIST={tmp_path}", f"SIGN_KEY={key}")
        assert signed.returncode == 0, signed.stdout + signed.stderr
        (verify,) = commands("install-signed")
        assert run(*verify.split()).returncode == 0
        (tmp_path / "SHA256SUMS").write_text("11  ftlaunch.whl\n")
        assert "BAD signature" in run(*verify.split()).stderr
    finally:
        run("gpgconf", "--kill", "all")


def test_signing_without_a_key_says_what_is_missing(tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "-C", str(REPOSITORY), "sign", f"DIST={tmp_path}"],
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.returncode != 0
    assert "expected SIGN_KEY" in done.stderr
