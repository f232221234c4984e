from __future__ import annotations

from dataclasses import replace

import pytest

from trainer.protocol.codec import FormatError
from trainer.protocol.evaluated import Evaluated, describe_evaluated, describe_failure
from trainer.protocol.heartbeat import Heartbeats, Phase, RankRecord
from trainer.protocol.progress import MARK, Progress, RankProgress, format_progress, parse_progress
from trainer.protocol.step_times import StepTimes

FOUND = Evaluated(top1=0.57, best_top1=0.6, largest_class=0.25, images=60)
RANK = RankProgress(
    rank=0, node=0, step=3, epoch=0, phase="eval", loss=1.0, images_per_s=2.0, silent_s=0.0
)  # fmt: skip
PROGRESS = Progress(time_s=1.0, attempt=1, world_size=1, total_steps=9, ranks=(RANK,), evaluated=FOUND)


def test_an_evaluation_is_told_beside_the_answer_that_looks_at_no_image():
    assert describe_evaluated(FOUND) == "top1 0.57 (best 0.6); always answering the largest class: 0.25"
    when = replace(FOUND, best_epoch=4)
    assert (
        describe_evaluated(when) == "top1 0.57 (best 0.6, epoch 4); always answering the largest class: 0.25"
    )
    same = replace(FOUND, best_top1=0.57)
    assert describe_evaluated(same) == "top1 0.57; always answering the largest class: 0.25"


@pytest.mark.parametrize(
    ("best", "floor", "images", "said"),
    [
        (0.25, 0.25, 60, "no better than always answering"),
        (0.2, 0.25, 100_000, "no better than always answering"),
        (0.35, 0.25, 60, "cannot be told from always answering"),  # 0.112 are two standard errors
        (0.35, 0.25, 600, None),
        (0.37, 0.25, 60, None),
        (1.0, 1.0, 5, "no better than"),
    ],
)
def test_a_run_that_learned_nothing_is_told_as_far_as_so_many_images_can_tell(best, floor, images, said):
    failure = describe_failure(Evaluated(top1=0.1, best_top1=best, largest_class=floor, images=images))
    assert (failure is None) if said is None else (failure is not None and said in failure)


def test_it_crosses_the_heartbeats_and_the_progress_line(tmp_path):
    heartbeats = Heartbeats.create(tmp_path / "heartbeats", ranks=2)
    record = RankRecord(
        step=1, epoch=0, total_steps=4, phase=Phase.EVAL, pid=1, t_mono_s=0.0, loss=0.5, images_per_s=1.0,
        evaluated=FOUND,
    )  # fmt: skip
    heartbeats.write(0, record)
    heartbeats.write(1, replace(record, evaluated=None))
    assert (heartbeats.read(0), heartbeats.read(1)) == (record, replace(record, evaluated=None))
    timed = replace(record, evaluated=replace(FOUND, best_epoch=4), times=StepTimes(
        steps=9, step_s=0.5, wait_s=0.25, copy_s=0.1, peers_s=0.2, fetch_s=0.3, eval_s=4.0, save_s=1.0,
        workers=4, ranks=2, cores=1.5,
    ))  # fmt: skip
    heartbeats.write(0, timed)
    assert heartbeats.read(0) == timed
    heartbeats.close()
    assert parse_progress(format_progress(PROGRESS)) == PROGRESS
    assert b"evaluated" not in format_progress(replace(PROGRESS, evaluated=None))


@pytest.mark.parametrize(
    "bad", ['"x"', '{"top1": 2}', '{"top1": 0.5, "best_top1": 0.5, "largest_class": 0.1, "images": 0}']
)
def test_a_line_with_a_broken_evaluation_is_no_progress(bad):
    line = format_progress(replace(PROGRESS, evaluated=None))
    with pytest.raises(FormatError, match=r"evaluated|top1|images"):
        parse_progress(MARK + b'{"evaluated": ' + bad.encode() + b", " + line[len(MARK) + 1 :])
