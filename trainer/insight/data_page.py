"""The page of a data report: one file of HTML, without scripts and without a network.

Whatever comes from the data, names of classes, paths and texts of lists, is escaped by the template engine
and set apart from the text around it (`bdi`), so that a name from right to left turns nothing around it. The
page's own security policy allows pictures that are inside of it, and nothing else.

Pictures are made within a budget (`pictures`): first those that show what is wrong, then as many of each
class as are left.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from jinja2 import Environment, StrictUndefined

from trainer.config.sections import MAX_IMAGE_PIXELS
from trainer.insight.data_health import DataHealth, Finding, Group, Sample, Split, classes_of
from trainer.insight.pictures import Pictures

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
    pictures = Pictures(_SIDE_OF_MANY if len(health.classes) > _MANY else _SIDE, max_pixels)
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
        health=health, odd_findings=[of for of in health.findings if not of.is_problem],
        sources=[split.listed.source for split in splits], css=(room / "page.css").read_text("utf-8"),
        median=_median(health), histogram=_histogram(health), groups_of=lambda finding: shown[finding.kind],
        names=name_of, sheets=sheets, left_out_classes=left_out, max_classes=_MAX_CLASSES, version=version,
        most=max((max(of.counts.values()) for of in health.classes), default=1),
    ).encode("utf-8", "backslashreplace").decode("utf-8")  # fmt: skip


def _picture_groups(finding: Finding, pictures: Pictures) -> list[list[tuple[Sample, str, str]]]:
    return [
        [
            (sample, pictures.make(sample.path), finding.details.get(place, ""))
            for sample in group[:_OF_A_GROUP]
        ]
        for place, group in enumerate(finding.groups[:_GROUPS])
    ]


def _sheets(
    health: DataHealth, splits: Sequence[Split], pictures: Pictures
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
