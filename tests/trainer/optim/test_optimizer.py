from __future__ import annotations

from typing import Any

import numpy as np
import paddle
import pytest
from paddle.regularizer import L2Decay
from pydantic import TypeAdapter

from trainer.config.optimizers import OPTIMIZERS, Optimizer
from trainer.config.problems import ConfigError
from trainer.optim.optimizer import OPTIMIZER_BUILDERS, build_optimizer


class Net(paddle.nn.Layer):
    """A weight [2], one that decay does not touch [1], a kernel [1, 1], one at half the rate [1, 1]."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = self._make([2], 3.0)
        self.spared = self._make([1], 5.0, regularizer=L2Decay(0.0))
        self.kernel = self._make([1, 1], 7.0)
        self.slow = self._make([1, 1], 9.0, learning_rate=0.5)

    def _make(self, shape: list[int], value: float, **attr: Any) -> Any:
        return self.create_parameter(
            shape, attr=paddle.ParamAttr(**attr), default_initializer=paddle.nn.initializer.Constant(value)
        )

    def forward(self) -> Any:
        return sum(parameter.sum() for parameter in self.parameters())  # every gradient is 1


def train(steps: int = 1, lr: float = 0.1, **spec: Any) -> dict[str, float]:
    net = Net()
    config = {"lr": {"learning_rate": lr}, **spec}
    optimizer = build_optimizer(TypeAdapter(Optimizer).validate_python(config), net)
    for _ in range(steps):
        net().backward()
        optimizer.set_lr(lr)
        optimizer.step()
        optimizer.clear_grad()
    return {key: float(np.ravel(tensor.numpy())[0]) for key, tensor in net.state_dict().items()}


def test_what_is_declared_is_what_is_built():
    assert set(OPTIMIZER_BUILDERS) == set(OPTIMIZERS)


def test_momentum_is_its_formula():
    found = train(2, name="Momentum", momentum=0.9, regularizer={"name": "L2", "coeff": 0.01})
    velocity, weight = 0.0, 3.0
    for _ in range(2):
        velocity = 0.9 * velocity + 1 + 0.01 * weight
        weight -= 0.1 * velocity
    assert found["weight"] == pytest.approx(weight, rel=1e-6)
    assert found["spared"] == pytest.approx(5 - 0.1 * (1 + 1.9), rel=1e-6)


def test_nesterov_looks_ahead():
    found = train(name="Momentum", momentum=0.9, use_nesterov=True)
    assert found["weight"] == pytest.approx(3 - 0.1 * (1 + 0.9), rel=1e-6)


def test_sgd_is_its_formula():
    assert train(name="SGD", weight_decay=0.01)["weight"] == pytest.approx(3 - 0.1 * 1.03, rel=1e-6)


def test_l1_adds_the_sign():
    found = train(name="Momentum", regularizer={"name": "L1", "coeff": 0.5})
    assert found["weight"] == pytest.approx(3 - 0.1 * 1.5, rel=1e-6)


def test_a_regularizer_wins_over_weight_decay():
    found = train(name="SGD", weight_decay=9.0, regularizer={"name": "L2", "coeff": 0.01})
    assert found["weight"] == pytest.approx(3 - 0.1 * 1.03, rel=1e-6)


def test_momentum_spares_one_dimension_only_where_names_are_given_too():
    decay = {
        "name": "Momentum",
        "regularizer": {"name": "L2", "coeff": 1.0},
        "one_dim_param_no_weight_decay": True,
    }
    assert train(**decay)["weight"] == pytest.approx(3 - 0.1 * 4, rel=1e-6)
    named = train(**decay, no_weight_decay_name="kern nothing")
    assert named["weight"] == pytest.approx(3 - 0.1, rel=1e-6)
    assert named["kernel"] == pytest.approx(7 - 0.1, rel=1e-6)


def test_parameters_that_are_spared_leave_multipliers_and_own_decay_of_others_alone():
    """Paddle's parameter groups would reset both (Optimizer._add_param_group, Paddle 3.3.1)."""
    found = train(name="Momentum", weight_decay=1.0, no_weight_decay_name="weight")
    assert found["slow"] == pytest.approx(9 - 0.05 * (1 + 9), rel=1e-6)
    assert found["spared"] == pytest.approx(5 - 0.1, rel=1e-6)


def test_adamw_decays_apart_from_the_gradient_and_honours_each_key_alone():
    found = train(name="AdamW", weight_decay=0.5, one_dim_param_no_weight_decay=True)
    assert found["weight"] == pytest.approx(3 - 0.1, rel=1e-5)
    assert found["kernel"] == pytest.approx(7 * (1 - 0.1 * 0.5) - 0.1, rel=1e-5)


