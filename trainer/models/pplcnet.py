"""PP-LCNet (Cui et al., 2021): depthwise separable convolutions with hard swish, made for CPUs."""

from __future__ import annotations

import paddle
from paddle import nn

from trainer.config.archs_pp import PPLCNetArch
from trainer.models.layers import (
    ConvBN,
    Pooled,
    SqueezeExcite,
    Stride,
    freeze_up_to,
    init_kaiming,
    round_channels,
)  # fmt: skip

# kernel, inputs, outputs, strided, squeeze-excite; channels at scale 1
_STAGES = (
    ((3, 16, 32, False, False),),
    ((3, 32, 64, True, False), (3, 64, 64, False, False)),
    ((3, 64, 128, True, False), (3, 128, 128, False, False)),
    ((3, 128, 256, True, False), *((5, 256, 256, False, False),) * 5),
    ((5, 256, 512, True, True), (5, 512, 512, False, True)),
)


class _Separable(nn.Layer):
    """Depthwise convolution, weights for channels where asked for, 1×1 convolution."""

    def __init__(
        self, inputs: int, outputs: int, *, kernel: int, stride: Stride, excite: bool, lr_mult: float
    ) -> None:
        super().__init__()
        self.dw_conv = ConvBN(
            inputs, inputs, kernel, stride=stride, groups=inputs, act="hardswish", lr_mult=lr_mult
        )
        if excite:
            self.se = SqueezeExcite(inputs, slope=0.1666667)
        self.pw_conv = ConvBN(inputs, outputs, 1, act="hardswish", lr_mult=lr_mult)
        self._excite = excite

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, outputs, H / stride, W / stride]."""
        x = self.dw_conv(x)
        return self.pw_conv(self.se(x) if self._excite else x)


class PPLCNet(Pooled):
    """PPLCNet of all scales."""

    def __init__(self, arch: PPLCNetArch) -> None:
        super().__init__()
        scale = float(arch.name.rpartition("_x")[2].replace("_", "."))
        mults, strides = arch.lr_mult_list, iter(arch.stride_list)
        self.conv1 = ConvBN(
            3, round_channels(16 * scale), 3, stride=next(strides), act="hardswish", lr_mult=mults[0]
        )
        for number, stage in enumerate(_STAGES, start=2):
            blocks = [
                _Separable(
                    round_channels(inputs * scale), round_channels(outputs * scale), kernel=kernel,
                    stride=next(strides) if strided else 1, excite=excite, lr_mult=mults[number - 1],
                )
                for kernel, inputs, outputs, strided, excite in stage
            ]  # fmt: skip
            setattr(self, f"blocks{number}", nn.Sequential(*blocks))
        self.make_head(
            round_channels(512 * scale), class_num=arch.class_num, class_expand=arch.class_expand,
            dropout_prob=arch.dropout_prob, act="hardswish", use_last_conv=arch.use_last_conv,
        )  # fmt: skip
        init_kaiming(self, fc_bias=False)
        if arch.freeze_befor is not None:
            freeze_up_to(self, arch.freeze_befor)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, H, W] -> logits [B, K]."""
        x = self.conv1(x)
        for number in range(2, 2 + len(_STAGES)):
            x = getattr(self, f"blocks{number}")(x)
        return self.classify(x)
