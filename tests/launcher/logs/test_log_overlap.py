from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from launcher.logs.resume_point import OVERLAP_S, ResumePoint
from launcher.times import format_stamp


def line(instant_ms: int, text: str = "x") -> bytes:
    return format_stamp(instant_ms * 1_000_000) + b" " + text.encode()


LOG = st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab")), min_size=1, max_size=20)


@given(LOG, st.data())
def test_cut_anywhere_and_asked_again_each_line_is_new_once(steps, data):
    """Equal lines at equal times are told apart by their ordinal."""
    log, instant_ms = [], 10_000
    for step, text in steps:
        instant_ms += step * 700
        log.append(line(instant_ms, text))
    resume_point, found = ResumePoint(), []
    for _ in range(data.draw(st.integers(0, 4))):
        since_s = resume_point.since_s() or 0
        resume_point.reopen()
        answer = [item for item in log if item >= format_stamp(since_s * 10**9)]
        for item in answer[: data.draw(st.integers(0, len(answer)))]:
            found += resume_point.take([item])
    resume_point.reopen()
    found += resume_point.take(log)
    found += resume_point.settle()
    assert found == log
    assert not resume_point.has_gap


def test_times_that_go_back_a_little_lose_nothing():
    log = [line(5000), line(5002, "stderr"), line(5001, "stdout")]
    resume_point = ResumePoint()
    assert resume_point.take(log) == log
    resume_point.reopen()
    assert resume_point.take([*log, line(5001, "more")]) == [line(5001, "more")]


def test_after_a_rotation_all_is_new_and_the_gap_is_known():
    resume_point = ResumePoint()
    resume_point.take([line(5000)])
    resume_point.reopen()
    assert resume_point.take([line(4999, "late"), line(6000), line(7000)]) == [
        line(4999, "late"), line(6000), line(7000)
    ]  # fmt: skip
    assert resume_point.has_gap


def test_a_complete_answer_without_our_line_is_all_new():
    resume_point = ResumePoint()
    resume_point.take([line(5000)])
    resume_point.reopen()
    assert resume_point.take([line(4998, "late")]) == []
    assert resume_point.settle() == [line(4998, "late")]


def test_more_is_asked_for_from_some_seconds_before():
    resume_point = ResumePoint()
    assert resume_point.since_s() is None
    resume_point.take([line(10_999)])
    assert resume_point.since_s() == 10 - OVERLAP_S
