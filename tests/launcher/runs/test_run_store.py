from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from launcher.errors import NotFoundError, TakenError, UsageError
from launcher.plan.handle import parse_handle
from launcher.runs.gitstate import read_git_state
from launcher.runs.paths import project_of, runs_dir
from launcher.runs.record import RecordError, RunRecord, Stage, format_record, parse_record
from launcher.runs.store import RunStore

REPOSITORY = Path(__file__).resolve().parents[3]


def record(job: str = "flowers", *, project: str = "/p", created_s: float = 1.0) -> RunRecord:
    return RunRecord(
        handle=parse_handle(f"local:///{job}"), run_id="0" * 32, stage=Stage.SUBMITTING, project=project,
        config="/p/cfg.yaml", command=("submit", "cfg.yaml"), created_s=created_s,
    )  # fmt: skip


def begin(store: RunStore, *args: str, **changes: object) -> RunRecord:
    made = record(*args, **changes)
    store.begin(made, config=b"Global: {}\r\n", manifest="a: 1\r\n", git={"commit": "c"})
    return made


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "runs")


def test_a_run_is_there_for_its_owner_only_before_it_is_submitted(store):
    made = begin(store)
    folder = store.run_folder("flowers")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert (folder / "cfg.yaml").read_bytes() == b"Global: {}\r\n"
    assert (folder / "manifest.yaml").read_bytes() == b"a: 1\r\n"
    assert json.loads((folder / "git.json").read_text()) == {"commit": "c"}
    assert store.load("flowers") == made
    assert made.stage is Stage.SUBMITTING


def test_a_finished_submit_is_noted(store):
    store.finish(begin(store))
    found = store.load("flowers")
    assert found is not None
    assert found.stage is Stage.SUBMITTED


def test_a_name_is_taken_once(store):
    begin(store)
    with pytest.raises(TakenError, match="ftlaunch delete flowers"):
        begin(store)


def test_without_a_name_the_last_run_of_the_project_is_meant(store):
    begin(store, "old", created_s=1.0)
    new = begin(store, "new", created_s=2.0)
    begin(store, "other", project="/q", created_s=3.0)
    assert store.find(None, project=Path("/p")) == new
    with pytest.raises(NotFoundError, match="/r"):
        store.find(None, project=Path("/r"))


def test_of_thousands_of_records_only_those_are_read_that_are_taken(store, monkeypatch):
    for index in range(8):
        made = begin(store, f"r{index}", created_s=1e9 + 600 * index)
        path = store.run_folder(made.handle.job) / "record.json"
        os.utime(path, (made.created_s + 1, made.created_s + 1))
    read, load = [], store.load
    monkeypatch.setattr(store, "load", lambda job: read.append(job) or load(job))
    newest = store.newest()
    assert [next(newest).handle.job for _ in range(2)] == ["r7", "r6"]
    assert read == ["r7", "r6"]
    assert [record.handle.job for record in newest] == ["r5", "r4", "r3", "r2", "r1", "r0"]


def test_the_newest_run_is_that_which_was_made_last_whatever_its_file_says(store):
    for index in range(4):
        begin(store, f"r{index}", created_s=1e9 + index)
        path = store.run_folder(f"r{index}") / "record.json"
        os.utime(path, (2e9 - index, 2e9 - index))  # copied from elsewhere, in another order
    assert [record.handle.job for record in store.runs()] == ["r3", "r2", "r1", "r0"]


def test_unfinished_submits_are_found_among_all(store):
    store.finish(begin(store, "done"))
    cut = begin(store, "cut")
    store.finish(replace(begin(store, "named"), command=("submit", '"submitting"')))
    (store.run_folder("named") / "notes").write_text("submitting")
    begin(store, "broken")
    (store.run_folder("broken") / "record.json").write_text('{"submitting"')
    assert store.submitting() == [cut]


def test_where_nothing_was_submitted_there_are_no_runs(store):
    assert (store.runs(), store.names(), store.submitting()) == ([], [], [])


