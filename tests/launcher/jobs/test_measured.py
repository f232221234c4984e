"""Rows as they are written, taken in once each and in bounded memory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.jobs import measured
from launcher.jobs.curves import read_panel
from launcher.jobs.measured import MOST_POINTS, Measured, RowReader


def step(number: int, *, attempt: int = 1, loss: float | None = None) -> dict[str, object]:
    return {"event": "step", "attempt": attempt, "step": number, "loss": number / 2 if loss is None else loss}


def test_few_rows_are_the_curve_that_plot_draws():
    rows = [step(number) for number in range(1, 50)]
    rows += [{"event": "eval", "attempt": 1, "epoch": 1, "step": 49, "loss": 2.0, "top1": 0.5}]
    made = Measured()
    made.add(rows)
    assert made.panel("a", "loss") == read_panel([("a", rows)], "loss")
    assert (made.metric, made.score.value, list(made.epochs)) == ("top1", 0.5, [1])


def test_many_rows_are_means_of_neighbours_and_the_newest_is_among_them():
    made = Measured()
    made.add(step(number) for number in range(1, 50_001))
    (curve,) = made.panel("a", "loss").curves
    assert MOST_POINTS / 2 <= len(curve.points) <= MOST_POINTS + 1
    assert all(value == pytest.approx(number / 2, abs=0.5) for number, value in curve.points)
    assert curve.points[-1][0] > 50_000 - 32


def test_what_a_restart_does_again_replaces_what_was_done():
    made = Measured()
    made.add([*(step(number) for number in range(1, 11)), step(6, attempt=2, loss=9.0)])
    (curve,) = made.panel("a", "loss").curves
    assert [number for number, _ in curve.points] == [1, 2, 3, 4, 5, 6]
    assert (curve.points[-1][1], curve.restarts) == (9.0, (6,))


def test_names_are_bounded():
    made = Measured()
    made.add({"event": "step", "step": number, f"name-{number}": 1.0} for number in range(1000))
    assert len(made.names) == 64


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    monkeypatch.setattr(measured, "output_here", lambda _: tmp_path)
    return tmp_path


def test_each_row_is_read_once_and_a_half_written_one_the_next_time(folder):
    reader, file = RowReader(folder), folder / "metrics.jsonl"
    assert reader.read() == ([], False)
    first, second = (json.dumps(step(number)) + "\n" for number in (1, 2))
    file.write_text(first + second[:9])
    assert [row["step"] for row in reader.read()[0]] == [1]
    assert reader.read() == ([], False)
    file.write_text(first + second)
    assert [row["step"] for row in reader.read()[0]] == [2]


def test_another_file_begins_anew(folder):
    reader, file = RowReader(folder), folder / "metrics.jsonl"
    file.write_text(json.dumps(step(1)) + "\n" + json.dumps(step(2)) + "\n")
    reader.read()
    other = folder / "other"
    other.write_text(json.dumps(step(7)) + "\n")
    other.replace(file)
    rows, is_new = reader.read()
    assert ([row["step"] for row in rows], is_new) == ([7], True)


def test_what_is_no_row_and_a_line_without_an_end_are_passed_over(folder, monkeypatch):
    monkeypatch.setattr(measured, "_MOST_BYTES", 100)
    file = folder / "metrics.jsonl"
    file.write_bytes(b"\xff\n[1]\n" + b"x" * 1000 + b"\n" + json.dumps(step(3)).encode() + b"\n")
    reader, found = RowReader(folder), []
    for _ in range(20):
        found += reader.read()[0]
    assert [row["step"] for row in found] == [3]


def test_a_link_is_not_followed_out_of_the_folder(folder, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "rows"
    elsewhere.write_text(json.dumps(step(1)) + "\n")
    (folder / "metrics.jsonl").symlink_to(elsewhere)
    assert RowReader(folder).read()[0] == []
