"""What each of several optimizers moves."""

from __future__ import annotations

from typing import Any

import paddle
import pytest
from pydantic import TypeAdapter

from trainer.config.optimizers import Optimizer
from trainer.config.problems import ConfigError
from trainer.optim.scopes import build_optimizers


class ResNet(paddle.nn.Layer):
    """Two layers, the first with one inside, and the network of a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = paddle.nn.Sequential(paddle.nn.Linear(1, 1), paddle.nn.Linear(1, 1))
        self.fc = paddle.nn.Linear(1, 1)
        self.loss_func = paddle.nn.Linear(1, 1)


def build(*scopes: str) -> tuple[ResNet, list[set[str]]]:
    net = ResNet()
    specs = [
        (("Optimizer", index, "SGD"), spec(scope)) for index, scope in enumerate(scopes)
    ]  # as a config has them
    losses = {"DistillationPairLoss": [net.loss_func], "MGDLoss": [net.loss_func]}
    optimizers = build_optimizers(specs, net, losses, name="ResNet50_vd")
    keys = {tensor.name: key for key, tensor in net.named_parameters()}
    return net, [{keys[tensor.name] for tensor in item._parameter_list} for item in optimizers]


def spec(scope: str) -> Any:
    return TypeAdapter(Optimizer).validate_python(
        {"name": "SGD", "lr": {"learning_rate": 0.1}, "scope": scope}
    )


def both(*layers: str) -> set[str]:
    return {f"{layer}.{kind}" for layer in layers for kind in ("weight", "bias")}


@pytest.mark.parametrize(
    ("scopes", "moved"),
    [
        (["all"], [both("stem.0", "stem.1", "fc", "loss_func")]),
        (["ResNet"], [both("stem.0", "stem.1", "fc")]),
        (["ResNet50_vd", "MGDLoss"], [both("stem.0", "stem.1", "fc"), both("loss_func")]),
        (["stem", "DistillationPairLoss"], [both("stem.0", "stem.1"), both("loss_func")]),
        (["fc", "stem.1", "CombinedLoss"], [both("fc"), both("stem.1"), both("loss_func")]),
    ],
)
def test_a_scope_is_a_network_a_layer_or_a_loss_and_the_rest_is_frozen(scopes, moved):
    net, found = build(*scopes)
    assert found == moved
    trained = {key for key, tensor in net.named_parameters() if not tensor.stop_gradient}
    assert trained == set().union(*moved)


def test_scopes_that_share_parameters_or_have_none_are_refused_at_once_with_their_places():
    with pytest.raises(ConfigError) as refused:
        build("stem", "stem.0", "neck", "CenterLoss")
    assert [str(problem) for problem in refused.value.problems] == [
        "config: Optimizer.1.SGD.scope: expected parameters that no other optimizer moves, got 'stem.0', of "
        "which Optimizer.0.SGD moves 2, such as stem.0.weight; name other layers",
        *(
            f"config: Optimizer.{index}.SGD.scope: expected a scope with parameters to train, such as all, "
            f"DistillationPairLoss, MGDLoss, stem, fc, loss_func, got {scope!r}"
            for index, scope in ((2, "neck"), (3, "CenterLoss"))
        ),
    ]
