"""Random changes of colour and shape: AutoAugment, RandAugment and their kin, and RandomApply.

Pillow makes them. Parameters and defaults: PaddleClas d178931, ppcls/data/preprocess/__init__.py and
ppcls/data/preprocess/ops/{timm_autoaugment,autoaugment,randaugment,operators}.py.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator

from trainer.config.ops import STAGES, ImageOp
from trainer.config.registry import Registry, Spec, keyed, lazy
from trainer.config.scalars import LOWERED, Floats, Fraction, Ints, Positive, Probability, Size

Colour = Annotated[Ints, Field(min_length=3, max_length=3)]
Strength = Annotated[float, Field(ge=0)]
_STRONGEST = 100.0
Magnitude = Annotated[float, Field(ge=0, le=_STRONGEST)]
"""A strength of which 10 is the usual most; PaddleClas goes on by magnitude / 10 beyond it."""
_SECTION = re.compile(r"([a-z]+)(\d+(?:\.\d+)?)")
_POLICIES = ("original", "originalr", "v0", "v0r")
_KEYS: dict[str, dict[str, type[int] | type[float]]] = {
    **{policy: {"mstd": float} for policy in _POLICIES},
    "rand": {"m": int, "n": int, "w": int, "mstd": float, "inc": int},
    "augmix": {"m": int, "w": int, "d": int, "a": float, "b": int, "mstd": float},
}
_MOST_WEIGHTED = 13  # two of the fifteen operations have weight 0


class TimmAutoAugment(ImageOp):
    """Apply operations drawn at random, as `config_str` says in timm's words."""

    prob: Fraction = 1.0
    """Probability that an image is touched."""
    config_str: str = "rand-m9-mstd0.5-inc1"
    """`rand-m9-n2-w0-mstd0.5-inc1` (RandAugment) or `augmix-m3-w3-d2-a1.0-b1-mstd0.5` (AugMix); parts after
    the first may be left out. m: magnitude of 10; n: operations an image; w0: draw some more often; mstd:
    deviation of the magnitude; inc1: stronger with m; w, d: chains of AugMix and their length; a: alpha; b1:
    blend the chains one by one. `original`, `originalr`, `v0` and `v0r`, each with `-mstd0.5`, are timm's
    policies of AutoAugment."""
    interpolation: Annotated[Literal["bicubic", "bilinear", "random"], LOWERED] = "bicubic"
    """Where an image is sheared, moved or turned; random draws bicubic or bilinear each time."""
    img_size: Size = (224, 224)
    """Changes nothing: both policies move images by a share of their size."""
    mean: Floats = (0.485, 0.456, 0.406)
    """Colour of what an image does not cover, as a share of 255."""

    @model_validator(mode="after")
    def _policy(self) -> TimmAutoAugment:
        if len(self.mean) != 3:
            raise ValueError(f"expected 3 numbers in mean, one a channel, got {len(self.mean)}")
        parse_policy(self.config_str)
        return self

    @field_validator("config_str", mode="before")
    @classmethod
    def _some_policy(cls, text: object) -> object:
        if text is None:
            raise ValueError(
                "expected text such as 'rand-m9-mstd0.5-inc1', got nothing (null), with which PaddleClas "
                "fails too; remove TimmAutoAugment to train without it"
            )
        return text


def parse_policy(text: str) -> tuple[str, dict[str, float]]:
    """Read `config_str`: the kind of policy, and the numbers that it gives.

    Raises:
        ValueError: It is no policy; says why.
    """
    kind, *sections = text.split("-")
    if kind not in _KEYS:
        raise ValueError(
            f"expected config_str of 'rand-…', 'augmix-…' or one of {', '.join(_POLICIES)}, got {text!r}; "
            "AutoAugment as timm has it is original-mstd0.5"
        )
    values: dict[str, float] = {}
    for section in sections:
        match = _SECTION.fullmatch(section)
        number = _KEYS[kind].get(match[1]) if match else None
        if match is None or number is None or (number is int and "." in match[2]):
            raise ValueError(
                f"expected parts such as {', '.join(f'{key}1' for key in _KEYS[kind])} in config_str, "
                f"got {section!r} in {text!r}"
            )
        if match[1] in values:
            raise ValueError(f"expected {match[1]} once in config_str, got it twice in {text!r}")
        values[match[1]] = number(match[2])
    _refuse(kind, values, text)
    return kind, values


def _refuse(kind: str, values: dict[str, float], text: str) -> None:
    for key in ("inc", "b"):
        if values.get(key, 1) != 1:
            raise ValueError(
                f"expected {key}1 or no {key} in config_str, got {text!r}; PaddleClas takes {key}0 for {key}1"
            )
    if kind == "augmix":
        if values.get("w", 1) < 1 or values.get("a", 1) <= 0:
            raise ValueError(f"expected w and a above 0 in config_str, got {text!r}")
        return
    if values.get("w", 0) != 0:
        raise ValueError(f"expected w0 or no w in config_str, got {text!r}: there is one set of weights")
    if "w" in values and values.get("n", 1) > _MOST_WEIGHTED:
        raise ValueError(f"expected at most n{_MOST_WEIGHTED} with w0 in config_str, got {text!r}")


