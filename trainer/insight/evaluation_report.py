"""The report on an evaluation: the predictions as a table, and a page that shows what the model gets wrong.

The page is one file of HTML, without scripts and without a network (see `data_page`).
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from numpy.typing import NDArray

from trainer.config.sections import MAX_IMAGE_PIXELS
from trainer.errors import CheckpointError
from trainer.insight.classification import (
    Classification,
    Floats,
    Labels,
    MultiLabel,
    by_harm,
    classify,
    classify_labels,
    describe_threshold,
    precision_recall,
)
from trainer.insight.pictures import Pictures
from trainer.protocol.safe_files import create_file, make_folders, replace_file

SCHEMA = 1
PAGE, JSON, CSV = "report.html", "report.json", "predictions.csv"
_TOP = 5
_SIDE = 112
_MISTAKES, _PAIRS, _OF_A_PAIR = 36, 12, 6
_MAX_MATRIX = 50
"""Classes up to which the whole confusion matrix is shown."""
_MAX_ROWS = 1000


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Predictions:
    """What a network answered to images, and what they are.

    Attributes:
        paths: Of the images, [N].
        places: Where each stands, such as `val_list.txt:17`.
        labels: int64 [N], or bool [N, K] where an image may be of several classes.
        logits: float32 [N, K].
        names: Of the classes, K of them.
    """

    paths: Sequence[str]
    places: Sequence[str]
    labels: Labels | NDArray[np.bool_]
    logits: NDArray[np.float32]
    names: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Origin:
    """What an evaluation was of.

    Attributes:
        weights: The file.
        listed: The list.
        version: Of this program.
        unreadable: Images that are left out because they cannot be read.
    """

    weights: str
    listed: str
    version: str
    unreadable: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Mistake:
    """A wrong answer, with the small picture of its image."""

    picture: str
    path: str
    place: str
    is_of: str
    taken_for: str
    score: float


def write_report(
    predictions: Predictions, folder: Path, origin: Origin, *, max_pixels: int = MAX_IMAGE_PIXELS
) -> tuple[Path, Classification | MultiLabel]:
    """Write report.html, report.json and predictions.csv; return the page, and the numbers.

    Args:
        predictions: At least one.
        folder: Made where it is not there.
        origin: For the page.
        max_pixels: Images that claim more are not shown.

    Raises:
        CheckpointError: The folder cannot be written.
    """
    numbers: Classification | MultiLabel
    if predictions.labels.ndim == 2:
        probabilities = 1 / (1 + np.exp(-predictions.logits.astype(np.float64)))
        numbers = classify_labels(predictions.labels.astype(np.bool_), probabilities)
    else:
        probabilities = softmax(predictions.logits)
        numbers = classify(predictions.labels.astype(np.int64), probabilities)
    content = {
        PAGE: _page(predictions, probabilities, numbers, origin, max_pixels).encode("utf-8"),
        JSON: _to_json(predictions, numbers, origin),
        CSV: _to_csv(predictions, probabilities).encode("utf-8", "surrogateescape"),
    }
    with _naming(folder):
        make_folders(folder, root=folder.parent)
        for name, data in content.items():
            replace_file(folder / name, data)
    return folder / PAGE, numbers


def refuse_unwritable(folder: Path) -> None:
    """Make the report's folder and try to write there, since an evaluation may take hours.

    Raises:
        CheckpointError: It cannot be written.
    """
    with _naming(folder):
        make_folders(folder, root=folder.parent)
        tried = folder / f".{PAGE}.{os.getpid()}.tmp"
        create_file(tried).close()
        tried.unlink(missing_ok=True)


@contextlib.contextmanager
def _naming(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CheckpointError(
            where=folder, expected="a folder to write the report into", got=reason
        ) from error


def softmax(logits: NDArray[np.float32]) -> Floats:
    """Return float64 [N, K] probabilities."""
    exact = logits.astype(np.float64)
    odds = np.exp(exact - exact.max(axis=1, keepdims=True))
    probabilities: Floats = odds / odds.sum(axis=1, keepdims=True)
    return probabilities


def _to_csv(predictions: Predictions, probabilities: Floats) -> str:
    """Return a row an image, as RFC 4180 says: `path,label,top1,score1,top2,score2,…`, classes by number.

    Of several labels an image: `path,labels,score0,score1,…`.
    """
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    if predictions.labels.ndim == 2:
        writer.writerow(["path", "labels", *(f"score{k}" for k in range(probabilities.shape[1]))])
        for path, flags, row in zip(predictions.paths, predictions.labels, probabilities, strict=True):
            own = " ".join(str(k) for k in np.flatnonzero(flags))
            writer.writerow([path, own, *(f"{score:.6g}" for score in row)])
        return written.getvalue()
    most = min(_TOP, probabilities.shape[1])
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :most]
    scores = np.take_along_axis(probabilities, order, axis=1)
    writer.writerow(
        ["path", "label", *(name for k in range(1, most + 1) for name in (f"top{k}", f"score{k}"))]
    )
    for path, label, tops, row in zip(predictions.paths, predictions.labels, order, scores, strict=True):
        found = (part for top, score in zip(tops, row, strict=True) for part in (int(top), f"{score:.6g}"))
        writer.writerow([path, int(label), *found])
    return written.getvalue()


def _to_json(predictions: Predictions, numbers: Classification | MultiLabel, origin: Origin) -> bytes:
    said = asdict(numbers)
    if isinstance(numbers, Classification):
        said["matrix"] = numbers.matrix.tolist() if len(numbers.matrix) <= _MAX_ROWS else None
    document = {"schema": SCHEMA, **asdict(origin), "names": list(predictions.names), **said}
    return (json.dumps(document, ensure_ascii=True, indent=1) + "\n").encode()


def _page(
    predictions: Predictions, probabilities: Floats, numbers: Classification | MultiLabel, origin: Origin,
    max_pixels: int,
) -> str:  # fmt: skip
    room = files("trainer.insight") / "pages"
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["percent"] = lambda share: "–" if share is None else f"{100 * share:.1f} %"
    template = environment.from_string((room / "evaluation.html.j2").read_text("utf-8"))
    pictures = Pictures(_SIDE, max_pixels)
    single = numbers if isinstance(numbers, Classification) else None
    mistakes = _mistakes(predictions, probabilities, pictures) if single else []
    text = template.render(
        css=(room / "page.css").read_text("utf-8"), origin=origin, names=predictions.names, numbers=numbers,
        single=single, ranked=by_harm(numbers.classes)[:_MAX_ROWS], mistakes=mistakes,
        pairs=_pairs(predictions, probabilities, single, pictures) if single else [],
        matrix=_matrix(predictions, single) if single and len(single.matrix) <= _MAX_MATRIX else [],
        thresholds=[(of, describe_threshold(of)) for of in single.thresholds] if single else [],
        curves=_curves(predictions, probabilities), max_rows=_MAX_ROWS,
    )  # fmt: skip
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _mistakes(predictions: Predictions, probabilities: Floats, pictures: Pictures) -> list[Mistake]:
    """Return the wrong answers that the model was surest of."""
    answers, best = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(answers != predictions.labels)
    order = wrong[np.argsort(-best[wrong], kind="stable")][:_MISTAKES]
    return [_mistake(predictions, int(k), int(answers[k]), float(best[k]), pictures) for k in order]


def _pairs(
    predictions: Predictions, probabilities: Floats, numbers: Classification, pictures: Pictures
) -> list[tuple[str, str, int, list[Mistake]]]:
    """Return the classes that are confused most, with some of their images."""
    answers, best = probabilities.argmax(axis=1), probabilities.max(axis=1)
    found = []
    for pair in numbers.confusions[:_PAIRS]:
        inside = np.flatnonzero((predictions.labels == pair.label) & (answers == pair.taken_for))
        shown = [
            _mistake(predictions, int(k), pair.taken_for, float(best[k]), pictures)
            for k in inside[np.argsort(-best[inside], kind="stable")][:_OF_A_PAIR]
        ]
        found.append((predictions.names[pair.label], predictions.names[pair.taken_for], pair.count, shown))
    return found


def _mistake(predictions: Predictions, place: int, answer: int, score: float, pictures: Pictures) -> Mistake:
    return Mistake(
        picture=pictures.make(predictions.paths[place]), path=predictions.paths[place],
        place=predictions.places[place], is_of=predictions.names[int(predictions.labels[place])],
        taken_for=predictions.names[answer], score=score,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class _Cell:
    count: int
    share: float
    is_right: bool
    title: str


def _matrix(predictions: Predictions, numbers: Classification) -> list[tuple[str, list[_Cell]]]:
    """Return a row a class: how many of its images were taken for each class, with the first of them."""
    answers = predictions.logits.argmax(axis=1)
    rows = []
    for label, counts in enumerate(numbers.matrix):
        support = max(1, int(counts.sum()))
        cells = []
        for answer, count in enumerate(counts):
            shown = ""
            if count and answer != label:
                inside = np.flatnonzero((predictions.labels == label) & (answers == answer))[:_TOP]
                shown = "\n".join(predictions.paths[k] for k in inside)
            title = f"{predictions.names[label]} taken for {predictions.names[answer]}: {count}\n{shown}"
            cells.append(
                _Cell(
                    count=int(count), share=int(count) / support, is_right=label == answer,
                    title=title.strip(),
                )
            )  # fmt: skip
        rows.append((predictions.names[label], cells))
    return rows


def _curves(predictions: Predictions, probabilities: Floats) -> list[tuple[str, str]]:
    """Return precision over recall of the classes that are told worst, as lines of an SVG of 200 × 200."""
    classes = probabilities.shape[1]
    flags = (
        predictions.labels.astype(np.bool_)
        if predictions.labels.ndim == 2
        else predictions.labels[:, None] == np.arange(classes)[None, :]
    )
    drawn: list[tuple[float, str, str]] = []
    for label in range(classes):
        if not flags[:, label].any():
            continue
        precision, recall, _ = precision_recall(flags[:, label], probabilities[:, label])
        area = float(np.sum(np.diff(recall, prepend=0.0) * precision))
        if len(drawn) < 6 or area < drawn[-1][0]:
            keep = np.unique(np.linspace(0, len(recall) - 1, 60).round().astype(int))
            points = " ".join(f"{200 * recall[k]:.1f},{200 - 200 * precision[k]:.1f}" for k in keep)
            drawn = sorted([*drawn, (area, predictions.names[label], points)])[:6]
    return [(f"{name} ({area:.2f})", points) for area, name, points in drawn]
