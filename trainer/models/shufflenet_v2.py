"""ShuffleNetV2 (Ma et al., 2018). Table: PaddleClas d178931, model_zoo/shufflenet_v2.py."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional

from trainer.config.archs_convolutional import ShuffleNetV2Arch
from trainer.models.named_layers import Named, NamedConvBN, named_linear

_CHANNELS = {  # of the three stages, and before the head
    "x0_25": (24, 48, 96, 512), "x0_33": (32, 64, 128, 512), "x0_5": (48, 96, 192, 1024),
    "x1_0": (116, 232, 464, 1024), "x1_5": (176, 352, 704, 1024), "x2_0": (244, 488, 976, 2048),
    "swish": (116, 232, 464, 1024),
}  # fmt: skip
_BLOCKS = (4, 8, 4)


def shuffle(x: paddle.Tensor) -> paddle.Tensor:
    """Interleave the two halves of the channels [B, C, H, W]."""
    batch, channels, height, width = x.shape
    x = x.reshape([batch, 2, channels // 2, height, width]).transpose([0, 2, 1, 3, 4])
    return x.reshape([batch, channels, height, width])


def _conv(
    inputs: int, outputs: int, kernel: int, *, name: str, act: Named | None, stride: int = 1, groups: int = 1
) -> NamedConvBN:
    return NamedConvBN(
        inputs, outputs, kernel, name=name, norm=f"{name}_bn", stride=stride, groups=groups, act=act,
        kaiming=True,
    )  # fmt: skip


class _Unit(nn.Layer):
    """Half of the channels pass unchanged."""

    def __init__(self, channels: int, *, act: Named, name: str) -> None:
        super().__init__()
        half = channels // 2
        self._conv_pw = _conv(half, half, 1, name=f"{name}_conv1", act=act)
        self._conv_dw = _conv(half, half, 3, groups=half, name=f"{name}_conv2", act=None)
        self._conv_linear = _conv(half, half, 1, name=f"{name}_conv3", act=act)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, C, H, W] -> the same."""
        kept, changed = paddle.split(x, 2, axis=1)
        changed = self._conv_linear(self._conv_dw(self._conv_pw(changed)))
        return shuffle(paddle.concat([kept, changed], axis=1))


class _HalvingUnit(nn.Layer):
    """Two branches of all channels, each at half the size."""

    def __init__(self, inputs: int, outputs: int, *, act: Named, name: str) -> None:
        super().__init__()
        half = outputs // 2
        self._conv_dw_1 = _conv(inputs, inputs, 3, stride=2, groups=inputs, name=f"{name}_conv4", act=None)
        self._conv_linear_1 = _conv(inputs, half, 1, name=f"{name}_conv5", act=act)
        self._conv_pw_2 = _conv(inputs, half, 1, name=f"{name}_conv1", act=act)
        self._conv_dw_2 = _conv(half, half, 3, stride=2, groups=half, name=f"{name}_conv2", act=None)
        self._conv_linear_2 = _conv(half, half, 1, name=f"{name}_conv3", act=act)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H / 2, W / 2]."""
        first = self._conv_linear_1(self._conv_dw_1(x))
        second = self._conv_linear_2(self._conv_dw_2(self._conv_pw_2(x)))
        return shuffle(paddle.concat([first, second], axis=1))


class ShuffleNetV2(nn.Layer):
    """All scales, and scale 1 with swish."""

    def __init__(self, arch: ShuffleNetV2Arch) -> None:
        super().__init__()
        kind = arch.name.removeprefix("ShuffleNetV2_")
        act: Named = "swish" if kind == "swish" else "relu"
        *stages, features = _CHANNELS[kind]
        self._conv1 = _conv(3, 24, 3, stride=2, name="stage1_conv", act=act)
        self._units, inputs = [], 24
        for number, (outputs, blocks) in enumerate(zip(stages, _BLOCKS, strict=True), start=2):
            for index in range(1, blocks + 1):
                name = f"stage_{number}_{index}"
                unit = (
                    _HalvingUnit(inputs, outputs, act=act, name=name)
                    if index == 1
                    else _Unit(outputs, act=act, name=name)
                )
                self._units.append(self.add_sublayer(f"{number}_{index}", unit))
            inputs = outputs
        self._last_conv = _conv(inputs, features, 1, name="conv5", act=act)
        self._fc = named_linear(features, arch.class_num, "fc6", uniform=False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, H, W] -> logits [B, K]."""
        x = functional.max_pool2d(self._conv1(x), 3, stride=2, padding=1)
        for unit in self._units:
            x = unit(x)
        return self._fc(paddle.mean(self._last_conv(x), axis=[2, 3]))
