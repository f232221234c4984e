"""A node process's log in the output folder: whole, bounded, and never waited for."""

from __future__ import annotations

import errno
import itertools
import os
import threading
from pathlib import Path

import pytest

from tests.trainer.node.conftest import RUN_ID, wait_for
from trainer.node import log_writer
from trainer.node.log_writer import LogWriter
from trainer.protocol.log_files import FILES, parse_name
from trainer.protocol.progress import MARK
from trainer.protocol.runfile import RunFile, save_run_file

START_NS = 1_790_000_000_000_000_000


@pytest.fixture
def output(tmp_path: Path) -> Path:
    save_run_file(tmp_path / "output", RunFile(run_id=RUN_ID, first_start_s=1.0))
    return tmp_path / "output"


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for name in ("_GATHER_S", "_CLAIM_S", "_AGAIN_S"):
        monkeypatch.setattr(log_writer, name, 0.01)


def make_writer(output: Path, **changes) -> LogWriter:
    ticks = itertools.count(START_NS, 1_000_000)
    settings = {
        "output_dir": output, "run_id": RUN_ID, "node": 1, "max_bytes": 2**20,
        "clock_ns": lambda: next(ticks), **changes,
    }  # fmt: skip
    writer = LogWriter(**settings)
    writer.start()
    return writer


def files(output: Path) -> list[Path]:
    return sorted((output / ".ftlaunch/logs").glob("*.log"), key=lambda path: parse_name(path.name))


def texts(output: Path) -> list[str]:
    lines = "".join(path.read_text() for path in files(output)).splitlines()
    return [line.split(" ", 3)[3] for line in lines]


def test_lines_are_there_in_the_kubelets_form_with_times_that_never_go_back(output):
    times = iter([START_NS, START_NS + 5, START_NS + 3, START_NS + 9])
    writer = make_writer(output, clock_ns=lambda: next(times))
    for text in (b"[a1 r0] one\n", "[a1 r1] zwö\r\n".encode(), b"[a1 n1] three\n"):
        writer.add(text)
    assert writer.close() == 0
    (path,) = files(output)
    assert path.name == f"{RUN_ID[:12]}.1.{START_NS}.{START_NS}.log"  # which says that it is the first
    assert path.read_bytes() == (
        b"2026-09-21T14:13:20.000000005Z stdout F [a1 r0] one\n"
        b"2026-09-21T14:13:20.000000005Z stdout F [a1 r1] zw\xc3\xb6\r\n"
        b"2026-09-21T14:13:20.000000009Z stdout F [a1 n1] three\n"
    )


def test_progress_lines_of_nodes_are_left_out_and_ranks_may_say_what_they_like(output):
    writer = make_writer(output)
    writer.add(b"[a1 n0] " + MARK + b"{}\n")
    writer.add(b"[a1 r0] " + MARK + b"{}\n")
    writer.close()
    assert texts(output) == [f"[a1 r0] {MARK.decode()}{{}}"]


def test_a_node_keeps_its_newest_lines_and_other_nodes_keep_theirs(output):
    other = make_writer(output, node=2)
    other.add(b"[a1 n2] of node 2\n")
    other.close()
    writer = make_writer(output, max_bytes=50_000)
    for number in range(2000):
        writer.add(f"[a1 r0] line {number:05d} {'x' * 60}\n".encode())
        if number % 100 == 99:
            wait_for(lambda: not writer.queued_bytes, what="the lines to be written")
    assert writer.close() == 0
    own = [path for path in files(output) if parse_name(path.name).node == 1]
    assert len(own) == FILES
    assert not any(parse_name(path.name).begins_life for path in own)  # that one is gone
    assert sum(path.stat().st_size for path in own) < 50_000 + FILES * 15_000
    shown = [text for text in texts(output) if "line" in text]
    assert shown[-1].startswith("[a1 r0] line 01999")
    numbers = [int(text.split()[3]) for text in shown]
    assert numbers == list(range(numbers[0], 2000))
    assert "[a1 n2] of node 2" in texts(output)


def test_nothing_is_written_before_the_folder_is_the_runs(output, tmp_path):
    folder = tmp_path / "later"
    writer = make_writer(folder)
    writer.add(b"[a0 n1] early\n")
    stranger = make_writer(output, run_id="f" * 32)
    stranger.add(b"[a0 n1] not here\n")
    assert stranger.close() == 0
    assert not (output / ".ftlaunch/logs").exists()
    assert not folder.exists()
    save_run_file(folder, RunFile(run_id=RUN_ID, first_start_s=1.0))
    wait_for(lambda: writer.is_claimed, what="the folder to be claimed")
    assert writer.close() == 0
    assert texts(folder) == ["[a0 n1] early"]


