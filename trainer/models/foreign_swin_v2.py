"""The forward pass of SwinTransformerV2 for the package paddleclas, whose own cannot run.

In paddleclas 2.6.0 `PatchEmbed`, `BasicLayer`, the block and `PatchMerging` were changed in halves: some take
and return the size of the grid, others use names for it that nothing defines (`output_dimensions`,
`input_dimensions`, `height_pad`), so that each of its nine networks ends in a NameError at the first step.
Constructors, weights and attention are whole, so only the way through them is given here, by Liu et al.,
"Swin Transformer V2" (2022), section 3: attention and MLP are normalised after, not before, they are added.
"""

from __future__ import annotations

from typing import Any

import paddle
from paddle import nn

from trainer.models.swin import from_windows, shift_mask, to_windows


def lacks_forward(network: nn.Layer) -> bool:
    """Whether this is a network whose patch embedding returns a name that its module does not define."""
    code = getattr(getattr(type(getattr(network, "patch_embed", None)), "forward", None), "__code__", None)
    return code is not None and "output_dimensions" in code.co_names  # names looked up outside the function


def give_forward(network: Any) -> None:
    """Have a network that `lacks_forward` go through its layers as the paper says."""
    network.forward_features = lambda images: _features(network, images)


def _features(network: Any, images: paddle.Tensor) -> paddle.Tensor:
    """float32 [B, 3, H, W], H and W as the network was built for, -> [B, channels]."""
    embedding = network.patch_embed
    tokens = embedding.proj(images).flatten(2).transpose([0, 2, 1])
    if embedding.norm is not None:
        tokens = embedding.norm(tokens)
    if network.ape:
        tokens = tokens + network.absolute_pos_embed
    tokens = network.pos_drop(tokens)
    for stage in network.layers:
        for block in stage.blocks:
            tokens = _block(block, tokens)
        if stage.downsample is not None:
            tokens = _merge(stage.downsample, tokens)
    pooled = network.avgpool(network.norm(tokens).transpose([0, 2, 1]))
    return pooled.flatten(1)


def _block(block: Any, tokens: paddle.Tensor) -> paddle.Tensor:
    """[B, H · W, C] -> the same. No window needs padding: a size is a multiple of its stage's window."""
    height, width = block.input_resolution
    side, shift = block.window_size, block.shift_size
    grid = tokens.reshape([-1, height, width, tokens.shape[-1]])
    mask = None
    if shift:
        grid = paddle.roll(grid, (-shift, -shift), (1, 2))
        mask = shift_mask(height, width, side=side, shift=shift).astype(grid.dtype)
    grid = from_windows(block.attn(to_windows(grid, side), mask), side, height, width)
    if shift:
        grid = paddle.roll(grid, (shift, shift), (1, 2))
    tokens = tokens + block.drop_path(block.norm1(grid.reshape(tokens.shape)))
    return tokens + block.drop_path(block.norm2(block.mlp(tokens)))


def _merge(downsample: Any, tokens: paddle.Tensor) -> paddle.Tensor:
    """[B, H · W, C] -> [B, H · W / 4, 2 C]: the four pixels of a square side by side, as in the package."""
    height, width = downsample.input_resolution
    channels = tokens.shape[-1]
    squares = tokens.reshape([-1, height // 2, 2, width // 2, 2, channels]).transpose([0, 1, 3, 4, 2, 5])
    return downsample.norm(downsample.reduction(squares.reshape([-1, height * width // 4, 4 * channels])))
