"""RepVGG (Ding et al., 2021): a 3×3 and a 1×1 convolution and the input itself, side by side.

Sizes, names and order: PaddleClas d178931, model_zoo/repvgg.py. The branches stay those of training, which is
what weight files hold; PaddleClas merges them for quantisation only (ppcls/arch/slim/quant.py).
"""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional

from trainer.config.archs_convolutional import RepVGGArch
from trainer.models.layers import ConvBN

_DEPTHS = {"A": (2, 4, 14, 1), "B": (4, 6, 16, 1), "D": (8, 14, 24, 1)}
_WIDTHS = {  # factors on 64, 128, 256 and 512 channels: of the first three stages, of the last
    "A0": (0.75, 2.5), "A1": (1.0, 2.5), "A2": (1.5, 2.75), "B0": (1.0, 2.5), "B1": (2.0, 4.0),
    "B2": (2.5, 5.0), "B3": (3.0, 5.0), "D2": (2.5, 5.0),
}  # fmt: skip
_LAST_GROUPED = 26
"""Number of the last block whose convolutions are grouped in the g2 and g4 sizes: every second one is."""


class _Excite(nn.Layer):
    """Weighs channels by two 1×1 convolutions of their means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.down = nn.Conv2D(channels, channels // 16, 1)
        self.up = nn.Conv2D(channels // 16, channels, 1)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, C, H, W] -> the same."""
        weights = functional.relu(self.down(functional.adaptive_avg_pool2d(x, 1)))
        return x * functional.sigmoid(self.up(weights))


class _Block(nn.Layer):
    """A 3×3 and a 1×1 convolution and, where the shape allows, the input, added up."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, groups: int, excite: bool) -> None:
        super().__init__()
        self._excites, self._adds = excite, inputs == outputs and stride == 1
        if excite:
            self.se = _Excite(outputs)
        if self._adds:
            self.rbr_identity = nn.BatchNorm2D(inputs)
        self.rbr_dense = ConvBN(inputs, outputs, 3, stride=stride, groups=groups, decay_norm=True)
        self.rbr_1x1 = ConvBN(inputs, outputs, 1, stride=stride, groups=groups, decay_norm=True)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        y = self.rbr_dense(x) + self.rbr_1x1(x)
        if self._adds:
            y = y + self.rbr_identity(x)
        return functional.relu(self.se(y) if self._excites else y)


class RepVGG(nn.Layer):
    """All sizes: A0 to A2, B0 to B3, those in groups, and D2se."""

    def __init__(self, arch: RepVGGArch) -> None:
        super().__init__()
        size = arch.name.removeprefix("RepVGG_")
        excite = size.endswith("se")
        self._groups = int(size[3:]) if size[2:3] == "g" else 1
        early, late = _WIDTHS[size[:2]]
        channels, number = min(64, int(64 * early)), 1
        self.stage0 = _Block(3, channels, stride=2, groups=1, excite=excite)
        self._stages = [self.stage0]
        for stage, depth in enumerate(_DEPTHS[size[0]], start=1):
            outputs = int(32 * 2**stage * (early if stage < 4 else late))
            blocks = []
            for index in range(depth):
                groups = self._groups_of(number)
                blocks.append(
                    _Block(channels, outputs, stride=1 if index else 2, groups=groups, excite=excite)
                )
                channels, number = outputs, number + 1
            self._stages.append(self.add_sublayer(f"stage{stage}", nn.Sequential(*blocks)))
        self.linear = nn.Linear(channels, arch.class_num)

    def _groups_of(self, number: int) -> int:
        """Return the groups of the block of this number; the stem is 0."""
        return self._groups if number % 2 == 0 and number <= _LAST_GROUPED else 1

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, H, W] -> logits [B, K]."""
        for stage in self._stages:
            x = stage(x)
        return self.linear(paddle.flatten(functional.adaptive_avg_pool2d(x, 1), 1))
