"""DenseNet (Huang et al., 2017). Source: PaddleClas d178931, model_zoo/densenet.py."""

from __future__ import annotations

import paddle
from paddle import ParamAttr, nn
from paddle.nn import functional

from trainer.config.archs_convolutional import DenseNetArch
from trainer.models.named_layers import NamedConvBN, named_linear, named_norm

_SIZES = {  # channels of the stem, growth, layers of the blocks
    121: (64, 32, (6, 12, 24, 16)), 161: (96, 48, (6, 12, 36, 24)), 169: (64, 32, (6, 12, 32, 32)),
    201: (64, 32, (6, 12, 48, 32)), 264: (64, 32, (6, 12, 64, 48)),
}  # fmt: skip


class _NormConv(nn.Layer):
    """Batch norm, ReLU, convolution, in this order: they work on what was joined before."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, name: str) -> None:
        super().__init__()
        self._batch_norm = named_norm(inputs, f"{name}_bn")
        self._conv = nn.Conv2D(
            inputs, outputs, kernel, padding=(kernel - 1) // 2, bias_attr=False,
            weight_attr=ParamAttr(name=f"{name}_weights"),
        )  # fmt: skip

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H, W]."""
        return self._conv(functional.relu(self._batch_norm(x)))


class _Dense(nn.Layer):
    """Adds `growth` channels to those that come in."""

    def __init__(self, inputs: int, *, growth: int, width: int, dropout: float, name: str) -> None:
        super().__init__()
        self.bn_ac_func1 = _NormConv(inputs, width, 1, name=f"{name}_x1")
        self.bn_ac_func2 = _NormConv(width, growth, 3, name=f"{name}_x2")
        self.dropout_func = nn.Dropout(dropout, mode="downscale_in_infer")

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, C, H, W] -> [B, C + growth, H, W]."""
        return paddle.concat([x, self.dropout_func(self.bn_ac_func2(self.bn_ac_func1(x)))], axis=1)


class _Transition(nn.Layer):
    """Halves the sides between two dense blocks."""

    def __init__(self, inputs: int, *, name: str) -> None:
        super().__init__()
        self.conv_ac_func = _NormConv(inputs, inputs // 2, 1, name=name)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, C, H, W] -> [B, C / 2, H / 2, W / 2]."""
        return functional.avg_pool2d(self.conv_ac_func(x), 2, stride=2)


class DenseNet(nn.Layer):
    """DenseNet of the depths 121 to 264."""

    def __init__(self, arch: DenseNetArch) -> None:
        super().__init__()
        channels, growth, blocks = _SIZES[int(arch.name.removeprefix("DenseNet"))]
        self.conv1_func = NamedConvBN(3, channels, 7, stride=2, act="relu", name="conv1", norm="conv1_bn")
        self._parts = []
        for number, count in enumerate(blocks, start=2):
            block = nn.Sequential()
            for index in range(1, count + 1):
                name = f"conv{number}_{index}"
                layer = _Dense(
                    channels, growth=growth, width=arch.bn_size * growth, dropout=arch.dropout, name=name
                )
                block.add_sublayer(name, layer)
                channels += growth
            self._parts.append(self.add_sublayer(f"db_conv_{number}", block))
            if number < len(blocks) + 1:
                transition = _Transition(channels, name=f"conv{number}_blk")
                self._parts.append(self.add_sublayer(f"tr_conv{number}_blk", transition))
                channels //= 2
        self.batch_norm = named_norm(channels, "conv5_blk_bn")
        self.out = named_linear(channels, arch.class_num, "fc")

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, H, W] -> logits [B, K]."""
        x = functional.max_pool2d(self.conv1_func(x), 3, stride=2, padding=1)
        for part in self._parts:
            x = part(x)
        return self.out(paddle.mean(functional.relu(self.batch_norm(x)), axis=[2, 3]))
