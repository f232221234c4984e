"""What a hostile run folder, output folder, log or address can do to the page: nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest

from launcher.plan.handle import Handle
from launcher.runs.record import RunRecord, Stage
from tests.launcher.ui.test_pages import HOSTILE, job
from trainer.protocol.jobfile import JobFile
from trainer.protocol.runfile import claim_output

__all__ = ["job"]  # the fixture
RUN_ID = "ab" * 16
SECRET = "-----BEGIN OPENSSH PRIVATE KEY-----"


@pytest.fixture
def output(store, tmp_path: Path) -> Path:
    """The output folder, on this machine, of the run `flowers`, which others may write into."""
    found = tmp_path / "output"
    record = RunRecord(
        handle=Handle(backend="local", job="flowers"), run_id=RUN_ID, stage=Stage.SUBMITTED,
        project=str(tmp_path), config="cfg.yaml", command=("submit",), created_s=1.0,
    )  # fmt: skip
    job_file = JobFile(
        job="flowers", backend="local", run_id=RUN_ID, workdir=str(tmp_path), overrides=(), extra_modules=(),
        folders={"/output": str(found)}, output_dir="/output",
    )  # fmt: skip
    store.begin(record, config=b"Global: {}\n", manifest="", git=None, job_file=job_file)
    found.mkdir()
    claim_output(found, run_id=RUN_ID, now_s=1.0)
    return found


@pytest.mark.parametrize(
    "name",
    ["..", ".", "a\0b", "x" * 5000, "../../etc", "..%2f..", "local://x", "\u202e", "-"],
    ids=lambda name: repr(name)[:12],
)
def test_a_name_that_is_none_is_not_found(page, store, name):
    store.folder.mkdir(parents=True)
    (store.folder.parent / "record.json").write_text("{")
    assert page.get(f"run/{name}/").status_code == 404
    assert page.get(f"compare?job={quote(name)}&job=x").status_code in (404, 409)


@pytest.mark.parametrize("query", ["state=<script>", "on=<script>", "state=%00&on=..", "page=-1", "page=9e9"])
def test_a_filter_that_is_none_filters_nothing(page, output, query):
    shown = page.get(f"?{query}")
    assert shown.status_code == 200
    assert "run/flowers/" in shown.text
    assert "<script>" not in shown.text


def link(target: Path, name: str, folder: Path) -> None:
    target.write_text(SECRET)
    (folder / name).symlink_to(target)


def pipe(target: Path, name: str, folder: Path) -> None:
    os.mkfifo(folder / name)


def endless(target: Path, name: str, folder: Path) -> None:
    (folder / name).symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [link, pipe, endless])
@pytest.mark.parametrize("name", ["report.html", "metrics.jsonl"])
def test_links_and_pipes_of_an_output_folder_are_not_followed(
    page, output: Path, tmp_path: Path, make: Callable[[Path, str, Path], None], name: str
):
    make(tmp_path / "id_ed25519", name, output)
    for path in ("", "report", "report.html", "?save=1", "report?save=1"):
        answer = page.get(f"run/flowers/{path}")
        assert answer.status_code in (200, 404)
        assert SECRET not in answer.text


def test_an_output_folder_that_leads_elsewhere_is_not_the_runs(page, output: Path, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    output.rename(elsewhere)
    (elsewhere / ".ftlaunch" / "run.json").unlink()
    (elsewhere / "report.html").write_text(SECRET)
    output.symlink_to(elsewhere)
    assert SECRET not in page.get("run/flowers/report.html").text


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_names_and_numbers_of_metrics_are_text(page, output: Path, text: str):
    rows = [
        {"event": "eval", "attempt": 1, "time_s": 1.0, "epoch": epoch, "step": epoch, text: 1e308 * epoch}
        for epoch in (1, 2)
    ]
    steps = [
        {"event": "step", "attempt": 1, "time_s": 1.0, "epoch": 1, "step": step, "loss": loss, text: text}
        for step, loss in enumerate((1.0, None, -1e308, text, [1], {}))
    ]
    lines = [*map(json.dumps, rows), *map(json.dumps, steps), "{" * 100_000, "1" * 1_000_000, "\0", "[]"]
    (output / "metrics.jsonl").write_text("\n".join(lines))
    for path in ("", "?save=1", "curves", "?metric=<script>window", f"?metric={'x' * 3000}"):
        answer = page.get(f"run/flowers/{path}")
        assert answer.status_code in (200, 404)
        for words in ("<script>window", "<img src=x", "\x1b"):
            assert words not in answer.text


def test_long_and_steering_lines_of_a_log_are_inert(page, job, cluster):
    cluster.write_log(
        "flowers-worker-0",
        b"[a1 r0] " + b"x" * 1_000_000 + b"\n[a1 r0] \x1b]0;title\x07\x9b31m<script>window.hacked=1</script>"
        b"\xff\xfe\xe2\x80\xae\n[a1 r0] last\n",
    )
    answer = page.get("run/flowers/logs?save=1")
    assert len(answer.body) < 200_000
    assert "last" in answer.text
    for words in ("<script>window", "\x1b", "\x9b", "\x07", "\u202e"):
        assert words not in answer.text
