"""EfficientNet (Tan and Le, 2019). Source: PaddleClas d178931, model_zoo/efficientnet.py.

The padding is TensorFlow's for images of the size that the name stands for: a strided convolution whose
padding would be uneven pads evenly by more and cuts the first row and column off. Images of another size get
the same padding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import paddle
from paddle import ParamAttr, nn
from paddle.nn import functional

from trainer.config.archs_attention import EfficientNetArch
from trainer.models.layers import round_channels
from trainer.models.named_layers import named_linear, named_norm
from trainer.models.transformer_parts import drop_path

# blocks, kernel, stride, expansion, inputs, outputs
_STAGES = (
    (1, 3, 1, 1, 32, 16), (2, 3, 2, 6, 16, 24), (2, 5, 2, 6, 24, 40), (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112), (4, 5, 2, 6, 112, 192), (1, 3, 1, 6, 192, 320),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Size:
    width: float
    depth: float
    side: int
    dropout: float


_SIZES = {
    0: _Size(1.0, 1.0, 224, 0.2), 1: _Size(1.0, 1.1, 240, 0.2), 2: _Size(1.1, 1.2, 260, 0.3),
    3: _Size(1.2, 1.4, 300, 0.3), 4: _Size(1.4, 1.8, 380, 0.4), 5: _Size(1.6, 2.2, 456, 0.4),
    6: _Size(1.8, 2.6, 528, 0.5), 7: _Size(2.0, 3.1, 600, 0.5),
}  # fmt: skip


def pad_same(side: int, kernel: int, stride: int) -> tuple[int, bool]:
    """Return the padding for an image's side, and whether the first row and column are to be cut off."""
    whole = max(kernel - (side % stride or stride), 0)
    before, after = whole // 2, whole - whole // 2
    return (after, False) if before == after else (before + stride, True)


class _Conv(nn.Layer):
    """Convolution whose padding depends on the side of the image, as TensorFlow's `SAME` does."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, name: str, padding: str, side: int, stride: int = 1,
        groups: int = 1, bias: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        if padding == "SAME":
            amount, self._cuts = pad_same(side, kernel, stride)
        else:
            amount, self._cuts = (stride - 1 + kernel - 1) // 2 if padding == "DYNAMIC" else 0, False
        self._conv = nn.Conv2D(
            inputs, outputs, kernel, stride=stride, groups=groups, padding=amount,
            weight_attr=ParamAttr(name=f"{name}_weights"),
            bias_attr=ParamAttr(name=f"{name}_offset") if bias else False,
        )  # fmt: skip

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, ⌈H / stride⌉, ⌈W / stride⌉]."""
        x = self._conv(x)
        return x[:, :, 1:, 1:] if self._cuts else x


class _ConvBN(nn.Layer):
    """Such a convolution and batch norm, without activation."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, *, name: str, norm: str, padding: str, side: int,
        stride: int = 1, groups: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        self._conv = _Conv(
            inputs, outputs, kernel, name=name, padding=padding, side=side, stride=stride, groups=groups
        )
        self._bn = named_norm(outputs, norm, momentum=0.99, epsilon=1e-3)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """As the convolution."""
        return self._bn(self._conv(x))


class _Holder(nn.Layer):
    """A level of the keys that does nothing."""

    def __init__(self, layer: nn.Layer) -> None:
        super().__init__()
        self._conv = layer

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """As the layer that it holds."""
        return self._conv(x)


class _Excite(nn.Layer):
    """Weighs channels by two 1×1 convolutions of their means."""

    def __init__(self, channels: int, squeezed: int, *, name: str, padding: str) -> None:
        super().__init__()
        self._conv1 = _Conv(
            channels, squeezed, 1, bias=True, padding=padding, side=1, name=f"{name}_se_reduce"
        )
        self._conv2 = _Conv(
            squeezed, channels, 1, bias=True, padding=padding, side=1, name=f"{name}_se_expand"
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, C, H, W] -> the same."""
        weights = functional.swish(self._conv1(functional.adaptive_avg_pool2d(x, 1)))
        return x * functional.sigmoid(self._conv2(weights))


