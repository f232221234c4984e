"""The use cases as a library: without a command line, without a word, from any thread."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from launcher.backends.states import JobState
from launcher.errors import NotFoundError, UnreachableError, UsageError
from launcher.jobs import lifecycle
from launcher.jobs.examination import examine
from launcher.jobs.listing import list_jobs
from launcher.jobs.logs import read_logs
from launcher.jobs.new_config import NewConfig, make_config, save_config
from launcher.jobs.notes import Note
from launcher.jobs.options import SubmitOptions
from launcher.jobs.resolve import find_job
from launcher.jobs.submit import dry_run, submit
from launcher.jobs.validate import validate
from launcher.jobs.wait import WaitTimeoutError, exit_code, wait_for_end, watch
from launcher.kube.errors import NoAnswerError
from launcher.objects import CONFIG_MAPS, PADDLE_JOBS
from launcher.runs.record import Stage
from tests.launcher.configs import RUN_ID
from trainer.config.problems import ConfigError

NAMED = SubmitOptions(name="flowers", run_id=RUN_ID, namespace="ml", nodes=2)


@pytest.fixture
def config(write_config: Callable[..., Path]) -> Path:
    return write_config()


@pytest.fixture(autouse=True)
def silence(capfd: pytest.CaptureFixture[str]):
    """Nothing of all this is printed."""
    yield
    assert capfd.readouterr() == ("", "")


def in_a_thread(work: Callable[[], object]) -> object:
    """Return what `work` returns in a thread that is not the main one, or raise what it raises."""
    results: list[object] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - raised where the result is asked for
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def test_a_job_is_submitted_found_followed_and_deleted_by_calls(config, cluster, store):
    job = submit(config, NAMED)
    assert (str(job.handle), job.name) == ("kubernetes://ml/flowers", "flowers")
    assert (store.load("flowers").stage, store.load("flowers").command) == (Stage.SUBMITTED, ())
    found = find_job("flowers")
    assert (found.record.run_id, find_job(str(job.handle)).handle) == (RUN_ID, job.handle)
    assert find_job().handle == job.handle
    assert lifecycle.status(found).state is JobState.SCHEDULING
    for node in range(2):
        cluster.start_pod(f"flowers-worker-{node}")
    cluster.write_log("flowers-worker-0", b"[a1 r0] one\n")
    with pytest.raises(UsageError, match=r"--force"):
        lifecycle.delete(found)
    for node in range(2):
        cluster.finish_pod(f"flowers-worker-{node}", 0)
    ended = wait_for_end(found)
    assert (ended.state, exit_code(ended)) == (JobState.SUCCEEDED, 0)
    lines: list[bytes] = []
    assert read_logs(found, write=lines.extend, follow=True).state is JobState.SUCCEEDED
    assert [line.split()[-1] for line in lines] == [b"one"]
    lifecycle.delete(found)
    assert not store.run_folder("flowers").exists()
    with pytest.raises(NotFoundError):
        find_job("flowers")


def test_every_use_case_works_in_a_thread_that_is_not_the_main_one(config, cluster, store):
    job = in_a_thread(lambda: submit(config, NAMED))
    for node in range(2):
        cluster.start_pod(f"flowers-worker-{node}")
        cluster.write_log(f"flowers-worker-{node}", b"[a1 r%d] line\n" % node)
    assert in_a_thread(lambda: lifecycle.status(find_job("flowers"))).state is JobState.RUNNING
    lines: list[bytes] = []
    in_a_thread(lambda: read_logs(job, write=lines.extend))
    assert len(lines) == 2
    assert in_a_thread(lambda: lifecycle.explain(job)).status.state is JobState.RUNNING
    assert not in_a_thread(lambda: lifecycle.cancel(job)).had_ended
    for node in range(2):
        cluster.finish_pod(f"flowers-worker-{node}", 143)
    assert in_a_thread(lambda: wait_for_end(job, timeout_s=20)).state is JobState.CANCELLED
    assert in_a_thread(list_jobs)[0].state == "Cancelled"
    assert in_a_thread(lambda: lifecycle.resume(job)).state is not JobState.CANCELLED


def test_what_a_person_should_know_comes_in_the_order_in_which_it_happens(config, cluster, store):
    told: list[str] = []
    job = submit(
        config, NAMED, notes=lambda note: told.append(str(note)), on_sent=lambda _: told.append("sent")
    )
    named = next(index for index, text in enumerate(told) if text.startswith("flowers: 2 nodes"))
    assert named < told.index("sent")
    assert all(not text.endswith("\n") for text in told)
    assert job.name == "flowers"


def test_levels_of_notes_are_values_and_not_words_of_the_text(write_config, cluster, store):
    told: list[Note] = []
    submit(write_config(launch={"gpus": 0, "namespace": "ml"}), notes=told.append)
    notes = [note for note in told if note.level == "note"]
    assert notes
    assert not any(note.text.startswith(("note:", "warning:")) for note in notes)


def test_a_job_is_prepared_once_with_the_name_that_is_said(config, cluster, store, monkeypatch):
    import launcher.config.load as loading
    import launcher.render.render as rendering

    calls: list[str] = []
    for module, name in ((loading, "load_run_config"), (rendering, "render")):
        real = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *a, _n=name, _r=real, **k: (calls.append(_n), _r(*a, **k))[1]
        )
    told: list[str] = []
    job = submit(config, SubmitOptions(namespace="ml"), notes=lambda note: told.append(str(note)))
    assert calls == ["load_run_config", "render"]
    assert any(text.startswith(f"{job.name}: ") for text in told)


def test_what_is_wrong_with_a_config_is_said_before_a_cluster_that_does_not_answer(
    write_config, cluster, store
):
    def serves(_):
        raise NoAnswerError("silence")

    cluster.serves = serves
    bad = write_config(launch={"gpus": 0, "volumes": [{"mount": "/data", "local": "."}]})
    with pytest.raises(ConfigError, match="claim"):
        submit(bad, NAMED)
    with pytest.raises(UnreachableError, match="silence"):
        submit(write_config(), NAMED)
    assert store.names() == []


def test_a_dry_run_leaves_nothing_behind(config, cluster, store):
    plain = dry_run(config, NAMED)
    checked = dry_run(config, NAMED, on_server=True)
    assert plain.prepared.job.job == "flowers"
    assert (plain.checked, bool(checked.checked)) == ((), True)
    assert store.names() == []
    assert (*cluster.names("paddlejobs"), *cluster.names("configmaps")) == ()


def test_a_watch_gives_each_status_that_differs_and_ends_with_the_job(config, cluster, store):
    job = submit(config, SubmitOptions(name="flowers", namespace="ml"))
    seen = []
    for status in watch(job):
        seen.append(status.state)
        if status.state is JobState.SCHEDULING:
            cluster.start_pod("flowers-worker-0")
        elif status.state is JobState.RUNNING:
            cluster.finish_pod("flowers-worker-0", 0)
    assert seen == [JobState.SCHEDULING, JobState.RUNNING, JobState.SUCCEEDED]


def test_a_wait_that_takes_too_long_is_an_error_with_the_exit_code_of_timeouts(config, cluster, store):
    job = submit(config, NAMED)
    with pytest.raises(WaitTimeoutError) as caught:
        wait_for_end(job, timeout_s=0.01, look_s=0.01)
    assert caught.value.exit_code == 124
    assert wait_for_end(job, also=JobState.SCHEDULING).state is JobState.SCHEDULING


def test_a_delete_that_is_not_confirmed_removes_nothing(config, cluster, store):
    job = submit(config, NAMED)
    cluster.start_pod("flowers-worker-0")

    def refuse() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        lifecycle.delete(job, force=True, confirm=refuse)
    assert cluster.get(PADDLE_JOBS, "flowers", namespace="ml")
    lifecycle.delete(job, force=True)
    assert "flowers-config" not in cluster.names("configmaps")
    assert CONFIG_MAPS.plural == "configmaps"


def test_a_config_is_checked_by_a_call_that_returns_its_problems(write_config, store):
    assert validate(write_config(launch={"gpus": 0})) == ()
    wrong = write_config(Global__epochs="fast", Arch__name="ResNt50", name="wrong.yaml")
    problems = validate(wrong)
    assert {problem.path for problem in problems} == {("Global", "epochs"), ("Arch",)}
    assert all(problem.file == "wrong.yaml" and problem.line for problem in problems)
    claims = [{"mount": mount, "claim": "flowers"} for mount in ("/data", "/output")]
    here = validate(write_config(launch={"gpus": 0, "volumes": claims}), on="docker")
    assert [problem.path for problem in here] == [("Launch", "volumes", 0), ("Launch", "volumes", 1)]


def test_a_first_config_is_made_by_a_call_and_written_where_it_is_asked_for(write_config, store, tmp_path):
    source = write_config()
    values = yaml.safe_load(source.read_text())
    del values["Launch"]
    source.write_text(yaml.safe_dump(values))
    text = make_config(NewConfig(source=source, gpus=2, name="flowers"), path=Path("new.yaml"))
    assert yaml.safe_load(text)["Launch"]["gpus"] == 2
    assert not Path("new.yaml").exists()
    save_config(Path("new.yaml"), text)
    assert Path("new.yaml").read_text() == text
    assert json.loads((tmp_path / ".ftlaunch" / "schema.json").read_text())["title"]
    with pytest.raises(UsageError, match="neither"):
        make_config(NewConfig(), path=Path("new.yaml"))
    with pytest.raises(UsageError, match="--arch"):
        make_config(NewConfig(source=source, arch="ResNet50"), path=Path("new.yaml"))


def test_a_machine_is_examined_by_a_call_that_returns_findings(store):
    found = examine(on="local")
    assert (found.on, found.reached) == ("local", True)
    assert {"python", "state", "paddle"} <= {finding.check for finding in found.findings}


def test_the_use_cases_load_no_command_line():
    code = (
        "import importlib, json, pkgutil, sys, launcher.jobs as room\n"
        "names = [item.name for item in pkgutil.iter_modules(room.__path__)]\n"
        "for name in names: importlib.import_module(f'launcher.jobs.{name}')\n"
        "print(json.dumps([names, sorted({name.partition('.')[0] for name in sys.modules})]))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    names, loaded = json.loads(done.stdout)
    assert {"submit", "wait", "logs"} <= set(names)
    assert "click" not in loaded
