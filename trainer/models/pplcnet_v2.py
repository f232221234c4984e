"""PP-LCNetV2: depthwise convolutions of several sizes side by side, which can become one after training.

Table: PaddleClas d178931, legendary_models/pp_lcnet_v2.py.
"""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional

from trainer.config.archs_pp import PPLCNetV2Arch
from trainer.models.layers import ConvBN, Pooled, init_kaiming_norms, round_channels

# inputs at scale 1, kernel, split pointwise, several depthwise, squeeze-excite, shortcut
_STAGES = (
    (64, 3, False, False, False, False), (128, 3, False, False, False, False),
    (256, 5, True, True, True, False), (512, 5, False, True, False, True),
)  # fmt: skip
_SIZES = {"small": (0.75, (2, 2, 4, 2)), "base": (1.0, (2, 2, 6, 2)), "large": (1.25, (2, 2, 8, 2))}


class _Excite(nn.Layer):
    """Weighs channels by two 1×1 convolutions of their means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2D(channels, channels // 4, 1)
        self.conv2 = nn.Conv2D(channels // 4, channels, 1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, C, H, W] -> the same."""
        weights = functional.relu(self.conv1(functional.adaptive_avg_pool2d(x, 1)))
        return x * functional.sigmoid(self.conv2(weights))


class _Separable(nn.Layer):
    """Depthwise convolutions of several sizes added up, then one or two 1×1 convolutions."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int, split: bool = False,
        several: bool = False, excite: bool = False, shortcut: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        self._several, self._excites, self._splits = several, excite, split
        self._adds = shortcut and stride == 1 and inputs == outputs
        if several:
            self.dw_conv_list = nn.LayerList(
                [
                    ConvBN(inputs, inputs, side, stride=stride, groups=inputs)
                    for side in range(kernel, 0, -2)
                    if side > 1 or stride == 1
                ]
            )
            # What the list becomes for inference; training never calls it, and a parameter without gradient
            # that wants one would let data parallelism wait for ever.
            self.dw_conv = nn.Conv2D(
                inputs, inputs, kernel, stride=stride, padding=kernel // 2, groups=inputs
            )
            for parameter in self.dw_conv.parameters():
                parameter.stop_gradient = True
        else:
            self.dw_conv = ConvBN(inputs, inputs, kernel, stride=stride, groups=inputs, act="relu")
        if excite:
            self.se = _Excite(inputs)
        if split:
            self.pw_conv_1 = ConvBN(inputs, outputs // 2, 1, act="relu")
            self.pw_conv_2 = ConvBN(outputs // 2, outputs, 1, act="relu")
        else:
            self.pw_conv = ConvBN(inputs, outputs, 1, act="relu")

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        y = self._depthwise(x)
        if self._excites:
            y = self.se(y)
        y = self.pw_conv_2(self.pw_conv_1(y)) if self._splits else self.pw_conv(y)
        return x + y if self._adds else y

    def _depthwise(self, x: paddle.Tensor) -> paddle.Tensor:
        if not self._several:
            return self.dw_conv(x)
        first, *others = self.dw_conv_list
        y = first(x)
        for layer in others:
            y = y + layer(x)
        return functional.relu(y)


class PPLCNetV2(Pooled):
    """PPLCNetV2 small, base and large."""

    def __init__(self, arch: PPLCNetV2Arch) -> None:
        super().__init__()
        scale, depths = _SIZES[arch.name.rpartition("_")[2]]
        self.stem = nn.Sequential(
            ConvBN(3, round_channels(32 * scale), 3, stride=2, act="relu"),
            _Separable(round_channels(32 * scale), round_channels(64 * scale), kernel=3, stride=1),
        )
        self.stages = nn.LayerList()
        for depth, (channels, kernel, split, several, excite, shortcut) in zip(depths, _STAGES, strict=True):
            outputs = round_channels(2 * channels * scale)
            self.stages.append(
                nn.Sequential(
                    *(
                        _Separable(
                            outputs if index else round_channels(channels * scale), outputs, kernel=kernel,
                            stride=1 if index else 2, split=split, several=several, excite=excite,
                            shortcut=shortcut,
                        )
                        for index in range(depth)
                    )
                )
            )  # fmt: skip
        self.make_head(
            round_channels(1024 * scale), class_num=arch.class_num, class_expand=arch.class_expand,
            dropout_prob=0.2, act="relu", use_last_conv=arch.use_last_conv,
        )  # fmt: skip
        init_kaiming_norms(self)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, H, W] -> logits [B, K]."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.classify(x)
