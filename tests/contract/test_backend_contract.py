"""What every backend does, whatever runs the pods."""

from __future__ import annotations

import asyncio
import dataclasses
import re
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from launcher.backends.states import JobState, PodState
from launcher.errors import NotFoundError, TakenError, UsageError
from launcher.kinds.job import IndexedJob
from launcher.kinds.registry import KINDS
from launcher.logs.source import End, LogRequest
from launcher.plan.handle import Handle, parse_handle
from launcher.times import parse_instant
from tests.contract.docker_harness import DockerUnderTest
from tests.contract.harness import OTHER_RUN_ID, RUN_ID, BackendUnderTest, Collector
from tests.contract.kubernetes_harness import KubernetesUnderTest
from tests.contract.local_harness import LocalUnderTest

TIMED_LINE = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{1,9}Z .*")


PLACES: dict[str, Callable[[Path], BackendUnderTest]] = {
    **{f"kubernetes-{kind.name}": partial(KubernetesUnderTest, kind=kind) for kind in KINDS},
    "local": LocalUnderTest,
    "docker": DockerUnderTest,
}


@pytest.fixture(params=PLACES.values(), ids=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BackendUnderTest]:
    made: BackendUnderTest = request.param(tmp_path)
    yield made
    made.close()


def nobody(place: BackendUnderTest) -> Handle:
    kind = place.backend.kind
    return parse_handle(f"{kind}://{'ml' if kind == 'kubernetes' else ''}/nobody")


def test_a_submitted_job_runs_with_a_pod_a_node(place):
    handle = place.submit(nodes=2)
    status = place.reaches(handle, lambda status: status.state is JobState.RUNNING, what="the job to run")
    assert (handle.backend, handle.job) == (place.backend.kind, "flowers")
    assert parse_handle(str(handle)) == status.handle == handle
    assert status.run_id == RUN_ID
    assert [(pod.node, pod.state, pod.restarts) for pod in status.pods] == [
        (0, PodState.RUNNING, 0), (1, PodState.RUNNING, 0),
    ]  # fmt: skip
    assert all(place.kind.is_name_of(pod.pod, job="flowers") for pod in status.pods)
    fixed = [place.kind.pod_name("flowers", pod.node) for pod in status.pods]
    assert fixed in ([None, None], [pod.pod for pod in status.pods])
    assert status.ended_s is None


def test_a_second_submit_of_the_same_run_finds_the_first_ones_job(place):
    submission = place.submission()
    first = place.backend.submit(submission)
    assert place.backend.submit(submission) == first
    assert len(place.backend.list_jobs()) == 1


def test_a_second_submit_of_a_run_that_has_ended_starts_nothing(place):
    handle = place.submit(nodes=1)
    place.finish(handle, 0, 0)
    place.reaches(handle, lambda status: status.state is JobState.SUCCEEDED, what="the end")
    assert place.backend.submit(place.submission(nodes=1)) == handle
    assert place.backend.status(handle).state is JobState.SUCCEEDED


def test_a_check_says_what_it_looked_at_and_leaves_nothing_behind(place):
    said = place.backend.check(place.submission())
    assert said
    assert all(isinstance(sentence, str) for sentence in said)
    assert place.backend.list_jobs() == ()
    handle = place.submit()
    with pytest.raises(TakenError):
        place.backend.check(place.submission(run_id=OTHER_RUN_ID))
    assert place.backend.status(handle).run_id == RUN_ID


def test_a_name_that_another_run_has_is_taken(place):
    handle = place.submit()
    with pytest.raises(TakenError, match="flowers"):
        place.backend.submit(place.submission(run_id=OTHER_RUN_ID))
    assert place.backend.status(handle).run_id == RUN_ID


def test_a_job_succeeds_only_when_all_its_pods_have(place):
    handle = place.submit()
    place.finish(handle, 0, 0)
    status = place.reaches(handle, lambda status: status.pods[0].state is PodState.SUCCEEDED, what="pod 0")
    assert status.state is JobState.RUNNING
    place.finish(handle, 1, 0)
    status = place.reaches(handle, lambda status: status.state.is_terminal, what="the end")
    assert status.state is JobState.SUCCEEDED
    assert status.ended_s is not None
    assert [pod.exit_code for pod in status.pods] == [0, 0]


