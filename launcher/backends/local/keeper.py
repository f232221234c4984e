"""The keeper: one detached process a job that plays training operator and kubelet for its pods.

    python -m launcher.backends.local.keeper RUN_FOLDER

It returns once a child of it, the keeper proper, has taken the job over; that one outlives the command line.
SIGTERM asks it to cancel the job, SIGINT to kill its pods at once. When it is killed, its pods die with it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import selectors
import shutil
import signal
import socket
import sys
import tempfile
import time
import uuid
from dataclasses import replace
from pathlib import Path
from types import FrameType

from launcher.backends.base import PodState
from launcher.backends.local.container import Container
from launcher.backends.local.identity import identify, list_children
from launcher.backends.local.pods import map_paths, pod_environment, prepare_pod, start_pod
from launcher.backends.local.state import JobRecord, LocalLayout, PodRecord, load_request, save_record
from launcher.backends.local.verdict import describe_end, judge
from launcher.backends.replicas import Pod, expand, is_retried
from launcher.errors import LaunchError
from launcher.render.manifest import parse_manifest
from trainer.protocol.fields import FormatError

_LOOK_S = 0.05
_FIRST_PAUSE_S, _MAX_PAUSE_S = 0.25, 30.0  # the operator has no pause: a pod that dies at once is a hot loop
_NOT_STARTED = 127  # what a shell exits with for a program that it cannot find
_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


class Keeper:
    """Makes the pods of one job, makes them again, and writes down how they do."""

    def __init__(self, layout: LocalLayout) -> None:
        """Read what is asked for; nothing is started and nothing written."""
        self._layout = layout
        manifest = parse_manifest(layout.manifest.read_text(encoding="utf-8"))
        self._request = load_request(layout.request)
        self._pods = {pod.name: pod for pod in expand(manifest)}
        self._running: dict[str, Container] = {}
        self._again_at_s: dict[str, float] = {}
        self._selector = selectors.DefaultSelector()
        self._kill_at_s: float | None = None
        self._told: signal.Signals | None = None
        self._coordinator, self._master = (f"127.0.0.1:{port}" for port in _free_ports(2))
        # short, because sockets below TMPDIR have at most 108 characters (unix(7))
        self._scratch = Path(tempfile.mkdtemp(prefix="ftl-"))
        self._record = JobRecord(
            job=manifest.name, run_id=manifest.run_id, keeper=identify(os.getpid()), created_s=time.time(),
            scratch=str(self._scratch),
            pods=tuple(PodRecord(name=pod.name, node=pod.index) for pod in self._pods.values()),
        )  # fmt: skip

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """Note what is asked; the loop acts on it. SIGINT outweighs SIGTERM."""
        del frame
        if self._told is not signal.SIGINT:
            self._told = signal.Signals(number)

    def take_over(self) -> None:
        """Say that the job is ours now.

        Raises:
            OSError: The run folder cannot be written.
        """
        save_record(self._layout.state, self._record)

    def run(self) -> None:
        """Keep the job to its end; nothing that it started is left then."""
        for pod in self._pods.values():
            self._start(pod, incarnation=0)
        while self._running or self._again_at_s:
            self._pump()
            self._reap()
            self._heed()
            self._make_again()
            self._settle(self._record)
        self._settle(self._record)
        self._reap_strays(kill=True)
        shutil.rmtree(self._scratch, ignore_errors=True)

    def _start(self, pod: Pod, *, incarnation: int) -> None:
        record = replace(
            self._pod_record(pod.name), uid=str(uuid.uuid4()), incarnation=incarnation,
            started_s=time.time(), ended_s=None, exit_code=None, reason="",
        )  # fmt: skip
        try:
            prepare_pod(pod, layout=self._layout, scratch=self._scratch)
            paths = map_paths(pod, layout=self._layout, request=self._request, scratch=self._scratch)
            env = pod_environment(
                pod, paths=paths, coordinator=self._coordinator, master=self._master,
                devices=self._devices(pod), here=os.environ,
            )  # fmt: skip
            workdir = paths.apply(pod.working_dir) if pod.working_dir else self._request.workdir
            process, pipe = start_pod(pod, env=env, workdir=workdir)
        except OSError as error:
            reason = f"expected a program that starts, got: {error}"
            self._note(
                replace(
                    record, state=PodState.FAILED, exit_code=_NOT_STARTED, ended_s=time.time(), reason=reason
                )
            )
            return
        container = Container(process, pipe, log=self._layout.log(pod.name, record.incarnation))
        self._selector.register(pipe, selectors.EVENT_READ, pod.name)
        self._running[pod.name] = container
        self._note(replace(record, state=PodState.RUNNING, process=identify(process.pid)))

    def _devices(self, pod: Pod) -> tuple[str, ...]:
        first = sum(other.gpus for other in self._pods.values() if other.index < pod.index)
        return self._request.devices[first : first + pod.gpus]

    def _pump(self) -> None:
        if not self._selector.get_map():
            time.sleep(_LOOK_S)
        for key, _ in self._selector.select(_LOOK_S):
            if not self._running[key.data].read():
                self._selector.unregister(key.fileobj)

    def _reap(self) -> None:
        for name, container in list(self._running.items()):
            if not container.has_ended():
                continue
            with contextlib.suppress(KeyError):  # at the end of its output already
                self._selector.unregister(container.pipe)
            code = container.close()
            del self._running[name]
            self._on_end(name, code, lost_bytes=container.lost_bytes)
        self._reap_strays(kill=False)

    def _reap_strays(self, *, kill: bool) -> None:
        """Reap what pods left behind, which is ours by PR_SET_CHILD_SUBREAPER."""
        known = {container.pid for container in self._running.values()}
        while strays := set(list_children(os.getpid())) - known if kill else set():
            for pid in strays:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)  # a child that nobody else reaps: the pid is still its own
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if found.si_pid in known:
                    break  # a pod's own: `_reap` asks it
                os.waitpid(found.si_pid, 0)

    def _on_end(self, name: str, code: int, *, lost_bytes: int) -> None:
        reason = describe_end(self._layout.termination(name), code)
        if lost_bytes:
            reason = "; ".join(filter(None, (reason, f"{lost_bytes} bytes of its log could not be written")))
        ended = replace(
            self._pod_record(name), process=None, exit_code=code, ended_s=time.time(), reason=reason,
            state=PodState.FAILED if code else PodState.SUCCEEDED,
        )  # fmt: skip
        if is_retried(code) and self._told is None and not self._record.state.is_terminal:
            pause_s = min(_FIRST_PAUSE_S * 2.0 ** min(ended.incarnation, 10), _MAX_PAUSE_S)
            self._again_at_s[name] = time.monotonic() + pause_s
            ended = replace(ended, state=PodState.PENDING)
        self._note(ended)

    def _make_again(self) -> None:
        for name, at_s in list(self._again_at_s.items()):
            record = self._pod_record(name)
            if self._told is not None or self._record.state.is_terminal:
                del self._again_at_s[name]
                self._note(replace(record, state=PodState.FAILED))
            elif time.monotonic() >= at_s:
                del self._again_at_s[name]
                self._start(self._pods[name], incarnation=record.incarnation + 1)

    def _heed(self) -> None:
        if self._told is None:
            return
        now_s = time.monotonic()
        if self._kill_at_s is None:
            self._kill_at_s = now_s + max(pod.grace_s for pod in self._pods.values())
            for container in self._running.values():
                container.stop()
        if self._told is signal.SIGINT or now_s >= self._kill_at_s:
            for container in self._running.values():
                container.kill()

    def _pod_record(self, name: str) -> PodRecord:
        return next(pod for pod in self._record.pods if pod.name == name)

    def _note(self, changed: PodRecord) -> None:
        pods = tuple(changed if pod.name == changed.name else pod for pod in self._record.pods)
        self._settle(replace(self._record, pods=pods))

    def _settle(self, record: JobRecord) -> None:
        """Save a record with the state that its pods give the job: no reader sees one without the other."""
        if not record.state.is_terminal:
            state, reason = judge(
                record.pods, told=self._told is not None, alive=bool(self._running or self._again_at_s),
                again=frozenset(self._again_at_s),
            )  # fmt: skip
            ended_s = time.time() if state.is_terminal else None
            record = replace(record, state=state, reason=reason, ended_s=ended_s)
        if record != self._record:
            self._save(record)

    def _save(self, record: JobRecord) -> None:
        self._record = record
        try:
            save_record(self._layout.state, record)
        except OSError as error:  # a full disk must not kill the job; the next change is written again
            sys.stderr.write(f"{self._layout.state}: expected to write it, got: {error.strerror}\n")


def main(argv: list[str]) -> int:
    """Take over the job of the run folder that is named, in a child that goes on."""
    layout = LocalLayout(Path(argv[1]))
    lock = os.open(layout.keeper_lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    if not _is_first(layout, lock):
        return 0
    reading, writing = os.pipe()
    if os.fork() != 0:
        os.close(writing)
        return 0 if os.read(reading, 1) else 1
    os.close(reading)
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    try:
        keeper = Keeper(layout)
        signal.signal(signal.SIGTERM, keeper.on_signal)
        signal.signal(signal.SIGINT, keeper.on_signal)
        keeper.take_over()
    except (LaunchError, FormatError, OSError) as error:
        sys.stderr.write(" ".join(str(error).split()) + "\n")  # one line, which the submitter repeats
        return 1
    os.write(writing, b"1")
    os.close(writing)
    keeper.run()
    return 0


def _is_first(layout: LocalLayout, lock: int) -> bool:
    """Take the keeper's lock; False once another keeper has taken the job over."""
    while not layout.state.exists():
        with contextlib.suppress(BlockingIOError):  # another one is starting now
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return not layout.state.exists()
        time.sleep(_LOOK_S)
    return False


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        return [int(bound.getsockname()[1]) for bound in sockets]


if __name__ == "__main__":
    sys.exit(main(sys.argv))
