"""Progress in the job object: what is written, and that nothing of a run waits for it."""

from __future__ import annotations

import dataclasses
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.names import PROGRESS
from tests.launcher.kube.api_server import AUTHORITY, Answer, ApiServer, Asked
from tests.trainer.node.conftest import Job, wait_for
from tests.trainer.node.test_prometheus import make_settings
from trainer.node.publish import (
    JobAnnotations,
    Publisher,
    Report,
    TrainerStatus,
    annotate,
    condense,
    find_places,
    trainer_status,
)
from trainer.protocol.evaluated import Evaluated
from trainer.protocol.nodefile import JobObject
from trainer.protocol.progress import MARK, Progress, RankProgress, parse_progress

TARGET = JobObject(api="kubeflow.org/v1", resource="paddlejobs")
HOSTED = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "KUBERNETES_SERVICE_PORT": "443"}


def progress(*, ranks: int = 2, per_node: int = 2, step: int = 30, **changes: Any) -> Progress:
    rows = tuple(
        RankProgress(
            rank=rank, node=rank // per_node, step=step + rank, epoch=2, phase="compute", loss=0.5,
            images_per_s=10.0, silent_s=0.1,
        )
        for rank in range(ranks)
    )  # fmt: skip
    whole = Progress(time_s=1_795_000_000.0, attempt=1, world_size=ranks, total_steps=120, ranks=rows)
    return dataclasses.replace(whole, **changes)


def test_what_is_written_is_a_progress_line_for_programs_and_words_for_people() -> None:
    found = Evaluated(top1=0.8123, best_top1=0.9, largest_class=0.25, images=100)
    notes = annotate(Report(progress=progress(evaluated=found), left_s=4800.0))
    assert notes == {
        PROGRESS: notes[PROGRESS],
        "ftlaunch.io/step": "30/120",
        "ftlaunch.io/epoch": "3",
        "ftlaunch.io/metric": "top1 0.8123, best 0.9",
        "ftlaunch.io/time-left": "80 min",
    }
    assert parse_progress(MARK + str(notes[PROGRESS]).encode()) == progress(evaluated=found)


def test_what_does_not_hold_any_more_is_taken_away() -> None:
    notes = annotate(Report(progress=progress(step=120), left_s=0.0))
    assert notes["ftlaunch.io/step"] == "120/120"
    assert [notes[f"ftlaunch.io/{name}"] for name in ("epoch", "metric", "time-left")] == [None] * 3


@pytest.mark.parametrize(
    ("ranks", "per_node", "rows"), [(16, 8, 16), (17, 1, 17), (512, 8, 64), (1024, 8, 1)]
)
def test_many_ranks_take_few_rows_and_the_sums_stay(ranks: int, per_node: int, rows: int) -> None:
    short = condense(progress(ranks=ranks, per_node=per_node, absent=(900,)))
    assert len(short.ranks) == rows
    assert sum(rank.images_per_s or 0.0 for rank in short.ranks) == 10.0 * ranks
    assert short.step == 30
    assert short.absent == (None if rows == 1 else (900,))
    assert len(str(annotate(Report(progress=short, left_s=None))[PROGRESS])) < 12_000


def test_kubeflow_trainer_gets_its_own_form() -> None:
    found = trainer_status(Report(progress=progress(), left_s=90.4))["trainerStatus"]
    metrics = {item["name"]: item["value"] for item in found.pop("metrics")}
    assert metrics == {
        "step": "30", "totalSteps": "120", "currentEpoch": "3", "loss": "0.5", "images_per_s": "20"
    }  # fmt: skip
    assert found == {
        "progressPercentage": 25, "estimatedRemainingSeconds": 90, "lastUpdatedTime": "2026-11-18T11:06:40Z"
    }  # fmt: skip


def test_places_are_what_was_asked_for_or_is_offered(tmp_path: Path) -> None:
    plain = make_settings(tmp_path)
    assert find_places(plain, HOSTED) == ([], [])
    asked = dataclasses.replace(
        plain, api_access=tmp_path, job=dataclasses.replace(plain.job, publish=TARGET)
    )
    (place,), problems = find_places(asked, HOSTED)
    assert (place.shown, problems) == ("paddlejobs/flowers-a3f9k", [])
    (place,), _ = find_places(asked, {**HOSTED, "KUBERNETES_SERVICE_HOST": "fd00::1"})
    assert isinstance(place, JobAnnotations)
    assert place.server == "https://[fd00::1]:443"
    places, (problem,) = find_places(asked, {})
    assert places == []
    assert "expected KUBERNETES_SERVICE_HOST" in problem
    offered = {
        "KUBEFLOW_TRAINER_SERVER_URL": "https://x/status", "KUBEFLOW_TRAINER_SERVER_CA_CERT": "/ca",
        "KUBEFLOW_TRAINER_SERVER_TOKEN": "/token",
    }  # fmt: skip
    assert find_places(plain, offered)[0] == [
        TrainerStatus(url="https://x/status", token=Path("/token"), certificate=Path("/ca"))
    ]
    assert find_places(plain, {**offered, "KUBEFLOW_TRAINER_SERVER_URL": "http://x"}) == ([], [])


@pytest.fixture
def server() -> Iterator[ApiServer]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    with ApiServer(tls=context) as running:
        yield running


@pytest.fixture
def access(tmp_path: Path) -> Path:
    """What a pod has mounted."""
    folder = tmp_path / "access"
    folder.mkdir()
    (folder / "token").write_text("first\n")
    (folder / "namespace").write_text("ml")
    AUTHORITY.cert_pem.write_to_path(str(folder / "ca.crt"))
    return folder


