"""The last progress line of a log's end, and the pace between lines."""

from __future__ import annotations

from trainer.protocol.progress import Progress, RankProgress, format_progress, last_progress


def line(time_s: float, *steps: int, attempt: int = 2) -> bytes:
    ranks = tuple(
        RankProgress(
            rank=rank, node=0, step=step, epoch=0, phase="compute", loss=None, images_per_s=None, silent_s=0.0
        )
        for rank, step in enumerate(steps)
    )
    return format_progress(
        Progress(time_s=time_s, attempt=attempt, world_size=2, total_steps=100, ranks=ranks)
    )


def test_the_pace_is_that_of_the_slowest_rank_since_the_first_line_of_this_attempt():
    log = [
        line(0.0, 9, 9, attempt=1),
        b"other",
        line(100.0, 12, 10),
        line(130.0, 30, 25),
        line(160.0, 50, 40),
    ]
    last = last_progress(log)
    assert last is not None
    assert (last.step, last.step_s) == (40, 2.0)


def test_one_line_a_standstill_or_no_rank_give_no_pace():
    for log in ([line(5.0, 4, 4)], [line(5.0, 4, 4), line(35.0, 4, 4)], [line(5.0), line(35.0)]):
        last = last_progress(log)
        assert last is not None
        assert last.step_s is None


def test_lines_that_are_cut_are_passed_over():
    whole = line(10.0, 4, 4)
    last = last_progress([whole[:20], b"x", whole, line(40.0, 9, 9)[:-9]])
    assert last is not None
    assert last.step == 4
    assert last_progress([b"nothing", whole[:20]]) is None
