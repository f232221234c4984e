"""The pieces of the local backend that need no supervisor."""

from __future__ import annotations

import dataclasses
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.backends.devices import list_gpus
from launcher.backends.local.pods import DIFFERENCES, map_paths, pod_environment, prepare_pod
from launcher.backends.podspec import Mount, Source
from launcher.backends.replicas import Pod, expand, find_unmapped
from launcher.backends.states import JobState, PodState
from launcher.backends.supervised.identity import ProcessId, identify, list_children
from launcher.backends.supervised.job_state import judge_job
from launcher.backends.supervised.podlog import MAX_PART, PodLog
from launcher.backends.supervised.state import (
    JobLayout,
    JobRecord,
    PodRecord,
    Request,
    load_job_record,
    load_request,
    save_record,
)
from launcher.logs.lines import LineReader
from launcher.render.manifest import parse_manifest
from launcher.times import STAMP_BYTES, format_stamp
from tests.contract.harness import RUN_ID, manifest_text
from trainer.protocol.codec import FormatError
from trainer.protocol.pathmap import parse_path_map
from trainer.protocol.tags import cut_line


def a_pod(*mounts: Mount, **env: str) -> Pod:
    text = manifest_text(name="flowers", run_id=RUN_ID, nodes=1, command=["python", "x.py"])
    pod = expand(parse_manifest(text))[0]
    return dataclasses.replace(pod, mounts=mounts, env={**pod.env, **env}, working_dir="/workspace")


# environment and paths


def test_a_pod_differs_from_the_operators_only_in_what_the_table_names(tmp_path):
    home = Mount(path="/home/trainer", volume="home", source=Source.EMPTY)
    pod = a_pod(home, HOME="/home/trainer", TMPDIR="/tmp", NCCL_DEBUG="WARN")
    request = Request(run_id=RUN_ID, host_folders={}, workdir=str(tmp_path))
    paths = map_paths(pod, layout=JobLayout(tmp_path, "local"), request=request, scratch=tmp_path / "s")
    here = {"PATH": "/bin", "HOME": "/root", "LANG": "C", "SECRET": "x", "PYTHONPATH": "/p", "TMPDIR": "/t"}
    env = pod_environment(pod, paths=paths, coordinator="c:1", master="m:2", devices=("3",), here=here)
    differing = {name for name in {*env, *pod.env} if env.get(name) != pod.env.get(name)}
    assert differing <= set(DIFFERENCES)
    assert "SECRET" not in env
    assert env["PATH"].split(os.pathsep) == [str(Path(sys.executable).parent), "/bin"]
    assert env["HOME"] == str(tmp_path / "s/0/home")
    assert env["TMPDIR"] == "/t"  # no mount is there, so this machine's own
    assert (env["PADDLE_MASTER"], env["FTL_COORDINATOR"], env["CUDA_VISIBLE_DEVICES"]) == ("m:2", "c:1", "3")
    assert env["NCCL_DEBUG"] == "WARN"


@pytest.mark.parametrize(
    ("here", "given"),
    [
        ({"HOME": "/home/me"}, {"FTL_HOME": "/home/me"}),
        ({"FTL_WEIGHTS": "/w", "FTLAUNCH_WEIGHTS": "/old", "FTL_OFFLINE": "1"},
         {"FTL_WEIGHTS": "/w", "FTL_OFFLINE": "1"}),
        ({"FTLAUNCH_WEIGHTS": "/old", "FTLAUNCH_OFFLINE": "1"}, {"FTL_WEIGHTS": "/old", "FTL_OFFLINE": "1"}),
        ({"FTLAUNCH_WEIGHTS": "{claim: w, path: /w}"}, {}),
    ],
    ids=["home", "new names", "old names", "a setting of the launcher"],
)  # fmt: skip
def test_a_pod_finds_weights_where_its_user_does(tmp_path, here, given):
    request = Request(run_id=RUN_ID, host_folders={}, workdir=str(tmp_path))
    pod = a_pod()
    paths = map_paths(pod, layout=JobLayout(tmp_path, "local"), request=request, scratch=tmp_path)
    env = pod_environment(pod, paths=paths, coordinator="c:1", master="m:2", devices=(), here=here)
    names = ("FTL_HOME", "FTL_WEIGHTS", "FTL_OFFLINE")
    assert {name: env[name] for name in names if name in env} == given


