from __future__ import annotations

import math
from typing import Any

import paddle
import pytest
from pydantic import TypeAdapter

from trainer.config.schedules import SCHEDULES, Schedule
from trainer.optim.plateau import Plateau
from trainer.optim.schedules import SCHEDULE_BUILDERS, build_schedule
from trainer.protocol.codec import FormatError


def rates(steps: list[int], *, epochs: int = 2, per_epoch: int = 12, **spec: Any) -> list[float]:
    schedule = build_schedule(
        TypeAdapter(Schedule).validate_python(spec), epochs=epochs, steps_per_epoch=per_epoch
    )
    return [schedule(step) for step in steps]


def test_what_is_declared_is_what_is_built():
    assert set(SCHEDULE_BUILDERS) == set(SCHEDULES)


def test_cosine_with_warm_up_gives_what_a_run_of_paddleclas_logged():
    """12 steps an epoch, 2 epochs, base .0125, warm-up 1; its log shows the rate of the *next* step."""
    found = rates([6, 12, 13, 18, 24], name="Cosine", learning_rate=0.0125, warmup_epoch=1)
    assert found == pytest.approx([0.00625, 0.0125, 0.01228704, 0.00625, 0.0], abs=5e-9)


def test_the_first_step_of_a_warm_up_uses_its_start():
    assert rates([0], name="Cosine", learning_rate=1, warmup_epoch=1, warmup_start_lr=0.25) == [0.25]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"name": "Constant", "learning_rate": 0.5}, [0.5, 0.5, 0.5]),
        ({"learning_rate": 0.5}, [0.5, 0.5, 0.5]),
        ({"name": "Linear", "learning_rate": 1.0, "end_lr": 0.0}, [1.0, 0.5, 0.0]),
        ({"name": "Step", "learning_rate": 1.0, "step_size": 1, "gamma": 0.1}, [1.0, 0.1, 0.01]),
        ({"name": "MultiStepDecay", "learning_rate": 1.0, "milestones": [1], "gamma": 0.1}, [1.0, 0.1, 0.1]),
        ({"name": "Piecewise", "decay_epochs": [1], "values": [1.0, 0.2]}, [1.0, 0.2, 0.2]),
        ({"name": "Cosine", "learning_rate": 1.0, "eta_min": 0.5}, [1.0, 0.75, 0.5]),
    ],
    ids=lambda value: value.get("name", "no name") if isinstance(value, dict) else "",
)
def test_rates_at_the_beginning_the_middle_and_the_end(spec, expected):
    assert rates([0, 12, 24], **spec) == pytest.approx(expected)


def test_by_epoch_moves_once_an_epoch():
    found = rates([0, 11, 12, 23], name="Cosine", learning_rate=1.0, by_epoch=True)
    assert found == pytest.approx([1.0, 1.0, 0.5, 0.5])


def test_a_learning_rate_replaces_the_pieces_by_a_tenth_every_thirty_epochs():
    found = rates(
        [0, 29, 30, 60],
        epochs=90,
        per_epoch=1,
        name="Piecewise",
        learning_rate=1.0,
        decay_epochs=[1],
        values=[5, 6],
    )
    assert found == pytest.approx([1.0, 1.0, 0.1, 0.01])


def test_a_warm_up_longer_than_the_run_is_the_whole_run():
    assert rates([12], name="Cosine", learning_rate=1.0, warmup_epoch=9)[0] == pytest.approx(0.5)


def test_a_cycle_begins_anew():
    found = rates([24, 25], name="Linear", learning_rate=1.0, cycle=True)
    assert found[1] == pytest.approx(1 - 25 / 48)
    assert math.isclose(found[0], 0.0, abs_tol=1e-12)


def follow(scheduler: Any, steps: int) -> list[float]:
    found = []
    for _ in range(steps):
        found.append(scheduler())
        scheduler.step()
    return found


