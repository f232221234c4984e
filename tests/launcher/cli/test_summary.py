"""What is said of a job that has ended."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.backends.states import JobState, JobStatus, PodState, PodStatus
from launcher.cli import listing
from launcher.cli.summary import format_next, print_end
from launcher.cli.table import format_table, shorten, width_of
from launcher.errors import UnreachableError
from launcher.jobs.class_scores import find_worst_classes
from launcher.jobs.listing import ListedJob
from launcher.jobs.resolve import ResolvedJob
from launcher.plan.handle import Handle
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from trainer.protocol.evaluated import Evaluated
from trainer.protocol.jobfile import JobFile
from trainer.protocol.printable import paint, show
from trainer.protocol.progress import Progress
from trainer.protocol.termination import Termination

RUN_ID = "ab" * 16
HANDLE = Handle(backend="local", job="flowers")


class Silent:
    """A backend that answers nothing: what is said of an end asks for the reason of a failure alone."""

    cluster = None

    def __getattr__(self, name: str) -> object:
        def ask(*given: object, **named: object) -> None:
            raise UnreachableError("silence")

        return ask


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResolvedJob:
    monkeypatch.chdir(tmp_path)
    record = RunRecord(
        handle=HANDLE, run_id=RUN_ID, stage=Stage.SUBMITTED, project="/p", config="/p/cfg.yaml",
        command=("submit",), created_s=1.0,
    )  # fmt: skip
    output = tmp_path / "output" / "flowers"
    (output / ".ftlaunch").mkdir(parents=True)
    state = {"schema": 1, "run_id": RUN_ID, "first_start_s": 1.0}
    (output / ".ftlaunch" / "run.json").write_text(json.dumps(state))
    for name in ("report.html", "best_model.pdparams"):
        (output / name).touch()
    file = JobFile(
        job="flowers", backend="local", run_id=RUN_ID, workdir=str(tmp_path), overrides=(), extra_modules=(),
        folders={"/output": str(tmp_path / "output")}, output_dir="/output/flowers",
    )  # fmt: skip
    store = RunStore(tmp_path / "runs")
    store.begin(record, config=b"", manifest="", git=None, job_file=file)
    return ResolvedJob(record=record, backend=Silent(), store=store)  # type: ignore[arg-type]


def ended(state: JobState, *, best: float = 0.9, reason: str = "") -> JobStatus:
    found = Evaluated(top1=best, best_top1=best, largest_class=0.25, images=60, best_epoch=3)
    words = Termination(exit=0, attempt=1, reason="done", checkpoint="/output/flowers/e")
    pod = PodStatus(pod="w", node=0, state=PodState.SUCCEEDED, started_s=10.0, termination=words)
    progress = Progress(time_s=1.0, attempt=1, world_size=1, total_steps=9, ranks=(), evaluated=found)
    return JobStatus(
        handle=HANDLE, run_id=RUN_ID, state=state, pods=(pod,), created_s=1.0, ended_s=140.0,
        progress=progress, reason=reason,
    )  # fmt: skip


def said(job: ResolvedJob, status: JobStatus, capsys: pytest.CaptureFixture[str]) -> list[str]:
    print_end(job, status)
    out, err = capsys.readouterr()
    assert out == ""
    return err.splitlines()


def test_a_run_that_ended_well_is_told_with_its_best_its_places_and_what_comes_next(job, capsys):
    assert said(job, ended(JobState.SUCCEEDED), capsys) == [
        "flowers: Succeeded after 2 min",
        "  best top1 0.9, epoch 3; always answering the largest class: 0.25",
        "  report: output/flowers/report.html",
        "  best weights: output/flowers/best_model.pdparams",
        "next: trainer predict flowers IMAGES · trainer eval flowers --report FOLDER",
    ]


def test_the_classes_that_went_wrong_most_are_named_where_a_report_tells_of_them(job, capsys, tmp_path):
    def scores(label: int, support: int, correct: int, predicted: int) -> dict[str, int]:
        return {"label": label, "support": support, "correct": correct, "predicted": predicted}

    classes = [
        scores(0, 9, 9, 9),
        scores(1, 9, 5, 6),
        scores(2, 9, 8, 19),
        scores(3, 9, 8, 8),
        scores(9, 9, 0, 0),
    ]
    report = tmp_path / "output" / "flowers" / "report.json"
    report.write_text(
        json.dumps({"names": ["a", "\x1b[2Jb", "c", "d"], "classes": [*classes, None, {"label": -1}]})
    )
    lines = " ".join(said(job, ended(JobState.SUCCEEDED), capsys)[2:4])
    assert " ".join(lines.split()) == (
        "worst classes of the last evaluation: c 8 of 9 right and 11 others taken for it, 9 0 of 9 right, "
        "\\x1b[2Jb 5 of 9 right and 1 other taken for it"
    )
    for odd in ("{}", "[", '{"classes": {}}', '{"classes": [1]}'):
        report.write_text(odd)
        assert find_worst_classes(report.parent) == []


def test_a_run_that_learned_nothing_is_told_so(job, capsys):
    lines = said(job, ended(JobState.SUCCEEDED, best=0.25), capsys)
    assert lines[2].startswith("  no better than always answering the largest class")


def test_the_end_is_told_though_its_reason_cannot_be_read(job, capsys):
    lines = said(job, ended(JobState.FAILED, reason="rank 0: data"), capsys)
    assert lines[0] == "flowers: Failed after 2 min: rank 0: data"
    assert "why it failed could not be read: silence" in lines[2]
    assert lines[-1] == "next: ftlaunch logs flowers · ftlaunch why flowers"


def test_of_a_job_elsewhere_the_path_in_the_pod_is_told_and_how_to_fetch_it(job, capsys):
    (job.run_folder / "job.json").unlink()
    *_, place, commands = said(job, ended(JobState.SUCCEEDED), capsys)
    assert place == "  last checkpoint: /output/flowers/e (in the pod)"
    assert commands == "next: ftlaunch ckpt pull flowers --checkpoint best"


def test_a_coloured_row_is_cut_where_the_terminal_ends_and_its_colour_with_it():
    _, line = format_table(("NAME", "STATE", "WHAT"), [("花", "Failed", "a reason")])
    for columns in range(3, 25):
        short = shorten(line, columns=columns)
        assert width_of(show(short, colour=False)) <= columns
        coloured = show(short, colour=True)
        assert coloured.count("\x1b[31m") == coloured.count("\x1b[0m")
    assert show(shorten(line, columns=12), colour=True) == "花    \x1b[31mFailed\x1b[0m"
    assert shorten(paint("whole", "bad"), columns=5) == paint("whole", "bad")


def test_a_narrow_terminal_has_room_for_what_changed(job):
    rows = [ListedJob(record=job.record, state="Running"), ListedJob(record=job.record, state="Failed")]
    assert listing.format_jobs(rows, wide=False)[0].split()[1] == "ON"
    assert listing.format_jobs(rows, wide=False, narrow=True)[0].split()[1] == "STATE"
    there = replace(job.record, handle=Handle(backend="kubernetes", namespace="ml", job="a"))
    others = [*rows, ListedJob(record=there, state="Running")]
    assert listing.format_jobs(others, wide=False, narrow=True)[0].split()[1] == "ON"


def test_commands_that_a_line_does_not_hold_stand_on_a_line_each():
    assert format_next(["a", "b"]) == ["next: a · b"]
    assert format_next(["a" * 60, "b" * 60]) == [f"next: {'a' * 60}", f"      {'b' * 60}"]
