"""Every command against a cluster, once; `tests/launcher/test_other_systems.py` runs it with POSIX hidden."""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from launcher.backends.kubernetes.backend import KubernetesBackend
from launcher.cli.main import COMMANDS
from launcher.volumes.place import Folder
from trainer.protocol.layout import CheckpointName, OutputLayout

NAME = CheckpointName(1, 10)


@pytest.fixture
def claims(tmp_path, monkeypatch):
    """What the cluster's claims and the job's output folder hold, as folders of this machine."""
    for name in ("flowers", "output"):
        (tmp_path / "claims" / name).mkdir(parents=True)

    def open_claim(_backend, claim, path, **_):
        return contextlib.nullcontext(Folder(tmp_path / "claims" / claim / path))

    def open_folder(_backend, _handle, _path, **_):
        return contextlib.nullcontext(Folder(tmp_path / "claims" / "output"))

    monkeypatch.setattr(KubernetesBackend, "open_claim", open_claim)
    monkeypatch.setattr(KubernetesBackend, "open_folder", open_folder)
    return tmp_path / "claims"


def save_checkpoint(output: Path, *, run_id: str) -> None:
    folder = OutputLayout(output).checkpoint_dir(NAME)
    folder.mkdir(parents=True)
    content = b"weights"
    (folder / "model.pdparams").write_bytes(content)
    entry = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    manifest = {"schema": 1, "run_id": run_id, "files": {"model.pdparams": entry}}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def test_every_command_works_on_a_cluster(ftlaunch, write_config, cluster, store, claims, tmp_path):
    used = set()

    def call(*words, code=0):
        used.add(str(words[0]))
        ran = ftlaunch(*words)
        assert ran.code == code, (words, ran.out, ran.err)
        return ran.out

    config = write_config()
    assert call("validate", config, "--on", "kubernetes") == "cfg.yaml: ok\n"
    assert "kind: PaddleJob" in call("render", config)
    call("submit", config, "--name", "flowers", "--nodes", "2", "--namespace", "ml")
    assert store.load("flowers").run_id in call("render", config, "--run-id", store.load("flowers").run_id)
    for node in range(2):
        cluster.start_pod(f"flowers-worker-{node}")
    cluster.write_log("flowers-worker-0", b"[a1 r0] loss 0.5\n")
    assert "Running" in call("status", "flowers")
    assert "flowers" in call("list")
    assert "loss 0.5" in call("logs", "flowers")
    assert "loss 0.5" in call("logs", "flowers")  # the second time from the record, which one process holds
    call("why", "flowers")
    call("events", "flowers")
    call("top", "--namespace", "ml")
    save_checkpoint(claims / "output", run_id=store.load("flowers").run_id)
    assert str(NAME) in call("ckpt", "ls", "flowers")
    call("ckpt", "pull", "flowers", "--to", tmp_path / "pulled")
    assert (tmp_path / "pulled" / "model.pdparams").read_bytes() == b"weights"
    call("ckpt", "verify", "flowers")
    row = json.dumps({"event": "step", "step": 1, "loss": 0.5})
    (claims / "output" / "metrics.jsonl").write_text(f"{row}\n")
    assert "train: 0.5 at step 1" in call("plot", "flowers")
    for name, text in (("report.html", "<p>what it gets wrong"), ("report.json", '{"schema": 1}')):
        (claims / "output" / name).write_text(text)
    call("report", "flowers", "--to", tmp_path / "report")
    sent = call("track", "flowers", "--to", "tensorboard", "--uri", tmp_path / "board")
    assert f"tensorboard ({tmp_path}/board): 1 row -> {tmp_path}/board/flowers" in sent
    assert "nothing new" in call("track", "flowers", "--to", "tensorboard", "--uri", tmp_path / "board")
    assert (tmp_path / "report" / "report.html").read_text() == "<p>what it gets wrong"
    assert "equal in every digit over 1 step that" in call("diff", "flowers", "flowers")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.txt").write_text("a")
    call("data", "push", tmp_path / "images", "flowers:new", "--namespace", "ml")
    assert (claims / "flowers" / "new" / "a.txt").read_text() == "a"
    call("cancel", "flowers")
    for node in range(2):
        cluster.finish_pod(f"flowers-worker-{node}", 143)
    call("wait", "flowers", code=6)
    call("resume", "flowers")
    call("delete", "flowers", "--force")
    assert not store.run_folder("flowers").exists()
    (tmp_path / ".ftlaunch.yaml").write_text("namespace: ml\n")
    call("trust", tmp_path)
    call("schema", "status")
    call("version")
    call("completion", "bash")
    for label in ("rose", "tulip"):
        (tmp_path / "flowers" / label).mkdir(parents=True)
        for number in range(4):
            image = np.full((8, 8, 3), 20 * number, np.uint8)
            cv2.imwrite(str(tmp_path / "flowers" / label / f"{number}.jpg"), image)
    call("init", "new.yaml", "--data", "flowers", "--no-measure")
    call("validate", "new.yaml")
    assert {*COMMANDS} - used <= {
        "doctor",
        "exec",
        "sweep",
        "ui",
    }  # those have a server of their own in their tests
