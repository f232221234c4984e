"""Local jobs with real processes: what survives what, and that nothing is left behind."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.backends.local import LocalBackend
from launcher.backends.replicas import ReplicaError
from launcher.backends.states import JobState, PodState
from launcher.backends.supervised.backend import SupervisorError
from launcher.backends.supervised.identity import ProcessId, identify
from launcher.backends.supervised.state import JobLayout, load_job_record, save_record
from launcher.plan.handle import Handle
from launcher.render.manifest import parse_manifest
from tests.contract.harness import manifest_text
from tests.contract.local_harness import LocalUnderTest


@pytest.fixture
def place(tmp_path: Path) -> Iterator[LocalUnderTest]:
    made = LocalUnderTest(tmp_path)
    yield made
    made.close()


def layout_of(place: LocalUnderTest, handle: Handle) -> JobLayout:
    return JobLayout(place.runs_dir / handle.job, "local")


def pod_process(place: LocalUnderTest, handle: Handle, node: int, *, restart: int = 0) -> ProcessId:
    path = place.stage / f"{handle.job}-worker-{node}.{restart}" / "pid"
    place.wait_for(path.exists, what="the pod to run")
    return identify(int(path.read_text()))


def supervisor(place: LocalUnderTest, handle: Handle) -> ProcessId:
    record = load_job_record(layout_of(place, handle).state)
    assert record is not None
    return record.supervisor


def with_command(place: LocalUnderTest, *command: str, nodes: int = 1):
    submission = place.submission(nodes=nodes)
    text = manifest_text(
        name="flowers", run_id=submission.manifest.run_id, nodes=nodes, command=list(command)
    )
    (submission.run_folder / "manifest.yaml").write_text(text)
    return dataclasses.replace(submission, manifest=parse_manifest(text))


def test_a_killed_keeper_takes_its_pods_along_and_the_job_is_lost(place):
    handle = place.submit()
    pods = [pod_process(place, handle, node) for node in (0, 1)]
    assert supervisor(place, handle).send(signal.SIGKILL)
    status = place.reaches(handle, lambda status: status.state is JobState.LOST, what="the loss to be seen")
    assert "killed" in status.reason
    assert "ftlaunch resume" in status.reason
    place.wait_for(lambda: not any(pod.is_running() for pod in pods), what="the pods to die")
    assert {pod.state for pod in place.backend.status(handle).pods} == {PodState.UNKNOWN}


def test_a_killed_pod_is_made_again_and_both_logs_are_kept(place):
    handle = place.submit(nodes=1)
    place.say(handle, 0, b"[a1 r0] first life\n")
    assert pod_process(place, handle, 0).send(signal.SIGKILL)
    second = pod_process(place, handle, 0, restart=1)
    status = place.reaches(handle, lambda status: status.state is JobState.RUNNING, what="it to run again")
    assert second.is_running()
    assert status.pods[0].restarts == 1
    place.say(handle, 0, b"[a2 r0] second life\n")
    refs = place.containers(handle)
    assert [ref.restarts for ref in refs] == [0, 1]
    place.wait_for(lambda: place.text(handle, refs[1]), what="its line")
    assert [place.text(handle, ref) for ref in refs] == ["[a1 r0] first life", "[a2 r0] second life"]


def test_a_pod_that_dies_at_once_is_made_again_more_and_more_slowly(place):
    handle = place.backend.submit(with_command(place, "python", "-S", "-c", "raise SystemExit(137)"))
    status = place.reaches(handle, lambda status: status.pods[0].restarts == 2, what="two restarts")
    first = load_job_record(layout_of(place, handle).state)
    assert first is not None
    assert status.state in (JobState.RESTARTING, JobState.RUNNING)
    assert first.pods[0].started_s - first.created_s >= 0.25 + 0.5


def test_cancelling_gives_the_pods_their_grace(place):
    script = (
        "import signal, sys, time\n"
        "def stop(*_):\n    print('saving', flush=True)\n    time.sleep(0.2)\n"
        "    print('saved')\n    sys.exit(143)\n"
        "signal.signal(signal.SIGTERM, stop)\nprint('ready', flush=True)\n"
        "while True: time.sleep(0.01)"
    )
    handle = place.backend.submit(with_command(place, "python", "-S", "-c", script))
    (ref,) = place.wait_for(lambda: place.containers(handle), what="a log")
    place.wait_for(lambda: "ready" in place.text(handle, ref), what="the pod to be ready")
    place.backend.cancel(handle)
    status = place.reaches(handle, lambda status: status.state.is_terminal, what="the end")
    assert status.state is JobState.CANCELLED
    assert status.pods[0].exit_code == 143
    assert place.text(handle, ref) == "ready\nsaving\nsaved"


def test_a_pod_that_does_not_listen_is_killed_when_its_grace_is_over(place):
    script = (
        "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    submission = with_command(place, "python", "-S", "-c", script)
    text = submission.manifest.text.replace(
        "terminationGracePeriodSeconds: 20", "terminationGracePeriodSeconds: 1"
    )
    (submission.run_folder / "manifest.yaml").write_text(text)
    handle = place.backend.submit(dataclasses.replace(submission, manifest=parse_manifest(text)))
    (ref,) = place.wait_for(lambda: place.containers(handle), what="a log")
    place.wait_for(lambda: "deaf" in place.text(handle, ref), what="the pod to be deaf")
    place.backend.cancel(handle)
    status = place.reaches(handle, lambda status: status.state.is_terminal, what="the end")
    assert (status.state, status.pods[0].exit_code) == (JobState.CANCELLED, 137)


def test_a_program_that_does_not_exist_fails_the_job_with_its_name(place):
    handle = place.backend.submit(with_command(place, "no-such-program"))
    status = place.reaches(handle, lambda status: status.state.is_terminal, what="the end")
    assert status.state is JobState.FAILED
    assert "no-such-program" in status.reason
    assert status.pods[0].exit_code == 127


def begin_submitter(place: LocalUnderTest) -> subprocess.Popen[str]:
    here = Path(__file__)
    return subprocess.Popen(
        [sys.executable, str(here.with_name("submitter.py")), str(place.folder)], text=True,
        stdout=subprocess.PIPE, start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(here.parents[3])},
    )  # fmt: skip


def test_the_job_goes_on_when_what_submitted_it_is_killed(place):
    with begin_submitter(place) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "local:///flowers\n"
        os.killpg(process.pid, signal.SIGKILL)
    handle = Handle(backend="local", job="flowers")
    place.run_pods(handle)
    place.finish(handle, 0, 0)
    place.reaches(handle, lambda status: status.state is JobState.SUCCEEDED, what="the end")


def test_submits_at_once_of_the_same_run_start_one_keeper(place):
    submitters = [begin_submitter(place) for _ in range(3)]
    for process in submitters:
        with process:
            assert process.stdout is not None
            assert process.stdout.readline() == "local:///flowers\n"
            process.kill()
    place.run_pods(Handle(backend="local", job="flowers"))
    assert [path.name for path in place.stage.glob("flowers-worker-0.*")] == ["flowers-worker-0.0"]


def test_after_a_restart_of_the_machine_the_job_is_lost_and_nothing_is_signalled(place):
    handle = place.submit(nodes=1)
    pod, layout = pod_process(place, handle, 0), layout_of(place, handle)
    place.reaches(
        handle, lambda status: status.state is JobState.RUNNING, what="the supervisor's last word for now"
    )
    real = load_job_record(layout.state)
    assert real is not None
    save_record(
        layout.state,
        dataclasses.replace(real, supervisor=dataclasses.replace(real.supervisor, boot_id="before")),
    )
    status = place.backend.status(handle)
    assert status.state is JobState.LOST
    assert "restarted" in status.reason
    place.backend.cancel(handle)
    assert pod.is_running()
    save_record(layout.state, real)


def test_deleting_kills_what_runs_and_leaves_nothing(place):
    handle = place.submit()
    left = [supervisor(place, handle), *(pod_process(place, handle, node) for node in (0, 1))]
    record = load_job_record(layout_of(place, handle).state)
    place.backend.delete(handle)
    assert not any(process.is_running() for process in left)
    assert record is not None
    assert not Path(record.scratch).exists()
    assert not layout_of(place, handle).folder.exists()
    assert layout_of(place, handle).manifest.exists()


def test_what_a_pod_started_dies_with_the_job(place):
    script = (
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-S', '-c', 'import time; time.sleep(60)'],"
        " start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); print(p.pid)"
    )
    handle = place.backend.submit(with_command(place, "python", "-S", "-c", script))
    place.reaches(handle, lambda status: status.state is JobState.SUCCEEDED, what="the end")
    (ref,) = place.containers(handle)
    orphan = int(place.text(handle, ref))
    place.wait_for(lambda: not Path(f"/proc/{orphan}").exists(), what="the orphan to die")
    place.wait_for(lambda: not supervisor(place, handle).is_running(), what="the supervisor to end")


def test_a_last_line_without_a_newline_is_kept(place):
    handle = place.backend.submit(with_command(place, "python", "-S", "-c", "print('end', end='')"))
    place.reaches(handle, lambda status: status.state.is_terminal, what="the end")
    (ref,) = place.containers(handle)
    assert place.text(handle, ref) == "end"


def test_pods_work_where_submit_ran_and_find_the_config(place):
    script = "import os, json; print(os.getcwd()); print(sorted(json.loads(os.environ['FTL_PATH_MAP'])))"
    handle = place.backend.submit(with_command(place, "python", "-S", "-c", script))
    place.reaches(handle, lambda status: status.state.is_terminal, what="the end")
    (ref,) = place.containers(handle)
    assert place.text(handle, ref).splitlines() == [
        str(place.folder),
        "['/dev/termination-log', '/workspace']",
    ]


def test_each_pod_sees_its_own_gpus(place):
    submission = place.submission(nodes=2)
    text = submission.manifest.text.replace(
        "image: registry.example/trainer:1",
        "image: registry.example/trainer:1\n            resources: {limits: {nvidia.com/gpu: 2}}",
    )  # fmt: skip
    (submission.run_folder / "manifest.yaml").write_text(text)
    submission = dataclasses.replace(submission, manifest=parse_manifest(text))
    with pytest.raises(ReplicaError, match="expected 4 GPUs on this machine, got 0"):
        place.backend.submit(submission)
    place.backend = LocalBackend(place.runs_dir, gpus=lambda: ("0", "1", "4", "5", "6"))
    handle = place.backend.submit(submission)
    place.run_pods(handle)
    found = [json.loads((place.stage / f"flowers-worker-{node}.0/env").read_text()) for node in (0, 1)]
    assert [env["CUDA_VISIBLE_DEVICES"] for env in found] == ["0,1", "4,5"]


def test_a_keeper_that_cannot_start_says_why(place):
    submission = place.submission(nodes=1)
    (submission.run_folder / "manifest.yaml").write_text("nonsense: [")
    with pytest.raises(SupervisorError, match="manifest: expected YAML"):
        place.backend.submit(submission)
