"""`ftlaunch logs`: its flags, over a real local job whose pods a test plays."""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta, timezone

import pytest
import yaml

from launcher.backends.states import JobState
from launcher.runs.store import MANIFEST, RunStore
from tests.contract.harness import RUN_ID, manifest_text
from tests.contract.local_harness import LocalUnderTest
from tests.launcher.jobs.test_job_commands import submit
from trainer.protocol.nodefile import NodeFile, format_node_file

SAID = (
    (0, b"[a1 n0] starting"), (0, b"[a1 r0] loss 3.0"), (0, b"[a1 r1] loss 3.1"), (1, b"[a1 r3] loss 3.3"),
    (1, b"no tag: killed"), (0, b"[a2 n0] again"), (0, b"[a2 r0] loss 2.0"), (0, b"[a2 r1] loss 2.1"),
    (1, b"[a2 r2] loss 2.2"), (1, b"[a2 r3] loss\t2.3 \x1b[31mred\x1b[0m \xff"),
)  # fmt: skip
"""Node and line, in this order."""
ALL = [
    "[node 0] starting", "[rank 0] loss 3.0", "[rank 1] loss 3.1", "[rank 3] loss 3.3",
    "[node 1] no tag: killed", "[node 0] again", "[rank 0] loss 2.0", "[rank 1] loss 2.1",
    "[rank 2] loss 2.2", "[rank 3] loss\t2.3 red �",
]  # fmt: skip


def node_file(*, nodes: int = 2, procs: int = 2) -> str:
    return format_node_file(NodeFile(
        run_id=RUN_ID, job="flowers", nodes=nodes, procs_per_node=procs, coordinator_host="h",
        coordinator_port=1, backend="gloo", output_dir="/output", max_restarts=3, backoff_s=1.0,
        deadline_s=None, grace_s=30.0, rendezvous_timeout_s=600.0, hang_timeout_s=None,
    ))  # fmt: skip


def speak(place, name):
    """Let a job of 2 nodes × 2 ranks say all of `SAID`."""
    handle = submit(place, name=name, nodes=2)
    objects = list(yaml.safe_load_all(manifest_text(name=name, run_id=RUN_ID, nodes=2, command=["x"])))
    objects[0]["data"]["node.json"] = node_file()
    (RunStore(place.runs_dir).run_folder(name) / MANIFEST).write_text(yaml.safe_dump_all(objects))
    refs = place.containers(handle)

    def spoken():
        return sum(place.log(handle, ref).count(b"\n") for ref in refs)

    for number, (node, line) in enumerate(SAID):
        place.say(handle, node, line + b"\n")
        place.wait_for(lambda: spoken() > number, what="the line")  # noqa: B023 - the next one is later
    return handle


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """Two jobs that have said all of `SAID`: `flowers` runs, `ended` has ended."""
    made = LocalUnderTest(tmp_path_factory.mktemp("jobs"))
    speak(made, "flowers")
    ended = speak(made, "ended")
    for node in (0, 1):
        made.finish(ended, node, 0)
    made.reaches(ended, lambda status: status.state is JobState.SUCCEEDED, what="the end")
    yield made
    made.close()


@pytest.fixture
def ask(jobs, ftlaunch, monkeypatch):
    """Call `ftlaunch logs` where both jobs are."""
    monkeypatch.setenv("FTLAUNCH_STATE", str(jobs.folder))
    for variable in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(variable, raising=False)
    return lambda *flags, job="flowers": ftlaunch("logs", job, *flags)


def chosen(*numbers):
    return [ALL[number] for number in numbers]


