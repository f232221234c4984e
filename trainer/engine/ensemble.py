"""Several networks, or several views of each image, as one network: its answer is the mean probability.

What comes out are logits again, those of the mean, so that losses, metrics and reports take it as any other
answer. The mean is taken of logarithms (`logsumexp`), since a probability that float32 holds as 0 has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import paddle
from paddle import nn
from paddle.nn import functional

from trainer.config.outputs import logits_of
from trainer.config.scalars import Pixels


@dataclass(frozen=True, kw_only=True, slots=True)
class Views:
    """How each image is looked at, besides as it is (test-time augmentation).

    Attributes:
        flip: Mirrored, too.
        scales: Smaller and larger, too, by `scaled_sides`, and each of them mirrored where `flip` says so.
    """

    flip: bool = False
    scales: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """As `trainer eval --tta` takes them."""
        return tuple(name for name, wanted in (("flip", self.flip), ("scales", self.scales)) if wanted)

    @property
    def count(self) -> int:
        """Forward passes of a network for an image."""
        return (2 if self.flip else 1) * (3 if self.scales else 1)

    def sizes(self, size: Pixels) -> tuple[Pixels, ...]:
        """Return the sizes in which an image of a size, in pixels, is looked at; the first is its own."""
        if not self.scales:
            return (size,)
        width, height = (scaled_sides(side) for side in size)
        return size, (width[0], height[0]), (width[1], height[1])


def scaled_sides(side: int) -> Pixels:
    """Return a smaller and a larger side: by an eighth, or by 32 pixels, which networks halve five times."""
    step = 32 if side % 32 == 0 and side >= 128 else max(1, round(side / 8))
    return max(1, side - step), side + step


class Ensemble(nn.Layer):  # type: ignore[misc]  # paddle has no types
    """Networks of one task as one."""

    def __init__(self, members: Sequence[nn.Layer], views: Views, *, several: bool) -> None:
        """Take networks.

        Args:
            members: At least one; each answers with logits [B, K], or with a mapping that holds them.
            views: How each of them looks at an image.
            several: Classes are questions by themselves (sigmoid); else one of them is right (softmax).
        """
        super().__init__()
        self.members = nn.LayerList(members)
        self._views = views
        self._several = several

    def forward(self, images: paddle.Tensor) -> paddle.Tensor:
        """Images float32 [B, C, H, W] -> the logits of the mean probabilities, float32 [B, K]."""
        found = [
            logits_of(member(view)).astype("float32")
            for view in self._look(images)
            for member in self.members
        ]
        if not self._several:
            return _log_mean([functional.log_softmax(logits, axis=-1) for logits in found])
        yes, no = (
            _log_mean([functional.log_sigmoid(sign * logits) for logits in found]) for sign in (1.0, -1.0)
        )
        return yes - no

    def _look(self, images: paddle.Tensor) -> Iterator[paddle.Tensor]:
        own = (int(images.shape[3]), int(images.shape[2]))
        for width, height in self._views.sizes(own):
            view = images
            if (width, height) != own:
                view = functional.interpolate(images, size=[height, width], mode="bilinear")
            yield view
            if self._views.flip:
                yield paddle.flip(view, axis=[3])


def _log_mean(logarithms: Sequence[paddle.Tensor]) -> paddle.Tensor:
    """Return the logarithm of the mean of numbers that are given by theirs."""
    return paddle.logsumexp(paddle.stack(list(logarithms)), axis=0) - math.log(len(logarithms))
