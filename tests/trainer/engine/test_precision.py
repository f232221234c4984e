from __future__ import annotations

import json

import numpy as np
import paddle
import pytest

from trainer.checkpoints.pdfiles import read_arrays, read_pdfile
from trainer.config.sections import AmpSection
from trainer.engine import setup as built
from trainer.engine.ema import ExponentialMovingAverage
from trainer.engine.precision import FLOAT32, MixedPrecision, choose_precision
from trainer.engine.setup import optimizer_arrays, restore_optimizer
from trainer.models.weights import own_tensors

AMP = {"use_amp": True, "scale_loss": 128.0, "use_dynamic_loss_scaling": True}
pytestmark = pytest.mark.filterwarnings("ignore:.* can only be enabled on CUDAPlace:UserWarning")


class CpuScaler:
    """Scales as `paddle.amp.GradScaler` says it does on a GPU, in float32; doubles after 3 good steps."""

    def __init__(self, init: float, *, bad_steps: tuple[int, ...] = ()) -> None:
        self._state: dict = {
            "scale": np.array([init], np.float32),
            "incr_count": 0,
            "decr_count": 0,
            "every": 3,
        }
        self._bad_steps, self._steps, self._found = bad_steps, 0, False

    def scale(self, var):
        return var * float(self._state["scale"][0])

    def step(self, optimizer):
        self._steps += 1
        for parameter in optimizer._parameter_list:
            if parameter.grad is not None:
                parameter.grad.set_value(parameter.grad / float(self._state["scale"][0]))
        self._found = self._steps in self._bad_steps
        if not self._found:
            optimizer.step()

    def update(self):
        state = self._state
        if self._found:
            state.update(scale=state["scale"] / 2, incr_count=0, decr_count=0)
        elif state["incr_count"] + 1 == state["every"]:
            state.update(scale=state["scale"] * 2, incr_count=0)
        else:
            state.update(incr_count=state["incr_count"] + 1)

    def state_dict(self):
        return dict(self._state)

    def load_state_dict(self, state_dict):
        assert set(state_dict) == set(self._state)
        self._state = dict(state_dict)


@pytest.fixture
def scaled(monkeypatch):
    """Train in mixed precision with a scaler that works on a CPU; returns the scalers that were made."""
    made: list[CpuScaler] = []

    def choose(amp, *, on_gpu):
        if amp is None:
            return FLOAT32
        made.append(CpuScaler(amp.scale_loss))
        return MixedPrecision(amp, evaluates=False, scaler=made[-1])

    monkeypatch.setattr(built, "choose_precision", choose)
    return made


def weights(workshop, output: str = "output") -> dict:
    return read_arrays(workshop.folder / output / "latest.pdparams")


def assert_same(one: dict, other: dict) -> None:
    assert list(one) == list(other)
    for key, value in one.items():
        np.testing.assert_array_equal(value, other[key], err_msg=key)


def test_a_scale_that_is_a_power_of_two_changes_no_bit_of_the_weights(workshop, scaled):
    workshop.train(Global__output_dir=str(workshop.folder / "plain"))
    assert not scaled
    workshop.train(AMP=AMP, Global__update_freq=1)
    assert_same(weights(workshop), weights(workshop, "plain"))
    assert float(scaled[0].state_dict()["scale"][0]) == 128.0 * 2**2  # eight steps, none of them bad
    assert (
        "AMP: O1 in float16, losses scaled by 128, which adapts"
        in (workshop.folder / "output/train.log").read_text()
    )


def test_a_resumed_run_goes_on_with_the_scale(workshop, scaled):
    workshop.train(AMP=AMP)
    whole = weights(workshop)
    halves = {"AMP": AMP, "Global__output_dir": str(workshop.folder / "halves")}
    workshop.train_and_stop(at=6, **halves)
    saved = next((workshop.folder / "halves/.ftlaunch/checkpoints").glob("*/state.json"))
    assert json.loads(saved.read_text())["loss_scale"] == {"scale": 512.0, "incr_count": 0, "decr_count": 0}
    workshop.train(**halves, resume="latest")
    assert_same(weights(workshop, "halves"), whole)
    assert scaled[-1].state_dict() == scaled[0].state_dict()


def test_a_step_whose_gradients_are_not_finite_moves_nothing():
    layer = paddle.nn.Linear(2, 1)
    optimizer = paddle.optimizer.SGD(0.5, parameters=layer.parameters())
    scaler = CpuScaler(8.0, bad_steps=(1,))
    precision = MixedPrecision(AmpSection(), evaluates=False, scaler=scaler)
    before = {key: tensor.numpy() for key, tensor in layer.state_dict().items()}
    for moved in (False, True):
        precision.backward(layer(paddle.ones([1, 2])).sum())
        precision.update([optimizer])
        optimizer.clear_grad()
        after = {key: tensor.numpy() for key, tensor in layer.state_dict().items()}
        assert all((after[key] != before[key]).all() == moved for key in before)
    np.testing.assert_allclose(after["weight"], before["weight"] - 0.5, rtol=1e-6)
    assert precision.state().scale == 4.0