@pytest.mark.parametrize(
    ("flags", "shown"),
    [
        ((), ALL),
        (("--attempt", "all", "--no-prefix"), [line.partition("] ")[2] for line in ALL]),
        (("--rank", "0"), chosen(1, 6)),
        (("--rank", "0,2-3"), chosen(1, 3, 6, 8, 9)),
        (("--node", "1"), chosen(3, 4, 8, 9)),
        (("--node", "1", "--rank", "3"), chosen(3, 9)),
        (("--attempt", "2"), chosen(5, 6, 7, 8, 9)),
        (("--attempt", "1", "--rank", "0-3"), chosen(1, 2, 3)),
        (("--tail", "3"), chosen(7, 8, 9)),
        (("--tail", "0"), []),
        (("--tail", "1", "--rank", "1"), chosen(7)),
        (("--grep", r"loss\s+2\.[13]"), chosen(7, 9)),
        (("--grep", "^again$"), chosen(5)),
        (("--since", "1h"), ALL),
        (("--since", "1d", "--tail", "1"), chosen(9)),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_flags_choose_lines_of_what_is_there_and_of_what_is_followed(ask, flags, shown):
    code, out, err = ask(*flags)
    assert (code, out.splitlines(), err) == (0, shown, "")
    code, out, _ = ask("-f", *flags, job="ended")
    assert (code, out.splitlines()) == (0, shown)


def test_attempts_are_named_where_all_are_shown(ask):
    lines = ask("--attempt", "all")[1].splitlines()
    assert lines[:2] == ["[node 0 attempt 1] starting", "[rank 0 attempt 1] loss 3.0"]
    assert lines[4] == "[node 1] no tag: killed"
    assert lines[-2] == "[rank 2 attempt 2] loss 2.2"


def test_lines_of_now_are_chosen_by_a_time_in_any_zone(ask):
    second = json.loads(ask("--output", "json", "--grep", "again")[1])["time"]
    moment = datetime.fromisoformat(second.replace("Z", "+00:00"))
    zone = timezone(timedelta(hours=8))
    for text in (second, moment.astimezone(zone).isoformat()):
        assert ask("--since", text)[1].splitlines() == ALL[5:]
    code, out, err = ask("--since", (moment + timedelta(hours=1)).isoformat())
    assert (code, out) == (0, "")
    assert err == "flowers: no line is what --rank, --node, --attempt, --since and --grep ask for\n"


def test_times_are_in_utc_with_milliseconds(ask):
    for line, expected in zip(ask("--timestamps")[1].splitlines(), ALL, strict=True):
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z " + re.escape(expected), line)


def test_json_has_an_object_a_line_that_holds_all_and_no_colour(ask):
    rows = [json.loads(line) for line in ask("--output", "json", "--color", "always")[1].splitlines()]
    assert [set(row) for row in rows] == [{"time", "node", "rank", "attempt", "text"}] * len(SAID)
    assert [row["node"] for row in rows] == [node for node, _ in SAID]
    assert [row["rank"] for row in rows] == [None, 0, 1, 3, None, None, 0, 1, 2, 3]
    assert [row["attempt"] for row in rows] == [1, 1, 1, 1, None, 2, 2, 2, 2, 2]
    assert rows[-1]["text"] == "loss\t2.3 red �"


def test_colours_are_for_terminals_or_asked_for(ask, monkeypatch):
    assert "\x1b" not in ask()[1]
    assert "\x1b" not in ask("--color", "never")[1]
    coloured = ask("--color", "always", "--rank", "3")[1]
    assert re.search("\x1b\\[\\d+m\\[rank 3\\]\x1b\\[0m loss\t2.3 \x1b\\[31mred\x1b\\[0m", coloured)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b" in ask()[1]


def test_the_container_before_the_present_one_is_shown_by_itself(place, ftlaunch):
    job = speak(place, "flowers")
    code, out, err = ftlaunch("logs", "--previous")
    assert (code, out) == (0, "")
    assert err.startswith("flowers: no lines of earlier containers")
    place.finish(job, 1, 137)
    place.reaches(job, lambda status: status.pods[1].restarts == 1, what="a restart")
    place.wait_for((place.stage / "flowers-worker-1.1").is_dir, what="it to run again")
    place.say(job, 1, b"[a3 r3] third\n")
    place.wait_for(lambda: "third" in ftlaunch("logs")[1], what="the new container's line")
    assert ftlaunch("logs", "--previous")[1].splitlines() == chosen(3, 4, 8, 9)
    assert ftlaunch("logs", "--previous", "--attempt", "1")[1].splitlines() == chosen(3)


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (("--rank", "x"), "expected numbers such as 0,3-5, got 'x'"),
        (("--rank", "5-3"), "expected numbers such as 0,3-5, got '5-3'"),
        (("--rank", ""), "expected numbers such as 0,3-5, got ''"),
        (("--rank", "1,4,7"), "--rank: expected ranks from 0 to 3 (2 nodes × 2), got 4, 7"),
        (("--node", "2"), "--node: expected nodes from 0 to 1 (2 nodes × 2), got 2"),
        (
            ("--node", "2", "--rank", "0-9"),
            "--rank: expected ranks from 0 to 3 (2 nodes × 2), got 4, 5, 6, 7, 8 …",
        ),
        (("--node", "-1"), "expected numbers such as 0,3-5, got '-1'"),
        (("--attempt", "0"), "expected all or a number from 1, got '0'"),
        (("--attempt", "-1"), "expected all or a number from 1, got '-1'"),
        (("--attempt", "last"), "expected all or a number from 1, got 'last'"),
        (
            ("--since", "5x"),
            "expected a duration such as 5m or a time such as 2026-01-31T08:00:00Z, got '5x'",
        ),
        (("--since", "yesterday"), "expected a duration such as 5m"),
        (("--since", "2026-13-01T00:00:00Z"), "expected a duration such as 5m"),
        (("--tail", "-1"), "-1 is not in the range x>=0"),
        (("--tail", "many"), "'many' is not a valid integer"),
        (("--grep", "("), "expected a regular expression, got '(': missing ), unterminated subpattern"),
        (("--color", "red"), "'red' is not one of 'auto', 'always', 'never'"),
        (("--output", "xml"), "'xml' is not one of 'text', 'json'"),
        (("--previous", "-f"), "--previous: expected it without --follow"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_mistake_in_a_flag_is_a_sentence(ask, flags, sentence):
    code, out, err = ask(*flags)
    assert (code, out) == (2, "")
    assert sentence in err
    assert "Traceback" not in err


def test_a_single_rank_and_a_manifest_that_does_not_say_how_many(place, ftlaunch):
    speak(place, "flowers")
    manifest = RunStore(place.runs_dir).run_folder("flowers") / MANIFEST
    objects = list(yaml.safe_load_all(manifest.read_text()))
    objects[0]["data"]["node.json"] = node_file(nodes=1, procs=1)
    manifest.write_text(yaml.safe_dump_all(objects))
    code, _, err = ftlaunch("logs", "--rank", "1")
    assert (code, err) == (2, "--rank: expected rank 0, the only one (1 node × 1), got 1\n")
    manifest.write_text("a: [")
    code, _, err = ftlaunch("logs", "--rank", "9")
    assert (code, err) == (
        0,
        "flowers: no line is what --rank, --node, --attempt, --since and --grep ask for\n",
    )


def test_a_running_job_without_a_line_says_how_it_stands(place, ftlaunch):
    submit(place)
    assert ftlaunch("logs") == (0, "", "flowers: no lines\n")
