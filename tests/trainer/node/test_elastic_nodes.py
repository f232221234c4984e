"""Jobs that may train with fewer nodes than they have: who takes part, and what a loss or a return costs."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.trainer.node.conftest import wait_for
from trainer.node.decisions import Failure, Kind, blame_node
from trainer.node.membership import choose_epoch_end, say_nodes, say_size, wait_for_more
from trainer.node.messages import RankState
from trainer.protocol.exits import Exit
from trainer.protocol.nodefile import NodeFile
from trainer.protocol.runfile import AttemptNodes, format_nodes

NewJob = Callable[..., Any]
ELASTIC: dict[str, Any] = {"nodes": 3, "procs_per_node": 1, "min_nodes": 2, "patience_s": 1.0}


def start_all(job: Any, *nodes: int, **plan: int) -> list[Any]:
    """Start nodes such that all are there when node 0 begins to wait for them."""
    others = job.start(*nodes[1:], plan=plan)
    for node in others:
        node.says("waiting for node 0")
    return [*job.start(0, plan=plan), *others]


def gets_to(job: Any, step: int, *, attempt: int, ranks: int) -> None:
    """Wait until so many ranks have got to a step."""
    paths = [job.scratch / f"attempt{attempt}" / f"{step}.{rank}" for rank in range(ranks)]
    wait_for(lambda: all(path.exists() for path in paths), what=f"{ranks} ranks at step {step}")


def took_part(job: Any) -> list[str]:
    return [f"{one.attempt}: {one.nodes}" for one in job.run_file.nodes]


def steps_of(node: Any, rank: int) -> list[int]:
    """Return the steps that a rank has done, as its node has passed them on."""
    said = [line.text for line in node.lines if line.tag is not None and line.tag.rank == rank]
    return [int(text.split()[-1]) for text in said if b" step " in text]


def test_an_attempt_begins_with_fewer_nodes_once_the_patience_is_over(new_job: NewJob) -> None:
    job = new_job(**ELASTIC)
    first, third = job.start(0, 2)
    assert [first.exit(), third.exit()] == [0, 0], first.text
    assert "attempt 1 begins: 2 ranks on 2 of 3 nodes, without node 1" in first.text
    assert took_part(job) == ["1: 0,2"]
    env = [job.rank_env(rank) for rank in (0, 1)]
    assert [one["PADDLE_TRAINERS_NUM"] for one in env] == ["2", "2"]
    assert [one["FTL_SHARDS"] for one in env] == ["3", "3"]
    assert first.progress[-1].absent == (1,)
    # In lines and reports a rank keeps the number that it has with all nodes.
    assert {rank.rank: rank.node for rank in first.progress[-1].ranks} == {0: 0, 2: 2}
    assert steps_of(third, 2) == list(range(1, 11))


def test_all_nodes_begin_at_once(new_job: NewJob) -> None:
    job = new_job(**{**ELASTIC, "patience_s": 60.0})
    nodes = job.start(0, 1, 2)
    assert [node.exit() for node in nodes] == [0, 0, 0], nodes[0].text
    assert took_part(job) == ["1: 0-2"]
    assert nodes[0].progress[-1].absent is None


def test_a_node_told_to_stop_costs_no_step_and_no_restart(new_job: NewJob) -> None:
    job = new_job(**ELASTIC, max_restarts=0)
    nodes = start_all(job, 0, 1, 2, steps=150, epoch_steps=1000)
    gets_to(job, 5, attempt=1, ranks=3)
    nodes[1].process.send_signal(signal.SIGTERM)
    assert nodes[1].exit() == 143
    assert [nodes[0].exit(), nodes[2].exit()] == [0, 0], nodes[0].text
    assert took_part(job) == ["1: 0-2", "2: 0,2"]
    assert (job.run_file.attempts, job.run_file.fingerprints) == (1, ())
    assert steps_of(nodes[0], 0) == list(range(1, 151))
    assert steps_of(nodes[2], 2) == list(range(1, 151))


def test_a_killed_node_counts_as_no_restart_where_steps_were_gained(new_job: NewJob) -> None:
    job = new_job(**ELASTIC, max_restarts=0)
    nodes = start_all(job, 0, 1, 2, steps=60, epoch_steps=1000)
    gets_to(job, 5, attempt=1, ranks=3)
    nodes[2].process.send_signal(signal.SIGKILL)
    assert [nodes[0].exit(), nodes[1].exit()] == [0, 0], nodes[0].text
    assert took_part(job) == ["1: 0-2", "2: 0-1"]
    assert (job.run_file.attempts, job.run_file.fingerprints) == (1, ())
    assert steps_of(nodes[1], 1)[-1] == 60


def test_a_node_that_returns_in_time_is_one_of_the_next_attempt(new_job: NewJob) -> None:
    job = new_job(**{**ELASTIC, "patience_s": 20.0})
    plan = {"steps": 60, "epoch_steps": 1000}
    nodes = job.start(0, 1, 2, plan=plan)
    gets_to(job, 5, attempt=1, ranks=3)
    nodes[1].process.send_signal(signal.SIGKILL)
    nodes[0].says("with it where it comes back in time")
    (back,) = job.start(1, plan=plan)
    assert [node.exit() for node in (nodes[0], back, nodes[2])] == [0, 0, 0], nodes[0].text
    assert took_part(job) == ["1: 0-2", "2: 0-2"]


def test_a_node_that_comes_late_is_let_in_where_an_epoch_ends(new_job: NewJob) -> None:
    job = new_job(**ELASTIC, max_restarts=0)
    plan = {"steps": 300, "epoch_steps": 50}
    first, second = start_all(job, 0, 1, **plan)
    gets_to(job, 3, attempt=1, ranks=2)
    (late,) = job.start(2, plan=plan)
    late.says("it is let in at the end of an epoch")
    assert [node.exit() for node in (first, second, late)] == [0, 0, 0], first.text
    assert took_part(job) == ["1: 0-1", "2: 0-2"]
    began = steps_of(late, 2)[0] - 1
    assert began > 0
    assert began % 50 == 0
    assert steps_of(first, 0) == list(range(1, 301))
    assert (job.run_file.attempts, job.run_file.fingerprints) == (1, ())


def test_short_epochs_let_nodes_in_too(new_job: NewJob) -> None:
    job = new_job(**ELASTIC)
    plan = {"steps": 400, "epoch_steps": 2}
    first, second = start_all(job, 0, 1, **plan)
    gets_to(job, 3, attempt=1, ranks=2)
    (late,) = job.start(2, plan=plan)
    assert [node.exit() for node in (first, second, late)] == [0, 0, 0], first.text
    assert took_part(job) == ["1: 0-1", "2: 0-2"]
    assert steps_of(first, 0) == list(range(1, 401))


def test_a_node_that_comes_and_goes_holds_nobody_up(new_job: NewJob) -> None:
    job = new_job(**ELASTIC, max_restarts=0)
    plan = {"steps": 100000, "epoch_steps": 100000}
    first, second = start_all(job, 0, 1, **plan)
    gets_to(job, 1, attempt=1, ranks=2)
    for end in (signal.SIGKILL, signal.SIGTERM):
        (flaps,) = job.start(2, plan=plan)
        flaps.says("it is let in at the end of an epoch")
        flaps.process.send_signal(end)
        assert flaps.exit(timeout_s=5) in (143, -signal.SIGKILL)
    for node in (first, second):
        node.process.send_signal(signal.SIGTERM)
    assert [first.exit(), second.exit()] == [143, 143], first.text
    assert took_part(job) == ["1: 0-1"]
    done = steps_of(first, 0)
    assert done == list(range(1, len(done) + 1))
    assert int((job.scratch / "saved").read_text()) == done[-1]


def test_a_node_lost_at_one_step_again_and_again_uses_up_the_restarts(new_job: NewJob) -> None:
    job = new_job(**{**ELASTIC, "patience_s": 20.0}, max_restarts=1)
    plan = {"steps": 3000, "epoch_steps": 100000, "faults": [
        {"rank": rank, "attempt": 0, "step": 4, "do": "hang"} for rank in range(3)
    ]}  # fmt: skip
    first, second, _ = job.start(0, 1, 2, plan=plan)
    for attempt in (1, 2, 3):
        gets_to(job, 3, attempt=attempt, ranks=3)
        at = (attempt, 4)  # an earlier attempt got there, too
        wait_for(
            lambda at=at: at in [(one.attempt, one.step) for one in first.progress], what="all at step 4"
        )
        job.nodes[-1].process.send_signal(signal.SIGKILL)
        first.says("node 2 disappeared")
        if attempt < 3:
            job.start(2, plan=plan)
    assert first.exit() == int(Exit.ATTEMPTS_USED_UP), first.text
    second.exit()
    assert (job.run_file.starts, job.run_file.attempts) == (3, 2)


def test_node_0_is_waited_for_and_its_loss_counts(new_job: NewJob) -> None:
    job = new_job(**ELASTIC)
    plan = {"steps": 60, "epoch_steps": 1000}
    nodes = start_all(job, 0, 1, 2, **plan)
    gets_to(job, 3, attempt=1, ranks=3)
    nodes[0].process.send_signal(signal.SIGKILL)
    nodes[1].says("waiting for its return")
    (back,) = job.start(0, plan=plan)
    assert [node.exit() for node in (back, *nodes[1:])] == [0, 0, 0], back.text
    assert (job.run_file.starts, job.run_file.attempts) == (2, 2)


def test_fewer_than_the_least_do_not_begin(new_job: NewJob) -> None:
    job = new_job(**ELASTIC, rendezvous_timeout_s=2.0)
    (alone,) = job.start(0)
    assert alone.exit() == int(Exit.RENDEZVOUS), alone.text
    assert "node 1, 2 did not come within 2 s" in alone.text
    assert job.run_file.starts == 0


def test_a_node_that_comes_after_the_end_is_done(new_job: NewJob) -> None:
    job = new_job(**ELASTIC)
    first, second = job.start(0, 1)
    assert [first.exit(), second.exit()] == [0, 0]
    (late,) = job.start(2)
    assert late.exit(timeout_s=8) == 0, late.text
    assert "the run was done before this node came" in late.text


JOB = NodeFile(
    run_id="0" * 32, job="j", nodes=4, procs_per_node=1, coordinator_host="h", coordinator_port=1,
    backend="gloo", output_dir="/o", max_restarts=0, backoff_s=1.0, deadline_s=None, grace_s=1.0,
    rendezvous_timeout_s=600.0, hang_timeout_s=None, min_nodes=2, patience_s=120.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("there", "waited_s", "away", "left_s"),
    [
        ({0, 1, 2, 3}, 0.0, {}, 0.0),
        ({0, 1, 2}, 0.0, {3: 0.0}, 120.0),
        ({0, 1, 2}, 50.0, {3: 10.0}, 70.0),  # it comes and goes, and holds nobody up longer
        ({0, 1, 2}, 0.0, {3: 100.0}, 20.0),
        ({0, 1}, 0.0, {2: 5.0, 3: 500.0}, 115.0),  # the one that was there last is waited for
        ({0, 1}, 0.0, {2: 130.0, 3: 500.0}, 0.0),
        ({0}, 900.0, {1: 900.0, 2: 900.0, 3: 900.0}, None),
        ({1, 2, 3}, 900.0, {0: 900.0}, None),
    ],
)  # fmt: skip
def test_when_an_attempt_begins(
    there: set[int], waited_s: float, away: dict[int, float], left_s: float | None
) -> None:
    assert wait_for_more(there, job=JOB, waited_s=waited_s, away_s=away.__getitem__) == left_s


def state(step: int, *, end: int, length: int, total: int = 1000) -> RankState:
    return RankState(
        rank=0, recorded=True, step=step, epoch=0, total_steps=total, phase="compute", silent_s=0.0,
        loss=None, images_per_s=None, epoch_end=end, epoch_steps=length,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("step", "end", "length", "total", "chosen"),
    [
        (10, 100, 100, 1000, None),  # far away
        (70, 100, 100, 1000, 100),
        (95, 100, 100, 1000, None),  # too near: the next one
        (95, 100, 20, 1000, 120),
        (95, 96, 1, 1000, 118),
        (70, 100, 100, 100, None),  # the end of all
        (80, 0, 0, 1000, None),  # not known yet
    ],
)
def test_where_an_epoch_ends(step: int, end: int, length: int, total: int, chosen: int | None) -> None:
    states = [state(step, end=end, length=length, total=total)] * 2
    assert choose_epoch_end(states, steps_per_s=10.0, lead_s=2.0, window_s=3.0) == chosen


@pytest.mark.parametrize("pace", [0.01, 0.3, 0.9, 1.0, 7.0, 100.0, 3000.0])
@pytest.mark.parametrize("length", [1, 3, 50, 2000])
def test_every_pace_meets_an_end_of_an_epoch(pace: float, length: int) -> None:
    """Looks come each second, and steps are as fast as they are: one of two ends at the latest is taken."""
    now_s = max(0.0, (length - 20) / pace - 20)
    while (step := int(now_s * pace)) < 3 * length + 4 * max(1.0, pace):
        found = choose_epoch_end(
            [state(step, end=(step // length + 1) * length, length=length, total=10**9)],
            steps_per_s=pace, lead_s=2.5, window_s=3.0,
        )  # fmt: skip
        if found is not None:
            assert found % length == 0
            assert found - step > 2.5 * pace
            return
        now_s += min(1.0, 1 / pace)
    raise AssertionError(f"no end of an epoch was taken by step {step}")


def test_ranks_that_die_of_a_lost_node_are_not_what_failed() -> None:
    lost = {2: "connection closed"}
    died = Failure(kind=Kind.RANK, rank=0, code=-6, reason="SIGABRT", step=7)
    assert blame_node(died, lost).kind is Kind.NODE
    diverged = Failure(kind=Kind.RANK, rank=0, code=int(Exit.DIVERGED), reason="nan", step=7)
    assert blame_node(diverged, lost) is diverged


def test_nodes_are_named_as_people_read_them() -> None:
    assert format_nodes([5, 0, 1, 2]) == "0-2,5"
    assert say_nodes({3}) == "node 3"
    assert say_nodes({3, 1}) == "nodes 1,3"
    assert say_size(3, JOB) == "3 of 4 nodes"
    assert AttemptNodes(attempt=1, nodes="0").nodes == "0"
