"""A module of a user with losses that make no number, or no gradient, of images of class 3."""

from __future__ import annotations

from typing import Any

from paddle.nn import functional

from trainer.extra import register_loss

ODD = 3


def is_odd(labels: Any) -> Any:
    """Return 1 where any label is the odd one, else 0, on the device."""
    return (labels == ODD).any().astype("float32")


@register_loss("NoNumber")
def no_number() -> Any:
    """Make cross entropy, divided by zero where a label is odd."""

    def compute(logits: Any, labels: Any) -> Any:
        return functional.cross_entropy(logits, labels) / (1 - is_odd(labels))

    return compute


@register_loss("NoGradient")
def no_gradient() -> Any:
    """Make cross entropy and a root, whose slope at zero is none."""

    def compute(logits: Any, labels: Any) -> Any:
        one = (1 - is_odd(labels)) * (1 + 0 * logits.sum())
        return functional.cross_entropy(logits, labels) + one.sqrt()

    return compute
