"""The page of an evaluation, and of the training that it belongs to: what it shows, and in which order.

Whatever comes from data and config is escaped by the template engine; see `data_page`. Pictures are made
within a budget, in the order of their use: the surest mistakes, probable label errors, the pairs that are
confused most, then the other cells of the matrix.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from itertools import islice
from typing import Literal

import numpy as np
from jinja2 import Environment, FunctionLoader, StrictUndefined
from numpy.typing import NDArray

from trainer.insight.classification import (
    Classification,
    Confusion,
    Floats,
    by_harm,
    describe_threshold,
    precision_recall,
)
from trainer.insight.confusion import Cell, Group, draw_overview, show_groups
from trainer.insight.curves import HEIGHT, WIDTH, History, draw_charts, list_times
from trainer.insight.label_errors import LabelErrors
from trainer.insight.multi_label import ANSWERED_FROM, FlagErrors, MultiLabel
from trainer.insight.pictures import Pictures, lay_over, picture_of
from trainer.insight.predictions import Predictions
from trainer.protocol.reportfile import ConfigValue, Fact

MISTAKES = 36
"""That are shown as the surest ones, and of which there may be maps."""
_SIDE = 112
_SUSPECTS, _PAIRS, _CELLS, _OF_A_PAIR = 24, 12, 240, 6
_MAX_ROWS, _SHOWN_ROWS = 1000, 100
"""Rows of the table of classes in the page, and in view: what is folded away is not laid out."""
_TRUSTED, _PARTLY = 0.9, 0.7
"""Share of right answers from which on an answer says something against a label."""
_MAX_BYTES, _MAX_READ = 3_000_000, 700
_NAMED = 5
"""Paths that a cell of the matrix names."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What an evaluation was of.

    Attributes:
        weights: The file, or how far a training was.
        listed: The list.
        version: Of this program.
        unreadable: Images that are left out because they cannot be read.
        notes: What the page has not, and why.
    """

    weights: str
    listed: str
    version: str
    unreadable: int = 0
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Maps:
    """Where the network looked.

    Attributes:
        heat: uint8 [h, w] by path.
        pictures: uint8 [H, W, 3], RGB, as the network saw them, by path.
        layer: Whose features they are of.
        why_not: Why there are none.
    """

    heat: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    pictures: Mapping[str, NDArray[np.uint8]] = field(default_factory=dict)
    layer: str = ""
    why_not: str = ""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TrainingView:
    """How the training went.

    Attributes:
        epoch, step: Done when this was evaluated.
        epochs: That the run is to have.
        key: First metric; None where there is none.
        history: Its rows so far.
        values: The config.
        facts: Versions, hashes and the like.
        seen: The first batch as the network saw it, uint8 [B, H, W, 3], or None.
        captions: Of its images.
        seen_exactly: They are what was normalised; else stretched over all brightnesses.
    """

    epoch: int
    step: int
    epochs: int
    key: str | None
    history: History
    values: Sequence[ConfigValue] = ()
    facts: Sequence[Fact] = ()
    seen: NDArray[np.uint8] | None = None
    captions: Sequence[str] = ()
    seen_exactly: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """An answer, with the small picture of its image.

    Attributes:
        picture: Address that holds it; empty where there is none.
        map: The same with where the network looked; empty where there is none.
        path: Of the image.
        place: In the list.
        is_of, taken_for: Names of classes.
        score: Probability of the answer.
        kind: `taken` where an image is of one class; of several, `named` where `taken_for` is one that it is
            not of, and `missed` where `is_of` was not named.
    """

    picture: str
    path: str
    place: str
    is_of: str
    taken_for: str
    score: float
    map: str = ""
    kind: Literal["taken", "named", "missed"] = "taken"


@dataclass(frozen=True, kw_only=True, slots=True)
class Pair:
    """Two classes that are confused, with some of the images.

    Attributes:
        anchor: Name of the place on the page.
        label, taken_for: Names of classes.
        count: Images.
        shown: Some of them.
    """

    anchor: str
    label: str
    taken_for: str
    count: int
    shown: Sequence[Shown]


def make_page(
    predictions: Predictions, probabilities: Floats, numbers: Classification | MultiLabel, origin: Origin, *,
    max_pixels: int, suspects: LabelErrors | FlagErrors, maps: Maps | None = None,
    training: TrainingView | None = None,
) -> str:  # fmt: skip
    """Return the page as HTML; arguments as for `write_page`."""
    pictures = Pictures(_SIDE, max_pixels, max_bytes=_MAX_BYTES, most=_MAX_READ)
    single = numbers if isinstance(numbers, Classification) else None
    maker: _OneClass | _SeveralClasses
    if isinstance(suspects, LabelErrors):
        maker = _OneClass(predictions, probabilities, pictures, suspects, maps or Maps())
    else:
        maker = _SeveralClasses(predictions, probabilities, pictures, suspects)
    mistakes, suspicious = maker.mistakes(), maker.suspects()
    groups = show_groups(numbers.matrix)
    pairs = maker.pairs(_choose_pairs(numbers.confusions, groups))
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, loader=FunctionLoader(_read)
    )
    environment.filters["percent"] = lambda share: "–" if share is None else f"{100 * share:.1f} %"
    text = environment.get_template("evaluation.html.j2").render(
        css=_read("page.css"), origin=origin, names=predictions.names, numbers=numbers, single=single,
        ranked=by_harm(numbers.classes)[:_MAX_ROWS], max_rows=_MAX_ROWS, shown_rows=_SHOWN_ROWS,
        mistakes=mistakes, trust=_trust(single),
        maps=maps, suspicious=suspicious, suspects=suspects,
        groups=groups,
        overview=draw_overview(numbers.matrix),
        pairs=pairs[:_PAIRS], cells=pairs[_PAIRS:], shown_cells={pair.anchor for pair in pairs},
        title_of=maker.title, several=numbers if isinstance(numbers, MultiLabel) else None,
        thresholds=[(of, describe_threshold(of)) for of in single.thresholds] if single else [],
        curves=_curves(predictions, probabilities, numbers), training=training,
        **_of_training(training, numbers),
    )  # fmt: skip
    # Text that no display can show (half of a surrogate pair of a file's name) would not be writable.
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _trust(single: Classification | None) -> str:
    """Say how far an answer speaks against a label: `high`, `some`, `little`."""
    if single is None:
        return "little"
    right = single.accuracy.value
    return "high" if right >= _TRUSTED else "some" if right >= _PARTLY else "little"


def _choose_pairs(confusions: Sequence[Confusion], groups: Sequence[Group]) -> list[Confusion]:
    """Return the pairs that are confused most, and then those that a cell of a matrix leads to."""
    cells = {(cell.label, cell.answer) for group in groups for row in group.rows for cell in row}
    others = (of for of in confusions[_PAIRS:] if (of.label, of.taken_for) in cells)
    return [*confusions[:_PAIRS], *islice(others, _CELLS)]


def _read(name: str) -> str:
    return (files("trainer.insight") / "pages" / name).read_text("utf-8")


def _of_training(training: TrainingView | None, numbers: Classification | MultiLabel) -> dict[str, object]:
    if training is None:
        return {"charts": [], "times": [], "batch": [], "width": WIDTH, "height": HEIGHT}
    chance = numbers.chance if isinstance(numbers, Classification) else None
    seen = training.seen if training.seen is not None else ()
    return {
        "charts": draw_charts(training.history, epochs=training.epochs, chance=chance, key=training.key),
        "times": list_times(training.history), "width": WIDTH, "height": HEIGHT,
        "batch": [
            (picture_of(pixels, _SIDE), caption)
            for pixels, caption in zip(seen, training.captions, strict=False)
        ],
    }  # fmt: skip


class _OneClass:
    """Finds the answers that the page shows, and their pictures, where each image is of one class."""

    def __init__(
        self, predictions: Predictions, probabilities: Floats, pictures: Pictures, errors: LabelErrors,
        maps: Maps,
    ) -> None:  # fmt: skip
        self._given, self._pictures, self._errors, self._maps = predictions, pictures, errors, maps
        self._answers, self._best = probabilities.argmax(axis=1), probabilities.max(axis=1)
        self._rows = self._by_cell(probabilities.shape[1])

    def _by_cell(self, classes: int) -> dict[tuple[int, int], NDArray[np.int64]]:
        """Return the rows of each cell of wrong answers, the surest first: sorted once for all cells."""
        wrong = np.flatnonzero(self._answers != self._given.labels)
        cells = self._given.labels[wrong].astype(np.int64) * classes + self._answers[wrong]
        order = np.lexsort((-self._best[wrong], cells))
        wrong, cells = wrong[order], cells[order]
        if not len(cells):
            return {}
        starts = np.flatnonzero(np.append(True, cells[1:] != cells[:-1]))
        parts = np.split(wrong, starts[1:])
        return {divmod(int(cells[start]), classes): part for start, part in zip(starts, parts, strict=True)}

    def mistakes(self) -> list[Shown]:
        """Return the wrong answers that the model was surest of."""
        wrong = np.flatnonzero(self._answers != self._given.labels)
        order = wrong[np.argsort(-self._best[wrong], kind="stable")][:MISTAKES]
        return [self._show(int(row), int(self._answers[row]), with_map=True) for row in order]

    def suspects(self) -> list[Shown]:
        """Return the labels that are most probably wrong; the answer is the class that fits better."""
        return [self._show(of.row, of.instead) for of in self._errors.suspects[:_SUSPECTS]]

    def pairs(self, confusions: Sequence[Confusion]) -> list[Pair]:
        """Return the classes that are confused most, with some of their images."""
        return [
            _make_pair(of, self._given.names, [
                self._show(int(row), of.taken_for) for row in self._rows[of.label, of.taken_for][:_OF_A_PAIR]
            ])
            for of in confusions
        ]  # fmt: skip

    def title(self, cell: Cell) -> str:
        """Say what a cell of the matrix counts, and name the first of its images."""
        names = self._given.names
        said = f"{names[cell.label]} taken for {names[cell.answer]}: {cell.count}"
        rows = self._rows.get((cell.label, cell.answer), ())[:_NAMED]
        return "\n".join([said, *(self._given.paths[int(row)] for row in rows)])

    def _show(self, row: int, answer: int, *, with_map: bool = False) -> Shown:
        given, path = self._given, self._given.paths[row]
        heat = self._maps.heat.get(path) if with_map else None
        laid = lay_over(self._maps.pictures[path], heat) if heat is not None else None
        return Shown(
            picture=self._pictures.make(path), path=path, place=given.places[row],
            is_of=given.names[int(given.labels[row])], taken_for=given.names[answer],
            score=float(self._best[row]), map=picture_of(laid, _SIDE) if laid is not None else "",
        )  # fmt: skip


class _SeveralClasses:
    """The same where an image may be of several classes: an answer is one of an image and a class."""

    def __init__(
        self, predictions: Predictions, probabilities: Floats, pictures: Pictures, errors: FlagErrors
    ) -> None:
        self._given, self._pictures, self._errors = predictions, pictures, errors
        self._probabilities = probabilities
        answers, flags = probabilities >= ANSWERED_FROM, predictions.labels.astype(np.bool_)
        self._missed, self._extra = flags & ~answers, answers & ~flags

    def mistakes(self) -> list[Shown]:
        """Return the wrong answers that the model was surest of: missed, or named without reason."""
        rows, labels = np.nonzero(self._missed | self._extra)
        probable = self._probabilities[rows, labels]
        sure = np.where(self._missed[rows, labels], 1 - probable, probable)
        order = np.argsort(-sure, kind="stable")[:MISTAKES]
        return [
            self._show(int(rows[place]), int(labels[place]), bool(self._missed[rows[place], labels[place]]))
            for place in order
        ]

    def suspects(self) -> list[Shown]:
        """Return what is most probably listed wrongly (`named`), or not listed and true (`missed`)."""
        return [self._show(of.row, of.label, not of.is_listed) for of in self._errors.suspects[:_SUSPECTS]]

    def pairs(self, confusions: Sequence[Confusion]) -> list[Pair]:
        """Return the classes of which one is missed where the other is named most, with their images."""
        return [
            _make_pair(of, self._given.names, [
                self._show(int(row), of.taken_for, False)
                for row in self._rows(of.label, of.taken_for)[:_OF_A_PAIR]
            ])
            for of in confusions
        ]  # fmt: skip

    def title(self, cell: Cell) -> str:
        """Say what a cell of the matrix counts, and name the first of its images."""
        names = self._given.names
        said = f"{names[cell.label]} missed where {names[cell.answer]} was named: {cell.count}"
        rows = self._rows(cell.label, cell.answer)[:_NAMED]
        return "\n".join([said, *(self._given.paths[int(row)] for row in rows)])

    def _rows(self, label: int, answer: int) -> NDArray[np.int64]:
        rows = np.flatnonzero(self._missed[:, label] & self._extra[:, answer])
        return rows[np.argsort(-self._probabilities[rows, answer], kind="stable")]

    def _show(self, row: int, label: int, is_missed: bool) -> Shown:
        given, path, name = self._given, self._given.paths[row], self._given.names[label]
        return Shown(
            picture=self._pictures.make(path), path=path, place=given.places[row],
            is_of=name if is_missed else "", taken_for="" if is_missed else name,
            score=float(self._probabilities[row, label]), kind="missed" if is_missed else "named",
        )  # fmt: skip


def _make_pair(of: Confusion, names: Sequence[str], shown: Sequence[Shown]) -> Pair:
    return Pair(
        anchor=Cell(label=of.label, answer=of.taken_for, count=0, share=0).anchor,
        label=names[of.label], taken_for=names[of.taken_for], count=of.count, shown=shown,
    )  # fmt: skip


def _curves(
    predictions: Predictions, probabilities: Floats, numbers: Classification | MultiLabel
) -> list[tuple[str, str]]:
    """Return precision over recall of the classes that are told worst, as lines of an SVG of 200 × 200."""
    known = [(of.average_precision, of.label) for of in numbers.classes if of.average_precision is not None]
    drawn = []
    for area, label in sorted(known)[:6]:
        flags = (
            predictions.labels == label
            if predictions.is_single
            else predictions.labels[:, label].astype(np.bool_)
        )
        precision, recall, _ = precision_recall(flags, probabilities[:, label])
        keep = np.unique(np.linspace(0, len(recall) - 1, 60).round().astype(int))
        points = " ".join(f"{200 * recall[k]:.1f},{200 - 200 * precision[k]:.1f}" for k in keep)
        drawn.append((f"{predictions.names[label]} ({area:.2f})", points))
    return drawn
