"""Pictures that are told apart, and what is measured of them."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images

from trainer.insight.image_facts import Facts, measure

Picture = NDArray[np.uint8]


@pytest.fixture(scope="session")
def photographs() -> list[Picture]:
    """Parts of two real photographs that share no pixel, sky and blur left out: uint8 [100, 100, 3], RGB."""
    parts = [
        np.ascontiguousarray(photo[top : top + 100, left : left + 100])
        for photo in load_sample_images().images
        for top in range(0, 327, 101)
        for left in range(0, 540, 101)
    ]
    return [
        part
        for part in parts
        if cv2.Laplacian(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), cv2.CV_32F).var() > 150
    ]


@pytest.fixture(scope="session")
def facts_of() -> Callable[[Picture], Facts]:
    """What is measured of a picture's JPEG."""

    def measured(picture: Picture) -> Facts:
        written = cv2.imencode(
            ".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92]
        )
        encoded = written[1].tobytes()
        decoded = cv2.imdecode(np.frombuffer(encoded, dtype=np.uint8), cv2.IMREAD_COLOR)
        return measure(encoded, cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB))

    return measured
