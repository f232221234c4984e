"""The numbers of a report on images of any number of classes each, exact as those of `classification`.

Each class is a question of its own, answered with yes from a probability of 0.5 on. What scikit-learn 1.x has
is its definition (sklearn.metrics, named with each), and the tests hold every number against it.

There is no confusion matrix as of one class an image, since no answer stands in the place of another. What
people look for in one is counted so: images of a class that was missed, on which a class was named that they
are not of. The diagonal has the images on which the class was found.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trainer.insight.classification import (
    Bin,
    Calibration,
    ClassScores,
    Confusion,
    Floats,
    average_precision,
    find_confusions,
    find_sharpness,
    make_bins,
    precision_recall,
    score_class,
)
from trainer.insight.label_errors import find_label_errors

Flags = NDArray[np.bool_]

ANSWERED_FROM = 0.5
"""Probability from which on a class counts as named, as PaddleClas's MultiLabelThreshOutput has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassThreshold:
    """From which probability on to name a class, so that its F1 is largest on this list.

    Attributes:
        label: Number of the class.
        threshold: 0 to 1; None where no image is of the class.
        precision, recall, f1: With it; 0 where there is none.
    """

    label: int
    threshold: float | None
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FlagSuspect:
    """A class that an image probably wants or has wrongly.

    Attributes:
        row: Of the predictions.
        label: Number of the class.
        is_listed: The list has it, and it is probably wrong; else it is probably missing there.
        margin: Probability of what is listed, less that of the contrary; -1 to 1.
    """

    row: int
    label: int
    is_listed: bool
    margin: float


