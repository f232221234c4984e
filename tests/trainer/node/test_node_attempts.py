from __future__ import annotations

import dataclasses
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from trainer.protocol.runfile import save_run_file

NewJob = Callable[..., Any]


def exits(nodes: list[Any]) -> list[int]:
    return [node.exit() for node in nodes]


def fault(rank: int, step: int, do: str, *, attempt: int = 1) -> dict[str, Any]:
    return {"rank": rank, "attempt": attempt, "step": step, "do": do}


def test_all_ranks_done_ends_every_node_with_zero(new_job: NewJob) -> None:
    job = new_job()
    nodes = job.start(0, 1)
    assert exits(nodes) == [0, 0], nodes[0].text
    assert [node.termination.exit for node in nodes] == [0, 0]
    assert (nodes[0].termination.step, nodes[0].termination.checkpoint) == (10, "ckpt-10")
    assert job.run_file.ended == 0
    assert not (job.output / ".ftlaunch" / "writer.lock").exists()


def test_rank_0_says_why_a_run_ended_before_its_last_step(new_job: NewJob) -> None:
    job = new_job(nodes=1, procs_per_node=1)
    does = fault(0, 4, "fail:0:early stopping after epoch 4 of 10: no better")
    (node,) = job.start(0, plan={"faults": [does]})
    assert node.exit() == 0, node.text
    assert node.termination.reason == "early stopping after epoch 4 of 10: no better"


@pytest.mark.parametrize(
    ("nodes", "procs", "said"),
    [(1, 1, "attempt 1 begins: 1 rank on 1 node"), (1, 2, "attempt 1 begins: 2 ranks on 1 node")],
)
def test_an_attempt_says_how_many_it_is(new_job: NewJob, nodes: int, procs: int, said: str) -> None:
    ended = new_job(nodes=nodes, procs_per_node=procs).start(0)
    assert exits(ended) == [0]
    assert said.encode() in [line.text for line in ended[0].lines]


def test_every_line_of_every_rank_arrives_whole_and_tagged(new_job: NewJob) -> None:
    job = new_job()
    nodes = job.start(0, 1)
    assert exits(nodes) == [0, 0]
    found = Counter(
        (line.tag.rank, line.text) for node in nodes for line in node.lines if line.tag.rank is not None
    )
    expected = Counter(
        (rank, text.encode())
        for rank in range(4)
        for text in [
            f"rank {rank} of 4 begins attempt 1 ¡ü",
            *(f"rank {rank} step {step}" for step in range(1, 11)),
            f"rank {rank} is done, without a newline",
        ]
    )
    assert found == expected
    assert all(line.tag is not None for node in nodes for line in node.lines)


def test_ranks_get_the_environment_that_paddle_reads(new_job: NewJob) -> None:
    job = new_job()
    assert exits(job.start(0, 1, env={"USERS_OWN": "x"})) == [0, 0]
    envs = [job.rank_env(rank) for rank in range(4)]
    endpoints = envs[0]["PADDLE_TRAINER_ENDPOINTS"].split(",")
    assert len(set(endpoints)) == 4
    assert [env["PADDLE_CURRENT_ENDPOINT"] for env in envs] == endpoints
    assert [env["PADDLE_TRAINER_ID"] for env in envs] == ["0", "1", "2", "3"]
    assert [env["PADDLE_RANK_IN_NODE"] for env in envs] == ["0", "1", "0", "1"]
    assert {env["PADDLE_TRAINERS_NUM"] for env in envs} == {"4"}
    assert {env["PADDLE_DISTRI_BACKEND"] for env in envs} == {"gloo"}
    assert len({env["PADDLE_MASTER"] for env in envs}) == 1
    assert {env["FTL_RUN_ID"] for env in envs} == {job.job.run_id}
    assert all("http_proxy" not in env and "FLAGS_selected_gpus" not in env for env in envs)
    assert all(env["USERS_OWN"] == "x" for env in envs)


