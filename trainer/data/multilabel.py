"""Labels of several classes: `path<tab>0,1,1,0` a line (PaddleClas d178931, MultiLabelDataset)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from trainer.config.problems import show

SEPARATOR = "\t"


def parse_labels(text: str, *, class_num: int) -> tuple[int, ...]:
    """Read `0,1,1,0`, or raise ValueError with the sentence."""
    fields = [field.strip() for field in text.split(",")]
    odd = [field for field in fields if field not in ("0", "1")]
    if odd:
        raise ValueError(f"expected 0 or 1 for each class, with commas between, got {show(odd[0])}")
    if len(fields) != class_num:
        raise ValueError(
            f"expected {class_num} labels, got {len(fields)}; Arch.class_num is {class_num}: correct either"
        )
    return tuple(int(field) for field in fields)


def make_labels(labels: Sequence[Sequence[int]], *, ratio: bool) -> NDArray[np.float32]:
    """Return float32 [N, K], or [N, 2, K] with each class's share of ones beside the labels."""
    array = np.array(labels, dtype=np.float32)
    if not ratio:
        return array
    shares = np.broadcast_to(array.mean(axis=0, dtype=np.float64).astype(np.float32), array.shape)
    return np.stack([array, shares], axis=1)