def test_on_a_cpu_amp_is_said_to_do_nothing_and_does_nothing(workshop):
    workshop.train(Global__output_dir=str(workshop.folder / "plain"))
    workshop.train(AMP={**AMP, "level": "O2"})
    assert_same(weights(workshop), weights(workshop, "plain"))
    assert "AMP: float32" in (workshop.folder / "output/train.log").read_text()


@pytest.mark.parametrize(
    ("amp", "device", "label", "evaluates"),
    [
        (None, "gpu", "float32", False),
        ({"use_amp": False, "level": "O2"}, "gpu", "float32", False),
        ({}, "cpu", "float32", False),
        ({}, "gpu", "O1 in float16, losses scaled by 1", False),
        ({"use_fp16_test": True, "dtype": "bfloat16"}, "gpu", "O1 in bfloat16", True),
        ({"level": "O2", "dtype": "bfloat16"}, "gpu", "O2 in bfloat16", True),
    ],
)
def test_the_section_and_the_device_choose_the_precision(monkeypatch, amp, device, label, evaluates):
    asked = []
    real = paddle.amp.auto_cast
    monkeypatch.setattr(paddle.amp, "auto_cast", lambda **given: (asked.append(given), real(**given))[1])
    section = AmpSection(**amp) if amp is not None else None
    chosen = choose_precision(section, on_gpu=device == "gpu")
    assert chosen.label == label
    with chosen.evaluation():
        pass
    assert bool(asked) == evaluates
    with chosen.training():
        pass
    mixed = label != "float32"
    assert len(asked) == evaluates + mixed
    if mixed:
        assert (asked[-1]["level"], asked[-1]["dtype"]) == (section.level, section.dtype)
    assert chosen.state() is None  # Paddle's scaler is switched off on a CPU, and for bfloat16


def test_float32_copies_of_16_bit_parameters_are_saved_as_paddle_saves_them(workshop, monkeypatch):
    copies = {"linear.w": paddle.to_tensor([1.5, 2.5])}
    optimizer = paddle.optimizer.Momentum(0.1, parameters=paddle.nn.Linear(1, 1).parameters())
    optimizer._master_weights = copies
    arrays = optimizer_arrays(optimizer)
    np.testing.assert_array_equal(arrays["master_weights/linear.w"], [1.5, 2.5])

    monkeypatch.setattr("trainer.engine.saving.optimizer_arrays", lambda _: arrays)
    workshop.train()
    assert set(read_pdfile(workshop.folder / "output/latest.pdopt")[0]["master_weights"]) == {"linear.w"}
    taken = {}
    monkeypatch.setattr("trainer.engine.run.restore_optimizer", lambda optimizer, found: taken.update(found))
    workshop.train(Global__epochs=3, resume="latest")
    np.testing.assert_array_equal(taken["master_weights/linear.w"], [1.5, 2.5])

    other = paddle.optimizer.Momentum(0.1, parameters=paddle.nn.Linear(1, 1).parameters())
    restore_optimizer(other, taken)
    np.testing.assert_array_equal(other.state_dict()["master_weights"]["linear.w"].numpy(), [1.5, 2.5])


def test_an_average_goes_in_and_out_of_a_model_of_16_bits():
    model = paddle.nn.Linear(2, 2)
    model.to(dtype="bfloat16")
    before = own_tensors(model)["weight"].astype("float32").numpy()
    average = ExponentialMovingAverage(model, decay=0.5, saved={key: np.ones(2) for key in ("bias",)})
    average._values["weight"] = paddle.full([2, 2], 0.25)
    with average.in_place():
        assert own_tensors(model)["weight"].astype("float32").numpy().tolist() == [[0.25, 0.25]] * 2
        assert own_tensors(model)["bias"].astype("float32").numpy().tolist() == [1, 1]
    np.testing.assert_array_equal(own_tensors(model)["weight"].astype("float32").numpy(), before)


def test_sixteen_bit_weights_always_have_copies_in_float32(monkeypatch):
    asked = []
    monkeypatch.setattr(paddle.amp, "decorate", lambda **given: asked.append(given))
    model = paddle.nn.Linear(2, 2)
    optimizers = [paddle.optimizer.SGD(0.1, parameters=model.parameters())]
    MixedPrecision(AmpSection(**AMP, level="O2"), evaluates=True).decorate(model, optimizers)
    (given,) = asked
    assert (given["level"], given["master_weight"], given["optimizers"]) == ("O2", True, optimizers)
    MixedPrecision(AmpSection(**AMP, level="O1"), evaluates=True).decorate(model, optimizers)
    assert len(asked) == 1