def test_a_config_may_name_this_machines_tmp(tmp_path):
    pod = a_pod(
        Mount(path="/tmp", volume="tmp", source=Source.EMPTY),
        Mount(path="/dev/shm", volume="shm", source=Source.MEMORY),
        Mount(path="/workspace", volume="workspace", source=Source.EMPTY),
        Mount(path="/data", volume="data", source=Source.OUTSIDE),
        TMPDIR="/tmp",
    )
    request = Request(run_id=RUN_ID, host_folders={"/data": "/mnt/flowers"}, workdir="/home/me")
    paths = map_paths(pod, layout=JobLayout(tmp_path, "local"), request=request, scratch=tmp_path / "s")
    env = pod_environment(pod, paths=paths, coordinator="c:1", master="m:2", devices=(), here={})
    seen = parse_path_map(env["FTL_PATH_MAP"])
    assert seen.apply("/tmp/out") == "/tmp/out"
    assert seen.apply("/workspace/out") == "/home/me/out"
    assert seen.apply("/data/x") == "/mnt/flowers/x"
    assert env["TMPDIR"] == str(tmp_path / "s/0/tmp")


def test_every_path_of_a_pod_leads_somewhere(tmp_path):
    pod = a_pod(
        Mount(path="/etc/ftlaunch", volume="config", source=Source.FILES, files={"cfg.yaml": b"a: 1\r\n"}),
        Mount(path="/tmp", volume="tmp", source=Source.EMPTY),
        Mount(path="/data", volume="data", source=Source.OUTSIDE),
        Mount(path="/dev/shm", volume="shm", source=Source.MEMORY),
    )
    layout, scratch = JobLayout(tmp_path / "run", "local"), tmp_path / "scratch"
    request = Request(run_id=RUN_ID, host_folders={"/data": "/mnt/flowers"}, workdir="/home/me")
    prepare_pod(pod, layout=layout, scratch=scratch)
    paths = map_paths(pod, layout=layout, request=request, scratch=scratch)
    assert Path(paths.apply("/etc/ftlaunch/cfg.yaml")).read_bytes() == b"a: 1\r\n"
    assert Path(paths.apply("/tmp")).is_dir()
    assert paths.apply("/data/train_list.txt") == "/mnt/flowers/train_list.txt"
    assert paths.apply("/dev/shm") == "/dev/shm"
    assert paths.apply("/workspace/output") == "/home/me/output"
    assert paths.apply("/dev/termination-log") == str(layout.termination(pod.name))


def test_an_empty_volume_is_empty_again_for_the_next_incarnation(tmp_path):
    pod = a_pod(Mount(path="/tmp", volume="tmp", source=Source.EMPTY))
    prepare_pod(pod, layout=JobLayout(tmp_path, "local"), scratch=tmp_path / "s")
    (tmp_path / "s/0/tmp/left").touch()
    prepare_pod(pod, layout=JobLayout(tmp_path, "local"), scratch=tmp_path / "s")
    assert list((tmp_path / "s/0/tmp").iterdir()) == []


def test_a_claim_without_a_folder_of_this_machine_is_found():
    pod = a_pod(Mount(path="/data", volume="data", source=Source.OUTSIDE))
    assert find_unmapped(pod, {}) == ("/data",)
    assert find_unmapped(pod, {"/data": "/mnt"}) == ()


# processes


@pytest.fixture
def sleeper():
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    yield process
    process.kill()
    process.wait()


def test_a_process_is_known_by_pid_start_and_boot(sleeper):
    known = identify(sleeper.pid)
    assert known.is_running()
    for other in (
        dataclasses.replace(known, start_ticks=known.start_ticks + 1),
        dataclasses.replace(known, boot_id="another"),
    ):
        assert not other.is_running()
        assert not other.send(signal.SIGKILL)
    assert sleeper.poll() is None


