"""Jobs in a fake engine with real processes: killed supervisors, streams that end, names that are taken."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.backends.states import JobState, JobStatus
from launcher.backends.supervised.podlog import PodLog, count_output
from launcher.backends.supervised.state import JobLayout, JobRecord, load_job_record
from launcher.errors import TakenError
from launcher.plan.handle import Handle
from tests.contract.docker_harness import DockerUnderTest


@pytest.fixture
def place(tmp_path: Path) -> Iterator[DockerUnderTest]:
    made = DockerUnderTest(tmp_path)
    yield made
    made.close()


def record(place: DockerUnderTest, handle: Handle) -> JobRecord:
    found = load_job_record(JobLayout(place.runs_dir / handle.job, "docker").state)
    assert found is not None
    return found


def engine(place: DockerUnderTest, *argv: str) -> str:
    done = subprocess.run([place.folder / "docker", *argv], capture_output=True, text=True, check=True)
    return done.stdout


def lose(place: DockerUnderTest, handle: Handle) -> JobStatus:
    """Kill the supervisor of a job whose pods run."""
    place.reaches(handle, lambda status: status.state is JobState.RUNNING, what="the job to run")
    assert record(place, handle).supervisor.send(signal.SIGKILL)
    return place.reaches(handle, lambda status: status.state is JobState.LOST, what="the loss to be seen")


def left(place: DockerUnderTest) -> list[Path]:
    return list(place.engine_folder.glob("*/*"))


def test_a_lost_job_says_that_its_containers_go_on_and_what_to_do(place):
    reason = lose(place, place.submit()).reason
    assert "its supervisor was killed, and its containers may go on" in reason
    assert "ftlaunch resume" in reason
    assert "ftlaunch cancel" in reason


def test_resume_goes_on_with_the_containers_that_outlived_their_keeper(place):
    handle = place.submit()
    place.say(handle, 0, b"[a1 r0] kept\n")
    (first, _) = place.wait_for(
        lambda: refs if len(refs := place.containers(handle)) == 2 else None, what="two logs"
    )
    place.wait_for(lambda: place.text(handle, first) == "[a1 r0] kept", what="the line")
    before = record(place, handle)
    lose(place, handle)
    place.say(handle, 0, b"[a1 r0] nobody listens\n")
    place.backend.resume(handle)
    place.say(handle, 0, b"[a1 r0] kept again\n")
    lines = "[a1 r0] kept\n[a1 r0] nobody listens\n[a1 r0] kept again"
    place.wait_for(lambda: place.text(handle, first) == lines, what="all lines once")
    after = record(place, handle)
    assert [(pod.uid, pod.restart, pod.started_s) for pod in after.pods] == [
        (pod.uid, 0, pod.started_s) for pod in before.pods
    ]
    assert after.supervisor != before.supervisor
    for node in (0, 1):
        place.finish(handle, node, 0)
    place.reaches(handle, lambda status: status.state is JobState.SUCCEEDED, what="the end")
    place.wait_for(lambda: not left(place), what="containers and network to be gone")


@pytest.mark.parametrize(
    ("code", "state", "restarts"),
    [(0, JobState.RUNNING, 0), (3, JobState.FAILED, 0), (143, JobState.RUNNING, 1)],
    ids=["succeeded", "failed", "made again"],
)
def test_what_ended_while_nobody_kept_it_counts_as_it_would_have(place, code, state, restarts):
    handle = place.submit()
    lose(place, handle)
    place.finish(handle, 1, code)
    place.wait_for(
        lambda: engine(place, "inspect", "--format", "{{.State.Status}} {{.State.ExitCode}}",
                       f"{handle.job}-worker-1") == f"exited {code}\n",
        what="the container to end",
    )  # fmt: skip
    place.backend.resume(handle)
    status = place.reaches(
        handle,
        lambda status: status.state is state and status.pods[1].restarts == restarts,
        what="the verdict",
    )
    assert status.pods[0].restarts == 0
    if code == 0:
        place.reaches(handle, lambda status: status.pods[1].exit_code == 0, what="the end to be seen")


def test_cancelling_a_lost_job_stops_its_containers_and_removes_them(place):
    handle = place.submit()
    lose(place, handle)
    place.backend.cancel(handle)
    status = place.reaches(handle, lambda status: status.state.is_terminal, what="the end")
    assert (status.state, [pod.exit_code for pod in status.pods]) == (JobState.CANCELLED, [143, 143])
    place.wait_for(lambda: not left(place), what="containers and network to be gone")


def test_deleting_a_lost_job_leaves_nothing(place):
    handle = place.submit()
    lose(place, handle)
    place.backend.delete(handle)
    assert left(place) == []
    assert not (place.runs_dir / handle.job / "docker").exists()


def test_of_two_resumes_at_once_one_keeper_comes(place):
    handle = place.submit()
    lose(place, handle)
    both = [threading.Thread(target=place.backend.resume, args=(handle,)) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    place.reaches(handle, lambda status: status.state is JobState.RUNNING, what="it to run again")
    after = record(place, handle)
    assert (after.generation, after.supervisor.is_running()) == (1, True)
    assert [pod.restart for pod in after.pods] == [0, 0]
    supervisors = [
        path for path in Path("/proc").glob("[0-9]*/cmdline")
        if str(place.runs_dir / handle.job).encode() in _read(path)
    ]  # fmt: skip
    assert [int(path.parent.name) for path in supervisors] == [after.supervisor.pid]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


def test_a_stream_that_ends_before_its_container_is_begun_again_where_it_was_cut(place):
    handle = place.submit(nodes=1)
    place.say(handle, 0, b"[a1 r0] one\n")
    (ref,) = place.wait_for(lambda: place.containers(handle), what="a log")
    place.wait_for(lambda: place.text(handle, ref) == "[a1 r0] one", what="the line")
    stream = record(place, handle).pods[0].process
    assert stream is not None
    assert stream.send(signal.SIGKILL)
    place.say(handle, 0, b"[a1 r0] two\n")
    place.wait_for(lambda: place.text(handle, ref) == "[a1 r0] one\n[a1 r0] two", what="both lines once")


def take(place: DockerUnderTest) -> None:
    """Have somebody else's container and network stand where those of `flowers` would."""
    engine(place, "network", "create", "flowers")
    engine(
        place, "create", "--name", "flowers-worker-1", "--network", "flowers", "--label", "owner=me",
        "--entrypoint", "sleep", "image",
    )  # fmt: skip


