"""When a waiting job starts: the play, against small cases done by hand and against what must always hold."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.why.forecast import (
    AGREE,
    AGREE_S,
    ClusterQueue,
    Quota,
    QuotaRoom,
    Span,
    Work,
    estimate_start,
)

GPU = "nvidia.com/gpu"


def queue(name="a", gpus=8, *, cohort="", strict=False, within="Never", reclaim="Never", **limits):
    quotas = {GPU: Quota(nominal=gpus, **limits)}
    return ClusterQueue(
        name=name, cohort=cohort, groups=((frozenset({GPU}), (("f", quotas),)),), is_strict=strict,
        within=within, reclaim=reclaim,
    )  # fmt: skip


def work(uid, gpus, *, left=None, at="a", runs=False, priority=0, since=0.0):
    span = None if left is None else Span(early_s=left, likely_s=left, late_s=left)
    return Work(
        uid=uid, name=uid, queue=at, asked={GPU: float(gpus)}, priority=priority, since_s=since,
        held={("f", GPU): float(gpus)} if runs else None, length=span, unknown="reports no progress",
    )  # fmt: skip


def start_of(queues, works, uid="me"):
    return estimate_start(lambda: QuotaRoom(queues), works, uid=uid)


def test_it_starts_when_what_it_needs_has_been_freed():
    works = [work("x", 4, left=600, runs=True), work("y", 4, left=3600, runs=True), work("me", 8)]
    found = start_of([queue()], works)
    assert found.in_s == 3600
    assert [(item.name, item.in_s) for item in found.freed] == [("x", 600), ("y", 3600)]
    assert (found.place, found.of) == (1, 1)


def test_who_waits_before_it_and_how_long_they_take_counts():
    works = [
        work("x", 8, left=600, runs=True), work("before", 8, left=1200, since=1), work("me", 8, since=2),
    ]  # fmt: skip
    found = start_of([queue()], works)
    assert (found.in_s, found.place, found.of) == (1800, 2, 2)


def test_a_higher_priority_comes_first_however_late_it_came():
    works = [
        work("x", 8, left=600, runs=True), work("late", 8, left=1000, since=9, priority=5), work("me", 8),
    ]  # fmt: skip
    assert start_of([queue()], works).in_s == 1600


def test_a_small_one_passes_a_large_one_unless_the_queue_is_strict():
    works = [
        work("x", 4, left=600, runs=True), work("large", 8, left=900, since=1), work("me", 4, since=2),
    ]  # fmt: skip
    assert start_of([queue()], works).in_s == 0
    assert start_of([queue(strict=True)], works).in_s == 1500


def test_a_queue_borrows_what_others_of_its_cohort_do_not_use():
    lender, own = queue("b", 8, cohort="c"), queue("a", 8, cohort="c")
    works = [work("x", 8, left=600, runs=True), work("me", 8)]
    assert start_of([own, lender], works).in_s == 0
    assert start_of([replace(own, groups=queue("a", 8, borrowing=0).groups), lender], works).in_s == 600
    assert start_of([own, queue("b", 8, cohort="c", lending=4)], works).in_s == 600


def test_a_borrower_gives_back_where_the_owner_may_reclaim():
    lender, borrower = queue("b", 8, cohort="c", reclaim="Any"), queue("a", 8, cohort="c")
    works = [work("x", 16, left=6000, runs=True), work("me", 8, at="b")]
    assert start_of([lender, borrower], works).in_s == 0
    assert start_of([queue("b", 8, cohort="c"), borrower], works).in_s == 6000


def test_a_higher_priority_takes_the_place_of_a_lower_one_and_that_goes_on_later():
    works = [
        work("low", 8, left=1000, runs=True), work("high", 8, left=300, priority=9), work("me", 8, since=5),
    ]  # fmt: skip
    found = start_of([queue(within="LowerPriority")], works)
    assert found.in_s == 1300  # high, then low for the rest of it, which has waited longer


def test_one_that_is_unknown_and_matters_makes_it_untold_and_is_named():
    works = [work("x", 8, runs=True), work("me", 8)]
    found = start_of([queue()], works)
    assert (found.in_s, found.late_s) == (None, None)
    assert found.reason == "x reports no progress"
    assert found.unknown == ("x",)


def test_one_that_is_unknown_and_does_not_matter_makes_no_difference():
    works = [work("x", 4, runs=True), work("y", 4, left=900, runs=True), work("me", 4)]
    found = start_of([queue()], works)
    assert found.in_s is None  # x may end at any moment, and would be enough
    assert found.late_s == 900
    works[0] = work("x", 4, runs=True, at="b")
    assert start_of([queue(), queue("b")], works).in_s is not None


def test_what_no_queue_could_ever_give_is_said():
    found = start_of([queue()], [work("me", 9)])
    assert found.in_s is None
    assert found.reason == "it would not start even if all that runs had ended"


def test_spans_that_lie_far_apart_are_no_estimate_and_give_bounds():
    far = replace(work("x", 8, runs=True), length=Span(early_s=600, likely_s=1000, late_s=6000))
    found = start_of([queue()], [far, work("me", 8)])
    assert (found.in_s, found.early_s, found.late_s) == (None, 600, 6000)


# What must always hold

LENGTHS = st.floats(min_value=1, max_value=1e5)
JOBS = st.lists(
    st.tuples(
        st.integers(1, 8), st.one_of(st.none(), LENGTHS), st.sampled_from(("a", "b")), st.booleans(),
        st.integers(0, 2), st.integers(0, 100),
    ),
    max_size=8,
)  # fmt: skip
QUEUES = st.builds(
    lambda cohort, strict, within, reclaim, borrowing: [
        queue("a", 8, cohort=cohort, strict=strict, within=within, borrowing=borrowing if cohort else None),
        queue("b", 8, cohort=cohort, reclaim=reclaim if cohort else "Never"),
    ],
    st.sampled_from(("", "c")), st.booleans(), st.sampled_from(("Never", "LowerPriority")),
    st.sampled_from(("Never", "Any")), st.sampled_from((None, 0.0, 4.0)),
)  # fmt: skip


def build(queues, jobs):
    """Return jobs of which no more run than there is room for, and one that waits behind all."""
    room, works = QuotaRoom(queues), []
    for index, (gpus, left, at, runs, priority, since) in enumerate(jobs):
        made = work(f"j{index}", gpus, left=left, at=at, priority=priority, since=since)
        held = room.fits(made) if runs else None
        if held is not None:
            room.take(made, held)
        works.append(replace(made, held=held))
    return [*works, work("me", 8, since=1000)]


@settings(max_examples=50, deadline=None)
@given(queues=QUEUES, jobs=JOBS)
def test_an_estimate_lies_within_its_bounds_and_bounds_are_near_where_there_is_one(queues, jobs):
    found = start_of(queues, build(queues, jobs))
    assert 1 <= found.place <= found.of
    if found.in_s is None:
        assert found.reason
    else:
        assert math.isfinite(found.in_s)
        assert found.in_s >= 0
        assert not found.reason
        assert found.late_s <= max(found.early_s * AGREE, found.early_s + AGREE_S)


@settings(max_examples=30, deadline=None)
@given(queues=QUEUES, jobs=JOBS)
def test_where_all_is_known_there_is_an_estimate(queues, jobs):
    known = [(gpus, 100.0 if left is None else left, *rest) for gpus, left, *rest in jobs]
    found = start_of(queues, build(queues, known))
    assert found.in_s is not None
    assert found.in_s <= sum(left for _, left, *_ in known) + 1e-6  # one after the other at the worst


@settings(max_examples=30, deadline=None)
@given(queues=QUEUES, jobs=JOBS, scale=st.floats(min_value=0.5, max_value=4))
def test_where_everything_takes_so_much_longer_so_does_the_wait(queues, jobs, scale):
    known = [(gpus, 100.0 if left is None else left, *rest) for gpus, left, *rest in jobs]
    longer = [(gpus, left * scale, *rest) for gpus, left, *rest in known]
    once, again = start_of(queues, build(queues, known)), start_of(queues, build(queues, longer))
    assert again.in_s == pytest.approx(once.in_s * scale, rel=1e-6, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(jobs=JOBS, left=st.floats(min_value=1, max_value=1e6))
def test_a_job_that_is_unknown_and_holds_everything_is_never_guessed(jobs, left):
    del left
    others = [(gpus, length, "a", False, priority, since) for gpus, length, _, _, priority, since in jobs]
    works = [work("all", 8, runs=True), *build([queue()], others)]
    assert start_of([queue()], works).in_s is None


@settings(max_examples=30, deadline=None)
@given(queues=QUEUES, jobs=JOBS)
def test_nobody_holds_more_than_there_is(queues, jobs):
    for name in ("a", "b"):
        room, total = QuotaRoom(queues), 0.0
        for item in build(queues, jobs):
            held = room.fits(replace(item, queue=name, held=None))
            if held is not None:
                room.take(replace(item, queue=name), held)
                total += sum(held.values())
        assert total <= (16 if queues[0].cohort else 8) + 1e-6
