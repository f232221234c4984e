"""BlurImage and PCALighting (PaddleClas d178931, ppcls/data/preprocess/ops/operators.py)."""

from __future__ import annotations

import cv2
import numpy as np

from trainer.config.ops_augment import BlurImage, PCALighting
from trainer.data.ops.registry import Operation, Pixels, implements
from trainer.data.rng import Draws

_DEVIATION = 0.1
_VALUES = np.array([0.2175, 0.0188, 0.0045], dtype=np.float32)
_VECTORS = np.array(
    [[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], dtype=np.float32
)
"""Principal components of ImageNet's colours, a column each, red first (AlexNet, NIPS 2012)."""


@implements(BlurImage)
def blur_image(spec: BlurImage) -> Operation:
    """Draw whether at all, how, then width and height of the kernel, or length and direction.

    Image uint8 [H, W, 3]. The draw whether at all is noted as a label.
    """

    def operation(image: Pixels, draws: Draws) -> Pixels:
        if draws.python.random() > spec.ratio:
            draws.labels[spec.label_key] = 0
            return image
        draws.labels[spec.label_key] = 1
        if draws.python.choice(("gaussian", "motion")) == "gaussian":
            width = _draw_length(spec.gaussian_max_ksize, draws)
            height = _draw_length(spec.gaussian_max_ksize, draws)
            blurred: Pixels = cv2.GaussianBlur(image, (width, height), 0)
            return blurred
        length = _draw_length(spec.motion_max_ksize, draws)
        widest = spec.motion_max_angle
        return _blur_along(image, length, int(draws.numpy.choice(2 * widest)) - widest)

    return operation


def _draw_length(below: int, draws: Draws) -> int:
    lengths = range(5, below, 2)
    return lengths[draws.numpy.choice(len(lengths))]


def _blur_along(image: Pixels, length: int, degrees: int) -> Pixels:
    """Blur along a line, then stretch the levels of all channels together to 0 … 255."""
    turn = cv2.getRotationMatrix2D((length / 2, length / 2), degrees, 1)
    kernel = cv2.warpAffine(np.diag(np.ones(length)), turn, (length, length)) / length
    blurred = cv2.filter2D(image, -1, kernel)
    stretched: Pixels = cv2.normalize(blurred, blurred, 0, 255, cv2.NORM_MINMAX)
    return stretched


@implements(PCALighting)
def pca_lighting(spec: PCALighting) -> Operation:
    """Draw three strengths from NumPy. Makes float32 [H, W, C]; a fourth channel stays as it is."""
    del spec

    def operation(image: Pixels, draws: Draws) -> Pixels:
        strengths = draws.numpy.normal(0, _DEVIATION, size=3).astype(np.float32)
        colour = (_VECTORS * strengths * _VALUES).sum(axis=1)
        lit = image.astype(np.float32)
        lit[:, :, :3] += colour
        return lit

    return operation
