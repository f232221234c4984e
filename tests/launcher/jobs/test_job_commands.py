"""The commands about a job, over real local jobs whose pods a test plays."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jsonschema
import pytest
import yaml

from launcher.backends.states import JobEvent, JobState
from launcher.cli.events import row_of
from launcher.cli.status import rank_rows
from launcher.documents import load_schema
from launcher.jobs import lifecycle
from launcher.jobs.outcome import describe_outcome
from launcher.jobs.resolve import find_job
from launcher.jobs.resumption import describe_start, read_earlier_s
from launcher.plan.handle import Handle
from launcher.runs.paths import project_of
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from tests.contract.harness import RUN_ID
from tests.contract.local_harness import LocalUnderTest
from tests.launcher.schemas import strict
from trainer.protocol.progress import Progress, RankProgress

REPOSITORY = Path(__file__).resolve().parents[3]
PROGRESS = (
    b'[a1 n0] ftlaunch-progress {"schema":1,"time_s":1.0,"attempt":1,"world_size":1,"total_steps":9,"ranks":'
    b'[{"rank":0,"node":0,"step":4,"epoch":1,"phase":"compute","loss":1.5,"images_per_s":20.0,"silent_s":0.0}]}\n'
)


def submit(place: LocalUnderTest, *, name: str = "flowers", nodes: int = 1) -> Handle:
    """Do what `submit` does, but for a manifest whose pods run the actor."""
    store = RunStore(place.runs_dir)
    handle = Handle(backend="local", job=name)
    record = RunRecord(
        handle=handle, run_id=RUN_ID, stage=Stage.SUBMITTING, project=str(project_of(Path.cwd())),
        config=str(Path.cwd() / "cfg.yaml"), command=("submit",), created_s=time.time(),
    )  # fmt: skip
    store.begin(record, config=b"", manifest="", git=None)
    place.submit(name=name, nodes=nodes)
    store.finish(record)
    place.reaches(handle, lambda status: status.state is JobState.RUNNING, what="the job to run")
    return handle


def test_status_shows_state_pods_and_progress(place, ftlaunch):
    handle = submit(place)
    place.say(handle, 0, PROGRESS)
    place.reaches(handle, lambda status: status.progress is not None, what="progress")
    code, out, _ = ftlaunch("status")
    assert code == 0
    for word in ("local:///flowers", "Running", "flowers-worker-0", "epoch 2", "step 4 of 9", "loss 1.5"):
        assert word in out
    document = json.loads(ftlaunch("status", str(handle), "--output", "json")[1])
    assert (document["state"], document["run_id"], document["step"]) == ("Running", RUN_ID, 4)
    assert document["pods"][0]["state"] == "Running"


@pytest.mark.parametrize(("code", "waits", "propagated"), [(0, 0, 0), (3, 5, 3)], ids=["succeeded", "failed"])
def test_wait_exits_as_the_job_ended(place, ftlaunch, code, waits, propagated):
    handle = submit(place)
    place.finish(handle, 0, code, reason="the data was refused" if code else "done")
    assert ftlaunch("wait", "--timeout", "20s")[0] == waits
    assert ftlaunch("wait", "--propagate")[0] == propagated
    assert ("the data was refused" in ftlaunch("status")[1]) is bool(code)


def test_wait_says_how_far_a_job_is_and_why_it_failed(place, ftlaunch):
    handle = submit(place)
    place.say(handle, 0, PROGRESS)
    place.finish(handle, 0, 3, reason="data/val_list.txt:7: expected an image, got a directory")
    code, out, err = ftlaunch("wait", "--timeout", "20s")
    assert (code, out) == (5, "")
    assert re.search(r"^flowers: Failed after \d+ s\b", err, re.MULTILINE)
    assert "[data]" in err or "[data-refused]" in err or "val_list.txt:7" in err
    assert "fix: " in err
    assert "next: ftlaunch logs flowers · ftlaunch why flowers" in err


def test_wait_gives_up_after_its_time(place, ftlaunch):
    submit(place)
    code, _, err = ftlaunch("wait", "--timeout", "1s")
    assert code == 124
    assert "flowers" in err


def test_wait_for_a_state_ends_when_the_job_stands_so_or_has_ended(place, ftlaunch):
    handle = submit(place)
    assert ftlaunch("wait", "--for", "running")[0] == 0
    code, _, err = ftlaunch("wait", "--for", "failed", "--timeout", "1s")
    assert (code, "expected Failed within 1 s, it is Running" in err) == (124, True)
    place.finish(handle, 0, 3)
    assert ftlaunch("wait", "--for", "failed", "--timeout", "20s")[0] == 0
    assert ftlaunch("wait", "--for", "running", "--timeout", "20s")[0] == 5


def test_watching_ends_with_the_job_and_shows_every_change_once(place, ftlaunch):
    handle = submit(place)
    place.finish(handle, 0, 0)
    place.reaches(handle, lambda status: status.state is JobState.SUCCEEDED, what="the end")
    code, out, _ = ftlaunch("status", "--watch")
    assert (code, out.count("local:///flowers")) == (0, 1)


def test_each_rank_of_many_has_a_row():
    ranks = tuple(
        RankProgress(rank=rank, node=rank // 2, step=7, epoch=0, phase="load", loss=1.25 if rank else None,
                     images_per_s=80.0, silent_s=float(rank * 11))
        for rank in range(4)
    )  # fmt: skip
    rows = rank_rows(Progress(time_s=1.0, attempt=1, world_size=4, total_steps=9, ranks=ranks))
    assert rows[1].split() == ["0", "0", "7", "-", "80", "load"]
    assert rows[4].split() == ["3", "1", "7", "1.25", "80", "load,", "silent", "for", "33", "s"]
    assert rank_rows(Progress(time_s=1.0, attempt=1, world_size=1, total_steps=9, ranks=ranks[:1])) == []


def test_a_cancelled_job_is_waited_for_with_its_own_code(place, ftlaunch):
    submit(place)
    assert ftlaunch("cancel")[0] == 0
    code, _, err = ftlaunch("wait", "--timeout", "20s")
    assert code == 6
    end, advice = err.splitlines()[-2:]
    assert re.fullmatch(r"flowers: Cancelled after \d+ s", end)  # once, not "Cancelled: cancelled"
    assert advice == "next: ftlaunch resume flowers · ftlaunch ckpt ls flowers"
    assert ftlaunch("status")[1].splitlines()[0].endswith("  Cancelled")
    code, _, err = ftlaunch("cancel")
    assert code == 0
    assert "has ended already: Cancelled" in err


def test_a_cancelled_job_is_resumed(place, ftlaunch):
    handle = submit(place)
    assert ftlaunch("cancel")[0] == 0
    assert ftlaunch("wait", "--timeout", "20s")[0] == 6
    code, _, err = ftlaunch("resume")
    assert (code, "ftlaunch logs -f flowers" in err) == (0, True)
    place.run_pods(handle)
    place.finish(handle, 0, 0)
    assert ftlaunch("wait", "--timeout", "20s")[0] == 0
    code, _, err = ftlaunch("resume")
    assert code == 2
    assert "--continue flowers" in err


def test_a_resume_says_from_where_and_what_has_changed_and_the_time_before_it_counts(place, ftlaunch):
    handle = submit(place)
    place.run_pods(handle)
    assert ftlaunch("cancel")[0] == 0
    assert ftlaunch("wait", "--timeout", "20s")[0] == 6
    job = find_job("flowers")
    before = lifecycle.status(job)
    assert describe_start(job, before) == ""  # its output is not seen from here
    Path(job.record.config).write_text("Global: {epochs: 7}\n")
    code, _, err = ftlaunch("resume")
    assert code == 0
    assert f"note: {job.record.config} has changed since, and the job goes on with it as it was" in err
    assert before.ended_s is not None
    ran_s = before.ended_s - before.pods[0].started_s
    assert read_earlier_s(job.run_folder) == pytest.approx(ran_s, abs=0.01)
    outcome = describe_outcome(job.run_folder, lifecycle.status(job))
    assert outcome.ran_s(outcome.began_s + 5.0) == pytest.approx(ran_s + 5.0, abs=0.01)


def test_a_job_whose_keeper_was_killed_is_resumed(place, ftlaunch):
    handle = submit(place)
    state = json.loads((place.runs_dir / "flowers/local/state.json").read_text())
    os.kill(state["keeper"]["pid"], signal.SIGKILL)
    place.reaches(handle, lambda status: status.state is JobState.LOST, what="the loss")
    assert ftlaunch("resume")[0] == 0
    place.run_pods(handle)
    assert place.backend.status(handle).pods[0].restarts == 1


def test_logs_merge_the_pods_hide_progress_and_take_filters(place, ftlaunch):
    handle = submit(place, nodes=2)
    place.say(handle, 0, b"[a1 n0] starting\n" + PROGRESS)
    place.say(handle, 1, b"[a1 r1] loss 2\r\x1b[2Kloss 1\n")
    place.say(handle, 0, b"[a2 r0] again \xff\n")
    for node in (0, 1):
        place.finish(handle, node, 0)
    code, out, _ = ftlaunch("logs", "-f", "--color", "never")
    assert code == 0
    assert out.splitlines() == ["[node 0] starting", "[rank 1] loss 1", "[rank 0] again \ufffd"]
    assert ftlaunch("logs", "--rank", "1", "--no-prefix")[1] == "loss 1\n"
    assert ftlaunch("logs", "--node", "0", "--attempt", "2")[1] == "[rank 0] again \ufffd\n"
    assert ftlaunch("logs", "--grep", "^start")[1] == "[node 0] starting\n"
    assert ftlaunch("logs", "--tail", "1")[1] == "[rank 0] again \ufffd\n"
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z \[node 0\] starting\n", ftlaunch("logs", "--timestamps")[1])
    rows = [json.loads(line) for line in ftlaunch("logs", "--output", "json")[1].splitlines()]
    for row in rows:
        jsonschema.validate(row, strict(load_schema("logs")))
    assert [(row["rank"], row["attempt"]) for row in rows] == [(None, 1), (1, 1), (0, 2)]


def test_following_shows_both_lives_of_a_pod_once_and_ends_with_the_job(place):
    handle = submit(place)
    process = subprocess.Popen(
        [sys.executable, "-m", "launcher", "logs", "-f"], cwd=place.folder, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
    )  # fmt: skip
    place.say(handle, 0, b"[a1 r0] first\n")
    place.finish(handle, 0, 137)
    place.reaches(handle, lambda status: status.pods[0].restarts == 1, what="a restart")
    place.wait_for((place.stage / "flowers-worker-0.1").is_dir, what="it to run again")
    place.say(handle, 0, b"[a2 r0] second\n")
    place.finish(handle, 0, 3, reason="no more data")
    out, err = process.communicate(timeout=30)
    assert out.splitlines() == ["[rank 0] first", "[rank 0] second"]
    assert "no more data" in err
    assert process.returncode == 5


@pytest.mark.parametrize(
    "arguments", [("--rank", "x"), ("--attempt", "-1"), ("--grep", "("), ("--tail", "-1")], ids=" ".join
)
def test_filters_that_make_no_sense_are_usage_errors(place, ftlaunch, arguments):
    submit(place)
    code, _, err = ftlaunch("logs", *arguments)
    assert code == 2
    assert "Traceback" not in err


def test_jobs_are_listed(place, ftlaunch):
    submit(place, name="first")
    submit(place, name="second")
    assert ftlaunch("list", "--output", "name")[1].split() == ["second", "first"]
    rows = json.loads(ftlaunch("list", "--output", "json")[1])["items"]
    assert [(row["job"], row["state"]) for row in rows] == [("second", "Running"), ("first", "Running")]
    header, *lines = ftlaunch("list")[1].splitlines()
    assert header.split()[:7] == ["JOB", "ON", "STATE", "PROGRESS", "BEST", "TIME", "SENT"]
    assert [line.split()[:3] for line in lines] == [
        ["second", "local", "Running"],
        ["first", "local", "Running"],
    ]


def test_lists_are_filtered_and_written_in_every_form(place, ftlaunch):
    submit(place, name="first")
    submit(place, name="second")
    place.backend.cancel(Handle(backend="local", job="first"))
    assert ftlaunch("wait", "first", "--timeout", "20s")[0] == 6
    assert ftlaunch("list", "--state", "cancelled", "--output", "name")[1].split() == ["first"]
    assert ftlaunch("list", "--limit", "1", "--output", "name")[1].split() == ["second"]
    assert ftlaunch("list", "--on", "kubernetes")[1] == ""
    assert ftlaunch("list", "--here", "--output", "name")[1].split() == ["second", "first"]
    assert RUN_ID in ftlaunch("list", "--output", "wide")[1]
    rows = json.loads(ftlaunch("list", "--output", "json")[1])
    assert yaml.safe_load(ftlaunch("list", "--output", "yaml")[1]) == rows
    assert yaml.safe_load(ftlaunch("list", "--on", "docker", "--output", "yaml")[1])["items"] == []
    status = json.loads(ftlaunch("status", "first", "--output", "json")[1])
    assert yaml.safe_load(ftlaunch("status", "first", "--output", "yaml")[1]) == status
    assert ftlaunch("status", "first", "--output", "name")[1] == "first\n"
    assert RUN_ID in ftlaunch("status", "first", "--output", "wide")[1]


def test_names_of_jobs_are_completed(place):
    submit(place, name="first")
    words = {"COMP_WORDS": "ftlaunch status f", "COMP_CWORD": "2", "_FTLAUNCH_COMPLETE": "bash_complete"}
    done = subprocess.run(
        [sys.executable, "-c", "import sys; sys.argv[0] = 'ftlaunch'; from launcher.cli.main import group; "
         "group(prog_name='ftlaunch')"],
        env={**os.environ, **words, "PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout == "plain,first\n"


def test_a_running_job_is_deleted_by_force_only(place, ftlaunch):
    handle = submit(place)
    code, _, err = ftlaunch("delete")
    assert code == 2
    assert "--force" in err
    assert ftlaunch("delete", "--force", handle.job)[0] == 0
    assert not (place.runs_dir / "flowers").exists()
    assert ftlaunch("status", handle.job)[0] == 4


def test_a_job_that_is_not_named_is_deleted_only_where_somebody_said_yes(place, ftlaunch):
    submit(place)
    code, _, err = ftlaunch("delete", "--force")
    assert (code, "expected its name, or -y" in err) == (2, True)
    assert (place.runs_dir / "flowers").exists()
    assert ftlaunch("delete", "--force", "-y")[0] == 0
    assert not (place.runs_dir / "flowers").exists()


def test_of_several_jobs_all_are_deleted_or_none(place, ftlaunch):
    for name in ("one", "two"):
        submit(place, name=name)
    code, _, err = ftlaunch("delete", "one", "ghost", "two")
    assert code == 2
    for said in (
        "one: expected a job that has ended",
        "ghost: expected",
        "two: expected a job that has ended",
    ):
        assert said in err
    assert ftlaunch("delete", "--force", "one", "ghost")[0] == 4
    assert (place.runs_dir / "one").exists()
    code, _, err = ftlaunch("delete", "--force", "one", "two", "one")
    assert (code, err) == (0, "one: deleted\ntwo: deleted\n")
    assert ftlaunch("list") == (0, "", "no jobs of this machine; `ftlaunch submit --help`\n")
    assert [name for name in ("one", "two") if (place.runs_dir / name).exists()] == []


def test_a_record_whose_job_never_came_to_be_can_be_deleted(place, ftlaunch):
    store = RunStore(place.runs_dir)
    record = RunRecord(
        handle=Handle(backend="local", job="ghost"), run_id=RUN_ID, stage=Stage.SUBMITTING, project="/p",
        config="c", command=(), created_s=1.0,
    )  # fmt: skip
    store.begin(record, config=b"", manifest="", git=None)
    assert ftlaunch("status", "ghost")[0] == 4
    assert json.loads(ftlaunch("list", "--output", "json")[1])["items"][0]["state"] == "Unsent"
    assert ftlaunch("delete", "ghost")[0] == 0


@pytest.mark.parametrize("command", ["status", "logs", "wait", "cancel", "resume", "delete"])
def test_commands_without_a_job_of_this_project_say_so(place, ftlaunch, command):
    code, out, err = ftlaunch(command)
    assert (code, out) == (4, "")
    assert "expected a job submitted from here" in err


def test_a_backend_without_notes_says_that_there_are_none(place, ftlaunch):
    submit(place)
    code, out, err = ftlaunch("events")
    assert (code, out) == (0, "")
    assert "no events are kept of it" in err


def test_an_event_is_one_line():
    event = JobEvent(
        time_s=0.0, is_warning=True, reason="Failed", message="two\n lines", about="w-0", count=3
    )
    assert row_of(event)[1:] == ("Warning", "w-0", "Failed: two lines (x3)")
