from __future__ import annotations

import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from trainer.protocol.nodefile import NodeFile, format_node_file
from trainer.protocol.pathmap import PathMap, format_path_map
from trainer.protocol.progress import Progress, parse_progress
from trainer.protocol.runfile import RunFile, load_run_file
from trainer.protocol.tags import TaggedLine, parse_line
from trainer.protocol.termination import Termination, parse_termination

REPOSITORY = Path(__file__).resolve().parents[3]
PACE = {
    "watch_s": 0.02, "poll_s": 0.1, "report_s": 0.5, "settle_s": 0.2, "retry_s": 0.1, "say_s": 0.5,
    "ping_s": 0.5, "silence_s": 20.0, "farewell_s": 5.0, "beat_s": 0.5, "kill_s": 5.0, "stop_lead_s": 0.2,
}  # fmt: skip
RUN_ID = "0123456789abcdef" * 2


def wait_for(fact: Callable[[], Any], *, timeout_s: float = 20.0, what: str = "a condition") -> Any:
    """Return the first true value of `fact`, or fail after `timeout_s`."""
    until_s = time.monotonic() + timeout_s
    while time.monotonic() < until_s:
        if value := fact():
            return value
        time.sleep(0.01)
    raise AssertionError(f"expected {what} within {timeout_s} s")


def free_port() -> int:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        return int(bound.getsockname()[1])


class NodeProcess:
    """One node process and what it wrote."""

    def __init__(self, index: int, process: subprocess.Popen[bytes], log: Path, termination: Path) -> None:
        self.index = index
        self.process = process
        self._log = log
        self._termination = termination

    @property
    def lines(self) -> list[TaggedLine]:
        return [parse_line(line) for line in self._log.read_bytes().split(b"\n")[:-1]]

    @property
    def text(self) -> str:
        return self._log.read_text(encoding="utf-8")

    @property
    def progress(self) -> list[Progress]:
        return [found for line in self.lines if (found := parse_progress(line.text)) is not None]

    @property
    def termination(self) -> Termination:
        return parse_termination(self._termination.read_bytes())

    def says(self, text: str) -> None:
        wait_for(lambda: text in self.text, what=f"node {self.index} to say {text!r}")

    def exit(self, timeout_s: float = 25.0) -> int:
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"node {self.index} did not end:\n{self.text}") from None


class Job:
    """A job of real node processes on loopback, whose ranks are the stand-in."""

    def __init__(self, folder: Path, **changes: Any) -> None:
        self.folder = folder
        self.output = folder / "output"
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        port = free_port()
        self.job = dataclasses.replace(
            NodeFile(
                run_id=RUN_ID, job="job-abcde", nodes=2, procs_per_node=2, coordinator_host="nowhere.invalid",
                coordinator_port=port, backend="gloo", output_dir="/output", max_restarts=3, backoff_s=0.1,
                deadline_s=None, grace_s=10.0, rendezvous_timeout_s=15.0, hang_timeout_s=None,
            ),
            **changes,
        )  # fmt: skip
        self._coordinator = f"127.0.0.1:{port}"
        self.master = f"127.0.0.1:{free_port()}"
        self.without: tuple[str, ...] = ()
        self.pace: dict[str, float] = {}
        self._started: list[NodeProcess] = []

    def start(
        self,
        *nodes: int,
        plan: dict[str, Any] | None = None,
        env: dict[str, str] | None = None,
        mapped: dict[str, str] | None = None,
        **changes: Any,
    ) -> list[NodeProcess]:
        full = {"steps": 10, "scratch": str(self.scratch), **(plan or {})}
        return [self._start(node, full, env or {}, mapped or {}, changes) for node in nodes]

    def _start(
        self, node: int, plan: dict[str, Any], env: dict[str, str], mapped: dict[str, str],
        changes: dict[str, Any],
    ) -> NodeProcess:  # fmt: skip
        number = len(self._started)
        etc = self.folder / f"etc{number}"
        etc.mkdir()
        (etc / "node.json").write_text(format_node_file(dataclasses.replace(self.job, **changes)))
        termination = etc / "termination"
        path_map = PathMap(
            {
                "/etc/ftlaunch": str(etc),
                "/output": str(self.output),
                "/dev/termination-log": str(termination),
                **mapped,
            }
        )
        environ = {
            **{
                name: os.environ[name]
                for name in ("PATH", "HOME", "COVERAGE_PROCESS_CONFIG")
                if name in os.environ
            },
            "PYTHONPATH": str(REPOSITORY),
            "TMPDIR": str(etc),
            "FTL_NODE": str(node),
            "FTL_PATH_MAP": format_path_map(path_map),
            "FTL_COORDINATOR": self._coordinator,
            "PADDLE_MASTER": self.master,
            "http_proxy": "http://proxy.invalid",
            **env,
        }
        for name in self.without:
            environ.pop(name, None)
        log = etc / "log"
        driver = Path(__file__).with_name("driver.py")
        with log.open("wb") as stdout:
            process = subprocess.Popen(
                [sys.executable, str(driver), json.dumps({**PACE, **self.pace}), "--", json.dumps(plan)],
                stdout=stdout, stderr=subprocess.STDOUT, env=environ,
            )  # fmt: skip
        started = NodeProcess(node, process, log, termination)
        self._started.append(started)
        return started

    @property
    def nodes(self) -> list[NodeProcess]:
        """All node processes that were started, in order."""
        return self._started

    @property
    def run_file(self) -> RunFile:
        found = load_run_file(self.output)
        assert found is not None
        return found

    def rank_pid(self, rank: int, *, attempt: int = 1) -> int:
        path = self.scratch / f"attempt{attempt}" / f"pid.{rank}"
        return int(wait_for(lambda: path.exists() and path.read_text(), what=f"rank {rank} to begin"))

    def rank_env(self, rank: int, *, attempt: int = 1) -> dict[str, str]:
        found: dict[str, str] = json.loads((self.scratch / f"attempt{attempt}" / f"env.{rank}").read_text())
        return found

    def reaches(self, step: int, *, attempt: int = 1) -> None:
        """Wait until all ranks have got to `step`."""
        paths = [self.scratch / f"attempt{attempt}" / f"{step}.{rank}" for rank in range(self.job.world_size)]
        wait_for(lambda: all(path.exists() for path in paths), what=f"all ranks to get to step {step}")

    def living_ranks(self) -> list[int]:
        pids = [int(text) for path in self.scratch.glob("attempt*/pid.*") if (text := path.read_text())]
        return [pid for pid in pids if is_running(pid)]

    def close(self) -> None:
        for node in self._started:
            if node.process.poll() is None:
                node.process.send_signal(signal.SIGKILL)
            node.process.wait()
        wait_for(lambda: not self.living_ranks(), what="all ranks to be gone")


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "ZX"


@pytest.fixture
def new_job(tmp_path: Path) -> Iterator[Callable[..., Job]]:
    jobs: list[Job] = []

    def make(**changes: Any) -> Job:
        folder = tmp_path / f"job{len(jobs)}"
        folder.mkdir()
        jobs.append(Job(folder, **changes))
        return jobs[-1]

    yield make
    for job in jobs:
        job.close()
