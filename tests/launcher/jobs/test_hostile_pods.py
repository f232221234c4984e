"""What a pod writes is anybody's: no line and no last words of it make a command call itself broken."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from launcher.backends.states import JobState
from launcher.plan.handle import Handle
from launcher.runs.paths import project_of
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from tests.contract.harness import RUN_ID

RANK = {
    "rank": 0, "node": 0, "step": 4, "epoch": 1, "phase": "compute", "loss": 1.5, "images_per_s": 20.0,
    "silent_s": 0.0,
}  # fmt: skip
PROGRESS = {"schema": 1, "time_s": 1.0, "attempt": 1, "world_size": 1, "total_steps": 9, "ranks": [RANK]}
LAST_WORDS = {
    "schema": 1, "exit": 3, "rank": 0, "rank_exit": 3, "attempt": 1, "step": 4, "reason": "r",
    "checkpoint": "c",
}  # fmt: skip
ODD = [
    "9" * 400, "1e400", "NaN", "-Infinity", "[" * 20_000, '{"a":' * 9_000, '"\\ud800"', "1e300", "-7", "[]",
    "{}", "true",
]  # fmt: skip
COMMANDS = (("status",), ("status", "--output", "json"), ("status", "--output", "wide"), ("list",), ("why",))


def submit(place, *, name: str = "flowers") -> Handle:
    store = RunStore(place.runs_dir)
    handle = Handle(backend="local", job=name)
    record = RunRecord(
        handle=handle, run_id=RUN_ID, stage=Stage.SUBMITTING, project=str(project_of(Path.cwd())),
        config=str(Path.cwd() / "cfg.yaml"), command=("submit",), created_s=time.time(),
    )  # fmt: skip
    store.begin(record, config=b"", manifest="", git=None)
    place.submit(name=name, nodes=1)
    store.finish(record)
    place.reaches(handle, lambda status: status.state is JobState.RUNNING, what="the job to run")
    return handle


def with_value(document: dict, key: str, raw: str) -> bytes:
    return json.dumps({**document, key: "@@"}).replace('"@@"', raw).encode()


def progress_lines() -> list[bytes]:
    of_all = [with_value(PROGRESS, key, odd) for key in PROGRESS for odd in ODD]
    of_rank = [
        with_value(PROGRESS, "ranks", f"[{with_value(RANK, key, odd).decode()}]")
        for key in RANK
        for odd in ODD
    ]
    return [b"[a1 n0] ftlaunch-progress " + line for line in of_all + of_rank]


def no_command_is_broken(ftlaunch) -> None:
    for command in COMMANDS:
        code, out, err = ftlaunch(*command)
        assert "this is a bug" not in err, (command, err)
        assert "Traceback" not in err, command
        assert code != 1, (command, out, err)


def test_no_progress_line_of_a_pod_breaks_a_command(place, ftlaunch) -> None:
    handle = submit(place)
    for at, line in enumerate(progress_lines()):  # each is the last one once, for whoever reads the last
        place.say(handle, 0, line + b"\n")
        if at % 12 == 0:
            no_command_is_broken(ftlaunch)
    place.say(handle, 0, b"[a1 n0] ftlaunch-progress " + json.dumps(PROGRESS).encode() + b"\n")
    assert "step 4 of 9" in ftlaunch("status")[1]


@pytest.mark.parametrize("odd", ODD, ids=lambda text: text[:9])
def test_no_last_words_of_a_pod_break_a_command(place, ftlaunch, odd: str) -> None:
    key = list(LAST_WORDS)[1 + ODD.index(odd) % (len(LAST_WORDS) - 1)]
    handle = submit(place)
    place.finish_with(handle, 0, 3, words=with_value(LAST_WORDS, key, odd))
    place.reaches(handle, lambda status: status.state is JobState.FAILED, what="the job to fail")
    no_command_is_broken(ftlaunch)
    assert ftlaunch("wait", "--propagate")[0] in (3, 5)  # 5: the job failed, and its own code is not known


@pytest.mark.parametrize(
    "text", [b"", b"[" * 9000, b'{"schema": 1, "created_s": ' + b"9" * 400 + b"}", b"\xff", b'{"pods": {}}'],
    ids=["empty", "deep", "huge", "bytes", "wrong"],
)  # fmt: skip
def test_a_damaged_state_of_a_job_is_said_with_its_file(place, ftlaunch, text: bytes) -> None:
    handle = submit(place)
    path = place.runs_dir / handle.job / "local" / "state.json"
    whole = path.read_bytes()
    path.write_bytes(text)
    try:
        code, _, err = ftlaunch("status")
    finally:
        path.write_bytes(whole)
    assert code != 0
    assert "state.json" in err
    assert "this is a bug" not in err
