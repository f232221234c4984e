"""PP-HGNet: every block's layers are concatenated, squeezed together and weighed; made for GPUs.

Table: PaddleClas d178931, legendary_models/pp_hgnet.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import paddle
from paddle import nn
from paddle.nn import functional

from trainer.config.archs_pp import PPHGNetArch
from trainer.models.layers import ConvBN, Pooled, init_kaiming


@dataclass(frozen=True, slots=True)
class _Size:
    stem: tuple[int, int, int]
    stages: tuple[tuple[int, int, int, int], ...]  # inputs, middle, outputs, blocks
    layers: int
    dropout: float = 0.0


_SIZES = {
    "tiny": _Size(
        (48, 48, 96), ((96, 96, 224, 1), (224, 128, 448, 1), (448, 160, 512, 2), (512, 192, 768, 1)), 5,
    ),
    "small": _Size(
        (64, 64, 128), ((128, 128, 256, 1), (256, 160, 512, 1), (512, 192, 768, 2), (768, 224, 1024, 1)), 6,
    ),
    "base": _Size(
        (96, 96, 160), ((160, 192, 320, 1), (320, 224, 640, 2), (640, 256, 960, 3), (960, 288, 1280, 2)), 7,
        dropout=0.2,
    ),
}  # fmt: skip


class _Attention(nn.Layer):
    """Weighs channels by one 1×1 convolution of their means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2D(channels, channels, 1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, C, H, W] -> the same."""
        return x * functional.sigmoid(self.conv(functional.adaptive_avg_pool2d(x, 1)))


class _Block(nn.Layer):
    """3×3 convolutions in a row; input and all their outputs are joined and weighed."""

    def __init__(self, inputs: int, middle: int, outputs: int, *, layers: int, adds: bool) -> None:
        super().__init__()
        self.layers = nn.LayerList(
            [ConvBN(middle if index else inputs, middle, 3, act="relu") for index in range(layers)]
        )
        self.aggregation_conv = ConvBN(inputs + layers * middle, outputs, 1, act="relu")
        self.att = _Attention(outputs)
        self._adds = adds

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H, W]."""
        seen = [x]
        for layer in self.layers:
            seen.append(layer(seen[-1]))
        y = self.att(self.aggregation_conv(paddle.concat(seen, axis=1)))
        return y + x if self._adds else y


class _Stage(nn.Layer):
    """Blocks, before which a depthwise convolution may halve the sides."""

    def __init__(self, row: tuple[int, int, int, int], *, halves: bool, layers: int) -> None:
        super().__init__()
        inputs, middle, outputs, blocks = row
        self._halves = halves
        if halves:
            self.downsample = ConvBN(inputs, inputs, 3, stride=2, groups=inputs)
        self.blocks = nn.Sequential(
            *(
                _Block(outputs if index else inputs, middle, outputs, layers=layers, adds=index > 0)
                for index in range(blocks)
            )
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H, W] or [B, outputs, H / 2, W / 2]."""
        return self.blocks(self.downsample(x) if self._halves else x)


class PPHGNet(Pooled):
    """PPHGNet tiny, small and base."""

    def __init__(self, arch: PPHGNetArch) -> None:
        super().__init__()
        size = _SIZES[arch.name.rpartition("_")[2]]
        channels = (3, *size.stem)
        self.stem = nn.Sequential(
            *(
                ConvBN(channels[index], channels[index + 1], 3, stride=1 if index else 2, act="relu")
                for index in range(3)
            )
        )
        self.stages = nn.LayerList(
            [_Stage(row, halves=index > 0, layers=size.layers) for index, row in enumerate(size.stages)]
        )
        self.make_head(
            size.stages[-1][2], class_num=arch.class_num, class_expand=arch.class_expand,
            dropout_prob=size.dropout if arch.dropout_prob is None else arch.dropout_prob, act="relu",
            use_last_conv=arch.use_last_conv,
        )  # fmt: skip
        init_kaiming(self)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, H, W] -> logits [B, K]."""
        x = functional.max_pool2d(self.stem(x), 3, stride=2, padding=1)
        for stage in self.stages:
            x = stage(x)
        return self.classify(x)