class Disk:
    """Stands in for os.write: hangs or refuses for as long as it is told to."""

    def __init__(self, monkeypatch) -> None:
        self._write, self.error, self.limit, self.gate = os.write, 0, None, threading.Event()
        self.gate.set()
        monkeypatch.setattr(log_writer.os, "write", self.write)

    def write(self, fd: int, data: bytes) -> int:
        self.gate.wait()
        if self.limit is not None and self.error:
            taken, self.limit = data[: self.limit], 0
            if taken:
                return self._write(fd, taken)
            raise OSError(self.error, os.strerror(self.error))
        return self._write(fd, data)


def test_a_volume_that_hangs_blocks_nobody_and_what_is_lost_is_counted_where_it_is_missing(
    output, monkeypatch
):
    disk = Disk(monkeypatch)
    disk.gate.clear()
    writer = make_writer(output, queue_bytes=5_000)
    for number in range(1000):
        writer.add(f"[a1 r0] {number}\n".encode())
    assert 950 < writer.lost < 1000
    lost = writer.lost
    disk.gate.set()
    wait_for(lambda: not writer.queued_bytes, what="the volume to catch up")
    writer.add(b"[a1 r0] after\n")
    assert writer.close() == lost
    said = f"[a0 n1] {lost} lines are missing here: the volume did not take them in time"
    assert texts(output) == [*(f"[a1 r0] {number}" for number in range(1000 - lost)), said, "[a1 r0] after"]


def test_many_lines_at_once_are_written_before_the_queue_is_full(output, monkeypatch):
    monkeypatch.setattr(log_writer, "_GATHER_S", 60.0)
    writer = make_writer(output, queue_bytes=40_000)
    for number in range(1000):
        writer.add(f"[a1 r0] {number}\n".encode())
        if writer.queued_bytes > 20_000:
            wait_for(lambda: writer.queued_bytes < 10_000, what="lines to be written while others come")
    assert (writer.lost, writer.close()) == (0, 0)
    assert texts(output) == [f"[a1 r0] {number}" for number in range(1000)]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.ESTALE], ids=errno.errorcode.get)
def test_a_volume_that_refuses_is_tried_again_and_no_line_is_torn_or_doubled(output, monkeypatch, code):
    disk = Disk(monkeypatch)
    writer = make_writer(output)
    writer.add(b"[a1 r0] before\n")
    wait_for(lambda: not writer.queued_bytes, what="the first line")
    disk.limit, disk.error = 60, code
    for number in range(3):
        writer.add(f"[a1 r0] line {number}\n".encode())
    wait_for(lambda: writer.problem, what="the refusal to be noticed")
    assert os.strerror(code) in writer.problem
    disk.error = 0
    wait_for(lambda: not writer.problem, what="the volume to be well")
    assert writer.close() == 0
    whole = [text for path in files(output) for text in path.read_text().split("\n")[:-1]]
    shown = [line.split(" ", 3)[3] for line in whole]
    assert shown == ["[a1 r0] before", *(f"[a1 r0] line {number}" for number in range(3))]


def test_a_job_writes_both_nodes_lines_of_all_attempts(new_job):
    job = new_job(nodes=2, procs_per_node=1, keep_logs_bytes=2**20)
    faults = [{"rank": 1, "attempt": 1, "step": 3, "do": "fail:1:broken"}]
    for node in job.start(0, 1, plan={"steps": 6, "faults": faults}):
        assert node.exit() == 0
    for node in job.nodes:
        own = [path for path in files(job.output) if parse_name(path.name).node == node.index]
        kept = [line.split(" ", 3)[3] for path in own for line in path.read_text().splitlines()]
        shown = [line for line in node.text.splitlines() if MARK.decode() not in line]
        assert kept == shown
        assert {"[a1 ", "[a2 "} <= {line[:4] for line in kept}


def test_a_node_says_once_that_its_lines_cannot_be_kept(new_job):
    job = new_job(nodes=1, procs_per_node=1, keep_logs_bytes=2**20)
    save_run_file(job.output, RunFile(run_id=RUN_ID, first_start_s=1.0))
    (job.output / ".ftlaunch/logs").write_text("in the way")
    (node,) = job.start(0, plan={"steps": 100, "step_s": 0.02})
    assert node.exit() == 0
    assert node.text.count("lines are not kept for now") == 1
    assert "lines are not in" in node.lines[-1].text.decode()
