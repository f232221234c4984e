"""`ftlaunch why` over the cluster in memory and over a status of another backend."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.backends.base import Backend
from launcher.backends.kubernetes import KubernetesBackend
from launcher.backends.states import JobState, JobStatus, PodState, PodStatus
from launcher.cli.main import run
from launcher.errors import NotFoundError
from launcher.objects import EVENTS, NODES, PADDLE_JOBS
from launcher.plan.handle import BackendKind, Handle
from launcher.why.explanation import explain_job
from launcher.why.gather import MAX_EVENTS, gather
from launcher.why.rules.log_patterns import DATA_DENIED, OF_EXIT, PATTERNS, UNKNOWN
from launcher.why.snapshot import format_snapshot, parse_snapshot
from tests.fakes.cluster import FakeCluster
from tests.launcher.kube.conftest import manifest_text
from tests.launcher.schemas import check_document
from tests.launcher.why.situations import node
from trainer.protocol.termination import Termination

NOW_S = 1_795_000_002.0  # the cluster's own clock
HANDLE = Handle(backend="kubernetes", namespace="ml", job="flowers")
RUN_ID = "0123456789abcdef" * 2


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(namespace="ml")


@pytest.fixture
def backend(cluster: FakeCluster) -> KubernetesBackend:
    return KubernetesBackend(cluster, cluster, namespace="ml", context="fake", pause=lambda _: None)


@pytest.fixture
def submit(backend: KubernetesBackend, tmp_path: Path) -> Callable[..., None]:
    from launcher.backends.base import Submission
    from launcher.render.manifest import parse_manifest

    def act(*, nodes: int = 2) -> None:
        text = manifest_text(name="flowers", run_id=RUN_ID, nodes=nodes)
        backend.submit(Submission(manifest=parse_manifest(text), run_folder=tmp_path, workdir=tmp_path))

    return act


@pytest.fixture
def ftlaunch(
    backend: KubernetesBackend, submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> Callable[..., tuple[int, str, str]]:
    from launcher.runs.record import RunRecord, Stage
    from launcher.runs.store import RunStore

    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(KubernetesBackend, "connect", lambda **_: backend)
    submit()
    record = RunRecord(
        handle=HANDLE, run_id=RUN_ID, stage=Stage.SUBMITTED, project=str(tmp_path), config="cfg.yaml",
        command=(), created_s=1.0,
    )  # fmt: skip
    RunStore(tmp_path / "state" / "runs").begin(record, config=b"", manifest="", git=None)

    def call(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run(arguments)
        out, err = capfd.readouterr()
        return code, out, err

    return call


def test_the_answer_is_printed_with_what_it_rests_on_and_its_cure(ftlaunch, cluster) -> None:
    cluster.hold_pod("flowers-worker-0", reason="ErrImageNeverPull", message="Container image is not present")
    cluster.start_pod("flowers-worker-1")
    code, out, _ = ftlaunch("why", "flowers")
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == "kubernetes://ml/flowers  Pulling"
    assert lines[2] == "  image and may not pull it [image-never-pulled]"
    assert lines[3] == "  stays so until somebody acts"
    assert lines[4].startswith("  because: flowers-worker-0: ErrImageNeverPull: ")
    assert max(map(len, lines)) <= 100
    assert lines[-1].startswith("  fix: load it onto the nodes")


def test_programs_get_stable_keys(ftlaunch, cluster) -> None:
    cluster.hold_pod("flowers-worker-0", reason="ErrImagePull", message="toomanyrequests")
    cluster.start_pod("flowers-worker-1")
    document = json.loads(ftlaunch("why", "--output", "json")[1])
    assert list(document) == [
        "schema", "kind", "handle", "job", "run_id", "state", "code", "sentence", "evidence", "fix",
        "resolves", "also", "skipped", "start",
    ]  # fmt: skip
    assert check_document(document) == "why"
    assert (document["schema"], document["state"], document["resolves"]) == (2, "Pulling", "later")


def test_watching_ends_with_the_job(ftlaunch, cluster) -> None:
    for pod in ("flowers-worker-0", "flowers-worker-1"):
        cluster.start_pod(pod)
        cluster.finish_pod(pod, 0, Termination(exit=0, attempt=1, reason="done"))
    assert "[succeeded]" in ftlaunch("why", "--watch")[1]


def test_what_may_not_be_looked_at_is_said_and_not_needed(backend, cluster, submit) -> None:
    submit()
    cluster.refuse("list", NODES, code=403)
    explanation = explain_job(backend, HANDLE, clock=lambda: NOW_S)
    assert explanation.verdicts[0].code == "scheduling"
    assert [item.what for item in explanation.skipped] == ["nodes of the cluster"]


def test_a_job_that_is_not_there_is_not_found(backend) -> None:
    with pytest.raises(NotFoundError):
        explain_job(backend, HANDLE)


def test_somebody_elses_job_is_left_alone(backend, cluster, submit) -> None:
    submit()
    cluster.patch(PADDLE_JOBS, "flowers", {"metadata": {"labels": None}}, namespace="ml")
    with pytest.raises(NotFoundError, match="expected a job of ours"):
        explain_job(backend, HANDLE)


@pytest.mark.parametrize(("start", "asked"), [
    (False, {"get paddlejobs flowers", "list pods", "list events", "list nodes"}),
    (True, {"get paddlejobs flowers", "list pods", "list events", "get pods flowers-worker-0",
            "get pods flowers-worker-1"}),
], ids=["waits", "runs"])  # fmt: skip
def test_only_what_a_rule_needs_is_asked_for(backend, cluster, submit, start: bool, asked: set[str]) -> None:
    submit()
    for pod in ("flowers-worker-0", "flowers-worker-1") if start else ():
        cluster.start_pod(pod)
    cluster.requests.clear()
    explain_job(backend, HANDLE)
    assert set(cluster.requests) == asked
    assert len(cluster.requests) <= 7


def test_a_gang_that_is_tried_without_a_pause_does_not_hide_what_else_is_wrong(
    backend, cluster, submit
) -> None:
    submit()
    for number in range(MAX_EVENTS + 1):
        about = {"kind": "Pod", "name": "a-gang-worker-0", "namespace": "ml"}
        cluster.put(EVENTS, {
            "metadata": {"name": f"a-gang-worker-0.{number:04}", "namespace": "ml"}, "type": "Warning",
            "reason": "FailedScheduling", "involvedObject": about,
        }, namespace="ml")  # fmt: skip
    about = {"kind": "PaddleJob", "name": "flowers", "namespace": "ml"}
    cluster.put(EVENTS, {
        "metadata": {"name": "flowers.1", "namespace": "ml"}, "type": "Warning", "reason": "FailedCreatePod",
        "involvedObject": about,
    }, namespace="ml")  # fmt: skip
    taken = gather(cluster, cluster, HANDLE, clock=lambda: NOW_S)
    assert [event["metadata"]["name"] for event in taken.events if event["reason"] == "FailedCreatePod"] == [
        "flowers.1"
    ]


def test_a_snapshot_can_be_kept_and_read_again(cluster, submit) -> None:
    submit()
    cluster.put(NODES, node("g1"), namespace="")
    cluster.note("flowers-worker-0", reason="FailedScheduling", message="0/1 nodes are available.")
    taken = gather(cluster, cluster, HANDLE, clock=lambda: NOW_S)
    kept = json.loads(json.dumps(format_snapshot(taken)))
    again = parse_snapshot(kept)
    assert format_snapshot(again) == kept
    assert again.status == taken.status
    with pytest.raises(ValueError, match="expected schema 1, got 2"):
        parse_snapshot({**kept, "schema": 2})


class LocalJob(Backend):
    """A job of another backend: a status and a log."""

    kind = "local"

    def __init__(self, status: JobStatus, log: bytes) -> None:
        self._status, self._log = status, log

    def status(self, handle: Handle) -> JobStatus:
        return self._status

    def read_tails(self, handle: Handle, *, pods: int, max_bytes: int) -> dict[str, str]:
        return {"here-worker-0": self._log[-max_bytes:].decode("utf-8", "replace")}

    def log_source(self, *_: Any) -> Any: ...

    def submit(self, *_: Any) -> Any: ...
    def check(self, *_: Any) -> Any: ...
    def list_jobs(self) -> Any: ...
    def cancel(self, *_: Any) -> None: ...
    def resume(self, *_: Any) -> None: ...
    def delete(self, *_: Any) -> None: ...


@pytest.mark.parametrize(("state", "exit_code", "log", "code"), [
    (JobState.FAILED, 20, b"[a4 r0] Unable to find address for: eth9", "network-interface"),
    (JobState.FAILED, 4, b"", "diverged"),
    (JobState.FAILED, 20, b"[a4 r0] https://a.b/x.pdparams: URLError: [Errno -2] Name or service not "
     b"known; tried 4 times; put it at /w/x, or set Arch.pretrained to your copy", "weights-missing"),
    (JobState.FAILED, 1, b"[a4 r0] OSError: [Errno -2] Name or service not known", "trainer-bug"),
    (JobState.LOST, None, b"", "lost"),
    (JobState.RUNNING, None, b"[a0 n0] waiting for node 1 (20 s of 600 s)", "rendezvous-waiting"),
], ids=["its log says more", "diverged", "no weights", "another name", "lost", "waits"])  # fmt: skip
def test_jobs_of_this_machine_are_explained_by_status_and_log(
    state: JobState, exit_code: int | None, log: bytes, code: str
) -> None:
    end = (
        None
        if exit_code is None
        else Termination(exit=exit_code, attempt=4, reason="" if exit_code == 1 else "killed by signal 6")
    )
    pod = PodStatus(
        pod="here-worker-0", node=0, exit_code=exit_code, termination=end,
        state=PodState.RUNNING if exit_code is None else PodState.FAILED,
    )  # fmt: skip
    handle = Handle(backend="local", job="here")
    status = JobStatus(handle=handle, run_id="r", state=state, pods=(pod,), created_s=1.0)
    backend = LocalJob(status, b"2026-01-01T00:00:00.000000000Z " + log + b"\n")
    assert explain_job(backend, handle).verdicts[0].code == code


@pytest.mark.parametrize("backend", ["local", "docker"])
def test_no_cure_for_this_machine_needs_a_cluster(backend: BackendKind) -> None:
    """`kubectl`, claims, users of pods and their limits are a cluster's."""
    faults = [failure for _, failure in PATTERNS] + [*OF_EXIT.values(), DATA_DENIED, UNKNOWN]
    for failure in faults:
        fix = failure.fix_on(backend)
        assert fix, failure.code
        assert "kubectl" not in fix, failure.code
        if backend == "local":
            for word in ("Launch.resources", "Launch.run_as", "Launch.image", "claim", "the volume"):
                assert word not in fix, failure.code