def test_progress_shows_all_ranks_at_epoch_ends_and_at_the_end(new_job: NewJob) -> None:
    job = new_job()
    nodes = job.start(0, 1, plan={"steps": 12, "epoch_steps": 4, "step_s": 0.1})
    assert exits(nodes) == [0, 0]
    assert {0, 1, 2} <= {progress.ranks[0].epoch for progress in nodes[0].progress}
    last = nodes[0].progress[-1]
    assert [(row.rank, row.node) for row in last.ranks] == [(0, 0), (1, 0), (2, 1), (3, 1)]
    assert {row.step for row in last.ranks} == {12}
    assert (last.attempt, last.world_size, last.total_steps) == (1, 4, 12)
    assert not nodes[1].progress


def test_a_failed_rank_makes_all_nodes_start_again_in_place(new_job: NewJob) -> None:
    job = new_job()
    nodes = job.start(0, 1, plan={"faults": [fault(3, 4, "exit:1")]})
    assert exits(nodes) == [0, 0], nodes[0].text
    assert (job.run_file.starts, job.run_file.attempts) == (2, 2)
    assert len(job.run_file.fingerprints) == 1
    for rank, node in ((0, 0), (3, 1)):
        assert {line.tag.attempt for line in nodes[node].lines if line.tag.rank == rank} == {1, 2}


def test_a_refused_config_is_not_tried_again(new_job: NewJob) -> None:
    job = new_job()
    nodes = job.start(0, 1, plan={"faults": [fault(2, -1, "fail:2:cfg.yaml:3: no such key")]})
    assert exits(nodes) == [2, 2], nodes[0].text
    assert job.run_file.starts == 1
    for node in nodes:
        end = node.termination
        assert (end.exit, end.rank, end.rank_exit, end.attempt) == (2, 2, 2, 1)
        assert "cfg.yaml:3: no such key" in end.reason


def test_a_killed_rank_is_recorded_and_tried_again(new_job: NewJob) -> None:
    job = new_job()
    nodes = job.start(0, 1, plan={"faults": [fault(1, 3, "kill")]})
    assert exits(nodes) == [0, 0], nodes[0].text
    assert "killed by signal 9 at step 3" in job.run_file.fingerprints[0]


def test_used_up_attempts_end_with_20_and_name_the_rank(new_job: NewJob) -> None:
    job = new_job(max_restarts=1)
    faults = [fault(2, attempt, f"fail:1:out of luck {attempt}", attempt=attempt) for attempt in (1, 2)]
    nodes = job.start(0, 1, plan={"faults": faults})
    assert exits(nodes) == [20, 20], nodes[0].text
    end = nodes[1].termination
    assert (end.rank, end.rank_exit, end.attempt, end.step) == (2, 1, 2, 2)
    assert "out of luck 2" in end.reason


def test_the_same_failure_at_the_same_step_is_not_tried_a_third_time(new_job: NewJob) -> None:
    job = new_job(max_restarts=5)
    nodes = job.start(0, 1, plan={"faults": [fault(0, 2, "fail:5:disk full", attempt=0)]})
    assert exits(nodes) == [5, 5], nodes[0].text
    assert job.run_file.starts == 2


@pytest.mark.parametrize(("do", "code"), [("exit:1", 1), ("kill", 20), ("exit:143", 20), ("exit:77", 20)])
def test_with_no_restarts_a_ranks_own_code_is_kept_but_never_a_signal(
    new_job: NewJob, do: str, code: int
) -> None:
    job = new_job(nodes=1, max_restarts=0)
    nodes = job.start(0, plan={"faults": [fault(1, 2, do)]})
    assert exits(nodes) == [code], nodes[0].text


def test_a_hung_rank_is_named_and_all_start_again(new_job: NewJob) -> None:
    job = new_job(hang_timeout_s=1.5)
    nodes = job.start(0, 1, plan={"faults": [fault(2, 4, "hang")]})
    assert exits(nodes) == [0, 0], nodes[0].text
    assert "rank 2 hung: in load after step 4" in nodes[0].text