@dataclass(frozen=True, kw_only=True, slots=True)
class FlagErrors:
    """What is suspect about a list.

    Attributes:
        estimated: How many of all N × K flags are wrong, as an estimate.
        suspects: The least probable first.
    """

    estimated: int
    suspects: tuple[FlagSuspect, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class MultiLabel:
    """All numbers of predictions of any number of classes an image.

    Attributes:
        images: How many.
        subset_accuracy: Share of images of which all classes are right (`accuracy_score`).
        hamming_loss: Share of wrong answers among all (`hamming_loss`).
        mean_average_precision: Over the classes that have images.
        macro_f1, micro_f1: `f1_score`.
        matrix: int64 [K, K]: images of class i that was missed and on which class j was named wrongly; the
            diagonal has the images on which class i was found.
        classes: In the order of their labels.
        confusions: The pairs of most images first.
        calibration: Of all N × K answers: the probability of yes against the share that is (`bins`), and
            `log_loss` and `brier` as means over all of them.
        class_thresholds: In the order of the labels.
    """

    images: int
    subset_accuracy: float
    hamming_loss: float
    mean_average_precision: float | None
    macro_f1: float
    micro_f1: float
    matrix: NDArray[np.int64]
    classes: tuple[ClassScores, ...]
    confusions: tuple[Confusion, ...]
    calibration: Calibration
    class_thresholds: tuple[ClassThreshold, ...]


def classify_labels(flags: Flags, probabilities: Floats, *, threshold: float = ANSWERED_FROM) -> MultiLabel:
    """Return the numbers of a set of predictions with several labels an image.

    Args:
        flags: bool [N, K], N at least 1.
        probabilities: float64 [N, K], each 0 to 1.
        threshold: A class counts as predicted from it on.
    """
    answers = probabilities >= threshold
    support, predicted, correct = (of.sum(axis=0) for of in (flags, answers, flags & answers))
    classes = range(flags.shape[1])
    areas = [average_precision(flags[:, k], probabilities[:, k]) for k in classes]
    scores = tuple(
        score_class(k, int(support[k]), int(predicted[k]), int(correct[k]), areas[k]) for k in classes
    )
    known = [area for area in areas if area is not None]
    both = int(support.sum() + predicted.sum())
    matrix = _matrix(flags, answers)
    return MultiLabel(
        images=len(flags),
        subset_accuracy=float((flags == answers).all(axis=1).mean()),
        hamming_loss=float((flags != answers).mean()),
        mean_average_precision=math.fsum(known) / len(known) if known else None,
        macro_f1=math.fsum(of.f1 or 0.0 for of in scores) / len(scores),
        micro_f1=2 * int(correct.sum()) / both if both else 0.0,
        matrix=matrix,
        classes=scores,
        confusions=find_confusions(matrix),
        calibration=calibrate_flags(flags, probabilities),
        class_thresholds=tuple(_best_threshold(k, flags[:, k], probabilities[:, k]) for k in classes),
    )


def _matrix(flags: Flags, answers: Flags) -> NDArray[np.int64]:
    missed, extra = flags & ~answers, answers & ~flags
    # In float64, whose sums of ones are exact up to 2**53; of whole numbers it takes a hundred times as long.
    matrix: NDArray[np.int64] = (missed.T.astype(np.float64) @ extra.astype(np.float64)).astype(np.int64)
    np.fill_diagonal(matrix, (flags & answers).sum(axis=0))
    return matrix


def _best_threshold(label: int, flags: Flags, scores: Floats) -> ClassThreshold:
    """Return the threshold of the largest F1; of equal ones the highest, which names the class least."""
    if not flags.any():
        return ClassThreshold(label=label, threshold=None, precision=0.0, recall=0.0, f1=0.0)
    precision, recall, thresholds = precision_recall(flags, scores)
    total = precision + recall
    f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
    best = int(f1.argmax())
    return ClassThreshold(
        label=label, threshold=float(thresholds[best]), precision=float(precision[best]),
        recall=float(recall[best]), f1=float(f1[best]),
    )  # fmt: skip


def calibrate_flags(flags: Flags, probabilities: Floats) -> Calibration:
    """Say whether of the answers with 90 % nine of ten are true; arguments as for `classify_labels`."""
    yes, probable = flags.ravel(), probabilities.ravel()
    bins: tuple[Bin, ...]
    bins, error = make_bins(probable, yes)
    smallest = np.finfo(np.float64).eps
    bounded = np.clip(probable, smallest, 1 - smallest)
    logits = np.log(bounded) - np.log1p(-bounded)

    def slope(sharpness: float) -> tuple[float, float, float]:
        scaled = logits * sharpness
        losses = np.maximum(scaled, 0) - scaled * yes + np.log1p(np.exp(-np.abs(scaled)))
        said = 1 / (1 + np.exp(-scaled))
        return (
            float(losses.mean()), float(((said - yes) * logits).mean()),
            float((said * (1 - said) * logits * logits).mean()),
        )  # fmt: skip

    sharpness, least = find_sharpness(slope, 1.0)
    return Calibration(
        bins=bins, error=error, brier=float(((probable - yes) ** 2).mean()), temperature=1 / sharpness,
        log_loss=slope(1.0)[0], log_loss_after=least,
    )  # fmt: skip


def find_flag_errors(flags: Flags, probabilities: Floats, *, most: int | None = None) -> FlagErrors:
    """Rank flags by how probably they are wrong: confident learning, each class a question with two answers.

    Args:
        flags: bool [N, K], N at least 1.
        probabilities: float64 [N, K] of images that were not trained on with these flags.
        most: Suspects to return; None for all whose contrary is the more probable.
    """
    estimated, found = 0, []
    for label in range(flags.shape[1]):
        yes = probabilities[:, label]
        of_class = find_label_errors(
            flags[:, label].astype(np.int64), np.stack([1 - yes, yes], axis=1), most=most
        )
        estimated += of_class.estimated
        found += [
            FlagSuspect(row=of.row, label=label, is_listed=of.label == 1, margin=of.margin)
            for of in of_class.suspects
        ]
    found.sort(key=lambda of: (of.margin, of.row, of.label))
    return FlagErrors(estimated=estimated, suspects=tuple(found[: len(found) if most is None else most]))
