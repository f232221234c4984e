"""`status --output json` and its published schema say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from launcher.backends.states import JobState, JobStatus, PodState, PodStatus
from launcher.cli.status import to_json
from launcher.plan.handle import Handle
from tests.launcher.configs import RUN_ID
from tests.launcher.schemas import strict
from trainer.protocol.evaluated import Evaluated
from trainer.protocol.progress import Progress, RankProgress
from trainer.protocol.step_times import StepTimes
from trainer.protocol.termination import Termination

PATH = Path(__file__).resolve().parents[3] / "docs/schemas/status.schema.json"
SCHEMA: dict[str, Any] = json.loads(PATH.read_text())


def status(state: JobState, **more: Any) -> JobStatus:
    handle = Handle(backend="kubernetes", namespace="ml", job="a")
    return JobStatus(
        handle=handle, run_id=RUN_ID, state=state, pods=more.pop("pods", ()), created_s=1.0, **more
    )


def full() -> JobStatus:
    ranks = [
        RankProgress(
            rank=0,
            node=0,
            step=3,
            epoch=0,
            phase="compute",
            loss=0.5,
            images_per_s=9.0,
            silent_s=0.1,
            times=StepTimes(
                steps=10,
                step_s=0.5,
                wait_s=0.25,
                copy_s=0.01,
                peers_s=0.02,
                fetch_s=0.03,
                eval_s=4.0,
                save_s=1.0,
                workers=4,
                ranks=2,
                cores=16.0,
            ),
        ),
        RankProgress(
            rank=1, node=0, step=2, epoch=0, phase="load", loss=None, images_per_s=None, silent_s=0.0
        ),
    ]
    pods = (
        PodStatus(pod="a-worker-0", node=0, state=PodState.RUNNING, host="n1", restarts=1, started_s=1.0),
        PodStatus(
            pod="a-worker-1", node=1, state=PodState.FAILED, exit_code=4, reason="diverged",
            termination=Termination(exit=4, attempt=2, reason="diverged", checkpoint="/output/x"),
        ),
    )  # fmt: skip
    progress = Progress(
        time_s=9.0, attempt=2, world_size=2, total_steps=10, ranks=tuple(ranks), step_s=0.5,
        evaluated=Evaluated(top1=0.5, best_top1=0.75, largest_class=0.25, images=60),
    )  # fmt: skip
    return status(JobState.RESTARTING, pods=pods, progress=progress, ended_s=None, reason="why")


def test_the_schema_is_one_and_holds_all_states():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    assert SCHEMA["properties"]["state"]["enum"] == [state.value for state in JobState]
    assert SCHEMA["$defs"]["pod"]["properties"]["state"]["enum"] == [state.value for state in PodState]


@pytest.mark.parametrize("given", [full(), *(status(state, ended_s=2.0) for state in JobState)])
def test_every_status_fits_the_schema_and_has_no_key_that_it_does_not_name(given: JobStatus):
    validator = jsonschema.Draft202012Validator(strict(SCHEMA))
    assert [error.message for error in validator.iter_errors(json.loads(json.dumps(to_json(given))))] == []


def test_what_is_left_is_part_of_a_full_one():
    assert to_json(full())["eta_s"] == 4.0
