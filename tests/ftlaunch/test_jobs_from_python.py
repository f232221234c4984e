"""Jobs from a program: values and exceptions, nothing printed, nothing left behind."""

from __future__ import annotations

import itertools
import logging
import re
import subprocess
import sys
import threading
from datetime import datetime, timedelta, timezone

import pytest

import ftlaunch
from ftlaunch.lines import iterate_lines
from tests.launcher.configs import RUN_ID

NAMED = {"name": "flowers", "run_id": RUN_ID, "namespace": "ml", "nodes": 2}


@pytest.fixture
def config(write_config):
    return write_config()


@pytest.fixture(autouse=True)
def silence(capfd: pytest.CaptureFixture[str]):
    """Nothing of all this is printed."""
    yield
    assert capfd.readouterr() == ("", "")


def test_a_job_lives_from_submit_to_delete(config, cluster, caplog):
    with caplog.at_level(logging.INFO, logger="ftlaunch"):
        job = ftlaunch.submit(config, **NAMED)
    assert "2 nodes" in caplog.text
    assert (job.handle, job.run_id, job.config.name) == ("kubernetes://ml/flowers", RUN_ID, config.name)
    assert [other.handle for other in ftlaunch.jobs()] == [job.handle]
    assert ftlaunch.find_job().handle == ftlaunch.find_job("flowers").handle == job.handle
    for node in range(2):
        cluster.start_pod(f"flowers-worker-{node}")
    cluster.write_log("flowers-worker-0", b"[a1 r0] one\n[a1 r0] two\n")
    assert job.status().state is ftlaunch.JobState.RUNNING
    assert [item.handle for item in ftlaunch.jobs(states=["running"])] == [job.handle]
    assert ftlaunch.jobs(states=["failed"]) == ()
    assert list(job.logs()) == ["[rank 0] one", "[rank 0] two"]
    assert list(job.logs(tail=1, prefix=False)) == ["two"]
    assert list(job.logs(grep="^t.o$")) == ["[rank 0] two"]
    assert list(job.logs(grep=re.compile("ON", re.IGNORECASE))) == ["[rank 0] one"]
    for since in (
        "20000d",
        timedelta(days=20000),
        datetime(2000, 1, 1),
        datetime(2000, 1, 1, tzinfo=timezone.utc),
    ):
        assert len(list(job.logs(since=since))) == 2
    for since in ("2099-01-01T00:00:00Z", datetime(2099, 1, 1)):
        with caplog.at_level(logging.INFO, logger="ftlaunch"):
            assert list(job.logs(since=since)) == []
    assert "no line is what ranks=…, nodes=…, attempt=…, since=… and grep=… ask for" in caplog.text
    for asked in ({"grep": "("}, {"since": "yesterday"}):
        with pytest.raises(ftlaunch.UsageError, match=f"{next(iter(asked))}: expected a"):
            job.logs(**asked)
    with pytest.raises(ftlaunch.UsageError, match="rank"):
        list(job.logs(ranks=[9]))
    for node in range(2):
        cluster.finish_pod(f"flowers-worker-{node}", 0)
    result = job.wait(check=True)
    assert (result.state, result.exit_code, result.succeeded) == (ftlaunch.JobState.SUCCEEDED, 0, True)
    again = ftlaunch.submit(config, **{**NAMED, "name": "again", "run_id": None}, set={"Global.epochs": 3})
    (change,) = again.changes()
    assert (change.key, change.after, again.changes(since=again), job.changes()) == (
        "Global.epochs",
        "3",
        (),
        (),
    )
    assert job.best() is None
    job.delete()
    with pytest.raises(ftlaunch.NotFoundError):
        ftlaunch.find_job("flowers")


def test_changes_are_values_and_text_stays_text(config, cluster):
    changes = {"Global.epochs": 3, "Launch.labels.team": "7"}
    rendered = ftlaunch.render(config, on="kubernetes", set=changes, **NAMED)
    assert "Global.epochs=3" in rendered.manifest
    assert '"team": "7"' in rendered.manifest
    assert any(row.name == "Launch.nodes" and row.value == 2 for row in rendered.values)


def test_a_job_that_fails_is_a_result_or_where_asked_for_an_error(config, cluster):
    job = ftlaunch.submit(config, **NAMED)
    for node in range(2):
        cluster.start_pod(f"flowers-worker-{node}")
        cluster.finish_pod(f"flowers-worker-{node}", 4)
    result = job.wait()
    assert (result.state, result.exit_code) == (ftlaunch.JobState.FAILED, 5)
    with pytest.raises(ftlaunch.JobFailedError) as failed:
        job.wait(check=True)
    assert (failed.value.exit_code, failed.value.issue.where) == (5, "flowers")
    assert "why flowers" in failed.value.fix


def test_a_wait_ends_at_its_time(config, cluster):
    job = ftlaunch.submit(config, **NAMED)
    with pytest.raises(ftlaunch.WaitTimeoutError) as late:
        job.wait(timeout_s=0.1)
    assert late.value.exit_code == 124


