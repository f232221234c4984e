"""Swin transformer (Liu et al., 2021): attention in windows, which shift by half from block to block.

Source: PaddleClas d178931, legendary_models/swin_transformer.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional

from trainer.config.archs_attention import SwinArch
from trainer.models.transformer_parts import Mlp, drop_path, init_truncated, spread


@dataclass(frozen=True, slots=True)
class _Size:
    width: int
    depths: tuple[int, ...]
    heads: tuple[int, ...]
    path_rate: float


_SIZES = {
    "tiny": _Size(96, (2, 2, 6, 2), (3, 6, 12, 24), 0.2),
    "small": _Size(96, (2, 2, 18, 2), (3, 6, 12, 24), 0.3),
    "base": _Size(128, (2, 2, 18, 2), (4, 8, 16, 32), 0.5),
    "large": _Size(192, (2, 2, 18, 2), (6, 12, 24, 48), 0.1),
}


def pad(x: paddle.Tensor, side: int) -> paddle.Tensor:
    """Pad [B, H, W, C] with zeros at the bottom and on the right to multiples of `side`.

    PaddleClas pads both by a whole window where only one is no multiple; so does this.
    """
    height, width = x.shape[1:3]
    if height % side == 0 and width % side == 0:
        return x
    return functional.pad(x, [0, 0, 0, side - height % side, 0, side - width % side, 0, 0])


def to_windows(x: paddle.Tensor, side: int) -> paddle.Tensor:
    """[B, H, W, C] -> [B × windows, side × side, C]."""
    batch, height, width, channels = x.shape
    x = x.reshape([batch, height // side, side, width // side, side, channels])
    return x.transpose([0, 1, 3, 2, 4, 5]).reshape([-1, side * side, channels])


def from_windows(x: paddle.Tensor, side: int, height: int, width: int) -> paddle.Tensor:
    """Undo `to_windows`."""
    x = x.reshape([-1, height // side, width // side, side, side, x.shape[-1]])
    return x.transpose([0, 1, 3, 2, 4, 5]).reshape([-1, height, width, x.shape[-1]])


def shift_mask(height: int, width: int, *, side: int, shift: int) -> paddle.Tensor:
    """Keep pixels that only the shift made neighbours from seeing each other.

    Returns:
        float32 [windows, side², side²]: −100 where two pixels come from different regions, else 0.
    """
    regions = np.zeros((height, width), np.int64)
    cuts = (slice(0, -side), slice(-side, -shift), slice(-shift, None))
    for row, rows in enumerate(cuts):
        for column, columns in enumerate(cuts):
            regions[rows, columns] = 3 * row + column
    windows = regions.reshape(height // side, side, width // side, side)
    windows = windows.transpose(0, 2, 1, 3).reshape(-1, side * side)
    apart = windows[:, None, :] != windows[:, :, None]
    return paddle.to_tensor(np.where(apart, np.float32(-100.0), np.float32(0.0)))


def relative_index(side: int) -> paddle.Tensor:
    """Number each pair of a window's pixels by their offset: int64 [side², side²], below (2 side − 1)²."""
    places = np.stack(np.meshgrid(np.arange(side), np.arange(side), indexing="ij")).reshape(2, -1)
    rows, columns = places[:, :, None] - places[:, None, :] + side - 1
    return paddle.to_tensor((rows * (2 * side - 1) + columns).astype(np.int64))