def test_a_zombie_does_not_run(sleeper):
    known = identify(sleeper.pid)
    assert known.send(signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert not known.is_running()
    assert not known.send(signal.SIGTERM)


def test_children_are_found(sleeper):
    assert sleeper.pid in list_children(os.getpid())


def test_a_pid_that_nobody_has_cannot_be_identified():
    with pytest.raises(ProcessLookupError):
        identify(2**22 + 1)


# the log


def write_log(path: Path, chunks: list[bytes]) -> bytes:
    ticks = itertools.count(1_700_000_000_000_000_000, 7)
    log = PodLog(path, clock_ns=lambda: next(ticks))
    for chunk in chunks:
        log.take(chunk)
    log.close()
    data = path.read_bytes()
    path.unlink()
    return data


@given(st.lists(st.binary(max_size=40) | st.builds(lambda n: b"x" * n, st.integers(0, 40_000)), max_size=8))
def test_what_a_pod_wrote_is_read_back_line_by_line(tmp_path_factory, chunks):
    data = write_log(tmp_path_factory.mktemp("log") / "0.log", chunks)
    written = b"".join(chunks)
    lines = written.split(b"\n")
    wanted = lines[:-1] if lines[-1] == b"" else lines
    found = LineReader().take(data)
    assert [line[STAMP_BYTES + 1 :] for line in found] == [cut_line(line) for line in wanted]
    assert all(len(line.split(b" ", 3)[3]) <= MAX_PART for line in data.split(b"\n")[:-1])
    stamps = [line[:STAMP_BYTES] for line in found]
    assert stamps == sorted(stamps)


def test_times_do_not_go_backwards_with_the_clock(tmp_path):
    times = iter([2_000_000_000, 1_000_000_000])
    log = PodLog(tmp_path / "0.log", clock_ns=lambda: next(times))
    log.take(b"a\n")
    log.take(b"b\n")
    log.close()
    found = LineReader().take((tmp_path / "0.log").read_bytes())
    assert [line[:STAMP_BYTES] for line in found] == [format_stamp(2_000_000_000)] * 2


def test_a_log_that_cannot_be_written_is_counted_and_no_error():
    log = PodLog(Path("/dev/full"))
    log.take(b"a\n")
    log.close()
    assert log.lost_bytes > 0


# state


def a_record() -> JobRecord:
    process = ProcessId(pid=7, start_ticks=8, boot_id="boot")
    pods = (
        PodRecord(name="flowers-worker-0", node=0, uid="u", state=PodState.RUNNING, process=process),
        PodRecord(name="flowers-worker-1", node=1, state=PodState.FAILED, exit_code=3, reason="ü\udce9"),
    )
    return JobRecord(
        job="flowers", run_id=RUN_ID, supervisor=process, created_s=1.5, scratch="/tmp/x", pods=pods,
        state=JobState.RESTARTING,
    )  # fmt: skip


def test_state_and_request_are_read_as_they_were_written(tmp_path):
    record = a_record()
    save_record(tmp_path / "state.json", record)
    found = load_job_record(tmp_path / "state.json")
    clean = dataclasses.replace(record.pods[1], reason="ü?")
    assert found == dataclasses.replace(record, pods=(record.pods[0], clean))
    request = Request(run_id=RUN_ID, host_folders={"/data": "/mnt"}, workdir="/w", devices=("0",))
    save_record(tmp_path / "request.json", request)
    assert load_request(tmp_path / "request.json") == request
    assert load_job_record(tmp_path / "none") is None


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema": 2}', '{"schema": 1, "pods": 3}', '{"schema": 1, "pods": []}']
)
def test_a_broken_state_is_refused(tmp_path, text):
    (tmp_path / "state.json").write_text(text)
    with pytest.raises(FormatError, match=r"state\.json"):
        load_job_record(tmp_path / "state.json")


RUN, WAIT, DONE, BAD = PodState.RUNNING, PodState.PENDING, PodState.SUCCEEDED, PodState.FAILED


@pytest.mark.parametrize(
    ("states", "told", "alive", "again", "state"),
    [
        ((RUN, RUN), False, True, (), JobState.RUNNING),
        ((DONE, RUN), False, True, (), JobState.RUNNING),
        ((DONE, DONE), False, False, (), JobState.SUCCEEDED),
        ((DONE, DONE), True, False, (), JobState.SUCCEEDED),
        ((RUN, WAIT), False, True, ("p1",), JobState.RESTARTING),
        ((RUN, BAD), False, True, (), JobState.FAILED),
        ((BAD, WAIT), False, True, ("p1",), JobState.FAILED),
        ((BAD, RUN), True, True, (), JobState.RUNNING),
        ((BAD, BAD), True, False, (), JobState.CANCELLED),
    ],
)
def test_a_job_stands_where_its_pods_stand(states, told, alive, again, state):
    pods = [PodRecord(name=f"p{node}", node=node, state=pod) for node, pod in enumerate(states)]
    assert judge_job(pods, told=told, alive=alive, again=frozenset(again))[0] is state


# devices

TWO = "GPU 0: NVIDIA H200 (UUID: GPU-1)\nGPU 1: NVIDIA H200 (UUID: GPU-2)\n"


@pytest.mark.parametrize(
    ("visible", "printed", "found"),
    [
        (None, TWO, ("0", "1")), (None, "", ()), ("1", TWO, ("1",)), ("1,0", TWO, ("1", "0")), ("", TWO, ()),
        ("-1", TWO, ()), ("0,7,1", TWO, ("0",)), ("GPU-2", TWO, ("GPU-2",)), ("0", "", ()),
        (None, "No devices were found\n", ()),
    ],
)  # fmt: skip
def test_gpus_are_those_that_cuda_would_see(visible, printed, found):
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert list_gpus(environ, ask=lambda: printed) == found


def test_a_job_runs_once_all_its_pods_were_started():
    pods = [
        PodRecord(name="flowers-worker-0", node=0, state=PodState.RUNNING),
        PodRecord(name="flowers-worker-1", node=1, state=PodState.PENDING),
    ]
    assert judge_job(pods, told=False, alive=True, again=frozenset())[0] is JobState.STARTING
    started = [dataclasses.replace(pod, state=PodState.RUNNING) for pod in pods]
    assert judge_job(started, told=False, alive=True, again=frozenset())[0] is JobState.RUNNING