CYCLIC = {"base_learning_rate": 0.1, "max_learning_rate": 0.7, "step_size_up": 4}
ONE_CYCLE = {"max_learning_rate": 0.5, "divide_factor": 20.0, "end_learning_rate": 0.001, "phase_pct": 0.3}


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"step_size_down": 7}, {"mode": "triangular2"},
        {"mode": "exp_range", "exp_gamma": 0.9, "step_size_down": 3},
    ],
)  # fmt: skip
def test_a_cycle_is_that_of_paddle(changes):
    spec = {"name": "Cyclic", "warmup_epoch": 0, "warmup_start_lr": 0.0, **CYCLIC, **changes}
    peer = paddle.optimizer.lr.CyclicLR(**CYCLIC, **changes)
    assert rates(list(range(24)), **spec) == pytest.approx(follow(peer, 24), rel=1e-12)


@pytest.mark.parametrize("changes", [{}, {"anneal_strategy": "linear"}, {"three_phase": True}])
def test_one_cycle_is_that_of_paddle(changes):
    peer = paddle.optimizer.lr.OneCycleLR(total_steps=24, **ONE_CYCLE, **changes)
    spec = {"name": "OneCycleLR", **ONE_CYCLE, **changes}
    assert rates(list(range(24)), **spec) == pytest.approx(follow(peer, 24), rel=1e-12)


def test_one_cycle_after_a_warm_up_begins_its_rise_there():
    peer = paddle.optimizer.lr.LinearWarmup(
        paddle.optimizer.lr.OneCycleLR(total_steps=24, **ONE_CYCLE), 12, start_lr=0.0, end_lr=0.5
    )
    found = rates(list(range(24)), name="OneCycleLR", warmup_epoch=1, **ONE_CYCLE)
    assert found == pytest.approx(follow(peer, 24), rel=1e-12)


@pytest.mark.parametrize("cycles", [7 / 16, 1.0])
def test_fixmatchs_cosine_is_its_formula(cycles):
    found = rates(
        list(range(24)), name="CosineFixmatch", learning_rate=0.3, num_warmup_steps=5, num_cycles=cycles
    )
    for t, rate in enumerate(found):
        expected = t / 5 if t < 5 else max(0.0, math.cos(math.pi * cycles * (t - 5) / (24 - 5)))
        assert rate == pytest.approx(0.3 * expected)


RISING = [
    0.1,
    0.2,
    0.2,
    0.2,
    0.3,
    0.30001,
    0.29,
    0.31,
    0.2,
    0.1,
    0.0,
    0.5,
    0.5,
    0.5,
    0.5,
    0.4,
    0.6,
    0.2,
    0.2,
    0.2,
]


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "max"}, {"mode": "min"}, {"mode": "max", "threshold": 0.05, "threshold_mode": "abs"},
        {"mode": "max", "cooldown": 2}, {"mode": "max", "min_lr": 0.03}, {"mode": "max", "epsilon": 0.1},
    ],
    ids=str,
)  # fmt: skip
def test_a_plateau_lowers_the_rate_as_paddle_does(changes):
    keys = {"learning_rate": 0.4, "factor": 0.5, "patience": 1, **changes}
    peer = paddle.optimizer.lr.ReduceOnPlateau(**keys)
    spec = {"name": "ReduceOnPlateau", "by_epoch": True, **keys}
    ours = build_schedule(TypeAdapter(Schedule).validate_python(spec), epochs=20, steps_per_epoch=3)
    assert isinstance(ours, Plateau)
    found = []
    for metric in RISING:
        peer.step(metric)
        ours.observe(metric)
        again = Plateau(TypeAdapter(Schedule).validate_python(spec))
        again.restore(ours.state())  # a state holds all that there is
        ours = again
        found.append(ours(7))
        assert found[-1] == pytest.approx(peer.last_lr)
    assert len(set(found)) > 1


def test_a_broken_state_is_refused():
    spec = {"name": "ReduceOnPlateau", "by_epoch": True, "learning_rate": 0.4}
    with pytest.raises(FormatError, match="plateau: worse: expected int"):
        Plateau(TypeAdapter(Schedule).validate_python(spec)).restore('{"rate": 0.1, "cooling": 0}')
