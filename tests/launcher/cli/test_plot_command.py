"""Curves of jobs: as text, as SVG, as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from launcher.cli.graph import Curve, plot, sparkline, takes_blocks
from launcher.cli.plot import draw, fit_rows
from launcher.cli.table import width_of
from launcher.jobs.curves import MeasuredCurve, Panel, Plot, format_svg, read_panel, thin, ticks
from launcher.plan.handle import Handle
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from tests.launcher.schemas import check_document
from trainer.protocol.jobfile import JobFile
from trainer.protocol.printable import show

STEPS = [
    {"event": "step", "attempt": 1, "epoch": 1, "step": step, "loss": 3.0 - step / 10, "lr": 0.1}
    for step in range(1, 21)
]
EVALS = [
    {"event": "eval", "attempt": 1, "epoch": epoch, "step": 10 * epoch, "loss": 1.0, "top1": epoch / 4}
    for epoch in (1, 2)
]


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return what makes a job that has written rows."""
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)

    def make(name: str, rows: list[dict[str, object]], *, number: int = 1) -> str:
        run_id = f"{number:032x}"
        output = tmp_path / "output" / name
        (output / ".ftlaunch").mkdir(parents=True)
        state = {"schema": 1, "run_id": run_id, "first_start_s": 1.0}
        (output / ".ftlaunch" / "run.json").write_text(json.dumps(state))
        (output / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        record = RunRecord(
            handle=Handle(backend="local", job=name), run_id=run_id, stage=Stage.SUBMITTED,
            project=str(tmp_path), config="/p/cfg.yaml", command=("submit",), created_s=float(number),
        )  # fmt: skip
        file = JobFile(
            job=name, backend="local", run_id=run_id, workdir=str(tmp_path), overrides=(), extra_modules=(),
            folders={"/output": str(tmp_path / "output")}, output_dir=f"/output/{name}",
        )  # fmt: skip
        RunStore(tmp_path / "state" / "runs").begin(record, config=b"", manifest="", git=None, job_file=file)
        return name

    return make


def test_by_default_the_loss_and_the_metric_that_chooses_are_drawn(job, ftlaunch):
    job("flowers", [*STEPS, *EVALS])
    ran = ftlaunch("plot")
    assert ran.code == 0
    lines = ran.out.splitlines()
    assert [line for line in lines if line in ("loss", "top1")] == ["loss", "top1"]
    assert "  b eval: 1 at step 20" in lines
    assert "  ━━ eval: 0.5 at step 20" in lines
    assert max(map(width_of, lines)) <= 80


def test_several_jobs_are_drawn_over_one_another_and_named(job, ftlaunch):
    job("one", [*STEPS, *EVALS], number=1)
    job("two", EVALS, number=2)
    out = ftlaunch("plot", "one", "two", "two", "-m", "eval.top1").out
    assert "  a one: 0.5 at step 20\n  b two: 0.5 at step 20\n" in out
    document = json.loads(ftlaunch("plot", "one", "two", "--metric", "eval.top1", "--output", "json").out)
    assert check_document(document) == "plot"
    (panel,) = document["panels"]
    assert [(curve["job"], curve["points"]) for curve in panel["curves"]] == [
        ("one", [[10, 0.25], [20, 0.5]]), ("two", [[10, 0.25], [20, 0.5]]),
    ]  # fmt: skip


def test_a_picture_is_one_file_that_runs_nothing(job, ftlaunch, tmp_path):
    job("flowers", [*STEPS, *EVALS])
    ran = ftlaunch("plot", "--svg", tmp_path / "a.svg")
    assert (ran.code, ran.out, ran.err) == (0, "", f"written: {tmp_path / 'a.svg'}\n")
    tree = ElementTree.parse(tmp_path / "a.svg")
    kinds = {element.tag.rpartition("}")[2] for element in tree.iter()}
    assert kinds == {"svg", "rect", "g", "text", "path", "polyline", "circle", "title"}
    assert ftlaunch("plot", "--svg", tmp_path / "no" / "a.svg").code == 2


def test_what_was_not_measured_is_refused_with_what_was(job, ftlaunch):
    job("flowers", [*STEPS, *EVALS])
    ran = ftlaunch("plot", "-m", "loss", "-m", "nonsense")
    assert (ran.code, ran.out) == (2, "")
    known = "loss, lr, train.loss, eval.loss, eval.top1"
    assert ran.err == f"--metric: expected some of {known}, got 'nonsense'\n"
    assert "got 'eval.top2'; did you mean 'eval.top1'?" in ftlaunch("plot", "-m", "eval.top2").err


def test_a_step_that_was_done_twice_counts_as_it_was_done_last():
    again = [{**row, "attempt": 2, "loss": 9.0} for row in STEPS if row["step"] in (11, 12)]
    (curve,) = read_panel([("flowers", [*STEPS, *again])], "loss").curves
    assert (curve.points[9:], curve.restarts) == (((10, 2.0), (11, 9.0), (12, 9.0)), (11,))


@pytest.mark.parametrize("odd", [{"step": None}, {"step": "1"}, {"loss": None}, {"loss": "x"}, {"event": []}])
def test_rows_of_others_are_no_point(odd):
    assert read_panel([("flowers", [{**STEPS[0], **odd}])], "loss").curves == ()


def test_names_of_others_are_text_in_a_picture():
    curve = MeasuredCurve(job='<script>"\x00', part="train", points=((1, 1.0), (2, 1.0)), restarts=(2,))
    text = format_svg(
        [Panel(metric="</svg>&", curves=(curve, MeasuredCurve(job="b", part="train", points=((1, 2.0),))))]
    )
    tree = ElementTree.fromstring(text)
    said = [element.text for element in tree.iter() if element.tag.endswith("}text")]
    assert '<script>"�' in said
    assert "</svg>&" in said


def test_spark_lines_follow_the_values_in_any_room():
    assert sparkline([1, 2, 3, 8], columns=9) == "▁▂▃█"
    assert sparkline([1, 1, 9, 9], columns=2, blocks=False) == "_#"
    assert sparkline([5, 5], columns=9) == "▅▅"
    assert sparkline([], columns=9) == ""


@pytest.mark.parametrize("blocks", [True, False])
@pytest.mark.parametrize("colour", [True, False])
@pytest.mark.parametrize("points", [((1.0, 2.0),), ((1.0, 1e300), (2.0, -1e300)), ((0.0, 0.0), (1e9, 1e-9))])
def test_a_plot_stays_in_its_room(blocks, colour, points):
    curves = [Curve(name="a", points=points), Curve(name="b", points=points[:1])]
    lines = [
        show(line, colour=False) for line in plot(curves, columns=40, rows=8, blocks=blocks, colour=colour)
    ]
    assert len(lines) == 8
    assert max(map(width_of, lines)) <= 40
    assert blocks or all(line.isascii() for line in lines)
    assert plot([], columns=40, rows=8, blocks=blocks, colour=colour) == ["nothing to draw yet"]


def test_a_stream_that_has_no_blocks_gets_letters():
    class Latin:
        encoding = "latin-1"

    assert not takes_blocks(Latin())  # type: ignore[arg-type]


def test_axes_have_round_numbers_around_all_values():
    assert ticks([0.07, 0.31]) == pytest.approx([0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35])
    for values in ([5.0, 5.0], [0.0], [-1e9, 1e9]):
        found = ticks(values)
        assert found[0] <= min(values)
        assert found[-1] >= max(values)
        assert len(found) <= 12
    assert len(thin([(step, 1.0) for step in range(10_000)])) == 800


def test_all_panels_fit_on_a_terminal_where_they_can():
    curve = MeasuredCurve(job="flowers", part="train", points=((0, 1.0), (9, 0.5)))
    two = Plot(panels=(Panel(metric="loss", curves=(curve, curve)), Panel(metric="top1", curves=(curve,))))
    for lines, rows in ((24, 8), (50, 14), (10, 7), (1000, 14)):
        assert fit_rows(two, lines=lines) == rows
    height = sum(len(draw(panel, columns=80, rows=8)) for panel in two.panels) + 1
    assert height <= 24