def test_runs_are_found_by_name_and_by_handle(store):
    made = begin(store)
    assert store.find("flowers", project=Path("/x")) == made
    assert store.find("local:///flowers", project=Path("/x")) == made
    with pytest.raises(NotFoundError):
        store.find("kubernetes://ml/flowers", project=Path("/x"))
    with pytest.raises(NotFoundError):
        store.find("tulips", project=Path("/x"))


@pytest.mark.parametrize("name", ["../evil", "a/b", "", ".hidden", "A"])
def test_names_that_are_no_names_find_nothing(store, name):
    begin(store)
    with pytest.raises((NotFoundError, UsageError)):
        store.find(name, project=Path("/p"))


def test_a_removed_run_frees_its_name(store):
    begin(store)
    store.remove("flowers")
    begin(store)


def test_a_broken_record_is_named_and_does_not_hide_the_others(store):
    begin(store, "whole")
    begin(store, "broken")
    (store.run_folder("broken") / "record.json").write_text("{")
    assert [run.handle.job for run in store.runs()] == ["whole"]
    with pytest.raises(RecordError, match="broken"):
        store.find("broken", project=Path("/p"))


def test_a_record_is_read_as_it_was_written():
    made = replace(record(), context="prod", stage=Stage.SUBMITTED)
    assert parse_record(format_record(made), where="x") == made


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 2}', '{"schema": 1}'])
def test_other_records_are_refused_with_their_place(text):
    with pytest.raises(RecordError, match="here"):
        parse_record(text, where="here")


def test_a_job_of_a_kind_that_was_dropped_is_refused_by_name():
    written = format_record(record()).replace('"paddlejob"', '"batch"')
    with pytest.raises(RecordError, match=r"batch\.paddlepaddle\.org/v1.*kubectl get paddlejobs"):
        parse_record(written, where="here")


def test_a_record_of_before_there_were_several_kinds_is_read():
    written = format_record(record()).replace('"paddlejob"', '"kubeflow"')
    assert parse_record(written, where="here") == record()


def test_a_lock_keeps_processes_apart_even_as_its_file_comes_and_goes(tmp_path):
    script = (
        "import sys; from pathlib import Path; from launcher.runs.store import RunStore\n"
        "store, counter = RunStore(Path(sys.argv[1])), Path(sys.argv[2])\n"
        "for _ in range(60):\n"
        "    with store.lock('flowers'):\n"
        "        counter.write_text(str(int(counter.read_text()) + 1))\n"
    )
    counter = tmp_path / "counter"
    counter.write_text("0")
    command = [sys.executable, "-c", script, str(tmp_path / "runs"), str(counter)]
    workers = [subprocess.Popen(command, cwd=REPOSITORY) for _ in range(4)]
    assert [worker.wait() for worker in workers] == [0] * 4
    assert counter.read_text() == "240"


def test_the_state_folder_can_be_chosen(tmp_path):
    assert runs_dir({"FTLAUNCH_STATE": str(tmp_path)}) == tmp_path / "runs"
    assert runs_dir({}).parts[-2:] == ("ftlaunch", "runs")


def test_a_project_is_where_its_file_or_its_repository_is(tmp_path):
    deep = tmp_path / "repository" / "a" / "b"
    deep.mkdir(parents=True)
    (tmp_path / "repository" / ".git").mkdir()
    assert project_of(deep) == tmp_path / "repository"
    (tmp_path / "repository" / "a" / ".ftlaunch.yaml").touch()
    assert project_of(deep) == tmp_path / "repository" / "a"


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=x", "-c", "user.email=x@example.org")
    subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True)


def test_git_state_holds_no_credentials_and_no_content(tmp_path):
    git(tmp_path, "init", "-q")
    git(tmp_path, "commit", "-q", "--allow-empty", "-m", "x")
    git(tmp_path, "remote", "add", "origin", "https://me:hunter2@example.org/repo.git")
    for number in range(60):
        (tmp_path / f"{number:02}.txt").write_text("hunter2")
    state = read_git_state(tmp_path)
    assert state is not None
    assert state["dirty"] is True
    assert len(state["dirty_files"]) == 50
    assert state["remote"] == "https://example.org/repo.git"
    assert "hunter2" not in json.dumps(state)


def test_outside_of_a_repository_there_is_no_git_state(tmp_path):
    assert read_git_state(tmp_path) is None