class _Block(nn.Layer):
    """Widen, filter each channel, weigh channels, narrow; added to the input where the shape allows."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: int, expansion: int,
        excite: bool, padding: str, side: int, rate: float, name: str,
    ) -> None:  # fmt: skip
        super().__init__()
        wide = inputs * expansion
        self._expands, self._excites = expansion != 1, excite
        self._adds, self._rate = stride == 1 and inputs == outputs, rate
        if self._expands:
            self._ecn = _Holder(
                _ConvBN(
                    inputs, wide, 1, name=f"{name}_expand_conv", norm=f"{name}_bn0", padding=padding,
                    side=side,
                )
            )  # fmt: skip
        self._dcn = _Holder(
            _ConvBN(
                wide, wide, kernel, stride=stride, groups=wide, name=f"{name}_depthwise_conv",
                norm=f"{name}_bn1", padding=padding, side=side,
            )
        )  # fmt: skip
        if excite:
            self._se = _Excite(wide, max(1, inputs // 4), name=name, padding=padding)
        self._pcn = _Holder(
            _ConvBN(
                wide, outputs, 1, name=f"{name}_project_conv", norm=f"{name}_bn2", padding=padding, side=side
            )
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, ⌈H / stride⌉, ⌈W / stride⌉]."""
        y = functional.swish(self._ecn(x)) if self._expands else x
        y = functional.swish(self._dcn(y))
        y = self._pcn(self._se(y) if self._excites else y)
        return x + drop_path(y, self._rate, training=self.training) if self._adds else y


class _Features(nn.Layer):
    """Stem and blocks."""

    def __init__(self, size: _Size, *, excite: bool, padding: str, connect_rate: float) -> None:
        super().__init__()
        stem = round_channels(32 * size.width)
        self._conv_stem = _Holder(
            _ConvBN(3, stem, 3, stride=2, name="_conv_stem", norm="_bn0", padding=padding, side=size.side)
        )
        total = sum(math.ceil(size.depth * stage[0]) for stage in _STAGES)
        self._sequence: list[nn.Layer] = []
        side = math.ceil(size.side / 2)
        for blocks, kernel, first_stride, expansion, inputs, outputs in _STAGES:
            channels = round_channels(inputs * size.width)
            wanted = round_channels(outputs * size.width)
            for number in range(math.ceil(size.depth * blocks)):
                index = len(self._sequence)
                name = f"_blocks.{index}."
                block = _Block(
                    wanted if number else channels, wanted, kernel=kernel,
                    stride=1 if number else first_stride, expansion=expansion,
                    excite=excite, padding=padding, side=side, rate=connect_rate * index / total, name=name,
                )  # fmt: skip
                key = f"block.{index}." if number else name
                self._sequence.append(self.add_sublayer(key, block))
            side = math.ceil(side / first_stride)
        self.channels = wanted
        self.side = side

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, S, S] -> [B, channels, side, side]."""
        x = functional.swish(self._conv_stem(x))
        for block in self._sequence:
            x = block(x)
        return x


class EfficientNet(nn.Layer):
    """EfficientNet B0 to B7 and the small B0."""

    def __init__(self, arch: EfficientNetArch) -> None:
        super().__init__()
        number, _, small = arch.name.removeprefix("EfficientNetB").partition("_")
        size = _SIZES[int(number)]
        overrides = arch.override_params
        padding = arch.padding_type or ("DYNAMIC" if small else "SAME")
        excite = not small if arch.use_se is None else arch.use_se
        self._ef = _Features(size, excite=excite, padding=padding, connect_rate=overrides.drop_connect_rate)
        features = round_channels(1280 * size.width)
        self._conv = _ConvBN(
            self._ef.channels, features, 1, name="_conv_head", norm="_bn1", padding=padding,
            side=self._ef.side,
        )  # fmt: skip
        self._drop = nn.Dropout(size.dropout if overrides.dropout_rate is None else overrides.dropout_rate)
        self._fc = named_linear(features, arch.class_num, "_fc", uniform=False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, H, W] -> logits [B, K]."""
        x = functional.swish(self._conv(self._ef(x)))
        return self._fc(self._drop(paddle.mean(x, axis=[2, 3])))
