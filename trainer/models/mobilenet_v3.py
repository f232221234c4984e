"""MobileNetV3 (Howard et al., 2019, tables 1 and 2), small and large."""

from __future__ import annotations

import paddle
from paddle import nn

from trainer.config.archs_convolutional import MobileNetV3Arch
from trainer.models.layers import Activation, ConvBN, Pooled, SqueezeExcite, round_channels

# kernel, expanded channels, output channels, squeeze-excite, hard swish, stride
_LARGE = (
    (3, 16, 16, 0, 0, 1), (3, 64, 24, 0, 0, 2), (3, 72, 24, 0, 0, 1), (5, 72, 40, 1, 0, 2),
    (5, 120, 40, 1, 0, 1), (5, 120, 40, 1, 0, 1), (3, 240, 80, 0, 1, 2), (3, 200, 80, 0, 1, 1),
    (3, 184, 80, 0, 1, 1), (3, 184, 80, 0, 1, 1), (3, 480, 112, 1, 1, 1), (3, 672, 112, 1, 1, 1),
    (5, 672, 160, 1, 1, 2), (5, 960, 160, 1, 1, 1), (5, 960, 160, 1, 1, 1),
)  # fmt: skip
_SMALL = (
    (3, 16, 16, 1, 0, 2), (3, 72, 24, 0, 0, 2), (3, 88, 24, 0, 0, 1), (5, 96, 40, 1, 1, 2),
    (5, 240, 40, 1, 1, 1), (5, 240, 40, 1, 1, 1), (5, 120, 48, 1, 1, 1), (5, 144, 48, 1, 1, 1),
    (5, 288, 96, 1, 1, 2), (5, 576, 96, 1, 1, 1), (5, 576, 96, 1, 1, 1),
)  # fmt: skip
_FEATURES = {"large": 960, "small": 576}


class _Inverted(nn.Layer):
    """Widen, filter each channel, narrow; the input is added where the shape allows."""

    def __init__(
        self, inputs: int, wide: int, outputs: int, *, kernel: int, stride: int, excite: bool,
        act: Activation,
    ) -> None:  # fmt: skip
        super().__init__()
        self.expand_conv = ConvBN(inputs, wide, 1, act=act, old_norm=True)
        self.bottleneck_conv = ConvBN(wide, wide, kernel, stride=stride, groups=wide, act=act, old_norm=True)
        if excite:
            self.mid_se = SqueezeExcite(wide, slope=0.2)
        self.linear_conv = ConvBN(wide, outputs, 1, old_norm=True)
        self._excite, self._adds = excite, stride == 1 and inputs == outputs

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        y = self.bottleneck_conv(self.expand_conv(x))
        y = self.linear_conv(self.mid_se(y) if self._excite else y)
        return x + y if self._adds else y


class MobileNetV3(Pooled):
    """MobileNetV3 small and large of all scales."""

    def __init__(self, arch: MobileNetV3Arch) -> None:
        super().__init__()
        _, size, scale_text = arch.name.split("_", 2)
        scale = float(scale_text.removeprefix("x").replace("_", "."))
        rows = _LARGE if size == "large" else _SMALL
        inputs = round_channels(16 * scale)
        self.conv = ConvBN(3, inputs, 3, stride=2, act="hardswish", old_norm=True)
        blocks = []
        for kernel, wide, outputs, excite, hard, stride in rows:
            blocks.append(
                _Inverted(
                    inputs, round_channels(wide * scale), round_channels(outputs * scale), kernel=kernel,
                    stride=stride, excite=bool(excite), act="hardswish" if hard else "relu",
                )
            )  # fmt: skip
            inputs = round_channels(outputs * scale)
        self.blocks = nn.Sequential(*blocks)
        features = round_channels(_FEATURES[size] * scale)
        self.last_second_conv = ConvBN(inputs, features, 1, act="hardswish", old_norm=True)
        self.make_head(
            features, class_num=arch.class_num, class_expand=arch.class_expand,
            dropout_prob=arch.dropout_prob, act="hardswish",
        )  # fmt: skip

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, H, W] -> logits [B, K]."""
        return self.classify(self.last_second_conv(self.blocks(self.conv(x))))
