"""HRNet (Wang et al., 2019): two, then three, then four branches of falling size that inform each other.

Widths, names and order: PaddleClas d178931, legendary_models/hrnet.py.
"""

from __future__ import annotations

from collections.abc import Sequence

import paddle
from paddle import ParamAttr, nn
from paddle.nn import functional

from trainer.config.archs_convolutional import HRNetArch
from trainer.models.image_size import require_size
from trainer.models.layers import Activation, ConvBN

_MODULES = {2: 1, 3: 4, 4: 3}
"""Modules of the stage of so many branches."""
_BLOCKS = 4
"""Residual blocks of a branch in a module, and of the trunk before the branches."""
_HEAD = (32, 64, 128, 256)
"""Inner channels of the block that ends each branch; the head goes on with four times as many."""
_FEATURES = 2048
"""Pixels of the image that one of the last branch stands for."""


def _conv(
    inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, act: Activation | None = "relu"
) -> ConvBN:
    return ConvBN(inputs, outputs, kernel, stride=stride, act=act, decay_norm=True, old_norm=True)


def _linear(inputs: int, outputs: int) -> nn.Linear:
    bound = inputs**-0.5
    return nn.Linear(
        inputs, outputs, weight_attr=ParamAttr(initializer=nn.initializer.Uniform(-bound, bound))
    )


class _Excite(nn.Layer):
    """Weighs channels by two linear layers of their means."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc_squeeze = _linear(channels, channels // 16)
        self.fc_excitation = _linear(channels // 16, channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, C, H, W] -> the same."""
        weights = functional.relu(self.fc_squeeze(functional.adaptive_avg_pool2d(x, 1).squeeze([2, 3])))
        return x * functional.sigmoid(self.fc_excitation(weights)).unsqueeze([2, 3])


class _Bottleneck(nn.Layer):
    """Residual block of a 1×1, a 3×3 and a 1×1 convolution; the last has four times the width."""

    def __init__(self, inputs: int, width: int, *, project: bool, excite: bool) -> None:
        super().__init__()
        self._projects, self._excites = project, excite
        self.conv1 = _conv(inputs, width, 1)
        self.conv2 = _conv(width, width)
        self.conv3 = _conv(width, 4 * width, 1, act=None)
        if project:
            self.conv_down = _conv(inputs, 4 * width, 1, act=None)
        if excite:
            self.se = _Excite(4 * width)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, inputs, H, W] -> [B, 4 width, H, W]."""
        y = self.conv3(self.conv2(self.conv1(x)))
        short = self.conv_down(x) if self._projects else x
        return functional.relu(short + (self.se(y) if self._excites else y))


class _Basic(nn.Layer):
    """Residual block of two 3×3 convolutions."""

    def __init__(self, channels: int, *, excite: bool) -> None:
        super().__init__()
        self._excites = excite
        self.conv1 = _conv(channels, channels)
        self.conv2 = _conv(channels, channels, act=None)
        if excite:
            self.se = _Excite(channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, C, H, W] -> the same."""
        y = self.conv2(self.conv1(x))
        return functional.relu(x + (self.se(y) if self._excites else y))


class _Fuse(nn.Layer):
    """Adds to each branch all others, brought to its size and channels."""

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.residual_func_list = nn.LayerList()  # flat, in the order target, source, step
        self._paths: list[list[list[nn.Layer]]] = []  # by target and source
        for target, outputs in enumerate(channels):
            paths = []
            for source, inputs in enumerate(channels):
                path = [_conv(inputs, inputs, stride=2) for _ in range(target - source - 1)]
                if source < target:
                    path.append(_conv(inputs, outputs, stride=2, act=None))
                elif source > target:
                    path.append(_conv(inputs, outputs, 1, act=None))
                self.residual_func_list.extend(path)
                paths.append(path)
            self._paths.append(paths)

    def forward(self, branches: list[paddle.Tensor]) -> list[paddle.Tensor]:
        """Branches float32 [B, C_i, H / 2^i, W / 2^i] -> as many of the same shapes."""
        return [functional.relu(self._gather(branches, target)) for target in range(len(branches))]

    def _gather(self, branches: list[paddle.Tensor], target: int) -> paddle.Tensor:
        total = branches[target]
        for source in range(len(branches)):
            if source != target:
                total = total + self._bring(branches[source], source, target)
        return total

    def _bring(self, x: paddle.Tensor, source: int, target: int) -> paddle.Tensor:
        for layer in self._paths[target][source]:
            x = layer(x)
        if source > target:
            x = functional.interpolate(x, scale_factor=2 ** (source - target), mode="nearest")
        return x


