"""A kubelet rotates logs that nobody reads: what the output folder kept is shown in their place."""

from __future__ import annotations

import re

import pytest

from tests.e2e.cluster.test_faults import LONG, rows  # noqa: F401 - a fixture

STEPS, LINES = 40, 1000
"""A step is a megabyte of lines: a kubelet keeps ten by default, the output folder fifty."""
PRINTING = f"""
from trainer.engine.step import Stepper
from trainer.ranks import read_ranks

real_step, ranks = Stepper.step, read_ranks()


def step(stepper, fed, *, step):
    for number in range({LINES}):
        print("line", step, number, "." * 1000, flush=number == {LINES} - 1)
    return real_step(stepper, fed, step=step)


Stepper.step = step
"""
LINE = re.compile(r"rank (\d)[^]]*\] line (\d+) (\d+) \.{1000}")


@pytest.mark.table  # minutes: kubelets look every ten seconds what to rotate
def test_lines_that_a_kubelet_rotated_away_unread_are_shown_once_and_in_order(
    place,
    space,
    write_job,
    rows,  # noqa: F811
):
    (place.folder / "my").mkdir()
    (place.folder / "my/printing.py").write_text(PRINTING)
    cfg = write_job(
        **{**LONG, "Global__epochs": STEPS // 2}, Launch__code="my", Launch__extra_modules=["printing"],
        Launch__grace_period="60s",
    )  # fmt: skip
    place.run("ftlaunch", "submit", cfg, "--name", "pair")
    place.wait_for(
        lambda: max((row["step"] for row in rows() if row["event"] == "step"), default=0) > STEPS // 2,
        what="half of the steps", timeout_s=240,
    )  # fmt: skip
    space.kubectl("delete", "pod", "pair-worker-1", "--wait=false")
    place.run("ftlaunch", "wait", "--timeout", "280s")
    wanted = [(step, number) for step in range(STEPS) for number in range(LINES)]
    of_kubelet = space.kubectl("logs", "pair-worker-0")
    assert "line 0 0 " not in of_kubelet  # it was rotated away, or this shows nothing
    found = place.run("ftlaunch", "logs", "--attempt", "all")  # pods that were made anew, too
    assert "missing" not in found.stderr, found.stderr
    assert "are missing here" not in found.stdout
    for rank in "01":
        lines = (match.groups() for match in map(LINE.search, found.stdout.splitlines()) if match)
        shown = [(int(step), int(number)) for of, step, number in lines if of == rank]
        assert shown == wanted, found.stderr
    place.run("ftlaunch", "delete", "pair", "--force")
