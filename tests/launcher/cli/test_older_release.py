"""What release 0.1.0 left is read by this one: run records, outputs, and a job that goes on in a cluster.

`release_0_1` was written by that release: a job of two epochs on this machine (its weights are left out), and
the objects and the record of a PaddleJob of two nodes. Its folder was replaced by `@FOLDER@`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from launcher.objects import CONFIG_MAPS, PADDLE_JOBS

RELEASE = Path(__file__).parent / "release_0_1"


@pytest.fixture
def place(tmp_path: Path, store) -> Path:
    """Lay a part of what the release left into the folders that commands look at."""

    def lay(part: str) -> Path:
        shutil.copytree(RELEASE / part, tmp_path, dirs_exist_ok=True)
        (tmp_path / "state").mkdir()
        (tmp_path / "runs").rename(tmp_path / "state/runs")
        for path in tmp_path.rglob("*"):
            if path.is_file() and b"@FOLDER@" in path.read_bytes():
                path.write_bytes(path.read_bytes().replace(b"@FOLDER@", str(tmp_path).encode()))
        return tmp_path

    return lay


def test_a_job_of_this_machine_is_shown_in_full(ftlaunch, place):
    place("local")

    def call(*words: str) -> str:
        ran = ftlaunch(*words)
        assert ran.code == 0, (words, ran.out, ran.err)
        return ran.out

    (row,) = [line for line in call("list").splitlines() if line.startswith("digits")]
    assert "Succeeded" in row
    assert "epoch 2, step 8 of 8 (100%), done, loss 0.8424" in call("status", "digits")
    assert call("logs", "digits").splitlines()[-1] == "[node 0] done"
    assert "[succeeded]" in call("why", "digits")
    curves = json.loads(call("plot", "digits", "--output", "json"))
    assert "5.47" in json.dumps(curves)
    said = call("diff", "digits", "digits")
    assert "equal in every digit over 8 steps" in said
    assert "an earlier release did not note" in said
    assert json.loads(call("status", "digits", "--output", "json"))["exit"] == 0
    call("delete", "digits")
    assert "digits" not in call("list")


def test_what_is_missing_of_its_checkpoints_is_named(ftlaunch, place):
    place("local")
    said = ftlaunch("ckpt", "ls", "digits").out
    assert [line.split()[0] for line in said.splitlines()[1:]] == ["e002-s000008", "e001-s000004"]
    assert "model.pdparams" in ftlaunch("ckpt", "verify", "digits").out  # left out of this repository


def test_a_job_of_a_cluster_is_followed_cancelled_and_resumed(ftlaunch, place, cluster):
    folder = place("cluster")
    config_map, job = json.loads((folder / "objects.json").read_text())
    for item in (config_map, job):
        for key in ("uid", "resourceVersion", "creationTimestamp"):
            item["metadata"].pop(key, None)
    job.pop("status", None)
    cluster.create(CONFIG_MAPS, config_map, namespace="ml")
    cluster.create(PADDLE_JOBS, job, namespace="ml")
    for node in range(2):
        cluster.start_pod(f"flowers-worker-{node}")
    cluster.write_log("flowers-worker-0", b"[a1 r0] loss 0.5\n")
    assert "Running" in ftlaunch("status", "flowers").out
    assert "loss 0.5" in ftlaunch("logs", "flowers").out
    assert ftlaunch("why", "flowers").code == 0
    assert ftlaunch("cancel", "flowers").code == 0
    for node in range(2):
        cluster.finish_pod(f"flowers-worker-{node}", 143)
    assert ftlaunch("wait", "flowers").code == 6
    ran = ftlaunch("resume", "flowers")
    assert ran.code == 0, ran.err
    assert cluster.names("paddlejobs") == ("flowers",)
    assert ftlaunch("delete", "flowers", "--force").code == 0
    assert cluster.names("paddlejobs") == ()
