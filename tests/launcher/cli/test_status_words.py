from __future__ import annotations

from dataclasses import replace

from launcher.backends.base import JobState, JobStatus, PodState, PodStatus
from launcher.cli.status import describe, describe_duration, eta_s
from launcher.plan.handle import Handle
from tests.launcher.configs import RUN_ID
from trainer.protocol.progress import Progress, RankProgress


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
    assert [describe_duration(seconds) for seconds in (0.2, 89, 600, 7300)] == [
        "1 s",
        "89 s",
        "10 min",
        "2 h 2 min",
    ]
