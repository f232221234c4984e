"""Trackers beside a job: nothing of it waits for them, and each gets its rows."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.trainer.node.conftest import REPOSITORY, Job, wait_for
from trainer.protocol.exits import Exit
from trainer.protocol.tracking import Target, Track

TRACKERS = """
import os, time
from pathlib import Path
from trainer.trackers import Tracker
class File(Tracker):
    def start(self, run):
        self.file = Path(run.settings["file"])
        self.write("start", os.getpid())
        return "1"
    def write(self, *words):
        with self.file.open("a") as file:
            file.write(" ".join(map(str, words)) + "\\n")
    def log(self, rows):
        for row in rows: self.write("row", row.step)
    def missing(self, rows):
        there = self.file.read_text().splitlines()
        return [row for row in rows if f"row {row.step}" not in there]
    def end(self, ending):
        self.write("end", ending.state, ending.reason)
class Hangs(File):
    def start(self, run):
        while True: time.sleep(1)
"""


def start(
    new_job: Callable[..., Job], folder: Path, *targets: Target, track_s: float = 60.0, **plan: Any
) -> Job:
    (folder / "those.py").write_text(TRACKERS)
    job = new_job(nodes=1, procs_per_node=1, track=Track(targets=targets))
    job.pace["track_s"] = track_s
    path = f"{REPOSITORY}:{folder}"
    job.start(0, plan={"steps": 40, "step_s": 0.1, **plan}, env={"PYTHONPATH": path})
    return job


def to_file(folder: Path) -> Target:
    return Target(tracker="those:File", settings={"file": str(folder / "sent")})


def rows(job: Job, *steps: int) -> None:
    with (job.output / "metrics.jsonl").open("a") as file:
        for step in steps:
            file.write(json.dumps({"event": "step", "step": step, "epoch": 1, "loss": 1.0}) + "\n")


def test_rows_come_once_over_the_death_of_what_sends_them(
    new_job: Callable[..., Job], tmp_path: Path
) -> None:
    job = start(new_job, tmp_path, to_file(tmp_path))
    job.reaches(0)
    rows(job, 1, 2)
    sent = tmp_path / "sent"
    wait_for(lambda: sent.exists() and "row 2" in sent.read_text(), what="rows to be sent")
    os.kill(int(sent.read_text().split()[1]), signal.SIGKILL)
    rows(job, 3)
    job.nodes[0].says("track: those:File: its process was ended by SIGKILL; starts again in 5 s")
    assert job.nodes[0].exit() == 0
    lines = sent.read_text().splitlines()
    assert [line for line in lines if line.startswith("row")] == ["row 1", "row 2", "row 3"]
    assert lines[-1].startswith("end finished ")


def test_what_hangs_keeps_a_job_for_a_bounded_time_and_what_is_left_is_said(
    new_job: Callable[..., Job], tmp_path: Path
) -> None:
    job = start(new_job, tmp_path, Target(tracker="those:Hangs"), to_file(tmp_path), steps=3, track_s=4.0)
    job.reaches(0)
    rows(job, 1, 2)
    assert job.nodes[0].exit() == 0
    said = (
        "track: those:Hangs: 2 rows are left; `ftlaunch track job-abcde --to those:Hangs` sends what is left"
    )
    assert said in job.nodes[0].text
    assert "row 2" in (tmp_path / "sent").read_text()


def test_a_run_that_failed_says_so_there(new_job: Callable[..., Job], tmp_path: Path) -> None:
    fault = {"rank": 0, "attempt": 0, "step": 1, "do": "fail:2:the config is wrong"}
    job = start(new_job, tmp_path, to_file(tmp_path), faults=[fault])
    assert job.nodes[0].exit() == Exit.CONFIG
    (end,) = [line for line in (tmp_path / "sent").read_text().splitlines() if line.startswith("end")]
    assert end.startswith("end failed ")
    assert "the config is wrong" in end


def test_a_tracker_that_is_not_there_ends_the_job_before_its_first_step(
    new_job: Callable[..., Job], tmp_path: Path
) -> None:
    job = start(new_job, tmp_path, Target(tracker="sacred"), Target(tracker="swanlab"), to_file(tmp_path))
    assert job.nodes[0].exit() == Exit.CONFIG
    reason = job.nodes[0].termination.reason
    assert "Launch.track: sacred: expected one of tensorboard" in reason
    assert "Launch.track: swanlab: expected the package swanlab" in reason
    assert not list(job.scratch.iterdir())