@pytest.fixture
def place(server: ApiServer, access: Path) -> JobAnnotations:
    return JobAnnotations(target=TARGET, job="flowers-a3f9k", folder=access, server=server.url)


def test_the_jobs_annotations_are_patched_and_nothing_else(
    server: ApiServer, access: Path, place: JobAnnotations, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://proxy.invalid")
    report = Report(progress=progress(), left_s=60.0)
    assert place.write(report) is None
    (access / "token").write_text("renewed")
    assert place.write(report) is None
    first, second = server.asked
    assert (first.method, first.path) == (
        "PATCH", "/apis/kubeflow.org/v1/namespaces/ml/paddlejobs/flowers-a3f9k"
    )  # fmt: skip
    assert first.headers["Content-Type"] == "application/merge-patch+json"
    assert first.body == {"metadata": {"annotations": dict(annotate(report))}}
    tokens = [asked.headers["Authorization"] for asked in (first, second)]
    assert tokens == ["Bearer first", "Bearer renewed"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(code=403), "it answered 403: the service account may not patch it; k8s/rbac/progress.yaml"),
        (Answer(code=401), "it answered 401: it does not know the token"),
        (Answer(code=404), "it answered 404: there is no such object"),
        (Answer(code=422, body=b'{"message": "denied by policy"}'), "it answered 422: denied by policy"),
        (Answer(code=500, body=b"[" * 9000), "it answered 500: Internal Server Error"),
        (Answer(code=307, location="https://elsewhere.invalid/"), "it answered 307"),
    ],
)  # fmt: skip
def test_a_refusal_is_said_by_its_name(
    server: ApiServer, place: JobAnnotations, answer: Answer, said: str
) -> None:
    server.answer = lambda _: answer
    assert (place.write(Report(progress=progress(), left_s=None)) or "").startswith(said)


def test_what_is_not_there_is_said_too(access: Path, place: JobAnnotations) -> None:
    report = Report(progress=progress(), left_s=None)
    nobody = dataclasses.replace(place, server="https://127.0.0.1:1")
    assert "refused" in (nobody.write(report) or "")
    (access / "ca.crt").write_text("")
    assert place.write(report)
    (access / "namespace").unlink()
    assert place.write(report) == "no such file or directory"


class Slow:
    """A place that answers when it is let."""

    shown = "paddlejobs/x"

    def __init__(self) -> None:
        self.written: list[Report] = []
        self.problems: list[str | None] = []
        self.free = threading.Semaphore(0)
        self.entered = threading.Semaphore(0)

    def write(self, report: Report) -> str | None:
        self.written.append(report)
        self.entered.release()
        self.free.acquire()
        return self.problems.pop(0) if self.problems else None


def test_the_newest_is_written_and_the_last_one_at_the_end() -> None:
    slow, said = Slow(), []
    publisher = Publisher(slow, every_s=3600.0, say=said.append)
    publisher.take(progress(step=1))
    slow.entered.acquire()
    publisher.take(progress(step=2))
    publisher.take(progress(step=11, time_s=1_795_000_010.0))
    slow.free.release(2)
    publisher.close(10.0)
    assert [report.progress.step for report in slow.written] == [1, 11]
    assert [report.left_s for report in slow.written] == [None, pytest.approx(109.0)]
    assert said == []


def test_a_hanging_server_keeps_the_end_for_a_bounded_time() -> None:
    slow = Slow()
    publisher = Publisher(slow, every_s=0.0, say=lambda _: None)
    publisher.take(progress())
    slow.entered.acquire()
    publisher.close(0.05)
    assert len(slow.written) == 1
    slow.free.release()


def test_refusals_are_said_once_and_their_end_too() -> None:
    slow, said = Slow(), []
    slow.problems = ["it answered 500: a", "it answered 403: b", None]
    publisher = Publisher(slow, every_s=0.0, say=said.append)
    for step in range(3):
        publisher.take(progress(step=step))
        slow.entered.acquire()
        slow.free.release()
    publisher.close(10.0)
    assert said == [
        "progress: paddlejobs/x is not written: it answered 500: a; training goes on",
        "progress: paddlejobs/x is written again",
    ]


@pytest.mark.parametrize("kind", ["takes", "hangs", "refuses"])
def test_a_run_ends_as_it_would_whatever_the_server_does(
    kind: str, new_job: Callable[..., Job], server: ApiServer, access: Path
) -> None:
    answers = {"takes": Answer(), "hangs": Answer(stall=True), "refuses": Answer(code=403)}
    server.answer = lambda _: answers[kind]
    job = new_job(nodes=1, procs_per_node=1, publish=TARGET)
    job.pace.update(report_s=0.1, publish_s=0.1, publish_last_s=0.5)
    host, _, port = server.url.removeprefix("https://").partition(":")
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}
    (node,) = job.start(
        0, plan={"steps": 20, "step_s": 0.02}, env=environ, mapped={"/etc/ftlaunch-api": str(access)}
    )
    assert node.exit() == 0
    wait_for(lambda: server.asked, what="a patch")

    def steps(asked: Asked) -> str:
        return str(asked.body["metadata"]["annotations"]["ftlaunch.io/step"])

    if kind == "takes":
        assert steps(server.asked[-1]) == "20/20"
        assert json.loads(server.asked[-1].body["metadata"]["annotations"][PROGRESS])["world_size"] == 1
    warning = "progress: paddlejobs/job-abcde is not written: it answered 403"
    assert node.text.count(warning) == (kind == "refuses")
