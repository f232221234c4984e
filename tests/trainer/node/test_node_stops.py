from __future__ import annotations

import signal
import time
from collections.abc import Callable
from typing import Any

NewJob = Callable[..., Any]
ENDLESS = {"steps": 100000}


def test_a_node_told_to_stop_saves_leaves_with_143_and_rejoins(new_job: NewJob) -> None:
    job = new_job()
    stays, leaves = job.start(0, 1, plan={"steps": 150})
    job.reaches(5)
    leaves.process.send_signal(signal.SIGTERM)
    assert leaves.exit() == 143, leaves.text
    saved = int((job.scratch / "saved").read_text())
    assert (leaves.termination.exit, leaves.termination.step) == (143, saved)
    assert stays.process.poll() is None
    (returns,) = job.start(1, plan={"steps": 150})
    assert [stays.exit(), returns.exit()] == [0, 0], stays.text
    assert (job.run_file.starts, job.run_file.attempts, job.run_file.fingerprints) == (2, 1, ())
    resumed = [line.text for line in stays.lines if (line.tag.attempt, line.tag.rank) == (2, 0)]
    assert resumed[1] == f"rank 0 step {saved + 1}".encode()


def test_node_0_told_to_stop_is_waited_for_by_the_others(new_job: NewJob) -> None:
    job = new_job()
    leaves, stays = job.start(0, 1, plan={"steps": 150})
    job.reaches(5)
    leaves.process.send_signal(signal.SIGTERM)
    assert leaves.exit() == 143, leaves.text
    stays.says("waiting for its return")
    (returns,) = job.start(0, plan={"steps": 150})
    assert [returns.exit(), stays.exit()] == [0, 0], returns.text
    assert (job.run_file.starts, job.run_file.attempts) == (2, 1)


def test_all_nodes_told_to_stop_end_with_143_after_one_save(new_job: NewJob) -> None:
    job = new_job()
    nodes = job.start(0, 1, plan=ENDLESS)
    job.reaches(5)
    for node in nodes:
        node.process.send_signal(signal.SIGTERM)
    assert [node.exit() for node in nodes] == [143, 143], nodes[0].text
    assert (job.scratch / "saved").exists()
    assert job.living_ranks() == []
    assert job.run_file.attempts == 0
    assert job.run_file.ended is None


def test_ranks_that_do_not_compute_yet_have_nothing_to_save(new_job: NewJob) -> None:
    job = new_job()
    nodes = job.start(0, 1, plan={"mute": True})
    for rank in range(4):
        job.rank_pid(rank)
    nodes[1].process.send_signal(signal.SIGTERM)
    assert nodes[1].exit() == 143
    assert "nothing to save" in nodes[0].text
    nodes[0].process.send_signal(signal.SIGTERM)
    assert nodes[0].exit() == 143
    assert job.living_ranks() == []


def test_a_second_sigterm_kills_at_once(new_job: NewJob) -> None:
    job = new_job(grace_s=60.0)
    nodes = job.start(0, 1, plan={**ENDLESS, "deaf": True})
    job.reaches(3)
    nodes[1].process.send_signal(signal.SIGTERM)
    nodes[0].says("ranks save and stop after step")
    nodes[1].process.send_signal(signal.SIGTERM)
    assert nodes[1].exit(timeout_s=5) == 143, nodes[1].text
    nodes[0].process.send_signal(signal.SIGTERM)
    assert nodes[0].exit(timeout_s=5) == 143, nodes[0].text
    assert job.living_ranks() == []


def test_node_0_told_twice_leaves_at_once(new_job: NewJob) -> None:
    job = new_job(grace_s=60.0)
    nodes = job.start(0, 1, plan={**ENDLESS, "deaf": True})
    job.reaches(3)
    nodes[0].process.send_signal(signal.SIGTERM)
    nodes[0].says("ranks save and stop after step")
    nodes[0].process.send_signal(signal.SIGTERM)
    assert nodes[0].exit(timeout_s=8) == 143, nodes[0].text
    nodes[1].says("waiting for its return")
    nodes[1].process.send_signal(signal.SIGTERM)
    assert nodes[1].exit(timeout_s=5) == 143
    assert job.run_file.attempts == 0


def test_ranks_that_do_not_save_in_time_are_killed_within_the_grace(new_job: NewJob) -> None:
    job = new_job(grace_s=3.0)
    nodes = job.start(0, 1, plan={**ENDLESS, "deaf": True})
    job.reaches(3)
    began_s = time.monotonic()
    for node in nodes:
        node.process.send_signal(signal.SIGTERM)
    assert [node.exit() for node in nodes] == [143, 143], nodes[0].text
    assert time.monotonic() - began_s < 3.0
    assert job.living_ranks() == []


def test_a_waiting_node_stops_at_once(new_job: NewJob) -> None:
    job = new_job()
    (alone,) = job.start(0)
    alone.says("waiting for node 1")
    alone.process.send_signal(signal.SIGTERM)
    assert alone.exit(timeout_s=5) == 143
    (lonely,) = job.start(1)
    lonely.says("waiting for node 0")
    lonely.process.send_signal(signal.SIGTERM)
    assert lonely.exit(timeout_s=5) == 143


def test_a_killed_node_takes_its_ranks_along_and_rejoins_as_an_attempt(new_job: NewJob) -> None:
    job = new_job()
    stays, dies = job.start(0, 1, plan={"steps": 60})
    job.reaches(3)
    pids = [job.rank_pid(rank) for rank in range(4)]
    dies.process.send_signal(signal.SIGKILL)
    stays.says("node 1 disappeared")
    stays.says("the next begins in")
    assert not set(pids) & set(job.living_ranks())
    (returns,) = job.start(1, plan={"steps": 60})
    assert [stays.exit(), returns.exit()] == [0, 0], stays.text
    assert (job.run_file.starts, job.run_file.attempts) == (2, 2)


def test_a_killed_node_0_counts_what_it_had_begun_when_it_returns(new_job: NewJob) -> None:
    job = new_job()
    dies, stays = job.start(0, 1, plan={"steps": 60})
    job.reaches(3)
    dies.process.send_signal(signal.SIGKILL)
    stays.says("waiting for its return")
    (returns,) = job.start(0, plan={"steps": 60})
    assert [returns.exit(), stays.exit()] == [0, 0], returns.text
    assert "node 0 disappeared" in returns.text
    assert (job.run_file.starts, job.run_file.attempts) == (2, 2)


def test_a_node_0_that_is_killed_again_and_again_uses_up_the_attempts(new_job: NewJob) -> None:
    job = new_job(nodes=1, max_restarts=1)
    for attempt in (1, 2):
        (node,) = job.start(0, plan=ENDLESS)
        job.reaches(1, attempt=attempt)
        node.process.send_signal(signal.SIGKILL)
        node.process.wait()
    (last,) = job.start(0, plan=ENDLESS)
    assert last.exit() == 20, last.text
    assert job.run_file.ended == 20


def test_a_run_that_ended_may_be_continued_with_a_fresh_count(new_job: NewJob) -> None:
    job = new_job(nodes=1, max_restarts=0)
    faults = [{"rank": 0, "attempt": 1, "step": 2, "do": "exit:1"}]
    (first,) = job.start(0, plan={"faults": faults})
    assert first.exit() == 1
    (second,) = job.start(0, plan={"faults": faults})
    assert second.exit() == 0, second.text
    assert (job.run_file.starts, job.run_file.attempts) == (2, 1)
