"""`ftlaunch report`: what a person types, and what comes from a folder of which nothing is trusted."""

from __future__ import annotations

import csv
import io
import json
import webbrowser
from pathlib import Path

import pytest

from launcher.cli.main import run
from launcher.jobs.report import fetch_report
from launcher.jobs.resolve import find_job
from launcher.volumes import transfer
from tests.launcher.schemas import check_document
from tests.launcher.volumes.test_checkpoints import job, output  # noqa: F401 - a job whose folder is here

ROWS = "path,label,top1,score1\nä.png,0,1,0.75\n"


@pytest.fixture
def reported(output: Path) -> Path:  # noqa: F811
    """An output folder with a report."""
    write(output, epoch=3)
    (output / "metrics.jsonl").write_text('{"event": "eval", "epoch": 3}\n')
    return output


def write(output: Path, *, epoch: object) -> None:  # noqa: F811
    said = {"schema": 1, "names": ["a", "b"], "images": 1, "training": {"epoch": epoch}}
    (output / "report.html").write_text(f"<p>epoch {epoch}")
    (output / "report.json").write_text(json.dumps(said))
    (output / "predictions-e003.csv").write_text(ROWS, encoding="utf-8")


def test_page_numbers_answers_and_metrics_come(job, reported, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.chdir(tmp_path)
    assert run(["report", job]) == 0
    folder = Path(f"{job}-report")
    assert capsys.readouterr().out.splitlines() == [str(folder / "report.html")]
    names = {"report.html", "report.json", "predictions-e003.csv", "metrics.jsonl"}
    assert {path.name for path in folder.iterdir()} == names
    for name in names:
        assert (folder / name).read_bytes() == (reported / name).read_bytes()


def test_answers_and_numbers_are_printed(job, reported, tmp_path, capsys):  # noqa: F811
    assert run(["report", job, "--to", str(tmp_path / "r"), "--output", "csv"]) == 0
    assert list(csv.reader(io.StringIO(capsys.readouterr().out)))[1] == ["ä.png", "0", "1", "0.75"]
    assert run(["report", job, "--to", str(tmp_path / "r"), "--output", "json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert check_document(said) == "report"
    assert said["report"]["training"] == {"epoch": 3}
    assert said["metrics"] == str(tmp_path / "r" / "metrics.jsonl")


def test_a_folder_that_cannot_be_made_is_named(job, reported, tmp_path, capsys):  # noqa: F811
    (tmp_path / "file").write_text("")
    assert run(["report", job, "--to", str(tmp_path / "file" / "r")]) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / "file" / "r") in said
    assert "bug" not in said


def test_the_page_is_opened_or_it_is_said_where_it_lies(job, reported, tmp_path, monkeypatch, capsys):  # noqa: F811
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda address: bool(opened.append(address)))
    assert run(["report", job, "--to", str(tmp_path / "r"), "--open"]) == 0
    assert opened == [(tmp_path / "r" / "report.html").as_uri()]
    assert "no browser could be started; open" in capsys.readouterr().err


def test_a_job_without_a_report_says_when_there_is_one(job, tmp_path, capsys):  # noqa: F811
    assert run(["report", job, "--to", str(tmp_path / "r")]) == 4
    assert "expected a report (report.html), got none; it is written after each" in capsys.readouterr().err


@pytest.mark.parametrize("epoch", [None, "3", "../../x", True, -1, 1e99, 4])
def test_answers_that_are_not_there_are_left_out(job, output, tmp_path, epoch):  # noqa: F811
    write(output, epoch=epoch)
    found = fetch_report(find_job(job), to=tmp_path / "r")
    assert found.predictions is None
    assert found.metrics is None
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == ["report.html", "report.json"]


def test_a_page_that_is_replaced_meanwhile_is_asked_for_again(job, reported, tmp_path, monkeypatch):  # noqa: F811
    real, calls = transfer.pull, []

    def pull(*args, **kwargs):
        calls.append(args)
        if len(calls) == 1:
            (reported / "report.html").write_text("<p>another, and longer")
        return real(*args, **kwargs)

    monkeypatch.setattr(transfer, "pull", pull)
    found = fetch_report(find_job(job), to=tmp_path / "r")
    assert found.page.read_text() == "<p>another, and longer"
    assert len(calls) == 3


def test_a_link_in_the_output_folder_leads_nowhere(job, reported, tmp_path, capsys):  # noqa: F811
    (tmp_path / "secret").write_text("secret")
    (reported / "report.html").unlink()
    (reported / "report.html").symlink_to(tmp_path / "secret")
    assert run(["report", job, "--to", str(tmp_path / "r")]) != 0
    assert not (tmp_path / "r" / "report.html").exists()