@pytest.mark.parametrize("code", [1, 3, 127])
def test_a_pod_that_exits_below_128_fails_the_job_and_leaves_the_others_alone(place, code):
    handle = place.submit()
    place.finish(handle, 1, code, reason="the data was refused")
    if isinstance(place.kind, IndexedJob):  # it has failed once its peers have ended, which nobody cuts off
        status = place.reaches(handle, lambda status: bool(status.reason), what="the failure to be told")
        assert (status.state, status.pods[0].state) == (JobState.RUNNING, PodState.RUNNING)
        assert "the data was refused; its peers go on" in status.reason
        place.finish(handle, 0, 20)
    status = place.reaches(handle, lambda status: status.state.is_terminal, what="the end")
    assert status.state is JobState.FAILED
    assert (status.pods[1].state, status.pods[1].exit_code) == (PodState.FAILED, code)
    assert status.pods[1].reason == "the data was refused"
    assert status.termination is not None
    assert status.termination.exit == code
    if not isinstance(place.kind, IndexedJob):
        assert status.pods[0].state is PodState.RUNNING


@pytest.mark.parametrize("code", [128, 137, 143])
def test_a_pod_that_exits_with_128_or_more_is_made_again_alone(place, code):
    if isinstance(place.kind, IndexedJob) and code == 128:
        assert not place.kind.is_retried(code)  # nothing of ours ends so; its policy names two codes
        return
    handle = place.submit()
    place.reaches(handle, lambda status: status.state is JobState.RUNNING, what="the job to run")
    place.finish(handle, 1, code)
    place.reaches(handle, lambda status: status.pods[1].restarts == 1, what="the pod to be made again")
    place.run_pods(handle)
    status = place.reaches(handle, lambda status: status.state is JobState.RUNNING, what="the job to run")
    assert [pod.restarts for pod in status.pods] == [0, 1]
    assert {pod.state for pod in status.pods} == {PodState.RUNNING}
    assert status.pods[1].exit_code is None


def test_a_log_has_a_time_before_each_line_and_is_read_on_from_one(place):
    handle = place.submit(nodes=1)
    place.say(handle, 0, b"[a1 r0] one\n[a1 r0] two \xc3\xbc\r50%\r100%\n")
    (container,) = place.wait_for(lambda: place.containers(handle), what="a log")
    assert (container.node, container.pod, container.restarts) == (0, place.pod(handle, 0), 0)
    place.wait_for(lambda: place.log(handle, container).count(b"\n") == 2, what="both lines")
    lines = place.log(handle, container).split(b"\n")
    assert lines.pop() == b""
    assert all(TIMED_LINE.fullmatch(line) for line in lines)
    assert [line.partition(b" ")[2] for line in lines] == [
        b"[a1 r0] one", b"[a1 r0] two \xc3\xbc\r50%\r100%"
    ]  # fmt: skip
    assert place.log(handle, container, tail_lines=1) == lines[1] + b"\n"
    last_s = parse_instant(lines[1].partition(b" ")[0]) // 1_000_000_000
    assert lines[1] in place.log(handle, container, since_s=last_s)


def test_a_followed_log_gives_what_is_written_until_its_container_ends(place):
    handle = place.submit(nodes=1)
    place.say(handle, 0, b"[a1 r0] one\n")
    (container,) = place.wait_for(lambda: place.containers(handle), what="a log")
    heard = Collector()

    async def follow():
        source = place.backend.log_source(handle)
        response = source.open(LogRequest(container=container, follow=True), heard)
        while heard.result is None:
            await asyncio.sleep(0.005)
        response.close()

    following = threading.Thread(target=lambda: asyncio.run(follow()), daemon=True)
    following.start()
    place.wait_for(lambda: b"one" in heard.data, what="the first line")
    place.say(handle, 0, b"[a1 r0] two\n")
    place.wait_for(lambda: b"two" in heard.data, what="the second line")
    assert heard.result is None
    place.say(handle, 0, b"[a1 r0] last\n")
    place.finish(handle, 0, 0)
    following.join(20.0)
    assert heard.result == End()
    assert [line.rpartition(b" ")[2] for line in heard.data.splitlines()] == [b"one", b"two", b"last"]


