"""ConvNeXt (Liu et al., 2022). Source: PaddleClas d178931, model_zoo/convnext.py."""

from __future__ import annotations

from itertools import pairwise

import paddle
from paddle import nn
from paddle.nn import functional

from trainer.config.archs_attention import ConvNeXtArch
from trainer.models.transformer_parts import drop_path, init_truncated, spread

_SIZES = {
    "tiny": ((3, 3, 9, 3), (96, 192, 384, 768)), "small": ((3, 3, 27, 3), (96, 192, 384, 768)),
    "base": ((3, 3, 27, 3), (128, 256, 512, 1024)), "large": ((3, 3, 27, 3), (192, 384, 768, 1536)),
}  # fmt: skip


class _ChannelNorm(nn.Layer):
    """Layer norm over the channels of [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__(name_scope="channels_first_layer_norm")  # its parameters' own names are made of it
        self.weight = self.create_parameter([channels], default_initializer=nn.initializer.Constant(1.0))
        self.bias = self.create_parameter([channels], default_initializer=nn.initializer.Constant(0.0))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, C, H, W] -> the same, each pixel of mean 0 and deviation 1 over C."""
        x = x.transpose([0, 2, 3, 1])
        x = functional.layer_norm(x, x.shape[-1:], self.weight, self.bias, epsilon=1e-6)
        return x.transpose([0, 3, 1, 2])


class _Block(nn.Layer):
    """Depthwise 7×7, norm, two linear layers with GELU, added to the input."""

    def __init__(self, channels: int, *, scale: float, path_rate: float) -> None:
        super().__init__(name_scope="block")
        self._scales, self._path_rate = scale > 0, path_rate
        if self._scales:
            self.gamma = self.create_parameter([channels], default_initializer=nn.initializer.Constant(scale))
        self.dwconv = nn.Conv2D(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, epsilon=1e-6)
        self.pwconv1 = nn.Linear(channels, 4 * channels)
        self.pwconv2 = nn.Linear(4 * channels, channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, C, H, W] -> the same."""
        y = self.norm(self.dwconv(x).transpose([0, 2, 3, 1]))
        y = self.pwconv2(functional.gelu(self.pwconv1(y)))
        if self._scales:
            y = self.gamma * y
        return x + drop_path(y.transpose([0, 3, 1, 2]), self._path_rate, training=self.training)


class ConvNeXt(nn.Layer):
    """ConvNeXt tiny, small, base and large."""

    def __init__(self, arch: ConvNeXtArch) -> None:
        super().__init__()
        depths, widths = _SIZES[arch.name.split("_")[1]]
        rates = iter(spread(arch.drop_path_rate, sum(depths)))
        self.downsample_layers = nn.LayerList(
            [nn.Sequential(nn.Conv2D(3, widths[0], 4, stride=4), _ChannelNorm(widths[0]))]
        )
        for inputs, outputs in pairwise(widths):
            self.downsample_layers.append(
                nn.Sequential(_ChannelNorm(inputs), nn.Conv2D(inputs, outputs, 2, stride=2))
            )
        self.stages = nn.LayerList(
            [
                nn.Sequential(
                    *(
                        _Block(width, scale=arch.layer_scale_init_value, path_rate=next(rates))
                        for _ in range(depth)
                    )
                )
                for depth, width in zip(depths, widths, strict=True)
            ]
        )
        self.norm = nn.LayerNorm(widths[-1], epsilon=1e-6)
        self.head = nn.Linear(widths[-1], arch.class_num)
        init_truncated(self, convolutions=True)
        if arch.head_init_scale != 1.0:
            self.head.weight.set_value(self.head.weight * arch.head_init_scale)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, H, W] -> logits [B, K]."""
        for index, down in enumerate(self.downsample_layers):  # paddle's export knows no strict zip
            x = self.stages[index](down(x))
        return self.head(self.norm(paddle.mean(x, axis=[-2, -1])))
