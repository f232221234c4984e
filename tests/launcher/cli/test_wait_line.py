"""What a waiting command says, on a terminal and elsewhere."""

from __future__ import annotations

import io
import sys

import pytest

from launcher.backends.states import JobState, JobStatus
from launcher.cli.table import cut, format_table, width_of
from launcher.cli.waitline import WaitLine
from launcher.plan.handle import Handle
from trainer.protocol.printable import show
from trainer.protocol.progress import Progress, RankProgress

HANDLE = Handle(backend="local", job="flowers")


def status(state: JobState = JobState.RUNNING, *, step: int | None = None, reason: str = "") -> JobStatus:
    ranks = ()
    if step is not None:
        ranks = (
            RankProgress(
                rank=0, node=0, step=step, epoch=0, phase="compute", loss=1.5, images_per_s=20.0, silent_s=0.0
            ),
        )
    progress = Progress(time_s=1.0, attempt=1, world_size=1, total_steps=100, ranks=ranks)
    return JobStatus(
        handle=HANDLE, run_id="0" * 32, state=state, reason=reason, pods=(), progress=progress, created_s=0.0
    )


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_where_lines_stay_a_state_is_said_once_and_progress_now_and_then(capsys):
    now = [0.0]
    line = WaitLine("flowers", now=lambda: now[0])
    for step in range(90):
        line.tell(status(step=step))
        now[0] += 1.0
    said = capsys.readouterr().err.splitlines()
    assert [text.partition(", step ")[2].partition(" of ")[0] for text in said] == ["0", "30", "60"]
    assert {text.partition(", ")[0] for text in said} == {"flowers: Running · epoch 1"}


def test_a_new_state_is_said_at_once_with_its_reason(capsys):
    line = WaitLine("flowers")
    line.tell(status(JobState.QUEUED, reason="third in team-a"))
    line.tell(status(JobState.QUEUED, reason="third in team-a"))
    line.tell(status(JobState.RUNNING))
    line.tell(status(JobState.FAILED))
    assert capsys.readouterr().err.splitlines() == [
        "flowers: Queued · third in team-a",
        "flowers: Running",
    ]


def test_a_terminal_has_one_line_that_fits(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "40")
    line = WaitLine("flowers")
    line.tell(status(step=1, reason="a reason that is far longer than\nthe terminal is wide"))
    line.end()
    written = terminal.getvalue()
    assert "\n" not in written
    _, first, cleared = written.split("\r\x1b[K")
    assert width_of(first) < 40
    assert first.startswith("flowers: Running · a reason")
    assert cleared == ""


def test_columns_stand_below_their_names_whatever_the_script():
    rows = [("花", "Failed", "1.5"), ("a", "Running", "120.0")]
    lines = format_table(("NAME", "STATE", "MB"), rows, right="MB")
    assert [show(text, colour=False) for text in lines] == [
        "NAME  STATE       MB",
        "花    Failed     1.5",
        "a     Running  120.0",
    ]
    assert show(lines[1], colour=True) == "花    \x1b[31mFailed\x1b[0m     1.5"


@pytest.mark.parametrize(
    ("text", "shown"), [("short", "short"), ("eleven signs", "eleven si…"), ("花花花花花花", "花花花花…")]
)
def test_what_does_not_fit_is_cut_with_a_sign(text, shown):
    assert cut(text, columns=10) == shown


def test_a_cell_cannot_make_a_row():
    assert len(format_table(("NAME",), [("one\ntwo",)])) == 2