def test_names_that_others_have_are_refused_before_anything_is_done(place):
    take(place)
    submission = place.submission()
    for attempt in (place.backend.check, place.backend.submit):
        with pytest.raises(TakenError) as refused:
            attempt(submission)
        assert "container 'flowers-worker-1': expected a free name" in str(refused.value)
        assert "network 'flowers': expected a free name" in str(refused.value)
    assert not (submission.run_folder / "docker").exists()
    assert {path.name for path in left(place)} == {"flowers", "flowers-worker-1"}


def test_a_name_that_was_taken_meanwhile_is_refused_to_a_resumed_job(place):
    handle = place.submit()
    place.backend.cancel(handle)
    place.reaches(handle, lambda status: status.state is JobState.CANCELLED, what="the end")
    place.wait_for(lambda: not left(place), what="containers and network to be gone")
    take(place)
    with pytest.raises(TakenError, match="flowers-worker-1"):
        place.backend.resume(handle)
    assert place.backend.status(handle).state is JobState.CANCELLED
    place.backend.delete(handle)
    assert {path.name for path in left(place)} == {"flowers", "flowers-worker-1"}


def test_a_log_tells_how_much_output_it_holds(tmp_path: Path):
    path = tmp_path / "0.log"
    assert count_output(path) == 0
    output = b"short\n\n" + b"x" * 40_000 + b"\n\xc3\xbc\r\n"
    log = PodLog(path)
    log.take(output + b"not whole yet")
    assert count_output(path) == len(output)
    whole = path.read_bytes()
    path.write_bytes(whole + b"2026-01-01T00:00:00.000000000Z stdout F torn")
    assert count_output(path) == len(output)
    assert path.read_bytes() == whole
