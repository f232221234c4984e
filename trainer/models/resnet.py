"""ResNet (He et al., 2016) and its improvements B, C, D (He et al., 2019): ResNet50 and ResNet50_vd.

Variant `vb` strides in the 3×3 convolution; `vd` adds a stem of three 3×3 convolutions and averages before a
strided shortcut. Unlike in other families, weight decay touches batch norm.
"""

from __future__ import annotations

import math

import paddle
from paddle import ParamAttr, nn
from paddle.nn import functional

from trainer.config.archs_resnet import ResNetArch
from trainer.models.diverse_branch import DiverseBranch
from trainer.models.layers import ConvBN, Stride

_BLOCKS = {
    18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3),
    200: (3, 12, 48, 3),
}  # fmt: skip
_WIDTHS = (64, 128, 256, 512)


def _conv(
    inputs: int, outputs: int, kernel: int, *, lr_mult: float, stride: Stride = 1, act: bool = True
) -> ConvBN:
    return ConvBN(
        inputs, outputs, kernel, stride=stride, act="relu" if act else None, lr_mult=lr_mult, decay_norm=True,
        old_norm=True,
    )  # fmt: skip


def _diverse(
    inputs: int, outputs: int, kernel: int, *, lr_mult: float, stride: Stride = 1, act: bool = True
) -> DiverseBranch:
    return DiverseBranch(inputs, outputs, kernel, stride=stride, act=act, lr_mult=lr_mult)


class _Shortcut(ConvBN):
    """1×1 convolution that fits the input to the block's output; `vd` averages instead of striding."""

    def __init__(self, inputs: int, outputs: int, *, stride: Stride, average: bool, lr_mult: float) -> None:
        super().__init__(
            inputs, outputs, 1, stride=1 if average else stride, lr_mult=lr_mult, decay_norm=True,
            old_norm=True,
        )  # fmt: skip
        self._average = stride if average else None

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H / stride, W / stride], rounded up."""
        if self._average is not None:
            x = functional.avg_pool2d(x, 2, stride=self._average, padding="SAME", ceil_mode=True)
        return super().forward(x)


class _Block(nn.Layer):
    """A residual block: two 3×3 convolutions, or a bottleneck of three."""

    def __init__(
        self, inputs: int, width: int, *, deep: bool, first: bool, stride: Stride, average: bool,
        lr_mult: float, diverse: bool,
    ) -> None:  # fmt: skip
        super().__init__()
        conv = _diverse if diverse else _conv
        outputs = 4 * width if deep else width
        if deep:
            self.conv0 = conv(inputs, width, 1, lr_mult=lr_mult)
            self.conv1 = conv(width, width, 3, stride=stride, lr_mult=lr_mult)
            self.conv2 = conv(width, outputs, 1, act=False, lr_mult=lr_mult)
        else:
            self.conv0 = conv(inputs, width, 3, stride=stride, lr_mult=lr_mult)
            self.conv1 = conv(width, width, 3, act=False, lr_mult=lr_mult)
        if first:
            self.short = _Shortcut(inputs, outputs, stride=stride, average=average, lr_mult=lr_mult)
        self._deep, self._first = deep, first

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H / stride, W / stride], rounded up."""
        y = self.conv1(self.conv0(x))
        if self._deep:
            y = self.conv2(y)
        return functional.relu(y + (self.short(x) if self._first else x))


class ResNet(nn.Layer):
    """ResNet of the depths 18 to 200, variants vb and vd."""

    def __init__(self, arch: ResNetArch) -> None:
        super().__init__()
        depth_text, _, variant = arch.name.removeprefix("ResNet").partition("_")
        depth, vd = int(depth_text), variant == "vd"
        mults, strides = arch.lr_mult_list, arch.stride_list
        channels = arch.input_image_channel
        stem = ((channels, 32, 3), (32, 32, 3), (32, 64, 3)) if vd else ((channels, 64, 7),)
        self.stem = nn.Sequential(
            *(
                _conv(inputs, outputs, kernel, stride=strides[0] if index == 0 else 1, lr_mult=mults[0])
                for index, (inputs, outputs, kernel) in enumerate(stem)
            )
        )
        self._pool_stride = strides[1]
        blocks, inputs, deep = [], 64, depth >= 50
        for stage, (count, width) in enumerate(zip(_BLOCKS[depth], _WIDTHS, strict=True)):
            for index in range(count):
                strided = index == 0 and stage > 0
                plain = stage == 0 and not arch.use_first_short_conv
                blocks.append(
                    _Block(
                        inputs, width, deep=deep, first=index == 0 and not plain, average=vd and strided,
                        stride=strides[stage + 1] if strided else 1, lr_mult=mults[stage + 1],
                        diverse=arch.layer_type == "DiverseBranchBlock",
                    )
                )  # fmt: skip
                inputs = 4 * width if deep else width
        self.blocks = nn.Sequential(*blocks)
        self.avg_pool = nn.AdaptiveAvgPool2D(1)
        bound = 1.0 / math.sqrt(inputs)
        self.fc = nn.Linear(
            inputs, arch.class_num,
            weight_attr=ParamAttr(initializer=nn.initializer.Uniform(-bound, bound)),
        )  # fmt: skip

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, H, W] -> logits [B, K]."""
        x = functional.max_pool2d(self.stem(x), 3, stride=self._pool_stride, padding=1)
        x = self.avg_pool(self.blocks(x))
        return self.fc(paddle.flatten(x, 1))