class WindowAttention(nn.Layer):
    """Attention inside windows, with a learnt bias for each offset."""

    def __init__(self, width: int, *, side: int, heads: int, drop: float, attn_drop: float) -> None:
        super().__init__()
        self.relative_position_bias_table = self.create_parameter(
            [(2 * side - 1) ** 2, heads], default_initializer=nn.initializer.TruncatedNormal(std=0.02)
        )
        self.register_buffer("relative_position_index", relative_index(side))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.attn_drop, self.proj_drop = nn.Dropout(attn_drop), nn.Dropout(drop)
        self._heads, self._scale = heads, (width // heads) ** -0.5

    def forward(self, x: paddle.Tensor, mask: paddle.Tensor | None) -> paddle.Tensor:
        """Windows [B × W, N, C] and a mask [W, N, N] -> windows."""
        count, width = x.shape[1:]
        parts = self.qkv(x).reshape([-1, count, 3, self._heads, width // self._heads])
        query, key, value = parts.transpose([2, 0, 3, 1, 4]).unbind(0)
        weights = paddle.matmul(query * self._scale, key, transpose_y=True)
        bias = paddle.index_select(self.relative_position_bias_table, self.relative_position_index.flatten())
        weights = weights + bias.reshape([count, count, -1]).transpose([2, 0, 1])
        if mask is not None:
            windows = mask.shape[0]
            weights = weights.reshape([-1, windows, self._heads, count, count]) + mask.unsqueeze(1)
            weights = weights.reshape([-1, self._heads, count, count])
        weights = self.attn_drop(functional.softmax(weights, axis=-1))
        mixed = paddle.matmul(weights, value).transpose([0, 2, 1, 3]).reshape([-1, count, width])
        return self.proj_drop(self.proj(mixed))


class _Block(nn.Layer):
    """Attention in windows, which are shifted or not, and two linear layers."""

    def __init__(
        self, width: int, *, side: int, heads: int, shift: int, drop: float, attn_drop: float,
        path_rate: float,
    ) -> None:  # fmt: skip
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, side=side, heads=heads, drop=drop, attn_drop=attn_drop)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, 4 * width, drop=drop)
        self._side, self._shift, self._path_rate = side, shift, path_rate

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, H, W, C] -> the same."""
        height, width = x.shape[1:3]
        y = pad(self.norm1(x), self._side)
        tall, wide = y.shape[1:3]
        mask = None
        if self._shift:
            y = paddle.roll(y, (-self._shift, -self._shift), (1, 2))
            mask = shift_mask(tall, wide, side=self._side, shift=self._shift).astype(y.dtype)
        y = from_windows(self.attn(to_windows(y, self._side), mask), self._side, tall, wide)
        if self._shift:
            y = paddle.roll(y, (self._shift, self._shift), (1, 2))
        x = x + drop_path(y[:, :height, :width], self._path_rate, training=self.training)
        return x + drop_path(self.mlp(self.norm2(x)), self._path_rate, training=self.training)


class _Merge(nn.Layer):
    """Four neighbours become one pixel of twice the channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias_attr=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, H, W, C] -> [B, ⌈H / 2⌉, ⌈W / 2⌉, 2 C]."""
        height, width = x.shape[1:3]
        if height % 2 or width % 2:
            x = functional.pad(x, [0, 0, 0, height % 2, 0, width % 2, 0, 0])
        corners = [x[:, row::2, column::2] for column in (0, 1) for row in (0, 1)]
        return self.reduction(self.norm(paddle.concat(corners, axis=-1)))


class _Stage(nn.Layer):
    """Blocks of one width; all stages but the last halve the sides."""

    def __init__(self, blocks: list[_Block], *, width: int, merges: bool) -> None:
        super().__init__()
        self.blocks = nn.LayerList(blocks)
        self._merges = merges
        if merges:
            self.downsample = _Merge(width)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """float32 [B, H, W, C] -> the same, or merged."""
        for block in self.blocks:
            x = block(x)
        return self.downsample(x) if self._merges else x


class _Patches(nn.Layer):
    """Squares of 4 pixels as one pixel of `width` channels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2D(3, width, 4, stride=4)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, H, W] -> [B, ⌈H / 4⌉, ⌈W / 4⌉, width]."""
        x = pad(x.transpose([0, 2, 3, 1]), 4).transpose([0, 3, 1, 2])
        return self.norm(self.proj(x).transpose([0, 2, 3, 1]))


class SwinTransformer(nn.Layer):
    """Swin tiny, small, base and large."""

    def __init__(self, arch: SwinArch) -> None:
        super().__init__()
        kind, _, window, _ = arch.name.removeprefix("SwinTransformer_").split("_")
        size, side = _SIZES[kind], int(window.removeprefix("window"))
        path_rate = size.path_rate if arch.drop_path_rate is None else arch.drop_path_rate
        rates = iter(spread(path_rate, sum(size.depths)))
        self.patch_embed = _Patches(size.width)
        self.pos_drop = nn.Dropout(arch.drop_rate)
        self.layers = nn.LayerList()
        for stage, (depth, heads) in enumerate(zip(size.depths, size.heads, strict=True)):
            width = size.width * 2**stage
            blocks = [
                _Block(
                    width, side=side, heads=heads, shift=side // 2 if index % 2 else 0, drop=arch.drop_rate,
                    attn_drop=arch.attn_drop_rate, path_rate=next(rates),
                )
                for index in range(depth)
            ]  # fmt: skip
            self.layers.append(_Stage(blocks, width=width, merges=stage < len(size.depths) - 1))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, arch.class_num)
        init_truncated(self)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, H, W] -> logits [B, K]."""
        x = self.pos_drop(self.patch_embed(x))
        for stage in self.layers:
            x = stage(x)
        return self.head(paddle.mean(self.norm(x), axis=[1, 2]))
