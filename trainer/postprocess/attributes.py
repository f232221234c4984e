"""Attributes: which output stands for what (PaddleClas 18acc25, ppcls/data/postprocess/attr_rec.py)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.config.postprocess import PersonAttribute, TableAttribute, VehicleAttribute

Row = NDArray[np.float32]

COLORS = ("yellow", "orange", "green", "gray", "red", "blue", "white", "golden", "brown", "black")
VEHICLES = ("sedan", "suv", "van", "hatchback", "mpv", "pickup", "bus", "truck", "estate")
AGES = ("AgeLess18", "Age18-60", "AgeOver60")
SIDES = ("Front", "Side", "Back")
BAGS = ("HandBag", "ShoulderBag", "Backpack")
UPPER = ("UpperStride", "UpperLogo", "UpperPlaid", "UpperSplice")
LOWER = ("LowerStripe", "LowerPattern", "LongCoat", "Trousers", "Shorts", "Skirt&Dress")
_HAT, _GLASSES, _SHORT_SLEEVE, _LONG_SLEEVE, _BOOTS, _HOLDS, _FEMALE = 0, 1, 2, 3, 14, 18, 22
_UPPER, _LOWER, _BAG, _AGE, _SIDE = slice(4, 8), slice(8, 14), slice(15, 18), slice(19, 22), slice(23, 26)
TABLE = (
    ("Scanned", "Photo"), ("Little", "Numerous"), ("Black-and-White", "Multicolor"), ("Clear", "Blurry"),
    ("Without-Obstacles", "With-Obstacles"), ("Horizontal", "Tilted"),
)  # fmt: skip


def answer_person(spec: PersonAttribute, row: Row) -> dict[str, list[Any]]:
    """Name the attributes of a pedestrian; `row` holds 26 probabilities."""
    thresholds = np.full(row.size, 0.5)  # PaddleClas keeps 0.5 in `output` whatever `threshold` says
    thresholds[_GLASSES], thresholds[_HOLDS] = spec.glasses_threshold, spec.hold_threshold
    worn = _above(LOWER, row[_LOWER], spec.threshold) or [_largest(LOWER, row[_LOWER])]
    sleeve = "LongSleeve" if row[_LONG_SLEEVE] > row[_SHORT_SLEEVE] else "ShortSleeve"
    return {
        "attributes": [
            "Female" if row[_FEMALE] > spec.threshold else "Male",
            _largest(AGES, row[_AGE]),
            _largest(SIDES, row[_SIDE]),
            f"Glasses: {bool(row[_GLASSES] > spec.glasses_threshold)}",
            f"Hat: {bool(row[_HAT] > spec.threshold)}",
            f"HoldObjectsInFront: {bool(row[_HOLDS] > spec.hold_threshold)}",
            _largest(BAGS, row[_BAG]) if row[_BAG].max() > spec.threshold else "No bag",
            " ".join(["Upper:", sleeve, *_above(UPPER, row[_UPPER], spec.threshold)]),
            " ".join(["Lower:", *worn]),
            "Boots" if row[_BOOTS] > spec.threshold else "No boots",
        ],
        "output": _output(row, thresholds),
    }


def answer_vehicle(spec: VehicleAttribute, row: Row) -> dict[str, list[Any]]:
    """Name colour and type of a vehicle; `row` holds 10 and 9 probabilities."""
    said = []
    for kind, names, part, threshold in (
        ("Color", COLORS, row[:10], spec.color_threshold), ("Type", VEHICLES, row[10:], spec.type_threshold),
    ):  # fmt: skip
        known = part.max() >= threshold
        said.append(
            f"{kind}: ({_largest(names, part)}, prob: {part.max():.5f})" if known else f"{kind} unknown"
        )
    thresholds = np.array([spec.color_threshold] * 10 + [spec.type_threshold] * 9)
    return {"attributes": said, "output": _output(row, thresholds)}


def answer_table(spec: TableAttribute, row: Row) -> dict[str, list[Any]]:
    """Name six attributes of a picture of a table, each by its own threshold.

    PaddleClas names the last two by `number_threshold`, while its `output` uses their own; ours agree.
    """
    thresholds = np.array(
        [
            spec.source_threshold, spec.number_threshold, spec.color_threshold, spec.clarity_threshold,
            spec.obstruction_threshold, spec.angle_threshold,
        ]
    )  # fmt: skip
    output = _output(row, thresholds)
    return {
        "attributes": [pair[0] if above else pair[1] for pair, above in zip(TABLE, output, strict=True)],
        "output": output,
    }


def _largest(names: Sequence[str], part: Row) -> str:
    return names[int(np.argmax(part))]


def _above(names: Sequence[str], part: Row, threshold: float) -> list[str]:
    return [name for name, value in zip(names, part, strict=True) if value > threshold]


def _output(row: Row, thresholds: NDArray[np.float64]) -> list[int]:
    return [int(above) for above in row > thresholds]
