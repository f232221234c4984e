from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.node.decisions import (
    MAX_PAUSE_S,
    Failure,
    GiveUp,
    Kind,
    Retry,
    decide,
    describe_exited,
    find_root_cause,
    pause,
)
from trainer.node.messages import Exited
from trainer.protocol.exits import Exit


def rank_failure(code: int | None, *, step: int | None = 7, **changes: Any) -> Failure:
    fields: dict[str, Any] = {"kind": Kind.RANK, "rank": 1, "code": code, "reason": "it broke", "step": step}
    return Failure(**{**fields, **changes})


def after(
    failure: Failure, *, attempts: int = 1, earlier: tuple[str, ...] = (), max_restarts: int = 3
) -> Any:
    return decide(failure, attempts=attempts, earlier=earlier, max_restarts=max_restarts, backoff_s=2.0)


@pytest.mark.parametrize("code", [Exit.CONFIG, Exit.DATA, Exit.DIVERGED])
def test_a_deterministic_code_ends_the_run_with_itself(code: Exit) -> None:
    assert after(rank_failure(int(code))).exit is code


@pytest.mark.parametrize("code", [1, 5, 77, 143, -9, -11])
def test_any_other_failure_is_tried_again(code: int) -> None:
    assert after(rank_failure(code)) == Retry(2.0)


def test_the_same_failure_at_the_same_step_ends_the_run_whichever_rank_it_hit() -> None:
    first, second = rank_failure(1, rank=1), rank_failure(1, rank=3)
    assert after(second, attempts=2, earlier=(first.fingerprint,)).exit is Exit.INTERNAL


def test_the_same_failure_at_another_step_is_tried_again() -> None:
    first, second = rank_failure(1, step=7), rank_failure(1, step=8)
    assert after(second, attempts=2, earlier=(first.fingerprint,)) == Retry(4.0)


def test_the_same_failure_at_an_unknown_step_is_tried_again() -> None:
    failure = rank_failure(1, step=None)
    assert after(failure, attempts=2, earlier=(failure.fingerprint,)) == Retry(4.0)


@pytest.mark.parametrize("kind", [Kind.NODE, Kind.HANG])
def test_only_ranks_failures_are_known_again(kind: Kind) -> None:
    failure = Failure(kind=kind, rank=None, code=None, reason="gone", step=3)
    assert isinstance(after(failure, attempts=2, earlier=(failure.fingerprint,)), Retry)


@pytest.mark.parametrize(
    ("failure", "exit_code"),
    [
        (rank_failure(1), Exit.ATTEMPTS_USED_UP),
        (rank_failure(-9), Exit.ATTEMPTS_USED_UP),
        (Failure(kind=Kind.HANG, rank=0, code=None, reason="hung", step=1), Exit.HUNG_RANK),
        (Failure(kind=Kind.NODE, rank=None, code=None, reason="gone", step=None), Exit.ATTEMPTS_USED_UP),
    ],
    ids=["rank", "signal", "hang", "node"],
)
def test_the_last_allowed_attempt_ends_the_run(failure: Failure, exit_code: Exit) -> None:
    assert isinstance(after(failure, attempts=3, max_restarts=3), Retry)
    assert after(failure, attempts=4, max_restarts=3).exit is exit_code


@given(
    code=st.integers(-64, 255).filter(bool),
    attempts=st.integers(1, 6),
    max_restarts=st.integers(0, 5),
    step=st.none() | st.integers(0, 9),
)
def test_no_failure_makes_a_node_exit_with_128_or_more(
    code: int, attempts: int, max_restarts: int, step: int | None
) -> None:
    failure = rank_failure(code, step=step)
    decision = after(failure, attempts=attempts, earlier=(failure.fingerprint,), max_restarts=max_restarts)
    if isinstance(decision, GiveUp):
        assert 0 < decision.exit < 128
    else:
        assert attempts <= max_restarts


@given(attempts=st.integers(0, 10_000), backoff_s=st.floats(0, 1000))
def test_pauses_grow_up_to_a_ceiling(attempts: int, backoff_s: float) -> None:
    now, then = pause(attempts, backoff_s=backoff_s), pause(attempts + 1, backoff_s=backoff_s)
    assert backoff_s <= now <= then <= max(MAX_PAUSE_S, backoff_s)


def exited(rank: int, code: int, *, killed: bool = False, reason: str | None = None) -> Exited:
    return Exited(
        attempt=1, rank=rank, code=code, killed=killed, reason=reason, step=5, checkpoint=None
    )  # fmt: skip


@pytest.mark.parametrize(
    ("exits", "rank"),
    [
        ([exited(0, -6), exited(1, 3, reason="x.jpg is broken"), exited(2, 1, reason="peer gone")], 1),
        ([exited(0, -6), exited(1, 1, reason="division by zero")], 1),
        ([exited(0, 1, reason="peer gone"), exited(2, -9), exited(3, -11)], 2),
        ([exited(2, 1, reason="division by zero"), exited(0, 1, reason="peer gone")], 2),
        ([exited(2, 1), exited(0, -6)], 2),
        ([exited(0, -9, killed=True), exited(1, 0), exited(2, 1)], 2),
    ],
    ids=["a named cause", "any words", "the killed", "the first to say so", "the first", "not the killed"],
)
def test_the_root_cause_is_the_rank_that_failed_of_the_cause(exits: list[Exited], rank: int) -> None:
    failure = find_root_cause(exits, stopping=False)
    assert failure is not None
    assert failure.rank == rank


def test_a_rank_that_stopped_as_asked_is_no_failure() -> None:
    exits = [exited(0, 143), exited(1, 0), exited(2, -9, killed=True)]
    assert find_root_cause(exits, stopping=True) is None
    assert find_root_cause(exits, stopping=False) is not None


def test_an_exit_is_described_with_its_step_and_words() -> None:
    assert describe_exited(exited(3, -9)) == "rank 3 ended after step 5, killed by signal 9"
    sentence = describe_exited(exited(3, 3, reason="x.jpg is broken"))
    assert sentence == "rank 3 ended after step 5, the data was refused (3): x.jpg is broken"