def test_a_paused_answer_brings_nothing_until_it_is_resumed(place):
    handle = place.submit(nodes=1)
    place.say(handle, 0, b"[a1 r0] one\n")
    (container,) = place.wait_for(lambda: place.containers(handle), what="a log")
    place.wait_for(lambda: place.log(handle, container), what="the line")
    heard = Collector()

    async def pause_and_resume():
        response = place.backend.log_source(handle).open(LogRequest(container=container), heard)
        response.pause()
        await asyncio.sleep(0.1)
        before = heard.data
        response.resume()
        while heard.result is None:
            await asyncio.sleep(0.005)
        response.close()
        return before

    assert asyncio.run(asyncio.wait_for(pause_and_resume(), 20.0)) == b""
    assert heard.data.endswith(b"[a1 r0] one\n")


def test_logs_name_their_pod_and_each_has_its_own_lines(place):
    handle = place.submit(nodes=3)
    for node in (2, 0, 1):
        place.say(handle, node, b"[a1 n%d] here\n" % node)
    containers = place.wait_for(
        lambda: found if len(found := place.containers(handle)) == 3 else None, what="three logs"
    )
    assert [container.node for container in containers] == [0, 1, 2]
    for container in containers:
        place.wait_for(
            lambda one=container: place.text(handle, one) == f"[a1 n{one.node}] here", what="its own line"
        )


def test_a_snapshot_says_what_has_ended(place):
    handle = place.submit(nodes=2)
    place.wait_for(lambda: len(place.containers(handle)) == 2, what="both logs")
    place.finish(handle, 1, 0)
    place.wait_for(lambda: place.snapshot(handle).pods[1].has_ended, what="the end of pod 1")
    snapshot = place.snapshot(handle)
    assert (snapshot.has_ended, snapshot.pods[0].has_ended) == (False, False)
    place.finish(handle, 0, 0)
    place.wait_for(lambda: place.snapshot(handle).has_ended, what="the end of the job")


def test_a_job_that_does_not_exist_has_ended_for_who_follows_its_logs(place):
    snapshot = place.snapshot(nobody(place))
    assert (snapshot.has_ended, snapshot.pods) == (True, ())


def test_the_ends_of_logs_are_read_by_node_and_no_more_than_are_asked_for(place):
    handle = place.submit(nodes=3)
    for node in (0, 1, 2):
        place.say(handle, node, b"[a1 n%d] first\n[a1 n%d] last\n" % (node, node))
    place.wait_for(
        lambda: all("last" in place.text(handle, one) for one in place.containers(handle)), what="all lines"
    )
    tails = place.backend.read_tails(handle, pods=2, max_bytes=65536)
    names = [place.pod(handle, node) for node in (0, 1)]
    assert list(tails) == names
    assert [line.partition(" ")[2] for line in tails[names[1]].splitlines()] == [
        "[a1 n1] first", "[a1 n1] last"
    ]  # fmt: skip
    assert place.backend.read_tails(handle, pods=1, max_bytes=5) == {names[0]: "last\n"}

    async def within_a_loop():  # as in a notebook
        return place.backend.read_tails(handle, pods=1, max_bytes=5)

    assert asyncio.run(within_a_loop()) == {names[0]: "last\n"}


def test_progress_is_the_last_that_node_0_said(place):
    handle = place.submit(nodes=1)
    assert place.backend.status(handle).progress is None
    for step in (1, 2):
        place.say(
            handle, 0,
            b'[a1 n0] ftlaunch-progress {"schema":1,"time_s":1.0,"attempt":1,"world_size":1,"total_steps":9,'
            b'"ranks":[{"rank":0,"node":0,"step":%d,"epoch":0,"phase":"compute","loss":1.5,'
            b'"images_per_s":2.0,"silent_s":0.0}]}\n' % step,
        )  # fmt: skip
    status = place.reaches(
        handle,
        lambda status: status.progress is not None and status.progress.ranks[0].step == 2,
        what="progress",
    )
    assert status.progress.total_steps == 9


