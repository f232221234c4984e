"""The live view: what it shows in which room, and how a real terminal is taken and given back."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.backends.states import JobState, JobStatus, PodState, PodStatus
from launcher.cli.frame import Picture, compose, epoch_table
from launcher.cli.table import width_of
from launcher.jobs.training_log import TrainingLog
from launcher.plan.handle import Handle
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from tests.contract.harness import RUN_ID
from tests.contract.local_harness import LocalUnderTest
from trainer.protocol.printable import show
from trainer.protocol.progress import Progress, RankProgress
from trainer.protocol.step_times import StepTimes

TIMES = StepTimes(
    steps=10, step_s=0.5, wait_s=0.4, copy_s=0.01, peers_s=0.0, fetch_s=0.0, eval_s=0.0, save_s=0.0,
    workers=2, ranks=2, cores=4.0,
)  # fmt: skip


def picture(
    *, epochs: int = 3, lines: int = 5, reason: str = "", ranks: int = 1, name: str = "flowers"
) -> Picture:
    log = TrainingLog()
    for epoch in range(1, epochs + 1):
        log.add([
            f"[Train][Epoch {epoch}/20][Iter: 0/9]loss: {3 / epoch}",
            f"[Train][Epoch {epoch}/20][Avg]loss: {3 / epoch}, top1: 0.5",
            f"[Eval][Epoch {epoch}][Avg]loss: 2.0, top1: {0.9 if epoch == 2 else 0.5}",
            f"[Eval][Epoch {epoch}][best metric: {0.9 if epoch >= 2 else 0.5}]",
        ])  # fmt: skip
    log.add(f"花 line {number}: {'long ' * 40}" for number in range(lines))
    found = tuple(
        RankProgress(
            rank=rank, node=0, step=30, epoch=epochs, phase="compute", loss=0.5, images_per_s=50.0,
            silent_s=0.0, times=TIMES,
        )
        for rank in range(ranks)
    )  # fmt: skip
    progress = Progress(time_s=60.0, attempt=2, world_size=ranks, total_steps=120, ranks=found, step_s=0.5)
    pods = (PodStatus(pod=f"{name}-worker-0", node=0, state=PodState.RUNNING, started_s=40.0),)
    status = JobStatus(
        handle=Handle(backend="local", job=name), run_id=RUN_ID, state=JobState.RUNNING, pods=pods,
        created_s=1.0, progress=progress, reason=reason,
    )  # fmt: skip
    return Picture(status=status, log=log, now_s=100.0)


def drawn(of: Picture, *, columns: int = 80, rows: int = 24) -> list[str]:
    return [show(line, colour=False) for line in compose(of, columns=columns, rows=rows)]


def test_a_running_job_is_shown_with_all_that_is_known_of_it():
    text = "\n".join(drawn(picture(ranks=2)))
    for said in (
        "flowers  Running  1 node × 2 ranks  attempt 2  60 s", "epoch 4/20 [####", " 25%, about 45 s left",
        "100 images/s", "loss █", "top1 ", "waits for images", "more cores",
        "    2         1.5          2         0.5        0.9  best", "花 line 4",
        "Ctrl-C leaves this view; the job goes on",
    ):  # fmt: skip
        assert said in text


@pytest.mark.parametrize(("columns", "rows"), [(80, 24), (200, 50), (40, 12), (20, 6)])
@pytest.mark.parametrize("epochs", [0, 3, 19])
def test_it_never_leaves_its_room(columns, rows, epochs):
    of = picture(epochs=epochs, lines=99, ranks=40, reason="a reason " * 40, name="花" * 30)
    lines = drawn(of, columns=columns, rows=rows)
    assert len(lines) == rows
    assert max(map(width_of, lines)) <= columns


def test_of_many_epochs_the_last_and_the_best_are_shown():
    rows = [show(line, colour=False) for line in epoch_table(picture(epochs=19).log, columns=80, rows=5)]
    assert [row.split()[0] for row in rows] == ["EPOCH", "2", "17", "18", "19"]
    assert rows[1].endswith("  best")


def test_what_a_job_waits_for_is_shown_before_it_runs():
    of = picture(epochs=0, lines=0)
    pod = PodStatus(pod="flowers-worker-0", node=0, state=PodState.PENDING, reason="Unschedulable")
    status = replace(of.status, state=JobState.QUEUED, progress=None, pods=(pod,), reason="third in team-a")
    lines = drawn(replace(of, status=status, note="waiting for pods", start=("starts in about 9 min",)))
    assert lines[0] == "flowers  Queued  1 node  2 min"
    assert lines[1:5] == [
        "third in team-a", "starts in about 9 min", "waiting for pods",
        "flowers-worker-0  Pending  Unschedulable",
    ]  # fmt: skip


def test_words_of_others_cannot_steer_the_terminal_or_break_the_picture():
    of = picture(epochs=0, lines=0, reason="two\nlines\x1b[2J")
    of.log.add(["\x1b]0;title\x07\x1b[2J" + "x" * 100_000, "tab\there", "\u202egnp"])
    lines = drawn(of)
    assert len(lines) == 24
    assert not [sign for line in lines for sign in line if ord(sign) < 32 or sign == "\u202e"]


class Terminal:
    """A program on a terminal of 80 columns and 24 rows."""

    def __init__(self, *argv: str, environ: dict[str, str]) -> None:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.program = subprocess.Popen(
            [sys.executable, "-m", "launcher", *argv], stdin=slave, stdout=slave, stderr=slave, env=environ,
            start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self._master, self._seen = master, b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._master, 65536)
            except OSError:  # its end: Linux answers EIO
                return
            if not piece:
                return
            self._seen += piece

    def wait_for(self, text: str) -> None:
        until_s = time.monotonic() + 20
        while text.encode() not in self._seen:
            assert time.monotonic() < until_s, self._seen[-3000:]
            time.sleep(0.02)

    def end(self) -> tuple[int, str]:
        code = self.program.wait(timeout=20)
        self._reader.join(timeout=5)
        os.close(self._master)
        return code, self._seen.decode("utf-8", "replace")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalUnderTest]:
    monkeypatch.chdir(tmp_path)
    made = LocalUnderTest(tmp_path)
    yield made
    made.close()


@pytest.fixture
def handle(place: LocalUnderTest) -> Handle:
    found = Handle(backend="local", job="flowers")
    store = RunStore(place.runs_dir)
    record = RunRecord(
        handle=found, run_id=RUN_ID, stage=Stage.SUBMITTING, project="/p", config="/p/cfg.yaml",
        command=("submit",), created_s=time.time(),
    )  # fmt: skip
    store.begin(record, config=b"", manifest="", git=None)
    place.submit(name="flowers", nodes=1)
    store.finish(record)
    place.reaches(found, lambda status: status.state is JobState.RUNNING, what="the job to run")
    return found


@pytest.fixture
def on_terminal(place: LocalUnderTest) -> Iterator[Callable[..., Terminal]]:
    environ = {
        **os.environ, "FTLAUNCH_STATE": str(place.folder), "TERM": "xterm-256color", "PYTHONUTF8": "1",
        "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
    }  # fmt: skip
    environ.pop("NO_COLOR", None)
    started = []

    def start(*argv: str) -> Terminal:
        started.append(Terminal(*argv, environ=environ))
        return started[-1]

    yield start
    for terminal in started:
        if terminal.program.poll() is None:
            terminal.program.kill()


ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


@pytest.mark.parametrize("command", [("wait",), ("status", "--watch")], ids=" ".join)
def test_the_view_ends_with_the_job_and_says_how_it_ended(place, handle, on_terminal, command):
    terminal = on_terminal(*command, "flowers")
    terminal.wait_for(ENTER)
    place.say(handle, 0, b"[a1 r0] [Eval][Epoch 1][Avg]loss: 1.0, top1: 0.5\n")
    terminal.wait_for("EVAL TOP1")
    place.finish(handle, 0, 0)
    code, seen = terminal.end()
    assert code == 0
    assert seen.count(ENTER) == seen.count(LEAVE) == 1
    rest = seen.partition(LEAVE)[2]
    assert "Succeeded" in rest
    assert "next: " in rest


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["ctrl-c", "told-to-end"])
def test_leaving_the_view_leaves_the_job_and_the_terminal_as_it_was(place, handle, on_terminal, number):
    terminal = on_terminal("wait", "flowers")
    terminal.wait_for("flowers\x1b[0m")
    terminal.program.send_signal(number)
    code, seen = terminal.end()
    assert (code, seen.count(LEAVE), "\x1b[?25h" in seen) == (130, 1, True)
    assert "flowers goes on; `ftlaunch status --watch flowers` to come back" in seen
    assert place.backend.status(handle).state is JobState.RUNNING


def test_plain_lines_stay_on_a_terminal_that_asks_for_them(place, handle, on_terminal):
    terminal = on_terminal("wait", "--plain", "flowers")
    terminal.wait_for("flowers: Running")
    place.finish(handle, 0, 3, reason="the data was refused")
    code, seen = terminal.end()
    assert (code, ENTER in seen) == (5, False)
    assert "the data was refused" in seen


def test_of_a_job_that_fails_the_end_of_its_log_stays(place, handle, on_terminal):
    terminal = on_terminal("wait", "flowers")
    terminal.wait_for(ENTER)
    place.say(handle, 0, b"[a1 r0] the last words\n")
    terminal.wait_for("the last words")
    place.finish(handle, 0, 3, reason="the data was refused")
    code, seen = terminal.end()
    assert code == 5
    assert "the last words" in seen.partition(LEAVE)[2]
