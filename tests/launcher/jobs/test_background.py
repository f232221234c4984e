"""Work that is begun before its result is needed."""

from __future__ import annotations

import threading

import pytest

from launcher.jobs.background import begin


def test_it_goes_on_beside_the_caller_and_gives_its_result_each_time():
    go_on = threading.Event()
    wait = begin(lambda: go_on.wait(timeout=10))
    go_on.set()
    assert (wait(), wait()) == (True, True)


def test_what_it_raises_is_raised_where_the_result_is_asked_for():
    wait = begin(lambda: {}["nothing"])
    with pytest.raises(KeyError):
        wait()
