"""The report on an evaluation: the predictions as a table, and a page that shows what the model gets wrong.

The page is one file of HTML, without scripts and without a network (see `data_page`).
"""

from __future__ import annotations

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trainer.config.sections import MAX_IMAGE_PIXELS
from trainer.errors import CheckpointError, DataError
from trainer.insight.classification import Classification, Floats, classify
from trainer.insight.curves import History, list_curves, list_times
from trainer.insight.evaluation_page import Maps, Origin, TrainingView, make_page
from trainer.insight.label_errors import LabelErrors, find_label_errors
from trainer.insight.multi_label import FlagErrors, MultiLabel, classify_labels, find_flag_errors
from trainer.insight.predictions import Predictions, format_table, format_wrong, softmax
from trainer.protocol.reportfile import DOCUMENT, PAGE
from trainer.protocol.safe_files import create_file, make_folders, replace_file

__all__ = [
    "CSV", "DOCUMENT", "PAGE", "Maps", "Origin", "Predictions", "TrainingView", "classify_predictions",
    "refuse_unwritable", "softmax", "write_page", "write_report", "write_table", "write_wrong",
]  # fmt: skip

SCHEMA = 1
CSV = "predictions.csv"
_MAX_MATRIX = 1000
_MAX_SUSPECTS = 2000


def write_report(
    predictions: Predictions, folder: Path, origin: Origin, *, max_pixels: int = MAX_IMAGE_PIXELS,
    maps: Maps | None = None,
) -> tuple[Path, Classification | MultiLabel]:  # fmt: skip
    """Write report.html, report.json and predictions.csv; return the page, and the numbers.

    Args:
        predictions: At least one.
        folder: Made where it is not there.
        origin: For the page.
        max_pixels: Images that claim more are not shown.
        maps: Where the network looked; None where that was not asked for.

    Raises:
        CheckpointError: The folder cannot be written.
    """
    probabilities = predictions.probabilities()
    write_table(predictions, probabilities, folder / CSV)
    return write_page(predictions, probabilities, folder, origin, max_pixels=max_pixels, maps=maps)


def write_table(predictions: Predictions, probabilities: Floats, path: Path) -> None:
    """Write a row an image.

    Raises:
        CheckpointError: The folder cannot be written.
    """
    text = format_table(predictions, probabilities).encode("utf-8", "surrogateescape")
    _write({path.name: text}, path.parent)


def write_wrong(predictions: Predictions, probabilities: Floats, path: Path) -> None:
    """Write a row for each wrong answer.

    Raises:
        CheckpointError: The file cannot be written.
        DataError: An image may be of several classes.
    """
    if not predictions.is_single:
        raise DataError(["--wrong: expected one class an image, got several; --report FOLDER has those"])
    text = format_wrong(predictions, probabilities).encode("utf-8", "surrogateescape")
    _write({path.name: text}, path.parent)


def write_page(
    predictions: Predictions, probabilities: Floats, folder: Path, origin: Origin, *,
    max_pixels: int = MAX_IMAGE_PIXELS, maps: Maps | None = None, training: TrainingView | None = None,
    numbers: Classification | MultiLabel | None = None,
) -> tuple[Path, Classification | MultiLabel]:  # fmt: skip
    """Write report.html and report.json; return the page, and the numbers.

    Args:
        predictions: At least one.
        probabilities: Of them.
        folder: Made where it is not there.
        origin: For the page.
        max_pixels: Images that claim more are not shown.
        maps: Where the network looked; None where that was not asked for.
        training: How the training went that the evaluation is of; None where it is of weights alone.
        numbers: Of these predictions; None to compute them.

    Raises:
        CheckpointError: The folder cannot be written.
    """
    numbers = numbers or classify_predictions(predictions, probabilities)
    suspects: LabelErrors | FlagErrors
    if predictions.is_single:
        labels = predictions.labels.astype(np.int64)
        suspects = find_label_errors(labels, probabilities, most=_MAX_SUSPECTS)
    else:
        flags = predictions.labels.astype(np.bool_)
        suspects = find_flag_errors(flags, probabilities, most=_MAX_SUSPECTS)
    page = make_page(
        predictions, probabilities, numbers, origin, suspects=suspects, maps=maps, training=training,
        max_pixels=max_pixels,
    )  # fmt: skip
    document = _to_json(predictions, numbers, origin, suspects, training)
    _write({PAGE: page.encode("utf-8"), DOCUMENT: document}, folder)
    return folder / PAGE, numbers


def classify_predictions(predictions: Predictions, probabilities: Floats) -> Classification | MultiLabel:
    """Return the numbers of predictions, of one class or of several an image."""
    if predictions.is_single:
        return classify(predictions.labels.astype(np.int64), probabilities)
    return classify_labels(predictions.labels.astype(np.bool_), probabilities)


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


def _write(content: Mapping[str, bytes], folder: Path) -> None:
    with _naming(folder):
        make_folders(folder, root=folder.parent)
        for name, data in content.items():
            replace_file(folder / name, data)


@contextlib.contextmanager
def _naming(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CheckpointError(
            where=folder, expected="a folder to write the report into", got=reason
        ) from error


def _to_json(
    predictions: Predictions, numbers: Classification | MultiLabel, origin: Origin,
    suspects: LabelErrors | FlagErrors, training: TrainingView | None = None,
) -> bytes:  # fmt: skip
    """Write the numbers, a key a line: the matrix of a thousand classes is a million numbers."""
    matrix = numbers.matrix.tolist() if len(numbers.matrix) <= _MAX_MATRIX else None
    said = {**asdict(replace(numbers, matrix=_NO_MATRIX)), "matrix": matrix}
    document: dict[str, object] = {
        "schema": SCHEMA, **asdict(origin), "names": list(predictions.names), **said,
        "label_errors": _describe_suspects(suspects, predictions),
    }  # fmt: skip
    if training is not None:
        document["training"] = _describe_training(training)
    lines = (f" {json.dumps(key)}: {json.dumps(_finite(value))}" for key, value in document.items())
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def _finite(value: object) -> object:
    """Write what JSON has no number for as null: of a network that answers nan."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple) and not (value and isinstance(value[0], int)):
        return [_finite(item) for item in value]
    return value


_NO_MATRIX: NDArray[np.int64] = np.zeros((0, 0), dtype=np.int64)


def _describe_suspects(found: LabelErrors | FlagErrors, predictions: Predictions) -> object:
    suspects: Sequence[dict[str, object]]
    if isinstance(found, LabelErrors):
        suspects = [
            {**_image(predictions, of.row), "label": of.label, "instead": of.instead, "margin": of.margin}
            for of in found.suspects
        ]
    else:
        suspects = [
            {**_image(predictions, of.row), "label": of.label, "is_listed": of.is_listed, "margin": of.margin}
            for of in found.suspects
        ]
    return {"estimated": found.estimated, "suspects": suspects}


def _image(predictions: Predictions, row: int) -> dict[str, object]:
    return {"path": predictions.paths[row], "place": predictions.places[row]}


def _describe_training(training: TrainingView) -> dict[str, object]:
    history: History = training.history
    return {
        "epoch": training.epoch, "step": training.step, "epochs": training.epochs,
        "restarts": list(history.restarts),
        "trained": list_curves(history.trained[epoch] for epoch in sorted(history.trained)),
        "evaluated": list_curves(history.evaluated[epoch] for epoch in sorted(history.evaluated)),
        "times_s": {name: seconds for name, seconds, _ in list_times(history)},
        "facts": {fact.name: fact.value for fact in training.facts},
        "config": [asdict(value) for value in training.values],
    }  # fmt: skip
