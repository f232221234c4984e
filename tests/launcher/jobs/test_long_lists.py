"""`ftlaunch list` over more jobs than one asks for one by one."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from launcher.backends.states import JobState, JobStatus
from launcher.cli.main import run
from launcher.errors import UnreachableError
from launcher.jobs import listing
from launcher.jobs.outcome import Outcome
from launcher.names import new_run_id
from launcher.plan.handle import Handle
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from trainer.protocol.codec import encode


class Namespace:
    """Has jobs, counts questions, and may fall silent."""

    def __init__(self, jobs: dict[str, str]) -> None:
        self.jobs, self.asked, self.is_silent = jobs, [], False

    def list_jobs(self, run_ids):
        self.asked.append(f"list of {len(run_ids)}")
        if self.is_silent:
            raise UnreachableError("silence")
        return [self._status(name, run_id) for name, run_id in self.jobs.items() if run_id in run_ids]

    def status(self, handle):
        self.asked.append(handle.job)
        return self._status(handle.job, self.jobs[handle.job])

    def _status(self, name, run_id):
        return JobStatus(
            handle=Handle(backend="kubernetes", namespace="ml", job=name), run_id=run_id,
            state=JobState.SUSPENDED, pods=(), created_s=1.0,
        )  # fmt: skip


@pytest.fixture
def kind():
    return "kubernetes"


@pytest.fixture
def namespace(tmp_path, monkeypatch, kind):
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path))
    store, jobs = RunStore(tmp_path / "runs"), {f"job-{index:03}": new_run_id() for index in range(60)}
    for index, (name, run_id) in enumerate(jobs.items()):
        handle = Handle(backend=kind, namespace="ml" if kind == "kubernetes" else "", job=name)
        record = RunRecord(
            handle=handle, run_id=run_id, stage=Stage.SUBMITTED, project=str(tmp_path), config="cfg.yaml",
            command=("submit",), created_s=float(index),
        )  # fmt: skip
        store.begin(record, config=b"", manifest="", git=None)
    made = Namespace(jobs)
    monkeypatch.setattr(listing, "open_backend", lambda kind, **given: made)
    return made


def states(capsys) -> dict[str, str]:
    assert run(["list", "--limit", "100"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    return {row[0]: row[2] for row in rows}


def test_all_of_a_namespace_are_asked_for_at_once(namespace, capsys):
    namespace.jobs["job-007"] = new_run_id()  # somebody else's by now
    del namespace.jobs["job-008"]
    shown = states(capsys)
    assert namespace.asked == ["list of 60"]
    assert len(shown) == 60
    assert {name for name, state in shown.items() if state == "Gone"} == {"job-007", "job-008"}
    assert shown["job-009"] == "Suspended"


def test_a_silent_cluster_is_asked_once(namespace, capsys):
    namespace.is_silent = True
    assert set(states(capsys).values()) == {"Unknown"}
    assert namespace.asked == ["list of 60"]


def test_a_few_of_a_cluster_are_asked_for_in_one_question(namespace, capsys):
    assert run(["list", "-n", "3"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[1:]] == [
        "job-059", "job-058", "job-057",
    ]  # fmt: skip
    assert namespace.asked == ["list of 3"]


@pytest.mark.parametrize("kind", ["local"])
def test_a_few_of_this_machine_are_asked_for_one_by_one(namespace, capsys):
    assert run(["list", "-n", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + 3
    assert namespace.asked == ["job-059", "job-058", "job-057"]


def test_an_empty_list_is_no_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path))
    assert run(["list"]) == run(["list", "--output", "name"]) == 0
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("kind", ["local"])
def test_people_are_shown_the_newest_and_told_so(namespace, capsys):
    assert run(["list"]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 1 + 50
    assert "the newest 50; --limit N shows more" in err
    assert run(["list", "--output", "name"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 60


@pytest.mark.parametrize("kind", ["local"])
def test_what_has_ended_on_this_machine_and_was_noted_is_not_asked_for(namespace, capsys, tmp_path):
    outcome = Outcome(state="Succeeded", step=9, total_steps=9, began_s=10.0, ended_s=75.0)
    for name, state in (("job-059", "Succeeded"), ("job-058", "Cancelled")):
        text = json.dumps(encode(replace(outcome, state=state), schema=1))
        (tmp_path / "runs" / name / "outcome.json").write_text(text)
    assert run(["list", "-n", "2"]) == 0
    assert namespace.asked == ["job-058"]  # which may have been resumed
    first = capsys.readouterr().out.splitlines()[1]
    assert first.split()[:6] == ["job-059", "local", "Succeeded", "100%", "65", "s"]