def test_refusals_are_one_tree_with_their_exit_codes(config, cluster, tmp_path):
    with pytest.raises(ftlaunch.ConfigError) as refused:
        ftlaunch.submit(tmp_path / "missing.yaml", on="kubernetes")
    assert isinstance(refused.value, ftlaunch.Error)
    assert refused.value.exit_code == 2
    with pytest.raises(ftlaunch.NotFoundError) as lost:
        ftlaunch.find_job("nobody")
    assert isinstance(lost.value, ftlaunch.Error)
    assert lost.value.exit_code == 4
    kinds = [getattr(ftlaunch, name) for name in ftlaunch.__all__ if name.endswith("Error")]
    assert all(issubclass(kind, ftlaunch.Error) for kind in kinds)


def test_all_of_it_works_in_another_thread(config, cluster):
    ended = []

    def work():
        job = ftlaunch.submit(config, **NAMED)
        for node in range(2):
            cluster.start_pod(f"flowers-worker-{node}")
            cluster.finish_pod(f"flowers-worker-{node}", 0)
        ended.append(job.wait().exit_code)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert ended == [0]


def test_a_notebook_shows_a_job_as_a_table_without_trusting_its_words(config, cluster):
    job = ftlaunch.submit(config, **NAMED)
    cluster.start_pod("flowers-worker-0")
    shown = job._repr_html_()
    assert "kubernetes://ml/flowers" in shown
    assert "flowers-worker-0: Running" in shown
    assert repr(job) == "<Job kubernetes://ml/flowers>"
    hostile = ftlaunch.Job.__new__(ftlaunch.Job)
    hostile.__dict__.update(vars(job))
    hostile.status = lambda: (_ for _ in ()).throw(ftlaunch.UnreachableError("<script>x</script>"))  # type: ignore[method-assign]
    assert "<script>" not in hostile._repr_html_()


def test_leaving_a_log_ends_its_reader():
    left = threading.Event()

    def read(write):
        try:
            for number in itertools.count():
                write([b"line %d" % number])
        finally:
            left.set()

    lines = iterate_lines(read)
    assert list(itertools.islice(lines, 3)) == ["line 0", "line 1", "line 2"]
    lines.close()
    assert left.wait(10)


def test_what_a_reader_raises_reaches_the_loop():
    def read(write):
        write([b"one"])
        raise ftlaunch.UsageError("no such rank")

    lines = iterate_lines(read)
    assert next(lines) == "one"
    with pytest.raises(ftlaunch.UsageError, match="no such rank"):
        next(lines)


@pytest.mark.parametrize(
    "call",
    [
        lambda config: ftlaunch.submit(config, on="nomad"),
        lambda config: ftlaunch.render(config, on="nomad"),
        lambda config: ftlaunch.validate(config, on="nomad"),
        lambda config: ftlaunch.jobs(on="nomad"),
        lambda config: ftlaunch.jobs(states=["nomad"]),
        lambda config: ftlaunch.doctor(on="nomad"),
        lambda config: ftlaunch.schema("nomad"),
    ],
    ids=["submit", "render", "validate", "jobs", "states", "doctor", "schema"],
)
def test_a_word_that_is_none_of_the_choices_is_refused_with_the_choices(config, cluster, call):
    """A command line checks its choices; a program may hold any text."""
    with pytest.raises(ftlaunch.UsageError) as caught:
        call(config)
    assert caught.value.issue.got == "'nomad'"
    assert "status" in str(caught.value) or "local" in str(caught.value) or "running" in str(caught.value)


def test_a_program_that_set_no_logging_up_sees_no_warning_of_ours():
    program = (
        "import logging, ftlaunch\n"
        "for name in ('ftlaunch', 'ftlaunch.kube', 'trainer'):\n"
        "    logging.getLogger(name).warning('odd')\n"
        "logging.getLogger('its own').warning('heard')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "heard\n")


def test_one_text_is_not_taken_for_its_letters(config, cluster):
    job = ftlaunch.submit(config, on="kubernetes")
    assert [found.name for found in ftlaunch.jobs(states=job.status().state.value)] == [job.name]
    with pytest.raises(ftlaunch.NotFoundError, match="no-such"):
        ftlaunch.plot("no-such")
    with pytest.raises(ftlaunch.UsageError, match="nonsense"):
        ftlaunch.sweep(config, "nonsense")
    assert job.changes(job.name) == job.changes(job) == ()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (
            lambda: ftlaunch.submit("cfg.yaml", overwirte=True),
            "submit.. .* 'overwirte'; did you mean 'overwrite'",
        ),
        (lambda: ftlaunch.init(epoch=3), "init.. .* 'epoch'; did you mean 'epochs'"),
        (lambda: ftlaunch.sweep("cfg.yaml", [], trails=2), "sweep.. .* 'trails'; did you mean 'trials'"),
        (lambda: ftlaunch.render("cfg.yaml", nods=2), "render.. .* 'nods'; did you mean 'nodes'"),
    ],
    ids=["submit", "init", "sweep", "render"],
)
def test_a_keyword_that_is_none_is_told_as_pythons_own(call, says):
    with pytest.raises(TypeError, match=says):
        call()


def test_what_a_config_is_warned_of_is_logged_as_a_warning(config, cluster, caplog):
    ftlaunch.submit(config, on="kubernetes", set=["+Global.colour=blue"])
    warned = [record for record in caplog.records if "warning:" in record.message]
    assert warned
    assert {record.levelname for record in warned} == {"WARNING"}
