"""What a run has differently from the one before, as `list` shows it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.jobs.changes import Change, find_changes, options_of
from launcher.jobs.listing import changes_of, list_jobs
from launcher.names import new_run_id
from launcher.plan.handle import Handle
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from trainer.protocol.jobfile import JobFile

CONFIG = """
Global: {epochs: 10, seed: 0}
Optimizer: {lr: {learning_rate: 0.1}}
Metric: {Eval: [{TopkAcc: {topk: [1, 5]}}]}
"""


def begin(store: RunStore, name: str, config: str, *, at_s: float = 1.0, **more: object) -> RunRecord:
    overrides = tuple(more.pop("overrides", ()))
    record = RunRecord(
        handle=Handle(backend="local", job=name), run_id=new_run_id(), stage=Stage.SUBMITTED, project="/p",
        config="/p/cfg.yaml", command=("submit", "a.yaml", *more.pop("command", ())), created_s=at_s, **more,
    )  # fmt: skip
    job_file = JobFile(
        job=name, backend="local", run_id=record.run_id, workdir="/p", overrides=overrides, extra_modules=(),
        folders={}, output_dir="/o",
    )  # fmt: skip
    store.begin(record, config=config.encode(), manifest="", git=None, job_file=job_file)
    return record


@pytest.mark.parametrize(
    ("config", "overrides", "said"),
    [
        (CONFIG, (), []),
        (CONFIG.replace("epochs: 10", "epochs: 3"), (), ["epochs 10→3"]),
        (CONFIG, ("Global.epochs=3",), ["epochs 10→3"]),
        (CONFIG.replace(", seed: 0", ""), (), ["no seed"]),
        (CONFIG + "AMP: {use_amp: true}\n", (), ["use_amp=true"]),
        (CONFIG.replace("[1, 5]", "[1, 2]"), (), ["topk [1, 5]→[1, 2]"]),
        (CONFIG, ("Optimizer.lr={'name': 'Step'}",), ["lr.name=Step", "no learning_rate"]),
        (CONFIG, ("Global.output_dir=/output/x/two",), []),
        (CONFIG, ("Global.output_dir=/output/x",), ["output_dir=/output/x"]),
        ("a: [", (), []),
    ],
)
def test_what_differs_is_named_by_its_key(tmp_path, config, overrides, said):
    store = RunStore(tmp_path)
    one, two = begin(store, "one", CONFIG), begin(store, "two", config, overrides=overrides)
    assert [str(change) for change in find_changes(store, one, two)] == said


def test_options_that_make_a_job_count_and_those_of_the_call_do_not():
    typed = (
        "submit",
        "a.yaml",
        "-o",
        "Global.epochs=3",
        "--follow",
        "--name",
        "x",
        "--nodes=2",
        "--gpus",
        "4",
    )
    assert options_of((*typed, "--require-gpu")) == {"--nodes": "2", "--gpus": "4", "--require-gpu": "yes"}


def test_the_run_before_is_the_last_one_of_the_same_config(tmp_path, monkeypatch):
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path))
    store = RunStore(tmp_path / "runs")
    begin(store, "first", CONFIG, at_s=1.0)
    begin(store, "other", "a: 1", at_s=2.0)
    begin(store, "second", CONFIG, at_s=3.0, command=("--nodes", "2"), code_sha256="ab" * 32)
    folder = store.run_folder("other")
    record = json.loads((folder / "record.json").read_text())
    (folder / "record.json").write_text(json.dumps({**record, "config": "/p/other.yaml"}))
    second, other = list_jobs(store=store, limit=2)
    assert second.before is not None
    assert second.before.handle.job == "first"  # which is beyond the limit
    assert changes_of(second, store=store) == [
        Change(key="Launch.code", before=None, after="ab" * 6), Change(key="--nodes", before=None, after="2"),
    ]  # fmt: skip
    assert (other.before, changes_of(other, store=store)) == (None, [])


def test_the_state_of_a_job_is_asked_for_where_nothing_was_noted(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path))
    store = RunStore(tmp_path / "runs")
    begin(store, "first", CONFIG)
    (job,) = list_jobs(store=store)
    assert (job.state, job.outcome) == ("Gone", None)
