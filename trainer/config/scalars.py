"""Types of single values that several specs share."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema


def _fraction(value: Any) -> Any:  # whatever YAML gave
    """Read `1.0/255.0`, which PaddleClas evaluates; other text is left for the type to refuse."""
    if not isinstance(value, str):
        return value
    top, slash, bottom = value.partition("/")
    try:
        return float(top) / float(bottom) if slash else float(top)
    except (ValueError, ZeroDivisionError):
        return value


def _both(value: Any) -> Any:  # whatever YAML gave
    return (value, value) if isinstance(value, int) and not isinstance(value, bool) else value


def _three(value: object) -> object:
    return (value,) * 3 if isinstance(value, int | float) and not isinstance(value, bool) else value


def _one_or_more(value: Any) -> Any:  # whatever YAML gave
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


Split: TypeAlias = Literal["Train", "Eval"]
SPLITS: tuple[Split, ...] = ("Train", "Eval")
"""What `Loss`, `Metric` and `DataLoader` have one each of."""

LOWERED = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)
"""Makes a name one of small letters, as PaddleClas does where it says which library resizes, and how."""

Fraction = Annotated[
    float,
    BeforeValidator(_fraction),
    WithJsonSchema(
        {"anyOf": [{"type": "number"}, {"type": "string", "pattern": "^[0-9.e+-]+(/[0-9.e+-]+)?$"}]}
    ),
]
"""A number, or text such as `1.0/255.0`."""

_AMOUNT = re.compile(r"(\d{1,15}(?:\.\d{1,3})?)(Ki|Mi|Gi|Ti|k|M|G|T)?B?")
_UNITS = {
    "Ki": 1 << 10,
    "Mi": 1 << 20,
    "Gi": 1 << 30,
    "Ti": 1 << 40,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
}


def parse_amount(text: str) -> int:
    """Return the bytes of a text such as `20Gi` or `512M`, as Kubernetes writes them.

    Raises:
        ValueError: It is none.
    """
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise ValueError(f"expected an amount of memory such as 20Gi or 512M, got {text!r}")
    return int(float(found[1]) * _UNITS.get(found[2], 1))


def _amount(value: object) -> object:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, str):
        parse_amount(text)
    return text


Amount = Annotated[
    str,
    BeforeValidator(_amount),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": f"^{_AMOUNT.pattern}$"}]}),
]
"""Bytes, as a number or as Kubernetes writes them: `20Gi`, `512M`."""

Pixels: TypeAlias = tuple[int, int]
"""Width and height of an image."""

_MAX_WORKERS = 1024


def _workers(value: object) -> object:
    if value == "auto" or (type(value) is int and 0 <= value <= _MAX_WORKERS):
        return value
    if type(value) is int:
        bound = f"at most {_MAX_WORKERS}" if value > 0 else "0 or more"
        raise ValueError(f"expected a number of {bound}, or auto, got {value}")
    raise ValueError(f"expected auto or a whole number, got {value!r}")


Workers = Annotated[
    int | Literal["auto"],
    PlainValidator(_workers),
    WithJsonSchema(
        {"anyOf": [{"const": "auto"}, {"type": "integer", "minimum": 0, "maximum": _MAX_WORKERS}]}
    ),
]
"""Number of reader processes, or auto."""
Probability = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[int, Field(gt=0)]
Side = Annotated[int, Field(gt=0, le=1 << 16)]
"""Of an image, in pixels; to JPEG's own limit, beyond which only a mistake goes."""
Pair = Annotated[tuple[float, float], Field(strict=False)]
Floats = Annotated[tuple[float, ...], Field(strict=False)]
Ints = Annotated[tuple[int, ...], Field(strict=False)]

Size = Annotated[
    tuple[Side, Side],
    BeforeValidator(_both),
    Field(strict=False),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "exclusiveMinimum": 0},
                {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2},
            ]
        }
    ),
]
"""A side in pixels, or `[width, height]`."""

Stride = Size
"""A step in pixels, or `[down, across]`."""

Fill = Annotated[
    Floats,
    BeforeValidator(_three),
    Field(min_length=3, max_length=3),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "array", "items": {"type": "number"}}]}),
]
"""A level for all channels, or one for each."""

TopK = Annotated[
    tuple[Positive, ...],
    BeforeValidator(_one_or_more),
    Field(strict=False, min_length=1),
    WithJsonSchema(
        {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}, "minItems": 1}]}
    ),
]
"""One k or several."""
