from __future__ import annotations

from dataclasses import replace

from launcher.backends.states import JobState, JobStatus, PodState, PodStatus
from launcher.cli.status import describe, pod_rows, rank_rows
from launcher.jobs.lifecycle import eta_s
from launcher.plan.handle import Handle
from launcher.times import format_duration
from tests.launcher.configs import RUN_ID
from trainer.protocol.evaluated import Evaluated
from trainer.protocol.progress import Progress, RankProgress
from trainer.protocol.termination import Termination


def test_the_time_that_is_left_is_told_while_the_pace_is_known():
    pod = PodStatus(pod="a-worker-0", node=0, state=PodState.RUNNING, started_s=1000.0)
    rank = RankProgress(
        rank=0, node=0, step=25, epoch=0, phase="compute", loss=1.0, images_per_s=1.0, silent_s=0.0
    )
    progress = Progress(time_s=1050.0, attempt=1, world_size=1, total_steps=100, ranks=(rank,))
    status = JobStatus(
        handle=Handle(backend="local", job="a"), run_id=RUN_ID, state=JobState.RUNNING, pods=(pod,),
        created_s=990.0, progress=progress,
    )  # fmt: skip
    assert eta_s(status) == 150.0
    assert "step 25 of 100 (25%)" in describe(status)
    assert "about 2 min left" in describe(status)
    for change in (
        {"progress": None}, {"state": JobState.SUCCEEDED}, {"pods": (replace(pod, restarts=1),)},
        {"progress": replace(progress, attempt=2)}, {"progress": replace(progress, total_steps=0)},
    ):  # fmt: skip
        assert eta_s(replace(status, **change)) is None
    resumed = replace(progress, attempt=2, step_s=0.5)
    assert eta_s(replace(status, progress=resumed)) == 37.5
    assert "  [##########..............................]" in describe(status).splitlines()
    assert [format_duration(seconds) for seconds in (0.2, 89, 600, 7300)] == [
        "1 s",
        "89 s",
        "10 min",
        "2 h 2 min",
    ]


def pods(number: int, **odd: PodStatus) -> tuple[PodStatus, ...]:
    usual = [
        PodStatus(pod=f"a-worker-{index}", node=index, state=PodState.RUNNING) for index in range(number)
    ]
    for change in odd.values():
        usual[change.node] = change
    return tuple(usual)


def test_of_many_pods_only_those_are_named_of_which_there_is_something_to_say():
    pending = PodStatus(pod="a-worker-7", node=7, state=PodState.PENDING, reason="Unschedulable")
    again = PodStatus(pod="a-worker-9", node=9, state=PodState.RUNNING, restarts=2, host="n1")
    assert pod_rows(pods(1000, pending=pending, again=again), most=32) == [
        "  1000 pods: 999 Running, 1 Pending",
        "  a-worker-7  Pending  Unschedulable",
        "  a-worker-9  Running  on n1  restarts 2",
        "  all of them: --output wide",
    ]
    assert len(pod_rows(pods(1000), most=None)) == 1000
    assert len(pod_rows(pods(32), most=32)) == 32


def test_of_many_pods_with_something_to_say_the_first_are_named_and_the_rest_counted():
    waiting = {
        f"p{index}": PodStatus(pod=f"a-worker-{index}", node=index, state=PodState.PENDING)
        for index in range(15)
    }
    lines = pod_rows(pods(40, **waiting), most=32)
    assert lines[0] == "  40 pods: 25 Running, 15 Pending"
    assert lines[-2] == "  and 5 more such pods"
    assert sum("a-worker-" in line for line in lines) == 10


def test_of_many_ranks_those_furthest_behind_are_shown():
    ranks = tuple(
        RankProgress(
            rank=rank, node=0, step=500 - rank, epoch=0, phase="compute", loss=1.0, images_per_s=1.0,
            silent_s=60.0 if rank == 3 else 0.0,
        )
        for rank in range(100)
    )  # fmt: skip
    progress = Progress(time_s=0.0, attempt=1, world_size=100, total_steps=1000, ranks=ranks)
    head, _, *rows = rank_rows(progress, most=32)
    assert head == "  100 ranks; furthest behind (all: --output wide):"
    assert [int(row.split()[0]) for row in rows] == [3, *range(99, 90, -1)]
    assert len(rank_rows(progress)) == 101


def test_an_evaluation_is_shown_and_at_the_end_whether_anything_was_learned():
    rank = RankProgress(
        rank=0, node=0, step=25, epoch=0, phase="done", loss=1.0, images_per_s=1.0, silent_s=0.0
    )
    found = Evaluated(top1=0.25, best_top1=0.25, largest_class=0.25, images=60)
    status = JobStatus(
        handle=Handle(backend="local", job="a"), run_id=RUN_ID, state=JobState.RUNNING, pods=(),
        created_s=0.0, progress=Progress(
            time_s=1.0, attempt=1, world_size=1, total_steps=25, ranks=(rank,), evaluated=found
        ),
    )  # fmt: skip
    assert "  top1 0.25; always answering the largest class: 0.25" in describe(status).splitlines()
    assert "no better" not in describe(status)
    end = Termination(exit=0, attempt=1, step=25, reason="early stopping after epoch 3 of 9")
    pod = PodStatus(pod="a-worker-0", node=0, state=PodState.SUCCEEDED, termination=end)
    of_more = replace(status.progress, total_steps=75)
    early = describe(replace(status, state=JobState.SUCCEEDED, progress=of_more, pods=(pod,)))
    assert "step 25, the last one (at most 75 were planned)" in early
    assert "[#" not in early
    ended = replace(status, state=JobState.SUCCEEDED)
    assert "no better than always answering the largest class" in describe(ended)