class AutoAugment(ImageOp):
    """Apply one of 25 pairs of operations that AutoAugment found on ImageNet."""

    fillcolor: Colour = (128, 128, 128)
    """Of what a sheared or moved image does not cover; a turned one has grey there."""


class RandAugment(ImageOp):
    """Apply operations drawn from 14."""

    num_layers: Positive = 2
    """Operations an image."""
    magnitude: Magnitude = 5
    """Strength, of 10."""
    fillcolor: Colour = (128, 128, 128)


class RandAugmentV2(RandAugment):
    """Apply operations drawn from 16, as EfficientNetV2 does."""

    progress_magnitude: (
        Annotated[tuple[Magnitude, ...], Field(strict=False, min_length=STAGES, max_length=STAGES)] | None
    ) = None
    """The magnitude in each quarter of the epochs, instead, with `Global.train_mode: progressive`."""

    @property
    def staged_keys(self) -> tuple[str, ...]:
        """The magnitudes."""
        return ("progress_magnitude",) if self.progress_magnitude is not None else ()

    def in_stage(self, stage: int) -> RandAugmentV2:
        """With the stage's magnitude."""
        if self.progress_magnitude is None:
            return self
        return self.model_copy(update={"magnitude": self.progress_magnitude[stage]})


class RandAugmentV3(ImageOp):
    """Apply operations drawn from 14, as MobileViTV2 does."""

    num_layers: Positive = 2
    magnitude: Magnitude = 3
    fillcolor: Colour = (0, 0, 0)
    interpolation: Annotated[Literal["bicubic", "bilinear"], LOWERED] = "bicubic"


class RandAugmentV4(ImageOp):
    """Apply a pair of 15 operations at 9 strengths, each of the two with 0.5, as ML-Decoder does."""


class AugMix(ImageOp):
    """Mix an image with chains of operations drawn from 9 (https://arxiv.org/abs/1912.02781)."""

    prob: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability that an image is touched."""
    aug_prob_coeff: Annotated[float, Field(gt=0)] = 0.1
    """Of the Dirichlet and the Beta distribution that the shares are drawn from."""
    mixture_width: Positive = 3
    """Chains."""
    mixture_depth: int = 1
    """Operations a chain; 0 or below draws 1, 2 or 3 for each."""
    aug_severity: Annotated[float, Field(gt=0, le=_STRONGEST)] = 1
    """The strength of each operation is drawn between 0.1 and this, of 10."""


class PCALighting(ImageOp):
    """Add a colour along the principal components of ImageNet's, with a deviation of 0.1, in float32."""

    whole_numbers: ClassVar[bool] = False
    makes_floats: ClassVar[bool] = True


class BlurImage(ImageOp):
    """Blur an image evenly or in a direction; draws the label `blur_image`, 1 for a blurred one."""

    label_key: ClassVar[str] = "blur_image"
    labels: ClassVar[int] = 2

    ratio: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Probability that an image is touched."""
    motion_max_ksize: Annotated[int, Field(ge=6)] = 12
    """The length of a blur in a direction is drawn from 5, 7, … below this."""
    motion_max_angle: Positive = 45
    """Its direction is drawn between − this and this, in degrees."""
    gaussian_max_ksize: Annotated[int, Field(ge=6)] = 12
    """Width and height of an even blur's kernel are drawn from 5, 7, … below this."""


class RawColorJitter(ImageOp):
    """Paddle's ColorJitter, which draws no probability; only RandomApply names it."""

    brightness: Strength = 0
    """The factor is drawn between 1 − this, at least 0, and 1 + this."""
    contrast: Strength = 0
    saturation: Strength = 0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0
    """The turn of the hue is drawn between − this and this."""


class ColorJitter(RawColorJitter):
    """Change brightness, contrast, saturation and hue, in a random order."""

    prob: Fraction = 2.0
    """Probability that an image is touched."""


APPLIED_OPS = Registry(
    RawColorJitter, RandAugment, RandAugmentV2, RandAugmentV3, RandAugmentV4, ColorJitter,
    *lazy("trainer.config.ops_vision", "RandomGrayscale"),
    AutoAugment, TimmAutoAugment, AugMix, BlurImage,
)  # fmt: skip
"""PaddleClas knows the first five in it; whatever changes the colours of uint8 [H, W, 3] may stand there."""
if TYPE_CHECKING:
    AppliedOp: TypeAlias = Spec
else:  # the union that chooses by name exists at run time only
    AppliedOp = keyed(APPLIED_OPS)


class RandomApply(ImageOp):
    """Apply some operations, all or none."""

    p: Probability
    """Probability that an image is touched."""
    transforms: Annotated[tuple[AppliedOp, ...], Field(strict=False, min_length=1)]

    def makes_picture(self, given: bool) -> bool:
        """It gives back what it gets."""
        return given
