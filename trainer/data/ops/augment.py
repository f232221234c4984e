"""RandomApply, blur, lighting, colour jitter and AugMix, declared in `trainer.config.ops_augment`.

Order of random numbers: PaddleClas d178931, ppcls/data/preprocess/ops/{operators,functional}.py; ColorJitter
is that of paddle.vision 3.3.1 for pictures (transforms.py, functional_pil.py).
"""

from __future__ import annotations

import cv2
import numpy as np
from PIL import Image

from trainer.config.ops_augment import (
    AugMix,
    BlurImage,
    ColorJitter,
    PCALighting,
    RandomApply,
    RawColorJitter,
)
from trainer.data.ops import pictures
from trainer.data.ops.pictures import Picture, Resample
from trainer.data.ops.registry import Operation, Pixels, implements, make_operation
from trainer.data.rng import Rng


@implements(RandomApply)
def random_apply(spec: RandomApply) -> Operation:
    """Draw whether at all, then what the operations draw. Image uint8 [H, W, 3]."""
    operations = [make_operation(op) for op in spec.transforms]

    def operation(image: Pixels, rng: Rng) -> Pixels:
        if spec.p < rng.numpy.rand():
            return image
        for inner in operations:
            image = inner(image, rng)
        return image

    return operation


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

    def operation(image: Pixels, rng: Rng) -> Pixels:
        if rng.python.random() > spec.ratio:
            rng.labels[spec.label_key] = 0
            return image
        rng.labels[spec.label_key] = 1
        if rng.python.choice(("gaussian", "motion")) == "gaussian":
            width = _draw_length(spec.gaussian_max_ksize, rng)
            height = _draw_length(spec.gaussian_max_ksize, rng)
            blurred: Pixels = cv2.GaussianBlur(image, (width, height), 0)
            return blurred
        length = _draw_length(spec.motion_max_ksize, rng)
        widest = spec.motion_max_angle
        return _blur_along(image, length, int(rng.numpy.choice(2 * widest)) - widest)

    return operation


def _draw_length(below: int, rng: Rng) -> int:
    lengths = range(5, below, 2)
    return lengths[rng.numpy.choice(len(lengths))]


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

    def operation(image: Pixels, rng: Rng) -> Pixels:
        strengths = rng.numpy.normal(0, _DEVIATION, size=3).astype(np.float32)
        colour = (_VECTORS * strengths * _VALUES).sum(axis=1)
        lit = image.astype(np.float32)
        lit[:, :, :3] += colour
        return lit

    return operation


@implements(ColorJitter)
def color_jitter(spec: ColorJitter) -> Operation:
    """Draw whether at all, then as RawColorJitter does. uint8 [H, W, 3]."""
    jitter = raw_color_jitter(spec)

    def operation(image: Pixels, rng: Rng) -> Pixels:
        return jitter(image, rng) if rng.numpy.random_sample() < spec.prob else image

    return operation


@implements(RawColorJitter)
def raw_color_jitter(spec: RawColorJitter) -> Operation:
    """Draw the order of the four, then a factor for each that is set. uint8 [H, W, 3]."""
    changes = [
        ("brightness", spec.brightness), ("contrast", spec.contrast),
        ("color", spec.saturation), ("hue", spec.hue),
    ]  # fmt: skip

    def operation(image: Pixels, rng: Rng) -> Pixels:
        picture = pictures.to_picture(image)
        order = list(changes)
        rng.python.shuffle(order)
        for name, strength in order:
            if strength == 0:
                continue
            if name == "hue":
                picture = _turn_hue(picture, rng.python.uniform(-strength, strength))
            else:
                factor = rng.python.uniform(max(1 - strength, 0), 1 + strength)
                picture = pictures.ENHANCE[name](picture, factor)
        return pictures.to_pixels(picture)

    return operation


def _turn_hue(picture: Picture, share: float) -> Picture:
    hue, saturation, value = picture.convert("HSV").split()
    turned = (np.array(hue).astype(np.int16) + int(share * 255)) % 256
    bands = (Image.fromarray(turned.astype(np.uint8)), saturation, value)
    return Image.merge("HSV", bands).convert(picture.mode)


_AUGMIX_NAMES = (
    "autocontrast", "equalize", "posterize", "rotate", "solarize", "shear_x", "shear_y", "translate_x",
    "translate_y",
)  # fmt: skip
_BLACK = (0, 0, 0)


@implements(AugMix)
def aug_mix(spec: AugMix) -> Operation:
    """Draw whether at all, the shares of the chains, that of all of them, then what each chain draws.

    Image uint8 [H, W, 3].
    """
    alpha, width = spec.aug_prob_coeff, spec.mixture_width

    def operation(image: Pixels, rng: Rng) -> Pixels:
        if rng.python.random() > spec.prob:
            return image
        shares = np.float32(rng.numpy.dirichlet([alpha] * width))
        whole = np.float32(rng.numpy.beta(alpha, alpha))
        mixed = np.zeros(image.shape)
        for share in shares:
            chained = pictures.to_picture(image)
            for _ in range(spec.mixture_depth if spec.mixture_depth > 0 else rng.numpy.randint(1, 4)):
                name = _AUGMIX_NAMES[rng.numpy.choice(len(_AUGMIX_NAMES))]
                chained = _augment(name, chained, spec.aug_severity, rng)
            # float32 products are added up in float64, as NumPy 2 does it there.
            mixed += share * np.asarray(chained, dtype=np.float32)
        kept = (np.float32(1) - whole) * image.astype(np.float32)
        blended: Pixels = (kept + whole * mixed).astype(np.uint8)
        return blended

    return operation


def _augment(name: str, picture: Picture, severity: float, rng: Rng) -> Picture:
    """Draw the strength, then the direction."""
    if name in pictures.PLAIN:
        return pictures.PLAIN[name](picture)
    level = rng.numpy.uniform(0.1, severity)
    if name == "posterize":
        return pictures.posterize(picture, 4 - int(level * 4 / 10))
    if name == "solarize":
        return pictures.solarize(picture, 256 - int(level * 256 / 10))
    if name == "rotate":
        degrees = _either(int(level * 30 / 10), rng)
        return pictures.rotate(picture, degrees, resample=Resample.BILINEAR, fill=_BLACK)
    kind, axis = name.split("_")
    if kind == "shear":
        factor = _either(level * 0.3 / 10, rng)
        return pictures.shear(picture, axis, factor, resample=Resample.BILINEAR, fill=_BLACK)
    side = picture.size[0 if axis == "x" else 1]
    pixels = _either(int(level * (side / 3) / 10), rng)
    return pictures.translate(picture, axis, pixels, resample=Resample.BILINEAR, fill=_BLACK)


def _either(value: float, rng: Rng) -> float:
    return -value if rng.numpy.random_sample() > 0.5 else value
