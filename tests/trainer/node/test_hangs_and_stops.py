from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.node.decisions import Speedometer, choose_stop_step, find_hang, is_computing
from trainer.node.messages import RankState

PHASES = ["start", "load", "compute", "eval", "save", "done"]


def state(rank: int, phase: str, step: int, silent_s: float, *, recorded: bool = True) -> RankState:
    return RankState(
        rank=rank, recorded=recorded, step=step, epoch=0, total_steps=100, phase=phase, silent_s=silent_s,
        loss=None, images_per_s=None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("states", "rank"),
    [
        ([state(0, "compute", 5, 61), state(1, "load", 5, 62)], 1),
        ([state(0, "compute", 5, 61), state(1, "load", 5, 59)], 1),
        ([state(0, "compute", 5, 61), state(1, "compute", 4, 61)], 1),
        ([state(0, "save", 5, 61), state(1, "load", 4, 61), state(2, "compute", 3, 61)], 1),
        ([state(0, "load", 9, 0.1), state(1, "compute", 5, 61)], 1),
        ([state(0, "load", 9, 61), state(1, "start", 0, 61, recorded=False)], 1),
    ],
    ids=[
        "outside compute", "outside compute and later silent", "lowest step of all in compute",
        "lowest step outside compute", "not one at work", "one that never began",
    ],
)  # fmt: skip
def test_the_hung_rank_is_the_one_that_the_others_wait_for(states: list[RankState], rank: int) -> None:
    hang = find_hang(states, timeout_s=60)
    assert hang is not None
    assert hang.rank == rank
    assert f"rank {rank} hung" in hang.describe()


@given(
    st.lists(
        st.builds(state, st.integers(0, 99), st.sampled_from(PHASES), st.integers(0, 9), st.floats(0, 90))
    )
)
def test_a_hang_is_found_exactly_when_a_rank_is_silent_for_too_long(states: list[RankState]) -> None:
    hang = find_hang(states, timeout_s=60)
    assert (hang is not None) == any(found.silent_s > 60 for found in states)
    if hang is not None:
        assert hang.silent_s > 30


def test_ranks_compute_once_one_of_them_is_beyond_its_start() -> None:
    beginning = [state(0, "start", 0, 1, recorded=False), state(1, "start", 40, 1)]
    assert not is_computing(beginning)
    assert is_computing([*beginning, state(2, "load", 0, 1)])


@given(st.lists(st.integers(0, 1000), min_size=1), st.floats(0, 500), st.floats(0, 2))
def test_the_stop_step_is_three_beyond_the_furthest_and_more_for_fast_ranks(
    steps: list[int], steps_per_s: float, lead_s: float
) -> None:
    states = [state(rank, "compute", step, 0) for rank, step in enumerate(steps)]
    assert choose_stop_step(states, steps_per_s=0, lead_s=lead_s) == max(steps) + 3
    chosen = choose_stop_step(states, steps_per_s=steps_per_s, lead_s=lead_s)
    assert chosen >= max(steps) + 3 + steps_per_s * lead_s


def test_the_speedometer_measures_between_reports_and_ignores_ranks_behind() -> None:
    meter = Speedometer()
    ahead = state(0, "compute", 10, 0)
    meter.take([ahead], now_s=0.0)
    meter.take([dataclasses.replace(ahead, step=11)], now_s=0.01)
    meter.take([dataclasses.replace(ahead, step=30)], now_s=2.0)
    meter.take([state(1, "compute", 25, 0)], now_s=3.0)
    assert meter.steps_per_s == 10.0
