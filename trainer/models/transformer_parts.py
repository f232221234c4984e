"""What vision transformers, Swin and ConvNeXt share."""

from __future__ import annotations

import paddle
from paddle import nn
from paddle.nn import functional


def drop_path(x: paddle.Tensor, rate: float, *, training: bool) -> paddle.Tensor:
    """Leave a path out for single images, and scale the others so that the mean stays (Huang et al., 2016).

    Args:
        x: float [B, …].
        rate: Chance to be left out.
        training: Without it, nothing is left out.
    """
    if rate == 0.0 or not training:
        return x
    kept = paddle.floor(1.0 - rate + paddle.rand([x.shape[0]] + [1] * (x.ndim - 1))).astype(x.dtype)
    return x / (1.0 - rate) * kept


def spread(rate: float, count: int) -> list[float]:
    """Return rates for `count` blocks, from 0 for the first to `rate` for the last."""
    return [rate * index / max(count - 1, 1) for index in range(count)]


class Mlp(nn.Layer):
    """Two linear layers with GELU between them."""

    def __init__(self, width: int, hidden: int, *, drop: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.drop = nn.Dropout(drop)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """Tokens [B, N, C] -> [B, N, C]."""
        return self.drop(self.fc2(self.drop(functional.gelu(self.fc1(x)))))


def init_truncated(model: nn.Layer, *, convolutions: bool = False) -> None:
    """Draw linear layers' weights from a truncated normal distribution (σ 0.02); their biases are 0."""
    draw, zero = nn.initializer.TruncatedNormal(std=0.02), nn.initializer.Constant(0.0)
    for layer in model.sublayers():
        if isinstance(layer, nn.Linear) or (convolutions and isinstance(layer, nn.Conv2D)):
            draw(layer.weight)
            if layer.bias is not None:
                zero(layer.bias)
