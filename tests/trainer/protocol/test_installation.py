from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from trainer.errors import MissingPackagesError
from trainer.protocol import installation
from trainer.protocol.installation import (
    PADDLE_INDEX,
    Environment,
    Interpreter,
    Origin,
    install_command,
    missing_library,
    packages_command,
    parse_origin,
    train_elsewhere,
    trainer_fix,
)

ACTIVE = Environment(
    python="/env/bin/python", prefix="/env", has_pip=True, pip="/env/bin/pip", uv="/usr/bin/uv"
)
TRAINER = (("trainer", "paddlepaddle<3.4,>=3.3"), ("trainer", "numpy>=1.26"), ("onnx", "onnxruntime>=1.20"))


def record(url: str, **more: object) -> str:
    return json.dumps({"url": url, **more})


@pytest.mark.parametrize(
    ("text", "kind", "place"),
    [
        (record("file:///src/my%20launcher", dir_info={"editable": True}), "editable", "/src/my launcher"),
        (record("file:///src/it", dir_info={}), "folder", "/src/it"),
        (record("file:///tmp/it-1.whl", archive_info={"hash": "sha256=1"}), "file", "/tmp/it-1.whl"),
        (record("https://host.test/it-1.whl", archive_info={}), "url", "https://host.test/it-1.whl"),
        (record("https://host.test/it.git", vcs_info={"vcs": "git"}), "url", "git+https://host.test/it.git"),
        (None, "index", ""),
        ("{", "index", ""),
        ("[" * 100_000, "index", ""),
        ("[1]", "index", ""),
    ],
    ids=["editable", "folder", "wheel", "address", "repository", "no record", "torn", "deep", "a list"],
)
def test_what_an_installer_recorded_says_where_a_copy_came_from(text, kind, place):
    assert parse_origin(text) == Origin(kind=kind, place=place)


def test_an_editable_checkout_is_completed_in_its_own_folder(tmp_path):
    origin = Origin(kind="editable", place=str(tmp_path))
    words = shlex.split(install_command("trainer", origin=origin, environment=ACTIVE))
    assert words == ["pip", "install", "-e", f"{tmp_path}[trainer]"]


def test_the_environment_that_make_sets_up_is_completed_by_make_until_make_has_done_it(tmp_path):
    origin = Origin(kind="editable", place=str(tmp_path))
    own = replace(ACTIVE, prefix=str(tmp_path / ".venv"))
    (tmp_path / "Makefile").touch()
    (tmp_path / ".venv").mkdir()
    assert install_command("trainer", origin=origin, environment=own) == f"make -C {tmp_path} setup"
    assert install_command("trainer", origin=origin, environment=ACTIVE).startswith("pip install ")
    assert install_command("onnx", origin=origin, environment=own).startswith("pip install ")
    (tmp_path / ".venv/run.stamp").touch()
    assert install_command("trainer", origin=origin, environment=own).startswith("pip install ")


def test_a_wheel_that_is_still_there_is_named_and_one_that_is_gone_gives_its_requirements(tmp_path):
    wheel = tmp_path / "ftlaunch-0.2.0-py3-none-any.whl"
    origin = Origin(kind="file", place=str(wheel), requirements=TRAINER)
    gone = shlex.split(install_command("trainer", origin=origin, environment=ACTIVE))
    assert gone == ["pip", "install", "paddlepaddle<3.4,>=3.3", "numpy>=1.26"]
    wheel.touch()
    there = shlex.split(install_command("trainer", origin=origin, environment=ACTIVE))
    assert there == ["pip", "install", f"{wheel}[trainer]"]


def test_addresses_and_indexes_are_asked_for_the_extra():
    at = Origin(kind="url", place="git+https://host.test/it.git")
    words = shlex.split(install_command("trainer", origin=at, environment=ACTIVE))
    assert words == ["pip", "install", "ftlaunch[trainer] @ git+https://host.test/it.git"]
    words = shlex.split(install_command("onnx", origin=Origin(kind="index"), environment=ACTIVE))
    assert words == ["pip", "install", "ftlaunch[onnx]"]


@pytest.mark.parametrize(
    ("changes", "begins"),
    [
        ({"pip": "/other/bin/pip"}, "/env/bin/python -m pip install "),
        ({"pip": ""}, "/env/bin/python -m pip install "),
        ({"has_pip": False}, "uv pip install --python /env/bin/python "),
        ({"has_pip": False, "uv": ""}, "pip --python /env/bin/python install "),
    ],
    ids=["another pip first", "no pip on the path", "made by uv", "neither"],
)
def test_the_packages_get_into_the_environment_that_runs(changes, begins):
    environment = replace(ACTIVE, **changes)
    assert packages_command(["tqdm"], environment=environment) == begins + "tqdm"


def test_packages_for_gpus_come_from_the_index_that_has_them():
    words = shlex.split(install_command("gpu", origin=Origin(kind="index"), environment=ACTIVE))
    assert words == ["pip", "install", "--extra-index-url", PADDLE_INDEX, "ftlaunch[gpu]"]


def test_versions_with_brackets_and_comparisons_pass_a_shell_whole():
    command = packages_command(["a>=1,<2"], environment=ACTIVE)
    done = subprocess.run(
        ["sh", "-c", f"pip() {{ printf '%s\\n' \"$@\"; }}; {command}"], capture_output=True, text=True
    )
    assert done.stdout.splitlines() == ["install", "a>=1,<2"]


def test_the_extras_of_this_copy_are_read_from_its_own_record():
    requirements = dict.fromkeys(extra for extra, _ in installation.read_origin().requirements)
    assert {"trainer", "gpu", "onnx"} <= set(requirements)
    assert Path(installation.read_environment().python) == Path(sys.executable)


@pytest.mark.parametrize(
    ("system", "machine", "host", "said"),
    [
        ("linux", "x86_64", "x86_64-pc-linux-gnu", ""),
        ("linux", "x86_64", "x86_64-alpine-linux-musl", "musl, such as Alpine"),
        ("linux", "aarch64", "aarch64-unknown-linux-gnu", "Linux on aarch64"),
        ("linux", "i686", "i686-pc-linux-gnu", "Linux on i686"),
        ("darwin", "arm64", "aarch64-apple-darwin23.4.0", ""),
        ("win32", "AMD64", "", ""),
    ],
)
def test_a_system_that_paddle_has_no_package_for_is_named(system, machine, host, said):
    told = train_elsewhere(Interpreter(system=system, machine=machine, host=host))
    assert said in told
    assert bool(told) == bool(said)


def test_nobody_is_told_to_install_what_there_is_not(monkeypatch):
    alpine = Interpreter(system="linux", machine="x86_64", host="x86_64-alpine-linux-musl")
    monkeypatch.setattr(installation, "read_interpreter", lambda: alpine)
    for text in (trainer_fix(), str(MissingPackagesError(["PaddlePaddle"]))):
        assert "musl" in text
        assert "pip install" not in text


def test_an_import_that_fails_for_a_library_of_the_system_names_it():
    said = "libgomp.so.1: cannot open shared object file: No such file or directory"
    assert missing_library(ImportError(said)) == "libgomp.so.1"
    assert missing_library(ImportError("cannot import name 'a' from 'b'")) == ""