def test_hangs_that_use_up_the_attempts_end_with_22(new_job: NewJob) -> None:
    job = new_job(nodes=1, hang_timeout_s=1.0, max_restarts=0)
    nodes = job.start(0, plan={"faults": [fault(1, 2, "hang")]})
    assert exits(nodes) == [22], nodes[0].text
    assert (nodes[0].termination.rank, nodes[0].termination.step) == (1, 2)


def test_the_deadline_saves_and_ends_with_23(new_job: NewJob) -> None:
    job = new_job(deadline_s=2.0)
    nodes = job.start(0, 1, plan={"steps": 100000})
    assert exits(nodes) == [23, 23], nodes[0].text
    assert int((job.scratch / "saved").read_text()) == nodes[1].termination.step > 0


def test_the_deadline_counts_from_the_runs_first_start_over_pods_and_attempts(new_job: NewJob) -> None:
    job = new_job(nodes=1)
    first = job.start(0, plan={"steps": 100000})
    job.reaches(2)
    first[0].process.send_signal(signal.SIGTERM)
    assert exits(first) == [143], first[0].text
    began = job.run_file
    save_run_file(job.output, dataclasses.replace(began, first_start_s=began.first_start_s - 1000))
    plan = {"steps": 100000, "faults": [fault(1, 5, "kill", attempt=2)]}
    again = job.start(0, plan=plan, deadline_s=1004.0)
    assert exits(again) == [23], again[0].text
    assert again[0].termination.attempt >= 2
    assert again[0].termination.reason.startswith("the deadline of 1004 s passed")


def test_an_output_folder_of_another_run_is_refused_on_all_nodes(new_job: NewJob) -> None:
    job = new_job()
    job.output.mkdir()
    (job.output / "theirs.pdparams").write_text("weights")
    nodes = job.start(0, 1)
    assert exits(nodes) == [2, 2], nodes[0].text
    assert "--overwrite" in nodes[1].termination.reason
    assert [path.name for path in job.output.iterdir()] == ["theirs.pdparams"]


def test_an_output_folder_that_cannot_be_made_ends_with_5(new_job: NewJob) -> None:
    job = new_job(nodes=1)
    job.output.write_text("a file")
    nodes = job.start(0)
    assert exits(nodes) == [5], nodes[0].text


def test_a_node_of_another_run_is_refused_until_it_gives_up(new_job: NewJob) -> None:
    job = new_job()
    (first,) = job.start(0, plan={"steps": 30})
    (stranger,) = job.start(1, run_id="f" * 32, rendezvous_timeout_s=1.0)
    assert stranger.exit() == 21
    assert "refused" in stranger.termination.reason
    (second,) = job.start(1, plan={"steps": 30})
    assert exits([first, second]) == [0, 0]


def test_nodes_that_do_not_come_end_the_wait_with_21(new_job: NewJob) -> None:
    job = new_job(nodes=3, rendezvous_timeout_s=1.5)
    nodes = job.start(0, 1)
    assert exits(nodes) == [21, 21], nodes[0].text
    assert "node 2 did not come" in nodes[1].termination.reason
    assert "waiting for node 2 (" in nodes[0].text


def test_a_coordinator_that_does_not_come_ends_the_wait_with_21(new_job: NewJob) -> None:
    job = new_job(rendezvous_timeout_s=1.0)
    (alone,) = job.start(1)
    assert alone.exit() == 21
    assert "waiting for node 0" in alone.text


def test_nothing_that_a_rank_started_outlives_it(new_job: NewJob) -> None:
    job = new_job(nodes=1, max_restarts=0)
    nodes = job.start(0, plan={"faults": [fault(0, 2, "orphan"), fault(1, 5, "kill")]})
    assert exits(nodes) == [20], nodes[0].text
    assert (job.scratch / "attempt1" / "pid.child0").exists()
    assert job.living_ranks() == []
    assert not list(Path(job.folder / "etc0").glob("ftl-*"))


def test_ctrl_c_saves_and_ends_with_130(new_job: NewJob) -> None:
    job = new_job(nodes=1)
    (node,) = job.start(0, plan={"steps": 100000})
    job.reaches(3)
    node.process.send_signal(signal.SIGINT)
    assert node.exit() == 130
    assert (job.scratch / "saved").exists()
