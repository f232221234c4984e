from __future__ import annotations

import random

import numpy as np
import pytest

from tests.trainer.data.conftest import IDENTITY, draw, encode, run
from trainer.data.ops.registry import ImageError


def test_a_random_part_is_cut_out() -> None:
    for seed in range(8):
        python = random.Random(seed)
        top, left = python.randint(0, 20), python.randint(0, 10)
        result = run(encode(draw(1)), {"RandomCropImage": {"size": [30, 10]}}, IDENTITY, seed=seed)
        assert np.array_equal(result, draw(1)[top : top + 10, left : left + 30, ::-1])


def test_a_part_larger_than_the_image_is_refused() -> None:
    with pytest.raises(ImageError, match="expected at least 41 × 41 pixels, got 40 × 30"):
        run(encode(draw(1)), {"RandomCropImage": {"size": 41}}, IDENTITY)
