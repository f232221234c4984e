"""The mask of FmixOperator: a random grey picture of low frequencies, cut at a level.

PaddleClas d178931, ppcls/data/preprocess/ops/fmix.py (https://arxiv.org/abs/2002.12047).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from trainer.data.rng import Draws

Mask = NDArray[np.float64]


def draw_mask(
    draws: Draws, *, height: int, width: int, share: float, decay_power: float, max_soft: float
) -> Mask:
    """Draw a mask [H, W] between 0 and 1, of which `share` is 1.

    Draws the spectrum from NumPy, then from Python whether the number of ones is rounded up.

    Args:
        draws: Where from.
        height: Of the images.
        width: Of the images.
        share: Mean of the mask.
        decay_power: How fast the strength of a frequency falls with it.
        max_soft: Half the share of pixels between 0 and 1, at the edge; less where `share` leaves less.
    """
    levels = _low_frequencies(draws, height, width, decay_power).reshape(-1)
    highest = levels.argsort()[::-1]
    round_up = draws.python.random() > 0.5
    ones = math.ceil(share * levels.size) if round_up else math.floor(share * levels.size)
    soft = max_soft if max_soft <= min(share, 1 - share) else min(share, 1 - share)
    reach = int(levels.size * soft)
    mask = np.zeros(levels.size)
    mask[highest[: ones + reach]] = 1
    mask[highest[ones - reach :]] = 0
    edge = highest[ones - reach : ones + reach]
    mask[edge] = np.linspace(1, 0, len(edge))
    return mask.reshape(height, width)


def _low_frequencies(draws: Draws, height: int, width: int, decay_power: float) -> Mask:
    down = np.fft.fftfreq(height)[:, None]
    across = np.fft.fftfreq(width)[: width // 2 + (2 if width % 2 else 1)]
    frequencies = np.sqrt(across * across + down * down)
    strength = 1 / np.maximum(frequencies, 1 / max(width, height)) ** decay_power
    spectrum = strength[:, :, None] * draws.numpy.randn(1, *frequencies.shape, 2)[0]
    # Its first two rows, not its two parts, are added up as a complex number there, and so here.
    return np.asarray(np.fft.irfftn(spectrum[0] + 1j * spectrum[1], (height, width), axes=(0, 1)))
