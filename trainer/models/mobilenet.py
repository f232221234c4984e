"""MobileNetV1 (Howard et al., 2017) and MobileNetV2 (Sandler et al., 2018).

Tables: PaddleClas d178931, legendary_models/mobilenet_v1.py and model_zoo/mobilenet_v2.py.
"""

from __future__ import annotations

import paddle
from paddle import ParamAttr, nn
from paddle.nn import functional

from trainer.config.archs_convolutional import MobileNetV1Arch, MobileNetV2Arch
from trainer.models.layers import ConvBN, init_kaiming_norms
from trainer.models.named_layers import Named, NamedConvBN, named_linear

# inputs, outputs, stride
_V1 = (
    (32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2),
    *((512, 512, 1),) * 5, (512, 1024, 2), (1024, 1024, 1),
)  # fmt: skip
# expansion, outputs, blocks, stride
_V2 = (
    (1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip


def scale_of(name: str) -> float:
    """Return the scale that a name ends with: 0.25 for `…_x0_25`, 1 where there is none."""
    _, _, scale = name.partition("_x")
    return float(scale.replace("_", ".")) if scale else 1.0


class _Separable(nn.Layer):
    """Depthwise 3×3 and 1×1 convolution."""

    def __init__(self, inputs: int, outputs: int, *, stride: int) -> None:
        super().__init__()
        self.depthwise_conv = ConvBN(
            inputs, inputs, 3, stride=stride, groups=inputs, act="relu", decay_norm=True, old_norm=True
        )
        self.pointwise_conv = ConvBN(inputs, outputs, 1, act="relu", decay_norm=True, old_norm=True)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        return self.pointwise_conv(self.depthwise_conv(x))


class MobileNetV1(nn.Layer):
    """MobileNetV1 of all scales."""

    def __init__(self, arch: MobileNetV1Arch) -> None:
        super().__init__()
        scale = scale_of(arch.name)
        self.conv = ConvBN(3, int(32 * scale), 3, stride=2, act="relu", decay_norm=True, old_norm=True)
        self.blocks = nn.Sequential(
            *(
                _Separable(int(inputs * scale), int(outputs * scale), stride=stride)
                for inputs, outputs, stride in _V1
            )
        )
        self.fc = nn.Linear(
            int(1024 * scale), arch.class_num,
            weight_attr=ParamAttr(initializer=nn.initializer.KaimingNormal()),
        )  # fmt: skip
        init_kaiming_norms(self)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, H, W] -> logits [B, K]."""
        return self.fc(paddle.mean(self.blocks(self.conv(x)), axis=[2, 3]))


def _conv(
    inputs: int, outputs: int, kernel: int, *, name: str, stride: int = 1, groups: int = 1,
    act: Named | None = "relu6",
) -> NamedConvBN:  # fmt: skip
    return NamedConvBN(
        inputs, outputs, kernel, name=name, norm=f"{name}_bn", stride=stride, groups=groups, act=act
    )


class _Inverted(nn.Layer):
    """Widen, filter each channel, narrow."""

    def __init__(
        self, inputs: int, outputs: int, *, expansion: int, stride: int, adds: bool, name: str
    ) -> None:
        super().__init__()
        wide = inputs * expansion
        self._expand_conv = _conv(inputs, wide, 1, name=f"{name}_expand")
        self._bottleneck_conv = _conv(wide, wide, 3, stride=stride, groups=wide, name=f"{name}_dwise")
        self._linear_conv = _conv(wide, outputs, 1, act=None, name=f"{name}_linear")
        self._adds = adds

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        y = self._linear_conv(self._bottleneck_conv(self._expand_conv(x)))
        return x + y if self._adds else y


class _Stage(nn.Layer):
    """Blocks of one width, of which the first may halve the sides."""

    def __init__(
        self, inputs: int, outputs: int, *, expansion: int, blocks: int, stride: int, name: str
    ) -> None:
        super().__init__()
        self._first_block = _Inverted(
            inputs, outputs, expansion=expansion, stride=stride, adds=False, name=f"{name}_1"
        )
        self._others = [
            self.add_sublayer(
                f"{name}_{number}",
                _Inverted(
                    outputs, outputs, expansion=expansion, stride=1, adds=True, name=f"{name}_{number}"
                ),
            )
            for number in range(2, blocks + 1)
        ]

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        x = self._first_block(x)
        for block in self._others:
            x = block(x)
        return x


class MobileNetV2(nn.Layer):
    """MobileNetV2 of all scales."""

    def __init__(self, arch: MobileNetV2Arch) -> None:
        super().__init__()
        scale = scale_of(arch.name)
        inputs = int(32 * scale)
        self.conv1 = _conv(3, inputs, 3, stride=2, name="conv1_1")
        self._stages = []
        for number, (expansion, channels, blocks, stride) in enumerate(_V2, start=2):
            outputs = int(channels * scale)
            stage = _Stage(
                inputs, outputs, expansion=expansion, blocks=blocks, stride=stride, name=f"conv{number}"
            )
            self._stages.append(self.add_sublayer(f"conv{number}", stage))
            inputs = outputs
        features = int(1280 * scale) if scale > 1.0 else 1280
        self.conv9 = _conv(inputs, features, 1, name="conv9")
        self.out = named_linear(features, arch.class_num, "fc10", uniform=False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, H, W] -> logits [B, K]."""
        x = self.conv1(x)
        for stage in self._stages:
            x = stage(x)
        return self.out(functional.adaptive_avg_pool2d(self.conv9(x), 1).flatten(1))
