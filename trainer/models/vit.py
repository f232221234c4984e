"""Vision transformer (Dosovitskiy et al., 2021) and DeiT (Touvron et al., 2021).

Source: PaddleClas d178931, model_zoo/{vision_transformer,distilled_vision_transformer}.py.
"""

from __future__ import annotations

from dataclasses import dataclass

import paddle
from paddle import nn
from paddle.nn import functional

from trainer.config.archs_attention import ViTArch
from trainer.models.image_size import require_size
from trainer.models.transformer_parts import Mlp, drop_path, init_truncated, spread


@dataclass(frozen=True, kw_only=True, slots=True)
class _Size:
    width: int
    depth: int = 12
    heads: int
    ratio: int = 4
    bias: bool = True
    scale: float | None = None
    epsilon: float = 1e-6


_SIZES = {
    # Its scale of 1/√768, not of the head's width, is PaddleClas's.
    "ViT_small": _Size(width=768, depth=8, heads=8, ratio=3, bias=False, scale=768**-0.5, epsilon=1e-5),
    "ViT_base": _Size(width=768, heads=12),
    "ViT_large": _Size(width=1024, depth=24, heads=16),
    "DeiT_tiny": _Size(width=192, heads=3),
    "DeiT_small": _Size(width=384, heads=6),
    "DeiT_base": _Size(width=768, heads=12),
}


class _Attention(nn.Layer):
    """Each token takes from all others by how well its query fits their keys."""

    def __init__(self, size: _Size, *, drop: float, attn_drop: float) -> None:
        super().__init__()
        self.qkv = nn.Linear(size.width, 3 * size.width, bias_attr=None if size.bias else False)
        self.proj = nn.Linear(size.width, size.width)
        self.attn_drop, self.proj_drop = nn.Dropout(attn_drop), nn.Dropout(drop)
        self._heads = size.heads
        self._scale = size.scale or (size.width // size.heads) ** -0.5

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Tokens float32 [B, N, C] -> the same."""
        _, count, width = x.shape
        parts = self.qkv(x).reshape([-1, count, 3, self._heads, width // self._heads])
        query, key, value = parts.transpose([2, 0, 3, 1, 4]).unbind(0)
        weights = paddle.matmul(query, key, transpose_y=True) * self._scale
        weights = self.attn_drop(functional.softmax(weights, axis=-1))
        mixed = paddle.matmul(weights, value).transpose([0, 2, 1, 3]).reshape([-1, count, width])
        return self.proj_drop(self.proj(mixed))


class _Block(nn.Layer):
    """Attention and two linear layers, each added to what comes in."""

    def __init__(self, size: _Size, *, drop: float, attn_drop: float, path_rate: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(size.width, epsilon=size.epsilon)
        self.attn = _Attention(size, drop=drop, attn_drop=attn_drop)
        self.norm2 = nn.LayerNorm(size.width, epsilon=size.epsilon)
        self.mlp = Mlp(size.width, size.width * size.ratio, drop=drop)
        self._path_rate = path_rate

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Tokens float32 [B, N, C] -> the same."""
        x = x + drop_path(self.attn(self.norm1(x)), self._path_rate, training=self.training)
        return x + drop_path(self.mlp(self.norm2(x)), self._path_rate, training=self.training)


class _Patches(nn.Layer):
    """Squares of `patch` pixels as tokens of `width` channels."""

    def __init__(self, width: int, *, patch: int) -> None:
        super().__init__()
        self.proj = nn.Conv2D(3, width, patch, stride=patch)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, S, S] -> [B, (S / patch)², width]."""
        return self.proj(x).flatten(2).transpose([0, 2, 1])


class VisionTransformer(nn.Layer):
    """ViT and DeiT; a distilled one has a second token and head, and answers with both heads' mean."""

    def __init__(self, arch: ViTArch) -> None:
        family, kind, *middle, patch_text, _ = arch.name.split("_")
        size, distilled = _SIZES[f"{family}_{kind}"], bool(middle)
        super().__init__(name_scope=f"{'distilled_' if distilled else ''}vision_transformer")
        self._arch, patch = arch, int(patch_text.removeprefix("patch"))
        tokens = (arch.side // patch) ** 2 + (2 if distilled else 1)
        draw = nn.initializer.TruncatedNormal(std=0.02)

        def token(count: int) -> paddle.Tensor:
            return self.create_parameter([1, count, size.width], default_initializer=draw)

        position, cls = token(tokens), token(1)
        if distilled:
            position = token(tokens)  # PaddleClas makes it twice, and numbers its own names by that
        self.pos_embed, self.cls_token = position, cls
        if distilled:
            self.dist_token = token(1)
        self._distilled = distilled
        self.patch_embed = _Patches(size.width, patch=patch)
        self.pos_drop = nn.Dropout(arch.drop_rate)
        self.blocks = nn.LayerList(
            [
                _Block(size, drop=arch.drop_rate, attn_drop=arch.attn_drop_rate, path_rate=rate)
                for rate in spread(arch.drop_path_rate, size.depth)
            ]
        )
        self.norm = nn.LayerNorm(size.width, epsilon=size.epsilon)
        self.head = nn.Linear(size.width, arch.class_num)
        if distilled:
            self.head_dist = nn.Linear(size.width, arch.class_num)
        init_truncated(self)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, 3, S, S] with the size of the name -> logits [B, K].

        Raises:
            ImageSizeError: The images have another size.
        """
        if paddle.in_dynamic_mode():
            require_size(self._arch, x)
        patches = self.patch_embed(x)
        special = [self.cls_token, self.dist_token] if self._distilled else [self.cls_token]
        starts = [token.expand([x.shape[0], -1, -1]).astype(patches.dtype) for token in special]
        x = self.pos_drop(paddle.concat([*starts, patches], axis=1) + self.pos_embed)
        for block in self.blocks:
            x = block(x)
        x = self.norm(x)
        if self._distilled:
            return (self.head(x[:, 0]) + self.head_dist(x[:, 1])) / 2
        return self.head(x[:, 0])
