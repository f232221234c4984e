"""What a network answered to a list, and the table of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.insight.classification import Floats, Labels

_TOP = 5


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

    @property
    def is_single(self) -> bool:
        """Whether each image has one class."""
        return self.labels.ndim == 1

    def probabilities(self) -> Floats:
        """Return float64 [N, K]: of the softmax, or of several labels an image of the sigmoid."""
        if self.is_single:
            return softmax(self.logits)
        sigmoid: Floats = 1 / (1 + np.exp(-self.logits.astype(np.float64)))
        return sigmoid


def softmax(logits: NDArray[np.float32]) -> Floats:
    """Return float64 [N, K] probabilities."""
    exact = logits.astype(np.float64)
    exact -= exact.max(axis=1, keepdims=True)
    odds = np.exp(exact, out=exact)
    odds /= odds.sum(axis=1, keepdims=True)
    return odds


def find_top(probabilities: Floats, most: int) -> Labels:
    """Return int64 [N, most], the most probable classes first; of equal ones the lower number comes first."""
    left, rows = probabilities.copy(), np.arange(len(probabilities))
    found = np.empty((len(left), most), dtype=np.int64)
    for place in range(most):  # a sort of a thousand classes takes ten times as long
        found[:, place] = left.argmax(axis=1)
        left[rows, found[:, place]] = -1.0
    return found


def format_wrong(predictions: Predictions, probabilities: Floats) -> str:
    """Return a row for each wrong answer, the surest first: both classes by number and name, and the score.

    Only of images of one class.
    """
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(["path", "place", "label", "label_name", "top1", "top1_name", "score1"])
    answers, scores = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(answers != predictions.labels)
    for index in wrong[np.argsort(-scores[wrong], kind="stable")].tolist():
        label, answer = int(predictions.labels[index]), int(answers[index])
        writer.writerow([
            predictions.paths[index], predictions.places[index], label, _name(predictions, label),
            answer, _name(predictions, answer), f"{scores[index]:.6g}",
        ])  # fmt: skip
    return written.getvalue()


def _name(predictions: Predictions, label: int) -> str:
    return predictions.names[label] if 0 <= label < len(predictions.names) else ""


def format_table(predictions: Predictions, probabilities: Floats) -> str:
    """Return a row an image, as RFC 4180 says: `path,label,top1,score1,…,label_name,top1_name`.

    Classes stand by number, and at the end of a row the listed and the first one by name. Of several labels
    an image: `path,labels,score0,score1,…`.
    """
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    if not predictions.is_single:
        writer.writerow(["path", "labels", *(f"score{k}" for k in range(probabilities.shape[1]))])
        for path, flags, row in zip(predictions.paths, predictions.labels, probabilities, strict=True):
            own = " ".join(str(k) for k in np.flatnonzero(flags))
            writer.writerow([path, own, *(f"{score:.6g}" for score in row)])
        return written.getvalue()
    most = min(_TOP, probabilities.shape[1])
    order = find_top(probabilities, most)
    scores = np.take_along_axis(probabilities, order, axis=1).tolist()
    columns = [name for k in range(1, most + 1) for name in (f"top{k}", f"score{k}")]
    writer.writerow(["path", "label", *columns, "label_name", "top1_name"])
    labels = predictions.labels.tolist()
    for path, label, tops, row in zip(predictions.paths, labels, order.tolist(), scores, strict=True):
        found = (part for top, score in zip(tops, row, strict=True) for part in (top, f"{score:.6g}"))
        writer.writerow([path, label, *found, _name(predictions, label), _name(predictions, tops[0])])
    return written.getvalue()
