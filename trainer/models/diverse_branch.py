"""The diverse branch block (Ding et al., 2021): one convolution, trained as the sum of four branches.

    origin     K×K convolution, batch norm
    1×1        1×1 convolution, batch norm
    avg        1×1 convolution, batch norm, mean over K×K, batch norm
    1×1 → K×K  1×1 convolution near the identity, batch norm, K×K convolution, batch norm

Every branch is linear, so their sum is a convolution with the weights of all of them. For that to hold at the
border of an image too, the two branches that begin with 1×1 are not padded with zeros before the second step,
but with what their batch norm makes of a zero: padding comes after the normalisation, by that value.

Names and order of the layers, and the momentum of 0.1 of the batch norms before a padding, are PaddleClas's
(d178931, ppcls/arch/backbone/base/dbb), whose weight files fit. There the block fails with Paddle 3: its
identity is float64.
"""

from __future__ import annotations

import paddle
from paddle import ParamAttr, nn
from paddle.nn import functional

from trainer.models.layers import Stride

_MOMENTUM_BEFORE_PADDING = 0.1


def _conv(
    inputs: int, outputs: int, kernel: int, *, lr_mult: float, stride: Stride = 1, padding: int = 0
) -> nn.Conv2D:
    return nn.Conv2D(
        inputs, outputs, kernel, stride=stride, padding=padding, bias_attr=False,
        weight_attr=ParamAttr(learning_rate=lr_mult),
    )  # fmt: skip


def _norm(channels: int, *, lr_mult: float, momentum: float = 0.9) -> nn.BatchNorm2D:
    attr = ParamAttr(learning_rate=lr_mult)
    return nn.BatchNorm2D(channels, momentum=momentum, weight_attr=attr, bias_attr=attr)


def _conv_norm(
    inputs: int, outputs: int, kernel: int, *, lr_mult: float, stride: Stride, padding: int = 0
) -> nn.Sequential:
    conv = _conv(inputs, outputs, kernel, lr_mult=lr_mult, stride=stride, padding=padding)
    return nn.Sequential(("conv", conv), ("bn", _norm(outputs, lr_mult=lr_mult)))


class _NormAndPad(nn.Layer):
    """Batch norm, then a border of what it makes of zeros."""

    def __init__(self, channels: int, border: int, *, lr_mult: float) -> None:
        super().__init__()
        self.bn = _norm(channels, lr_mult=lr_mult, momentum=_MOMENTUM_BEFORE_PADDING)
        self._border = border

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[B, C, H, W] -> [B, C, H + 2 border, W + 2 border]."""
        y = self.bn(x)
        if not self._border:
            return y
        norm = self.bn
        of_zero = norm.bias - norm.weight * norm._mean / paddle.sqrt(norm._variance + norm._epsilon)
        of_zero = of_zero.reshape([1, -1, 1, 1])
        # Padding takes one number for all channels: so pad the distance from theirs, with zero.
        return functional.pad(y - of_zero, [self._border] * 4) + of_zero


class _NearIdentity(nn.Layer):
    """1×1 convolution whose weights are learned as the distance from the identity."""

    def __init__(self, channels: int, *, lr_mult: float) -> None:
        super().__init__(name_scope="identity_based_conv1x1")  # its weight's own name is made of it
        self.weight = self.create_parameter(
            [channels, channels, 1, 1], attr=ParamAttr(learning_rate=lr_mult),
            default_initializer=nn.initializer.Constant(0.0),
        )  # fmt: skip
        self._channels = channels

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, C, H, W] -> the same."""
        identity = paddle.eye(self._channels, dtype=self.weight.dtype).reshape(self.weight.shape)
        return functional.conv2d(x, self.weight + identity)


class DiverseBranch(nn.Layer):
    """The four branches, added up, and the activation."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, stride: Stride = 1, act: bool, lr_mult: float
    ) -> None:
        super().__init__()
        border = kernel // 2
        self.dbb_origin = _conv_norm(inputs, outputs, kernel, lr_mult=lr_mult, stride=stride, padding=border)
        self.dbb_avg = nn.Sequential(
            ("conv", _conv(inputs, outputs, 1, lr_mult=lr_mult)),
            ("bn", _NormAndPad(outputs, border, lr_mult=lr_mult)),
            ("avg", nn.AvgPool2D(kernel, stride=stride)),
        )
        self.dbb_1x1 = _conv_norm(inputs, outputs, 1, lr_mult=lr_mult, stride=stride)
        self.dbb_avg.add_sublayer("avgbn", _norm(outputs, lr_mult=lr_mult))
        self.dbb_1x1_kxk = nn.Sequential(
            ("idconv1", _NearIdentity(inputs, lr_mult=lr_mult)),
            ("bn1", _NormAndPad(inputs, border, lr_mult=lr_mult)),
            ("conv2", _conv(inputs, outputs, kernel, lr_mult=lr_mult, stride=stride)),
            ("bn2", _norm(outputs, lr_mult=lr_mult)),
        )
        self._act = act

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """[B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        branches = self.dbb_origin(x) + self.dbb_1x1(x) + self.dbb_avg(x) + self.dbb_1x1_kxk(x)
        return functional.relu(branches) if self._act else branches
