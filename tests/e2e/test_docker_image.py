"""The image: who it runs as, what it holds, and that it trains where next to nothing is allowed."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import config
from tests.e2e.container_engine import IMAGE, engine, in_container, strict_options

pytestmark = pytest.mark.docker


@pytest.fixture
def folders(tmp_path: Path, images: Path) -> list[str]:
    """Options that mount the data, a config and a folder that anybody may write to."""
    (tmp_path / "output").mkdir()
    (tmp_path / "output").chmod(0o777)
    document = in_container(config(Global__epochs=1))
    (tmp_path / "cfg.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    return [
        "-v", f"{images}:/data:ro", "-v", f"{tmp_path}/output:/output",
        "-v", f"{tmp_path}/cfg.yaml:/cfg.yaml:ro",
    ]  # fmt: skip


def test_it_trains_checks_and_evaluates_as_any_user_on_a_read_only_root_without_a_network(folders, tmp_path):
    run = ["run", "--rm", *strict_options(), *folders, IMAGE]
    assert "64 training" in engine(*run, "check", "-c", "/cfg.yaml").stdout
    engine(*run, "train", "-c", "/cfg.yaml")
    assert (tmp_path / "output/run/latest.pdparams").stat().st_uid == 34567
    found = json.loads(engine(*run, "eval", "-c", "/cfg.yaml", "--output", "json").stdout.splitlines()[-1])
    assert 0.0 <= found["top1"] <= 1.0


def test_it_predicts_and_exports_and_predicts_from_what_it_exported(folders, tmp_path):
    run = ["run", "--rm", *strict_options(), *folders, IMAGE]
    engine(*run, "train", "-c", "/cfg.yaml")
    image = "/data/val/class1/0.jpg"
    (answer,) = json.loads(engine(*run, "predict", "-c", "/cfg.yaml", image, "--output", "json").stdout)
    said = engine(*run, "export", "-c", "/cfg.yaml", "--to", "/output/inference").stderr
    assert "logits differ by at most" in said
    (again,) = json.loads(
        engine(*run, "predict", "--model", "/output/inference", image, "--output", "json").stdout
    )
    assert again["class_ids"] == answer["class_ids"]
    assert again["scores"] == pytest.approx(answer["scores"], abs=1e-4)


def test_sigterm_saves_and_exits_143(folders, tmp_path):
    name = f"ftlaunch-test-{tmp_path.name}".replace("_", "-")
    options = [*strict_options(), *folders]
    argv = ["train", "-c", "/cfg.yaml", "-o", "Global.epochs=5000"]
    engine("run", "--detach", "--name", name, *options, IMAGE, *argv)
    try:
        rows = tmp_path / "output/run/metrics.jsonl"
        until_s = time.monotonic() + 60
        while not (rows.exists() and rows.read_text()):
            assert time.monotonic() < until_s, engine("logs", name).stdout
            time.sleep(0.1)
        engine("kill", "--signal", "TERM", name)
        assert engine("wait", name).stdout.strip() == "143"
        assert list((tmp_path / "output/run/.ftlaunch/checkpoints").glob("e*-s*"))
    finally:
        engine("rm", "--force", name)


def test_it_says_what_it_is_and_is_nobody_special():
    found = json.loads(engine("image", "inspect", IMAGE).stdout)[0]["Config"]
    assert found["User"] == "1000:1000"
    assert found["Entrypoint"] == ["trainer"]  # no shell is process 1
    assert found["StopSignal"] == "SIGTERM"
    labels = {name.rpartition(".")[2] for name in found["Labels"]}
    assert labels == {"title", "description", "licenses", "version", "revision", "created"}


@pytest.mark.parametrize("program", ["gcc", "cc", "g++", "make", "pip", "ftlaunch", "git", "curl"])
def test_it_holds_no_compiler_and_no_tool_of_the_build(program):
    look = f"import shutil, sys; sys.exit(shutil.which({program!r}) is not None)"
    engine("run", "--rm", "--network", "none", "--entrypoint", "python", IMAGE, "-c", look)


# Run in the image, as root: what a build leaves behind where it was careless.
LOOK = """
import json, os, pathlib, sys
words = [word.encode() for word in json.loads(sys.argv[1])]
folders = ['/var/lib/apt/lists', '/var/cache/apt', '/root', '/home', '/tmp', '/run/secrets',
           '/requirements', '/wheel', '/source']
names = {'.netrc', '.pypirc', '.git-credentials', '.docker', '.ssh', '.git', 'pip.conf', 'id_rsa'}
usual = {'.bashrc', '.profile'}
found = [str(path) for folder in folders for path in pathlib.Path(folder).rglob('*')
         if path.is_file() and path.name not in usual]
for folder, below, files in os.walk('/'):
    below[:] = [name for name in below if os.path.join(folder, name) not in ('/proc', '/sys', '/dev')]
    found += [os.path.join(folder, name) for name in [*below, *files] if name in names]
    for path in (pathlib.Path(folder, name) for name in files if words and 'site-packages' not in folder):
        if path.is_file() and not path.is_symlink() and path.stat().st_size < 1 << 18:
            found += [f'{path}: a secret' for word in words if word in path.read_bytes()]
print(found)
"""


def test_it_holds_no_cache_and_no_secret():
    words = site_secrets()
    done = engine(
        "run", "--rm", "--user", "0", "--network", "none", "--entrypoint", "python", IMAGE, "-c", LOOK,
        json.dumps(words),
    )  # fmt: skip
    assert done.stdout == "[]\n"
    history = engine("history", "--no-trunc", "--format", "{{.CreatedBy}}", IMAGE).stdout
    assert not [word for word in words if word in history]


def site_secrets() -> list[str]:
    """Values that the build of this image was given as secrets, such as the address of an index."""
    files = [os.environ[name] for name in ("SITE_PIP_CONF", "SITE_APT_CONF") if os.environ.get(name)]
    lines = [line for file in files for line in Path(file).read_text().splitlines()]
    return sorted({word for line in lines for word in re.findall(r"https?://[^\s\"';]+", line)})


def test_the_launcher_is_not_in_it():
    look = (
        "import importlib.util as u; print([n for n in ('launcher', 'kubernetes', 'pip') if u.find_spec(n)])"
    )
    done = engine("run", "--rm", "--network", "none", "--entrypoint", "python", IMAGE, "-c", look)
    assert done.stdout == "[]\n"
