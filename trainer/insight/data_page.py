"""The page of a data report: one file of HTML, without scripts and without a network.

Whatever comes from the data, names of classes, paths and texts of lists, is escaped by the template engine
and set apart from the text around it (`bdi`), so that a name from right to left turns nothing around it. The
page's own security policy allows pictures that are inside of it, and nothing else.

Pictures are made small and counted against a budget, so that the page of a thousand classes stays below
`_MAX_BYTES`: first those that show what is wrong, then as many of each class as are left.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from PIL import Image

from trainer.config.sections import MAX_IMAGE_PIXELS
from trainer.data.encoded import read_encoded
from trainer.errors import ImageError
from trainer.insight.data_health import DataHealth, Finding, Group, Sample, Split, classes_of

_MAX_BYTES = 4_500_000
"""Of pictures, as they stand in the page."""
_SIDE, _SIDE_OF_MANY, _MANY = 112, 64, 100
"""Longest side of a picture in pixels; the second one where there are more than so many classes."""
_GROUPS, _OF_A_GROUP, _OF_A_CLASS = 24, 4, 16
_MAX_CLASSES = 1000
_BARS = 32


def make_page(
    health: DataHealth, splits: Sequence[Split], *, names: Sequence[str], version: str,
    max_pixels: int = MAX_IMAGE_PIXELS,
) -> str:  # fmt: skip
    """Return the page as HTML.

    Args:
        health: What it shows.
        splits: The lists behind it.
        names: Of the classes, by label.
        version: Of this program.
        max_pixels: Images that claim more are not shown.
    """
    pictures = _Pictures(_SIDE_OF_MANY if len(health.classes) > _MANY else _SIDE, max_pixels)
    shown = {finding.kind: _picture_groups(finding, pictures) for finding in health.findings}
    sheets, left_out = _sheets(health, splits, pictures)

    def name_of(sample: Sample) -> str:
        if not health.classes or sample.label < 0:
            return ""
        return names[sample.label] if sample.label < len(names) else f"class {sample.label}"

    room = files("trainer.insight") / "pages"
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((room / "data_report.html.j2").read_text("utf-8"))
    # Text that no display can show (half of a surrogate pair of a file's name) would not be writable.
    return template.render(
        health=health, oddities=[of for of in health.findings if not of.is_problem],
        sources=[split.listed.source for split in splits], css=(room / "page.css").read_text("utf-8"),
        median=_median(health), histogram=_histogram(health), groups_of=lambda finding: shown[finding.kind],
        names=name_of, sheets=sheets, left_out_classes=left_out, max_classes=_MAX_CLASSES, version=version,
        most=max((max(of.counts.values()) for of in health.classes), default=1),
    ).encode("utf-8", "backslashreplace").decode("utf-8")  # fmt: skip


class _Pictures:
    """Makes small pictures until the budget is spent."""

    def __init__(self, side: int, max_pixels: int) -> None:
        self._side, self._max_pixels = side, max_pixels
        self._made: dict[str, str] = {}
        self._left = _MAX_BYTES

    def make(self, path: str) -> str:
        """Return a picture as an address that holds it; empty where it cannot be had or would be too much."""
        if path not in self._made:
            made = self._read(path) if self._left > 0 and path else ""
            self._left -= len(made)
            self._made[path] = made
        return self._made[path]

    def _read(self, path: str) -> str:
        try:
            encoded = read_encoded(Path(path), max_pixels=self._max_pixels)
            with Image.open(io.BytesIO(encoded.data)) as opened:
                opened.draft("RGB", (self._side, self._side))
                small = opened.convert("RGBA" if "transparency" in opened.info else "RGB").convert("RGB")
        except (ImageError, OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError):
            return ""
        small.thumbnail((self._side, self._side))
        written = io.BytesIO()
        small.save(written, "JPEG", quality=70, optimize=True)
        return f"data:image/jpeg;base64,{base64.b64encode(written.getvalue()).decode()}"


def _picture_groups(finding: Finding, pictures: _Pictures) -> list[list[tuple[Sample, str, str]]]:
    return [
        [
            (sample, pictures.make(sample.path), finding.details.get(place, ""))
            for sample in group[:_OF_A_GROUP]
        ]
        for place, group in enumerate(finding.groups[:_GROUPS])
    ]


def _sheets(
    health: DataHealth, splits: Sequence[Split], pictures: _Pictures
) -> tuple[list[tuple[str, list[tuple[Sample, str]]]], int]:
    """Return some pictures of each class of the first list, and of how many classes there are none."""
    if not splits or not health.classes:
        return [], 0
    most = max(1, min(_OF_A_CLASS, 1200 // len(health.classes)))
    chosen = _choose(splits[0], most)
    sheets = []
    for of in health.classes[:_MAX_CLASSES]:
        made = [(sample, pictures.make(sample.path)) for sample in chosen.get(of.label, ())]
        if shown := [(sample, picture) for sample, picture in made if picture]:
            sheets.append((of.name, shown))
    return sheets, len(health.classes) - len(sheets)


def _choose(split: Split, most: int) -> Mapping[int, Group]:
    """Return samples of each class, spread evenly over the list."""
    of_class: dict[int, list[int]] = {}
    for place, path in enumerate(split.paths):
        for label in classes_of(split.listed, place) if path else ():
            of_class.setdefault(label, []).append(place)
    return {
        label: tuple(
            Sample(split=split.name, place=split.place(at), path=split.paths[at], label=label)
            for at in (
                places[k * len(places) // min(most, len(places))] for k in range(min(most, len(places)))
            )
        )
        for label, places in of_class.items()
    }


def _median(health: DataHealth) -> tuple[int, int] | None:
    if len(health.sizes) == 0:
        return None
    width, height = np.median(health.sizes, axis=0)
    return round(float(width)), round(float(height))


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bar:
    x: float
    width: float
    height: float
    label: str
    title: str


def _histogram(health: DataHealth) -> list[_Bar]:
    if len(health.sizes) < 2:
        return []
    sides = health.sizes.min(axis=1)
    counts, edges = np.histogram(sides, bins=_BARS)
    width, most = 640 / _BARS, max(1, int(counts.max()))
    return [
        _Bar(
            x=round(index * width, 1), width=round(width - 2, 1), height=round(100 * int(count) / most, 1),
            label=f"{edges[index]:.0f}" if index % 8 == 0 else "",
            title=f"{edges[index]:.0f} to {edges[index + 1]:.0f} pixels: {int(count)} images",
        )
        for index, count in enumerate(counts)
    ]  # fmt: skip
