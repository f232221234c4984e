"""What the loader yields, and how it is filled by several threads."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.data.sharding import Indices, Share


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """One rank's part of a global batch.

    Attributes:
        images: float32 [B, C, H, W], normalised, RGB unless DecodeImage says otherwise.
        labels: int64 [B, 1], or float32 [B, K] where the images were mixed.
        indices: int64 [B], samples of the list.
        valid: bool [B], False for padding, which repeats another sample. Training trains on it, as PaddleClas
            does, an evaluation leaves it out, and neither counts it. False for bad images too
            in an evaluation.
        global_samples: Samples of all ranks' batches, padding left out.
        end: Place of the epoch's order after the global batch; where a resumed epoch goes on.
        bad_images: How many images of this part cannot be read, padding left out.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64] | NDArray[np.float32]
    indices: Indices
    valid: NDArray[np.bool_]
    global_samples: int
    end: int
    bad_images: int = 0


class Assembly:
    """A batch that is being filled; its memory is made when the first image says how large it is."""

    def __init__(self, share: Share, indices: Indices) -> None:
        self.share = share
        self.indices = indices
        self.drawn_labels = np.zeros(len(indices), dtype=np.int64)
        """Labels that an operation draws, where one does; set by whoever puts the image."""
        self.bad = np.zeros(len(indices), dtype=np.bool_)
        """Where an image could not be read; set by whoever was to put it."""
        self._images: NDArray[np.float32] | None = None
        self._lock = threading.Lock()

    def put(self, slot: int, image: NDArray[np.float32]) -> tuple[int, ...] | None:
        """Copy an image in; returns the shape that was expected where it has another one."""
        with self._lock:
            if self._images is None:
                self._images = np.empty((len(self.indices), *image.shape), dtype=np.float32)
        if self._images.shape[1:] != image.shape:
            return self._images.shape[1:]
        self._images[slot] = image
        return None

    def images(self) -> NDArray[np.float32]:
        """Return the images once all were put that can be read; of no known shape where none can."""
        if self._images is None:
            return np.zeros((len(self.indices), 1, 1, 1), dtype=np.float32)
        return self._images