class _Module(nn.Layer):
    """Residual blocks in each branch by itself, then an exchange between all."""

    def __init__(self, channels: Sequence[int], *, excite: bool) -> None:
        super().__init__()
        self.basic_block_list = nn.LayerList(
            [nn.Sequential(*(_Basic(width, excite=excite) for _ in range(_BLOCKS))) for width in channels]
        )
        self.fuse_func = _Fuse(channels)

    def forward(self, branches: list[paddle.Tensor]) -> list[paddle.Tensor]:
        """Branches -> as many of the same shapes."""
        apart = [block(branches[index]) for index, block in enumerate(self.basic_block_list)]
        fused: list[paddle.Tensor] = self.fuse_func(apart)
        return fused


class _Stage(nn.Layer):
    """Modules one after the other."""

    def __init__(self, channels: Sequence[int], *, excite: bool) -> None:
        super().__init__()
        self.stage_func_list = nn.LayerList(
            [_Module(channels, excite=excite) for _ in range(_MODULES[len(channels)])]
        )

    def forward(self, branches: list[paddle.Tensor]) -> list[paddle.Tensor]:
        """Branches -> as many of the same shapes."""
        for module in self.stage_func_list:
            branches = module(branches)
        return branches


class _BranchEnds(nn.Layer):
    """A bottleneck at the end of each branch."""

    def __init__(self, channels: Sequence[int], *, excite: bool) -> None:
        super().__init__()
        self.func_list = nn.LayerList(
            [
                _Bottleneck(inputs, width, project=True, excite=excite)
                for inputs, width in zip(channels, _HEAD, strict=True)
            ]
        )

    def forward(self, branches: list[paddle.Tensor]) -> list[paddle.Tensor]:
        """Branches -> as many of the same sizes, with the channels that the head takes."""
        return [block(branches[index]) for index, block in enumerate(self.func_list)]


class HRNet(nn.Layer):
    """HRNet of the widths W18 to W64; each branch has exactly half the size of the one before."""

    def __init__(self, arch: HRNetArch) -> None:
        super().__init__()
        self._arch = arch
        width, excite = int(arch.name.split("_W")[1].removesuffix("_C")), arch.name.startswith("SE_")
        channels = tuple(width * factor for factor in (1, 2, 4, 8))
        self.conv_layer1_1 = _conv(3, 64, stride=2)
        self.conv_layer1_2 = _conv(64, 64, stride=2)
        self.layer1 = nn.Sequential(
            *(
                _Bottleneck(256 if index else 64, 64, project=index == 0, excite=excite)
                for index in range(_BLOCKS)
            )
        )
        self.conv_tr1_1 = _conv(256, channels[0])
        self.conv_tr1_2 = _conv(256, channels[1], stride=2)
        self.st2 = _Stage(channels[:2], excite=excite)
        self.conv_tr2 = _conv(channels[1], channels[2], stride=2)
        self.st3 = _Stage(channels[:3], excite=excite)
        self.conv_tr3 = _conv(channels[2], channels[3], stride=2)
        self.st4 = _Stage(channels, excite=excite)
        self.last_cls = _BranchEnds(channels, excite=excite)
        self.cls_head_conv_list = nn.LayerList(
            [_conv(4 * width, 8 * width, stride=2) for width in _HEAD[:-1]]
        )
        self.conv_last = _conv(4 * _HEAD[-1], _FEATURES, 1)
        self.fc = _linear(_FEATURES, arch.class_num)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, H, W] -> logits [B, K].

        Raises:
            ImageSizeError: A side of the images is no multiple of 32.
        """
        if paddle.in_dynamic_mode():
            require_size(self._arch, x)
        x = self.layer1(self.conv_layer1_2(self.conv_layer1_1(x)))
        branches = self.st2([self.conv_tr1_1(x), self.conv_tr1_2(x)])
        branches = self.st3([*branches, self.conv_tr2(branches[-1])])
        branches = self.st4([*branches, self.conv_tr3(branches[-1])])
        x, *others = self.last_cls(branches)
        for index, layer in enumerate(self.cls_head_conv_list):
            x = others[index] + layer(x)
        return self.fc(paddle.flatten(functional.adaptive_avg_pool2d(self.conv_last(x), 1), 1))
