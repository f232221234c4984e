"""PP-HGNetV2: every block's layers are concatenated and squeezed together; made for GPUs.

B0 to B3 have a learnable affine after each activation. Table: PaddleClas d178931, pp_hgnet_v2.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import paddle
from paddle import nn
from paddle.nn import functional

from trainer.config.archs_pp import PPHGNetV2Arch
from trainer.models.layers import ConvBN, Pooled, init_kaiming


@dataclass(frozen=True, slots=True)
class _Size:
    stem: tuple[int, int]
    stages: tuple[tuple[int, int, int, int], ...]  # inputs, middle, outputs, blocks
    layers: int


_SIZES = {
    "B0": _Size(
        (16, 16),
        ((16, 16, 64, 1), (64, 32, 256, 1), (256, 64, 512, 2), (512, 128, 1024, 1)), 3,
    ),
    "B1": _Size(
        (24, 32),
        ((32, 32, 64, 1), (64, 48, 256, 1), (256, 96, 512, 2), (512, 192, 1024, 1)), 3,
    ),
    "B2": _Size(
        (24, 32),
        ((32, 32, 96, 1), (96, 64, 384, 1), (384, 128, 768, 3), (768, 256, 1536, 1)), 4,
    ),
    "B3": _Size(
        (24, 32),
        ((32, 32, 128, 1), (128, 64, 512, 1), (512, 128, 1024, 3), (1024, 256, 2048, 1)), 5,
    ),
    "B4": _Size(
        (32, 48),
        ((48, 48, 128, 1), (128, 96, 512, 1), (512, 192, 1024, 3), (1024, 384, 2048, 1)), 6,
    ),
    "B5": _Size(
        (32, 64),
        ((64, 64, 128, 1), (128, 128, 512, 2), (512, 256, 1024, 5), (1024, 512, 2048, 2)), 6,
    ),
    "B6": _Size(
        (48, 96),
        ((96, 96, 192, 2), (192, 192, 512, 3), (512, 384, 1024, 6), (1024, 768, 2048, 3)), 6,
    ),
}  # fmt: skip
_WITH_AFFINE = frozenset({"B0", "B1", "B2", "B3"})


class _Light(nn.Layer):
    """1×1 convolution without activation, then a depthwise one."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, affine: bool, lr_mult: float) -> None:
        super().__init__()
        self.conv1 = ConvBN(inputs, outputs, 1, lr_mult=lr_mult)
        self.conv2 = ConvBN(
            outputs, outputs, kernel, groups=outputs, act="relu", affine=affine, lr_mult=lr_mult
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H, W]."""
        return self.conv2(self.conv1(x))


class _Stem(nn.Layer):
    """Two strided convolutions, between which pooled and convolved pixels are joined."""

    def __init__(self, middle: int, outputs: int, *, affine: bool, lr_mult: float) -> None:
        super().__init__()
        half = middle // 2
        self.stem1 = ConvBN(3, middle, 3, stride=2, act="relu", affine=affine, lr_mult=lr_mult)
        self.stem2a = ConvBN(middle, half, 2, padding="SAME", act="relu", affine=affine, lr_mult=lr_mult)
        self.stem2b = ConvBN(half, middle, 2, padding="SAME", act="relu", affine=affine, lr_mult=lr_mult)
        self.stem3 = ConvBN(2 * middle, middle, 3, stride=2, act="relu", affine=affine, lr_mult=lr_mult)
        self.stem4 = ConvBN(middle, outputs, 1, act="relu", affine=affine, lr_mult=lr_mult)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, H, W] -> [B, outputs, H / 4, W / 4]."""
        x = self.stem1(x)
        pooled = functional.max_pool2d(x, 2, stride=1, padding="SAME", ceil_mode=True)
        return self.stem4(self.stem3(paddle.concat([pooled, self.stem2b(self.stem2a(x))], axis=1)))


class _Block(nn.Layer):
    """Convolutions in a row; input and all their outputs are joined, squeezed and widened."""

    def __init__(
        self, inputs: int, middle: int, outputs: int, *, kernel: int, layers: int, light: bool, adds: bool,
        affine: bool, lr_mult: float,
    ) -> None:  # fmt: skip
        super().__init__()
        widths = [inputs] + [middle] * (layers - 1)
        self.layers = nn.LayerList(
            [
                _Light(width, middle, kernel, affine=affine, lr_mult=lr_mult)
                if light
                else ConvBN(width, middle, kernel, act="relu", affine=affine, lr_mult=lr_mult)
                for width in widths
            ]
        )
        half, together = outputs // 2, inputs + layers * middle
        self.aggregation_squeeze_conv = ConvBN(together, half, 1, act="relu", affine=affine, lr_mult=lr_mult)
        self.aggregation_excitation_conv = ConvBN(
            half, outputs, 1, act="relu", affine=affine, lr_mult=lr_mult
        )
        self._adds = adds

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H, W]."""
        seen = [x]
        for layer in self.layers:
            seen.append(layer(seen[-1]))
        y = self.aggregation_squeeze_conv(paddle.concat(seen, axis=1))
        y = self.aggregation_excitation_conv(y)
        return y + x if self._adds else y


class _Stage(nn.Layer):
    """Blocks, before which a depthwise convolution may halve the sides."""

    def __init__(
        self, row: tuple[int, int, int, int], *, index: int, layers: int, affine: bool, lr_mult: float
    ) -> None:
        super().__init__()
        inputs, middle, outputs, blocks = row
        self._halves = index > 0
        if self._halves:
            self.downsample = ConvBN(inputs, inputs, 3, stride=2, groups=inputs, lr_mult=lr_mult)
        light = index >= 2
        self.blocks = nn.Sequential(
            *(
                _Block(
                    outputs if number else inputs, middle, outputs, kernel=5 if light else 3, layers=layers,
                    light=light, adds=number > 0, affine=affine, lr_mult=lr_mult,
                )
                for number in range(blocks)
            )
        )  # fmt: skip

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H, W] or [B, outputs, H / 2, W / 2]."""
        return self.blocks(self.downsample(x) if self._halves else x)


class PPHGNetV2(Pooled):
    """PPHGNetV2 B0 to B6."""

    def __init__(self, arch: PPHGNetV2Arch) -> None:
        super().__init__()
        name = arch.name.rpartition("_")[2]
        size, affine, mults = _SIZES[name], name in _WITH_AFFINE, arch.lr_mult_list
        self.stem = _Stem(*size.stem, affine=affine, lr_mult=mults[0])
        self.stages = nn.LayerList(
            [
                _Stage(row, index=index, layers=size.layers, affine=affine, lr_mult=mults[index + 1])
                for index, row in enumerate(size.stages)
            ]
        )
        self.make_head(
            size.stages[-1][2], class_num=arch.class_num, class_expand=arch.class_expand,
            dropout_prob=arch.dropout_prob, act="relu", use_last_conv=arch.use_last_conv, affine=affine,
        )  # fmt: skip
        init_kaiming(self)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, H, W] -> logits [B, K]."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        return self.classify(x)
