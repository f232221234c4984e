"""ResNet's relatives with named parameters: ResNeXt(_vd), SE_ResNet_vd, Res2Net(_vd).

They share the frame and differ in the block. Source: PaddleClas d178931, model_zoo/{resnext,resnext_vd,
se_resnet_vd,res2net,res2net_vd}.py. Images float32 [B, 3, H, W] -> logits [B, K].
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import paddle
from paddle import nn
from paddle.nn import functional

from trainer.config.archs_resnet import Res2NetArch, ResNeXtArch, SEResNetArch
from trainer.models.named_layers import Named, NamedConvBN, named_linear, residual_norm_name

_DEPTHS = {
    18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3),
    200: (3, 12, 48, 3),
}  # fmt: skip


def _conv(
    inputs: int, outputs: int, kernel: int, *, name: str, stride: int = 1, groups: int = 1,
    act: Named | None = "relu",
) -> NamedConvBN:  # fmt: skip
    return NamedConvBN(
        inputs, outputs, kernel, name=name, norm=residual_norm_name(name), stride=stride, groups=groups,
        act=act,
    )  # fmt: skip


class SqueezeByLinear(nn.Layer):
    """Weighs channels by two linear layers (Hu et al., 2018)."""

    def __init__(self, channels: int, *, reduction: int, name: str) -> None:
        super().__init__()
        middle = channels // reduction
        self.squeeze = named_linear(channels, middle, f"{name}_sqz")
        self.excitation = named_linear(middle, channels, f"{name}_exc")

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, C, H, W] -> the same, each channel times a number from 0 to 1."""
        weights = functional.relu(self.squeeze(paddle.mean(x, axis=[2, 3])))
        return x * functional.sigmoid(self.excitation(weights)).unsqueeze([2, 3])


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a block stands.

    Attributes:
        inputs: Channels.
        outputs: Channels.
        width: Channels between the first and the last convolution.
        stride: Of the block.
        first: First of its stage, with a convolution on the shortcut.
        average: That convolution sees 2×2 means (`vd`) instead of striding.
        name: Stem of the parameters' names.
    """

    inputs: int
    outputs: int
    width: int
    stride: int
    first: bool
    average: bool
    name: str


class _Block(nn.Layer, ABC):
    """A residual block; subclasses make and apply the path beside the shortcut."""

    def finish(self, place: Place) -> None:
        self._first, self._average = place.first, place.average
        if place.first:
            self.short = _conv(
                place.inputs, place.outputs, 1, stride=1 if place.average else place.stride, act=None,
                name=f"{place.name}_branch1",
            )  # fmt: skip

    @abstractmethod
    def path(self, x: paddle.Tensor) -> paddle.Tensor:
        """Apply what is added to the shortcut."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        short = x
        if self._first:
            seen = functional.avg_pool2d(x, 2, stride=2, ceil_mode=True) if self._average else x
            short = self.short(seen)
        return functional.relu(short + self.path(x))


class _Bottleneck(_Block):
    def __init__(self, place: Place, *, groups: int = 1, reduction: int | None = None) -> None:
        super().__init__()
        name = place.name
        self.conv0 = _conv(place.inputs, place.width, 1, name=f"{name}_branch2a")
        self.conv1 = _conv(
            place.width, place.width, 3, stride=place.stride, groups=groups, name=f"{name}_branch2b"
        )
        self.conv2 = _conv(place.width, place.outputs, 1, act=None, name=f"{name}_branch2c")
        self._excites = reduction is not None
        if reduction is not None:
            self.scale = SqueezeByLinear(place.outputs, reduction=reduction, name=f"fc_{name}")
        self.finish(place)

    def path(self, x: paddle.Tensor) -> paddle.Tensor:
        y = self.conv2(self.conv1(self.conv0(x)))
        return self.scale(y) if self._excites else y


