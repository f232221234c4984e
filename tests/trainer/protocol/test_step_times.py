"""What is said of where the time of steps goes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from trainer.node.attempt import choose_timed
from trainer.protocol.heartbeat import Heartbeats, Phase, RankRecord
from trainer.protocol.progress import Progress, RankProgress, format_progress, parse_progress
from trainer.protocol.step_times import StepTimes, find_slow, find_waiting
from trainer.protocol.tags import MAX_LINE_BYTES

TIMES = StepTimes(
    steps=20, step_s=0.5, wait_s=0.31, copy_s=0.02, peers_s=0.03, fetch_s=0.04, eval_s=7.0, save_s=1.5,
    workers=4, ranks=1, cores=16.0,
)  # fmt: skip


def test_a_step_that_waits_says_how_much_and_what_there_is():
    found = find_waiting(TIMES, saves_decoding=False)
    assert found is not None
    assert found.sentence == "62% of a step waits for images: 4 workers, 16 cores are there"
    assert found.fix == (
        "set DataLoader.Train.loader.num_workers: 11, or keep decoded images by loader.cache: memory"
    )


def test_no_more_workers_are_proposed_than_the_ranks_of_a_node_have_cores():
    found = find_waiting(replace(TIMES, workers=4, ranks=4))
    assert found is not None
    assert "16 cores for 4 ranks are there" in found.sentence
    assert "num_workers" not in found.fix
    assert "loader.cache: memory" in found.fix


def test_nothing_is_proposed_that_is_set_or_does_not_go_with_what_is_set():
    few, many = (find_waiting(replace(TIMES, ranks=ranks), saves_decoding=True) for ranks in (1, 4))
    assert few is not None
    assert few.fix == "set DataLoader.Train.loader.num_workers: 11"
    assert many is not None
    assert many.fix == "give the job more cores"
    unknown = find_waiting(TIMES)  # beside a progress line nobody has the config
    assert unknown is not None
    assert unknown.fix.endswith("loader.cache: memory where it is not set")


@pytest.mark.parametrize(
    "changes",
    [{"wait_s": 0.1}, {"steps": 4}, {"step_s": 0.001, "wait_s": 0.001}, {"step_s": 0.0, "wait_s": 0.0}],
    ids=["little", "few steps", "tiny", "nothing"],
)
def test_nothing_is_said_of_what_is_no_trouble(changes):
    assert find_waiting(replace(TIMES, **changes)) is None


def test_a_slow_rank_is_told_by_what_it_takes_without_the_others():
    fast = replace(TIMES, step_s=1.3, wait_s=0.0, copy_s=0.0, fetch_s=0.0, peers_s=0.7)
    slow = replace(fast, peers_s=0.0, wait_s=0.7)
    ranks = [(0, 0, fast), (1, 0, fast), (2, 1, fast), (3, 1, slow)]
    found = find_slow(ranks)
    assert found is not None
    rank, finding = found
    assert rank == 3
    assert finding.sentence.startswith("rank 3 (node 1) takes 1.3 s a step by itself, half of the ranks")
    assert "54% of a step waits for images" in finding.sentence
    assert find_slow([(rank, node, fast) for rank, node, _ in ranks]) is None
    assert find_slow(ranks[3:]) is None
    assert find_slow([(0, 0, None), (1, 0, slow)]) is None


def test_times_come_through_the_memory_and_the_line(tmp_path: Path):
    heartbeats = Heartbeats.create(tmp_path / "beats", ranks=2)
    record = RankRecord(
        step=1, epoch=0, total_steps=9, phase=Phase.LOAD, pid=7, t_mono_s=1.0, loss=0.5, images_per_s=2.0,
        times=TIMES,
    )  # fmt: skip
    heartbeats.write(1, record)
    assert heartbeats.read(1) == record
    heartbeats.write(1, replace(record, times=None))
    assert heartbeats.read(1) == replace(record, times=None)
    heartbeats.close()
    rank = RankProgress(
        rank=0, node=0, step=1, epoch=0, phase="load", loss=0.5, images_per_s=2.0, silent_s=0.0, times=TIMES
    )
    line = Progress(time_s=1.0, attempt=1, world_size=1, total_steps=9, ranks=(rank,))
    assert parse_progress(format_progress(line)) == line


@pytest.mark.parametrize(
    ("step", "steps", "is_said"), [(10, 5, False), (20, 10, True), (25, 20, False), (500, 100, True)]
)
def test_the_first_steps_of_readers_are_not_judged(step: int, steps: int, is_said: bool):
    rank = RankProgress(
        rank=0, node=0, step=step, epoch=0, phase="load", loss=None, images_per_s=None, silent_s=0.0,
        times=replace(TIMES, steps=steps),
    )  # fmt: skip
    line = Progress(time_s=1.0, attempt=1, world_size=1, total_steps=900, ranks=(rank,))
    assert (line.waiting is not None) is is_said
    assert line.epoch == 1


def test_a_line_of_many_ranks_stays_within_what_a_line_may_have():
    times = {
        rank: replace(TIMES, step_s=1.0 + (rank == 77), wait_s=0.123456789, eval_s=12345.678901)
        for rank in range(300)
    }
    shown = choose_timed(times)
    assert 77 in shown
    ranks = tuple(
        RankProgress(
            rank=rank, node=rank // 8, step=123456, epoch=12, phase="compute", loss=0.123456,
            images_per_s=1234.56, silent_s=0.1, times=found if rank in shown else None,
        )
        for rank, found in times.items()
    )  # fmt: skip
    report = Progress(time_s=1e9, attempt=1, world_size=300, total_steps=10**6, ranks=ranks)
    line = format_progress(report)
    assert len(line) < MAX_LINE_BYTES
    found = parse_progress(line)
    assert found is not None
    assert found.slow_rank is not None
    assert found.slow_rank[0] == 77
