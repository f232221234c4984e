"""`Launch.stop_if`: a job that idles or creeps saves and ends."""

from __future__ import annotations

import pytest

from tests.trainer.node.conftest import RUN_ID
from trainer.node.decisions import Failure, GiveUp, Kind, Retry, decide
from trainer.node.messages import RankState
from trainer.node.prometheus import own_gpus, read_use
from trainer.node.stop_if import StopCondition, Window
from trainer.protocol.exits import Exit
from trainer.protocol.nodefile import StopIf


def state(
    rank: int, *, rate: float | None = 10.0, phase: str = "compute", silent_s: float = 0.0
) -> RankState:
    return RankState(
        rank=rank, recorded=True, step=1, epoch=0, total_steps=9, phase=phase, silent_s=silent_s, loss=1.0,
        images_per_s=rate,
    )  # fmt: skip


def watch(stop_if: StopIf, moments, *, nodes=(0,), ranks=2) -> tuple[int, str] | None:
    """Look once a second; a moment is (states, use of each node). Return when it was to end, and why."""
    condition = StopCondition(stop_if, world_size=ranks, nodes=nodes)
    for second, (states, uses) in enumerate(moments):
        for node, use in enumerate(uses):
            condition.take_use(node, use)
        reason = condition.look({one.rank: one for one in states}, now_s=100.0 + second)
        if reason is not None:
            return second, reason
    return None


BUSY = [state(0), state(1)]


def test_the_mean_of_the_whole_time_counts_and_nothing_before_it():
    idle = StopIf(gpu_below=0.1, for_s=60.0)
    assert watch(idle, [(BUSY, [0.02])] * 100) == (
        60,
        "stop_if: GPUs were 2.0% in use in the last 60 s, less than 10%",
    )
    assert watch(idle, [(BUSY, [0.02])] * 60) is None
    spikes = [(BUSY, [0.9 if second % 10 == 0 else 0.02]) for second in range(300)]
    assert watch(idle, spikes) is None
    first_busy = [(BUSY, [0.5])] * 60 + [(BUSY, [0.0])] * 100
    assert watch(idle, first_busy)[0] in range(107, 111)


def test_a_node_whose_gpus_cannot_be_asked_counts_neither_way():
    idle = StopIf(gpu_below=0.1, for_s=10.0)
    assert watch(idle, [(BUSY, [0.0, None])] * 50, nodes=(0, 1)) is None
    assert watch(idle, [(BUSY, [0.0, 0.04])] * 50, nodes=(0, 1)) is not None


def test_progress_is_what_all_ranks_train_on_together_and_evaluations_do_not_count():
    slow = StopIf(progress_below=15.0, for_s=20.0)
    assert watch(slow, [(BUSY, [])] * 50) is None
    creeping = [state(0, rate=5.0), state(1, rate=5.0)]
    assert watch(slow, [(creeping, [])] * 50) == (20, "stop_if: 10 images/s in the last 20 s, less than 15")
    stuck = [state(0), state(1, silent_s=40.0)]
    assert watch(slow, [(stuck, [])] * 50)[0] == 20
    evaluating = [state(0, phase="eval", rate=0.0), state(1, phase="eval", rate=0.0)]
    assert watch(slow, [(evaluating, [])] * 50) is None
    assert watch(slow, [([state(0, rate=1.0)], [])] * 50) is None  # not all have reported
    assert watch(slow, [(creeping, [])] * 15 + [(evaluating, [])] * 50 + [(creeping, [])] * 15)[0] in range(
        68, 74
    )


def test_a_window_stays_small_however_long_it_is():
    window = Window(86400.0)
    for _ in range(100_000):
        window.add(1.0, 1.0)
    assert window.mean == pytest.approx(1.0)
    assert len(window._buckets) < 200


def test_all_ranks_save_and_the_run_ends_with_its_own_exit_code(new_job):
    job = new_job(nodes=1, procs_per_node=2, stop_if=StopIf(progress_below=100.0, for_s=0.3))
    (node,) = job.start(0, plan={"steps": 10_000, "step_s": 0.02, "saves": True})
    assert node.exit() == Exit.STOP_IF
    end = node.termination
    assert end.exit == Exit.STOP_IF
    assert end.reason == "stop_if: 20 images/s in the last 1 s, less than 100"
    assert end.step is not None
    assert 0 < end.step < 10_000
    assert "all ranks save and stop after step" in node.text
    assert (job.run_file.run_id, job.run_file.ended) == (RUN_ID, Exit.STOP_IF)


def failed(reason: str) -> Failure:
    return Failure(kind=Kind.RANK, rank=0, code=int(Exit.INTERNAL), reason=reason, step=7)


def decide_on(failure: Failure) -> Retry | GiveUp:
    return decide(failure, attempts=1, earlier=(), max_restarts=3, backoff_s=1.0)


def test_a_batch_that_no_memory_holds_is_not_tried_again():
    words = (
        "internal error: SystemError: ResourceExhaustedError: Out of memory error on GPU 0. Cannot allocate"
    )
    assert decide_on(failed(words)) == GiveUp(
        Exit.INTERNAL, "another attempt would need as much of the GPU's memory"
    )
    assert isinstance(decide_on(failed("internal error: OSError: broken pipe")), Retry)


class Gpus:
    def read(self):
        yield from ((0, 0.5, 1.0, 2.0), (1, 0.1, 1.0, 2.0))


@pytest.mark.parametrize(
    ("visible", "use"), [(None, 0.3), ("", 0.3), ("1", 0.1), ("0,1", 0.3), ("GPU-8f", 0.3), ("7", None)]
)
def test_only_the_gpus_that_the_job_sees_count(visible, use):
    assert read_use(Gpus(), own_gpus(visible)) == (pytest.approx(use) if use is not None else None)