class _Basic(_Block):
    def __init__(self, place: Place, *, reduction: int) -> None:
        super().__init__()
        self.conv0 = _conv(place.inputs, place.width, 3, stride=place.stride, name=f"{place.name}_branch2a")
        self.conv1 = _conv(place.width, place.width, 3, act=None, name=f"{place.name}_branch2b")
        self.scale = SqueezeByLinear(place.width, reduction=reduction, name=f"fc_{place.name}")
        self.finish(place)

    def path(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.scale(self.conv1(self.conv0(x)))


class _Hierarchy(_Block):
    """Each group of channels but the last is filtered together with what the group before became."""

    def __init__(self, place: Place, *, scales: int) -> None:
        super().__init__()
        name, part = place.name, place.width // scales
        self.conv0 = _conv(place.inputs, place.width, 1, name=f"{name}_branch2a")
        self._filters = [
            self.add_sublayer(
                f"{name}_branch2b_{number}",
                _conv(part, part, 3, stride=place.stride, name=f"{name}_branch2b_{number}"),
            )
            for number in range(1, scales)
        ]
        self.conv2 = _conv(place.width, place.outputs, 1, act=None, name=f"{name}_branch2c")
        self._stride, self._scales = place.stride, scales
        self.finish(place)

    def path(self, x: paddle.Tensor) -> paddle.Tensor:
        groups = paddle.split(self.conv0(x), self._scales, axis=1)
        done: list[paddle.Tensor] = []
        for index, layer in enumerate(self._filters):
            alone = index == 0 or self._stride == 2  # sizes differ where the block strides
            done.append(layer(groups[index] if alone else groups[index] + done[-1]))
        last = groups[-1]
        if self._stride != 1:
            last = functional.avg_pool2d(last, 3, stride=self._stride, padding=1, exclusive=True)
        return self.conv2(paddle.concat([*done, last], axis=1))


class Residual(nn.Layer):
    """The frame: stem, max pooling, four stages, mean, logits."""

    def __init__(
        self, *, depth: int, vd: bool, stem: str, stem_name: str, class_num: int, letters: bool,
        widths: tuple[int, ...], outputs: tuple[int, ...], block: Callable[[Place], nn.Layer],
        head_name: str = "fc",
    ) -> None:  # fmt: skip
        """Build it.

        Args:
            depth: 18 to 200.
            vd: Three 3×3 convolutions as the stem, and means before strided shortcuts.
            stem: Attribute of the 7×7 stem.
            stem_name: Its parameters' name.
            class_num: Number of classes.
            letters: Call all blocks of stage 3 by letters, also where there are more than the alphabet has.
            widths: Inner channels of the four stages.
            outputs: Channels that the four stages give.
            block: Makes a block.
            head_name: Of the parameters of the last layer.
        """
        super().__init__()
        if vd:
            self.conv1_1 = _conv(3, 32, 3, stride=2, name="conv1_1")
            self.conv1_2 = _conv(32, 32, 3, name="conv1_2")
            self.conv1_3 = _conv(32, 64, 3, name="conv1_3")
            self._stem = [self.conv1_1, self.conv1_2, self.conv1_3]
        else:
            self._stem = [self.add_sublayer(stem, _conv(3, 64, 7, stride=2, name=stem_name))]
        self._blocks, inputs = [], 64
        for stage, count in enumerate(_DEPTHS[depth]):
            for index in range(count):
                number = stage + 2
                lettered = letters or stage != 2 or depth not in (101, 152, 200)
                suffix = chr(97 + index) if lettered else f"b{index}" if index else "a"
                place = Place(
                    inputs=inputs, outputs=outputs[stage], width=widths[stage], first=index == 0,
                    stride=2 if index == 0 and stage > 0 else 1,
                    average=vd and index == 0 and stage > 0, name=f"res{number}{suffix}",
                )  # fmt: skip
                self._blocks.append(self.add_sublayer(f"bb_{stage}_{index}", block(place)))
                inputs = outputs[stage]
        self.out = named_linear(inputs, class_num, head_name)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, H, W] -> logits [B, K]."""
        for layer in self._stem:
            x = layer(x)
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        for block in self._blocks:
            x = block(x)
        return self.out(paddle.mean(x, axis=[2, 3]))


_WIDE_OUTPUTS = (256, 512, 1024, 2048)


def build_resnext(arch: ResNeXtArch) -> nn.Layer:
    """Build `ResNeXt50_vd_64x4d` and its like."""
    depth, *middle, wide = arch.name.removeprefix("ResNeXt").split("_")
    groups = int(wide.partition("x")[0])
    widths = (128, 256, 512, 1024) if groups == 32 else _WIDE_OUTPUTS
    return Residual(
        depth=int(depth), vd=bool(middle), stem="conv", stem_name="res_conv1", class_num=arch.class_num,
        letters=False, widths=widths, outputs=_WIDE_OUTPUTS,
        block=lambda place: _Bottleneck(place, groups=groups),
    )  # fmt: skip


def build_se_resnet(arch: SEResNetArch) -> nn.Layer:
    """Build `SE_ResNet50_vd` and its like."""
    depth = int(arch.name.removeprefix("SE_ResNet").removesuffix("_vd"))
    widths = (64, 128, 256, 512)
    return Residual(
        depth=depth, vd=True, stem="", stem_name="", class_num=arch.class_num, letters=True, widths=widths,
        outputs=_WIDE_OUTPUTS if depth >= 50 else widths, head_name="fc6",
        block=lambda place: (
            _Bottleneck(place, reduction=16) if depth >= 50 else _Basic(place, reduction=16)
        ),
    )  # fmt: skip


def build_res2net(arch: Res2NetArch) -> nn.Layer:
    """Build `Res2Net50_vd_26w_4s` and its like."""
    depth, *middle, width, scale = arch.name.removeprefix("Res2Net").split("_")
    scales = int(scale[:-1])
    basic = int(width[:-1]) * scales
    return Residual(
        depth=int(depth), vd=bool(middle), stem="conv1", stem_name="conv1", class_num=arch.class_num,
        letters=False, widths=tuple(basic * factor for factor in (1, 2, 4, 8)), outputs=_WIDE_OUTPUTS,
        block=lambda place: _Hierarchy(place, scales=scales),
    )  # fmt: skip
