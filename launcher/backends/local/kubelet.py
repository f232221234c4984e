"""Runs the pods of a local job: processes that share this machine, each in a session of its own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path

from launcher.backends.local.pods import map_paths, pod_environment, prepare_pod, start_pod
from launcher.backends.replicas import Pod
from launcher.backends.supervised.identity import identify, list_children
from launcher.backends.supervised.kubelet import Container, Kubelet, StartError
from launcher.backends.supervised.podlog import Output
from launcher.backends.supervised.state import JobLayout, Request

_LAST_WORDS_S = 2.0  # what a killed process group has in the pipe is there at once


class ProcessContainer(Container):
    """A process that leads a session of its own. It is not reaped before its group is dead."""

    def __init__(self, process: subprocess.Popen[bytes], pipe: int, *, log: Path) -> None:
        self._process = process
        self.output = Output(pipe, log=log)
        self.process = identify(process.pid)

    def has_ended(self) -> bool:
        """Say whether its process has ended; that it stays a zombie keeps its pid from being used again."""
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def stop(self) -> None:
        """Ask the process to end, as the kubelet asks a container's first one."""
        os.kill(self._process.pid, signal.SIGTERM)

    def kill(self) -> None:
        """Kill the process and its group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def close(self) -> int:
        """End what is left of a process that has ended, and return a container's exit code: 128 + signal."""
        self.kill()
        self.output.drain(within_s=_LAST_WORDS_S)
        self.output.close()
        code = self._process.wait()
        return 128 - code if code < 0 else code


_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)


class LocalKubelet(Kubelet):
    """Starts processes; what they leave behind becomes a child of this process."""

    def __init__(self, layout: JobLayout, request: Request) -> None:
        """Choose ports and make the folder of the pods' empty volumes."""
        self._layout = layout
        self._request = request
        self._coordinator, self._master = (f"127.0.0.1:{port}" for port in _free_ports(2))
        # short, because sockets below TMPDIR have at most 108 characters (unix(7))
        self._scratch = Path(tempfile.mkdtemp(prefix="ftl-"))
        self.scratch = str(self._scratch)
        ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    def start(self, pod: Pod, *, restart: int, devices: tuple[str, ...]) -> Container:
        """See `Kubelet.start`."""
        try:
            prepare_pod(pod, layout=self._layout, scratch=self._scratch)
            paths = map_paths(pod, layout=self._layout, request=self._request, scratch=self._scratch)
            env = pod_environment(
                pod, paths=paths, coordinator=self._coordinator, master=self._master, devices=devices,
                here=os.environ,
            )  # fmt: skip
            workdir = paths.apply(pod.working_dir) if pod.working_dir else self._request.workdir
            process, pipe = start_pod(pod, env=env, workdir=workdir)
        except OSError as error:
            raise StartError(expected="a program that starts", said=error) from error
        return ProcessContainer(process, pipe, log=self._layout.log(pod.name, restart))

    def sweep(self, running: tuple[Container, ...], *, kill: bool) -> None:
        """Reap what pods left behind, which is ours by PR_SET_CHILD_SUBREAPER."""
        known = {container.process.pid for container in running if container.process is not None}
        while strays := set(list_children(os.getpid())) - known if kill else set():
            for pid in strays:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)  # a child that nobody else reaps: the pid is still its own
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(pid, 0)
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)) is not None:
                if found.si_pid in known:
                    break  # a pod's own: the supervisor asks it
                os.waitpid(found.si_pid, 0)

    def close(self) -> None:
        """Remove the empty volumes."""
        shutil.rmtree(self._scratch, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for bound in sockets:
            bound.bind(("127.0.0.1", 0))
        return [int(bound.getsockname()[1]) for bound in sockets]