def test_clip_norm_cuts_each_tensor_by_itself():
    found = train(name="SGD", clip_norm=1.0)
    assert found["weight"] == pytest.approx(3 - 0.1 / np.sqrt(2), rel=1e-5)
    assert found["kernel"] == pytest.approx(7 - 0.1, rel=1e-5)


def test_adam_is_its_formula():
    found = train(2, name="Adam", epsilon=1e-3, regularizer={"name": "L2", "coeff": 0.01})
    weight, first, second = 3.0, 0.0, 0.0
    for step in (1, 2):
        gradient = 1 + 0.01 * weight
        first, second = 0.9 * first + 0.1 * gradient, 0.999 * second + 0.001 * gradient**2
        rate = 0.1 * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
        weight -= rate * first / (np.sqrt(second) + 1e-3 * np.sqrt(1 - 0.999**step))
    assert found["weight"] == pytest.approx(weight, rel=1e-5)


def test_rmsprop_is_its_formula():
    found = train(2, name="RMSProp", rho=0.9, momentum=0.5, epsilon=1e-3)
    weight, mean, velocity = 3.0, 0.0, 0.0
    for _ in range(2):
        mean = 0.9 * mean + 0.1
        velocity = 0.5 * velocity + 0.1 / np.sqrt(mean + 1e-3)
        weight -= velocity
    assert found["weight"] == pytest.approx(weight, rel=1e-5)


def test_rmsprop_honours_each_key_that_spares_alone():
    decay = {"name": "RMSProp", "regularizer": {"name": "L2", "coeff": 1.0}, "epsilon": 1e3}
    spared = train(**decay, one_dim_param_no_weight_decay=True)
    assert spared["weight"] == pytest.approx(3 - 0.1 / np.sqrt(0.05 + 1e3), rel=1e-6)
    assert spared["kernel"] == pytest.approx(7 - 0.1 * 8 / np.sqrt(0.05 * 64 + 1e3), rel=1e-6)
    assert train(**decay, no_weight_decay_name="kern")["kernel"] > spared["kernel"]


class Layered(paddle.nn.Layer):
    """An embedding, three blocks, a head, of a weight [1, 1] and a bias [1] each; all hold 2."""

    def __init__(self) -> None:
        super().__init__()
        constant = paddle.ParamAttr(initializer=paddle.nn.initializer.Constant(2.0))

        def layer() -> Any:
            return paddle.nn.Linear(1, 1, weight_attr=constant, bias_attr=constant)

        self.patch_embed = layer()
        self.blocks = paddle.nn.LayerList([layer() for _ in range(3)])
        self.head = layer()


def layered(**spec: Any) -> dict[str, float]:
    net = Layered()
    config = {"name": "AdamWDL", "lr": {"learning_rate": 0.1}, **spec}
    optimizer = build_optimizer(TypeAdapter(Optimizer).validate_python(config), net)
    sum(parameter.sum() for parameter in net.parameters()).backward()
    optimizer.set_lr(0.1)
    optimizer.step()
    return {key: tensor.numpy().item() for key, tensor in net.state_dict().items()}


@pytest.mark.parametrize("spared", [True, False])
def test_adamwdl_slows_layer_by_layer_towards_the_input(spared):
    found = layered(weight_decay=0.3, layerwise_decay=0.5, filter_bias_and_bn=spared)
    ratios = {"patch_embed": 0.5**4, "blocks.0": 0.5**3, "blocks.1": 0.5**2, "blocks.2": 0.5, "head": 1.0}
    for layer, ratio in ratios.items():
        rate = 0.1 * ratio
        decayed = 2 * (1 - rate * 0.3) - rate
        assert found[f"{layer}.weight"] == pytest.approx(decayed, rel=1e-5)
        assert found[f"{layer}.bias"] == pytest.approx(2 - rate if spared else decayed, rel=1e-5)


def test_adamwdl_without_layers_rates_is_adamw():
    assert layered(weight_decay=0.3)["patch_embed.weight"] == pytest.approx(2 * (1 - 0.03) - 0.1, rel=1e-5)


def test_a_network_without_blocks_has_no_layers_to_slow_down():
    spec = {"name": "AdamWDL", "lr": {"learning_rate": 0.1}, "layerwise_decay": 0.5}
    with pytest.raises(
        ConfigError, match=r"Optimizer\.layerwise_decay: expected none beside a network without"
    ):
        build_optimizer(TypeAdapter(Optimizer).validate_python(spec), Net())
