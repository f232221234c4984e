"""Calls that are carried out side by side."""

from __future__ import annotations

import threading

import pytest

from launcher.threads import begin, run_within


def test_it_goes_on_beside_the_caller_and_gives_its_result_each_time():
    go_on = threading.Event()
    wait = begin(lambda: go_on.wait(timeout=10))
    go_on.set()
    assert (wait(), wait()) == (True, True)


def test_what_it_raises_is_raised_where_the_result_is_asked_for():
    wait = begin(lambda: {}["nothing"])
    with pytest.raises(KeyError):
        wait()


def test_calls_run_side_by_side_and_end_each_in_its_own_way():
    both = threading.Barrier(2, timeout=10)
    ended = run_within([both.wait, lambda: {}["nothing"], both.wait], within_s=10, at_once=3)
    assert [type(item.error) if item else None for item in ended] == [type(None), KeyError, type(None)]
    assert sorted(item.result() for item in (ended[0], ended[2]) if item) == [0, 1]


def test_what_does_not_end_in_time_and_what_was_not_begun_is_none():
    go_on = threading.Event()
    ended = run_within([lambda: 1, go_on.wait, lambda: 2], within_s=0.2, at_once=1)
    assert (ended[0].result() if ended[0] else None, ended[1:]) == (1, [None, None])
    go_on.set()


def test_nothing_to_do_is_done_at_once():
    assert run_within([], within_s=0) == []
