"""`ftlaunch logs` and `submit --follow` as processes: closed pipes and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.plan.handle import Handle
from launcher.runs.paths import project_of
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from tests.contract.harness import RUN_ID
from tests.launcher.jobs.test_job_commands import submit
from tests.launcher.kube.api_server import Answer, ApiServer, Asked
from tests.launcher.kube.test_access import write_kubeconfig

REPOSITORY = Path(__file__).resolve().parents[3]
SOON_S = 30.0


def begin(*argv: str, **options: Any) -> subprocess.Popen[str]:
    """Start `ftlaunch` in the current folder."""
    given = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": ""}
    return subprocess.Popen([sys.executable, "-m", "launcher", *argv], text=True, env=env, **given)


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Press Ctrl-C; return the exit code and what was said on stderr after that."""
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SOON_S)
    return process.returncode, err


def test_a_followed_log_ends_quietly_when_its_reader_has_enough_though_no_line_comes(place):
    handle = submit(place)
    place.say(handle, 0, b"[a1 r0] one\n[a1 r0] two\n")
    with begin("logs", "-f") as process:
        assert process.stdout.readline() == "[rank 0] one\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(SOON_S) == 141
    assert place.backend.status(handle).state.value == "Running"


@pytest.mark.parametrize(
    ("flags", "unbuffered"), [((), "1"), ((), ""), (("-f", "--output", "json"), "")],
    ids=["once, unbuffered", "once", "followed"],
)  # fmt: skip
def test_a_long_log_into_head_ends_quietly(place, flags, unbuffered):
    handle = submit(place)
    place.say(handle, 0, b"".join(b"[a1 r0] line %d\n" % number for number in range(20_000)))
    place.finish(handle, 0, 0)
    place.reaches(handle, lambda status: status.state.is_terminal, what="the end")
    log = f"'{sys.executable}' -m launcher logs {' '.join(flags)}"
    done = subprocess.run(
        ["bash", "-c", f'{log} | head -n 1; echo "${{PIPESTATUS[0]}}"'],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": unbuffered},
        capture_output=True, text=True, timeout=SOON_S,
    )  # fmt: skip
    line, code = done.stdout.splitlines()
    assert "line " in line
    assert (code, done.stderr) == ("141", "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_slow_reader_that_shares_the_pipe_without_blocking_gets_every_line(place, unbuffered):
    handle = submit(place)
    place.say(handle, 0, b"".join(b"[a1 r0] line %d\n" % number for number in range(30_000)))
    place.finish(handle, 0, 0)
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(
        [sys.executable, "-m", "launcher", "logs", "-f"], stdout=writing, env=env
    ) as process:
        os.close(writing)
        time.sleep(1.0)  # until the pipe is full: only a wait shows that it is waited for
        with os.fdopen(reading) as out:
            lines = out.read().splitlines()
        assert process.wait(SOON_S) == 0
    assert lines == [f"[rank 0] line {number}" for number in range(30_000)]


def test_words_that_nobody_reads_do_no_harm_either(place):
    submit(place)
    log = f"'{sys.executable}' -m launcher logs --rank x 2>&1"
    done = subprocess.run(
        ["bash", "-c", f'{log} | true; echo "${{PIPESTATUS[0]}}"'],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True, timeout=SOON_S,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout in ("141\n", "2\n")  # as soon as `true` is gone


def test_following_from_the_last_lines_goes_on_with_all_that_come(place):
    handle = submit(place)
    place.say(handle, 0, b"".join(b"[a1 r0] line %d\n" % number for number in range(100)))
    place.wait_for(lambda: "line 99" in place.text(handle, place.containers(handle)[0]), what="lines")
    process = begin("logs", "-f", "--tail", "2", "--grep", "[02468]$")
    assert [process.stdout.readline() for _ in range(2)] == ["[rank 0] line 96\n", "[rank 0] line 98\n"]
    place.say(handle, 0, b"".join(b"[a1 r0] line %d\n" % number for number in range(100, 106)))
    place.finish(handle, 0, 0)
    out, _ = process.communicate(timeout=SOON_S)
    assert (process.returncode, out) == (
        0,
        "".join(f"[rank 0] line {number}\n" for number in (100, 102, 104)),
    )


def test_ctrl_c_ends_the_showing_and_says_how_to_come_back(place):
    handle = submit(place)
    place.say(handle, 0, b"[a1 r0] one\n")
    process = begin("logs", "-f")
    assert process.stdout.readline() == "[rank 0] one\n"
    code, err = interrupt(process)
    assert (code, err) == (130, "\nflowers goes on; `ftlaunch logs -f flowers` to come back to its log\n")
    assert place.backend.status(handle).state.value == "Running"


class Cluster:
    """Answers like an API server whose scheduler has no room for the job's one pod."""

    def __init__(self, server: ApiServer) -> None:
        self.objects: dict[str, Any] = {}
        server.answer = self.answer

    def answer(self, asked: Asked) -> Answer:
        if asked.path.endswith("/selfsubjectrulesreviews"):
            rules = [{"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}]
            review = {**asked.body, "status": {"resourceRules": rules, "incomplete": False}}
            return Answer(code=201, body=json.dumps(review).encode())
        if asked.method == "POST":
            made = asked.body
            made["metadata"] |= {"uid": made["kind"], "creationTimestamp": "2026-11-24T00:00:00Z"}
            made["metadata"]["namespace"] = "ml"
            self.objects[f"{asked.path}/{made['metadata']['name']}"] = made
            return Answer(code=201, body=json.dumps(made).encode())
        if asked.path.endswith("/pods"):
            return Answer(body=json.dumps({"kind": "PodList", "items": [unscheduled_pod()]}).encode())
        if asked.path == "/apis/kubeflow.org/v1":
            return Answer(body=json.dumps({"resources": [{"name": "paddlejobs"}]}).encode())
        found = self.objects.get(asked.path)
        if found is None and asked.path.rpartition("/")[2] not in ("configmaps", "events", "paddlejobs"):
            body = {"kind": "Status", "reason": "NotFound", "details": {"name": "x"}, "message": "not found"}
            return Answer(code=404, body=json.dumps(body).encode())
        return Answer(body=json.dumps(found or {"items": []}).encode())

    def hold(self, job: str) -> None:
        """Have a job that was submitted before."""
        path = f"/apis/kubeflow.org/v1/namespaces/ml/paddlejobs/{job}"
        self.objects[path] = {
            "kind": "PaddleJob",
            "metadata": {
                "name": job, "namespace": "ml", "uid": "PaddleJob", "labels": {"ftlaunch.io/run-id": RUN_ID},
                "creationTimestamp": "2026-11-24T00:00:00Z",
            },
            "spec": {"paddleReplicaSpecs": {"Worker": {"replicas": 1}}},
            "status": {"conditions": [{"type": "Created", "status": "True"}]},
        }  # fmt: skip


def unscheduled_pod() -> dict[str, Any]:
    why = {
        "type": "PodScheduled",
        "status": "False",
        "message": "0/2 nodes are available: 2 Insufficient cpu.",
    }
    return {
        "metadata": {
            "name": "flowers-worker-0", "namespace": "ml", "uid": "u0",
            "labels": {"training.kubeflow.org/replica-index": "0"},
            "ownerReferences": [{"uid": "PaddleJob"}], "creationTimestamp": "2026-11-24T00:00:00Z",
        },
        "spec": {"containers": [{"name": "paddle"}]},
        "status": {"phase": "Pending", "conditions": [why]},
    }  # fmt: skip


WAITS = "waiting for flowers-worker-0: scheduling: 0/2 nodes are available: 2 Insufficient cpu.\n"
GOES_ON = "\nflowers goes on; `ftlaunch logs -f flowers` to come back to its log\n"


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """An API server of this test's; the current folder and its state are empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path / "state"))
    with ApiServer() as server:
        kubeconfig = write_kubeconfig(tmp_path, user={}, server=server.url)
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
        yield Cluster(server)


def test_ctrl_c_before_a_pod_has_started_says_the_same(cluster):
    cluster.hold("flowers")
    store = RunStore(Path("state/runs"))
    record = RunRecord(
        handle=Handle(backend="kubernetes", namespace="ml", job="flowers"), run_id=RUN_ID,
        stage=Stage.SUBMITTED, project=str(project_of(Path.cwd())), config="cfg.yaml", command=("submit",),
        created_s=time.time(),
    )  # fmt: skip
    store.begin(record, config=b"", manifest="", git=None)
    process = begin("logs", "-f")
    assert process.stderr.readline() == WAITS
    assert interrupt(process) == (130, GOES_ON)
    once = begin("logs")
    assert once.communicate(timeout=SOON_S) == (
        "",
        "flowers: no lines yet, it is Scheduling: 0/2 nodes are available: 2 Insufficient cpu.\n",
    )
    assert once.returncode == 0


def test_ctrl_c_while_submit_follows_leaves_the_job_alone(cluster, write_config: Callable[..., Path]):
    process = begin("submit", str(write_config()), "--name", "flowers", "--namespace", "ml", "--follow")
    assert process.stdout.readline() == "kubernetes://ml/flowers\n", process.stderr.read()
    while (line := process.stderr.readline()) != WAITS:
        assert line != "", "it has ended"
    assert interrupt(process) == (130, GOES_ON)
    record = RunStore(Path("state/runs")).load("flowers")
    assert record is not None
    assert record.stage is Stage.SUBMITTED