def test_a_cancelled_job_ends_as_cancelled_and_does_not_come_back(place):
    handle = place.submit()
    place.reaches(handle, lambda status: status.state is JobState.RUNNING, what="the job to run")
    place.backend.cancel(handle)
    place.end_pods(handle)
    status = place.reaches(handle, lambda status: status.state.is_terminal, what="the end")
    assert status.state is JobState.CANCELLED
    assert all(pod.restarts == 0 for pod in status.pods)


def test_a_cancelled_job_is_taken_up_again_as_the_same_run(place):
    handle = place.submit()
    place.reaches(handle, lambda status: status.state is JobState.RUNNING, what="the job to run")
    before = place.backend.status(handle)
    place.backend.cancel(handle)
    place.end_pods(handle)
    place.reaches(handle, lambda status: status.state is JobState.CANCELLED, what="the end")
    place.backend.resume(handle)
    place.run_pods(handle)
    status = place.reaches(handle, lambda status: status.state is JobState.RUNNING, what="it to run again")
    assert (status.run_id, status.created_s, status.ended_s) == (RUN_ID, before.created_s, None)
    for node in (0, 1):
        place.finish(handle, node, 0)
    status = place.reaches(handle, lambda status: status.state.is_terminal, what="the end")
    assert status.state is JobState.SUCCEEDED


def test_resuming_a_job_that_goes_on_changes_nothing(place):
    handle = place.submit(nodes=1)
    before = place.reaches(handle, lambda status: status.state is JobState.RUNNING, what="the job to run")
    place.backend.resume(handle)
    assert place.backend.status(handle) == before


@pytest.mark.parametrize("code", [0, 3])
def test_a_job_that_has_ended_by_itself_is_not_resumed(place, code):
    handle = place.submit(nodes=1)
    place.finish(handle, 0, code)
    place.reaches(handle, lambda status: status.state.is_terminal, what="the end")
    with pytest.raises(UsageError, match="--continue flowers"):
        place.backend.resume(handle)


def test_cancelling_a_job_that_has_ended_changes_nothing(place):
    handle = place.submit(nodes=1)
    place.finish(handle, 0, 0)
    before = place.reaches(handle, lambda status: status.state is JobState.SUCCEEDED, what="the end")
    place.backend.cancel(handle)
    assert place.backend.status(handle).state is JobState.SUCCEEDED
    assert place.backend.status(handle).ended_s == before.ended_s


def test_a_deleted_job_is_gone_and_its_name_free(place):
    handle = place.submit()
    place.backend.delete(handle)
    place.end_pods(handle)
    with pytest.raises(NotFoundError):
        place.backend.status(handle)
    assert place.backend.list_jobs() == ()
    assert place.backend.submit(place.submission(run_id=OTHER_RUN_ID)) == handle
    assert place.backend.status(handle).run_id == OTHER_RUN_ID


@pytest.mark.parametrize("method", ["status", "cancel", "resume", "delete"])
def test_a_job_that_does_not_exist_is_not_found(place, method):
    with pytest.raises(NotFoundError, match="nobody"):
        getattr(place.backend, method)(nobody(place))


def test_jobs_are_listed_newest_first(place):
    for name in ("first", "second"):
        place.backend.submit(place.submission(name=name, nodes=1))
        if isinstance(place, KubernetesUnderTest):
            place.cluster.pass_time(10)
    listed = place.backend.list_jobs()
    assert [status.handle.job for status in listed] == ["second", "first"]
    assert all(dataclasses.is_dataclass(status) for status in listed)


def test_jobs_of_some_runs_are_listed_alone(place):
    place.backend.submit(place.submission(nodes=1))
    assert place.backend.list_jobs([OTHER_RUN_ID]) == ()
    assert [status.run_id for status in place.backend.list_jobs([OTHER_RUN_ID, RUN_ID])] == [RUN_ID]
