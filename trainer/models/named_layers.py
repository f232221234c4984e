"""Layers of the older families, whose parameters bear names that PaddleClas wrote out.

An optimizer state refers to parameters by these names (`conv1_weights_velocity_0`), so they are part of the
file format. `registry.build_model` guards them, and a second model of the process may bear them again.
"""

from __future__ import annotations

import math
from typing import Literal

import paddle
from paddle import ParamAttr, nn
from paddle.nn import functional

Named = Literal["relu", "relu6", "swish"]
_ACTIVATIONS = {"relu": functional.relu, "relu6": functional.relu6, "swish": functional.swish}


def named_norm(channels: int, name: str, *, momentum: float = 0.9, epsilon: float = 1e-5) -> nn.BatchNorm:
    """Make a batch norm whose four tensors are called `<name>_scale`, `_offset`, `_mean` and `_variance`."""
    return nn.BatchNorm(
        channels, momentum=momentum, epsilon=epsilon, param_attr=ParamAttr(name=f"{name}_scale"),
        bias_attr=ParamAttr(name=f"{name}_offset"), moving_mean_name=f"{name}_mean",
        moving_variance_name=f"{name}_variance",
    )  # fmt: skip


def residual_norm_name(name: str) -> str:
    """Return the norm's name beside the convolution `name` in ResNet's relatives: `res2a` gives `bn2a`."""
    return "bn_conv1" if name == "conv1" else f"bn{name[3:]}"


class NamedConvBN(nn.Layer):
    """Convolution without bias, batch norm, activation; the size is kept at stride 1."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, name: str, norm: str, stride: int = 1,
        groups: int = 1, act: Named | None = None, kaiming: bool = False,
    ) -> None:  # fmt: skip
        """`name` is the convolution's, `norm` the batch norm's."""
        super().__init__()
        initializer = nn.initializer.KaimingNormal() if kaiming else None
        self._conv = nn.Conv2D(
            inputs, outputs, kernel, stride=stride, padding=(kernel - 1) // 2, groups=groups, bias_attr=False,
            weight_attr=ParamAttr(name=f"{name}_weights", initializer=initializer),
        )  # fmt: skip
        self._batch_norm = named_norm(outputs, norm)
        self._act = None if act is None else _ACTIVATIONS[act]

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H / stride, W / stride], rounded up."""
        x = self._batch_norm(self._conv(x))
        return x if self._act is None else self._act(x)


def named_linear(
    inputs: int, outputs: int, name: str, *, uniform: bool = True, ending: str = "_"
) -> nn.Linear:
    """Make a linear layer called `<name>_weights` and `<name>_offset`.

    Args:
        inputs: Features.
        outputs: Features.
        name: Of the layer.
        uniform: Draw weights from ±1/√inputs, else as Paddle does.
        ending: Between the name and the word.
    """
    bound = 1.0 / math.sqrt(inputs)
    initializer = nn.initializer.Uniform(-bound, bound) if uniform else None
    return nn.Linear(
        inputs, outputs, weight_attr=ParamAttr(name=f"{name}{ending}weights", initializer=initializer),
        bias_attr=ParamAttr(name=f"{name}{ending}offset"),
    )  # fmt: skip
