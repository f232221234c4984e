"""The numbers of a classifier's report, from what it predicted: exact, in float64, and scikit-learn's.

Only numpy: the image that trains has no scikit-learn, whose definitions these are (sklearn.metrics 1.x, named
with each), and which the tests hold every number against. What scikit-learn leaves to a warning is None
here: the precision of a class that was never predicted is not zero, it is not known.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Floats: TypeAlias = NDArray[np.float64]
Labels: TypeAlias = NDArray[np.int64]

_BINS = 15
_Z = 1.959963984540054
"""Of a standard normal, between whose minus and plus 95 % lie."""
_TEMPERATURES = (0.05, 20.0)
_STEPS = 60
_PIECE = 256
"""Rows that are looked at together."""
_QUICK = 2_000_000
"""Numbers that are looked at in less than a tenth of a second."""
_TARGETS = (0.005, 0.01, 0.02, 0.05, 0.1)
"""Shares of wrong answers that a person may bear among those that are accepted."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proportion:
    """A share of some cases, and the interval in which it lies for 95 of 100 such data sets.

    Attributes:
        value: 0 to 1.
        low, high: E. B. Wilson's interval (1927), which neither leaves 0 to 1 nor is empty at its ends.
    """

    value: float
    low: float
    high: float


def share(count: int, total: int) -> Proportion | None:
    """Return `count` of `total` as a share; None of nothing."""
    if total == 0:
        return None
    value, weight = count / total, _Z * _Z / total
    middle = (value + weight / 2) / (1 + weight)
    half = _Z * math.sqrt(value * (1 - value) / total + weight / (4 * total)) / (1 + weight)
    return Proportion(value=value, low=max(0.0, middle - half), high=min(1.0, middle + half))


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassScores:
    """How well one class is told from the others.

    Attributes:
        label: Its number.
        support: Images of it.
        predicted: Images that were taken for it.
        correct: Images of it that were.
        precision: Correct of predicted; None where nothing was predicted.
        recall: Correct of support; None where there is none.
        f1: Harmonic mean of both; None where there is neither.
        average_precision: Area below precision over recall (`average_precision_score`); None without support.
    """

    label: int
    support: int
    predicted: int
    correct: int
    precision: Proportion | None
    recall: Proportion | None
    f1: float | None
    average_precision: float | None

    @property
    def harm(self) -> int:
        """Wrong answers that it has a part in: its images that were missed, and others taken for it."""
        return self.support + self.predicted - 2 * self.correct


@dataclass(frozen=True, kw_only=True, slots=True)
class Confusion:
    """So many images of one class were taken for another."""

    label: int
    taken_for: int
    count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Bin:
    """Images whose highest probability lies in (low, high].

    Attributes:
        low, high: Of the probability.
        count: Images.
        confidence: Mean of their highest probability; 0 where there is none.
        accuracy: Share that is right; 0 where there is none.
    """

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """Whether 90 % means nine of ten.

    Attributes:
        bins: Of equal width.
        error: Mean distance of confidence and accuracy over all images (expected calibration error).
        log_loss: `log_loss`.
        brier: Mean squared distance of all probabilities from 0 and 1, summed over the classes, 0 to 2.
        temperature: By which logits are divided so that the log loss is least: above 1 where the model is too
            sure of itself.
        log_loss_after: Of the probabilities after that.
    """

    bins: tuple[Bin, ...]
    error: float
    log_loss: float
    brier: float
    temperature: float
    log_loss_after: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Threshold:
    """What a lowest probability accepts.

    Attributes:
        target: Share of wrong answers that was borne.
        threshold: The lowest probability with which it is kept; None where none is.
        accepted: Share of the images at or above it.
        wrong: Share of wrong answers among those.
    """

    target: float
    threshold: float | None
    accepted: float
    wrong: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Classification:
    """All numbers of predictions of one class an image.

    Attributes:
        images: How many.
        accuracy: `accuracy_score`.
        top5: Share whose class is among the five most probable; None below six classes.
        balanced_accuracy: Mean recall of the classes that have images (`balanced_accuracy_score`).
        macro_f1: Mean over the classes that have images or were predicted (`f1_score`, macro).
        weighted_f1: Mean by support (`f1_score`, weighted).
        matthews: `matthews_corrcoef`.
        largest_class: Accuracy of always answering the class of most images.
        chance: Of an even draw.
        matrix: int64 [K, K]: images of class i that were taken for class j.
        classes: In the order of their labels.
        confusions: The pairs of most images first.
        calibration: None where probabilities are not known.
        thresholds: For each target.
    """

    images: int
    accuracy: Proportion
    top5: float | None
    balanced_accuracy: float
    macro_f1: float
    weighted_f1: float
    matthews: float
    largest_class: float
    chance: float
    matrix: NDArray[np.int64]
    classes: tuple[ClassScores, ...]
    confusions: tuple[Confusion, ...]
    calibration: Calibration
    thresholds: tuple[Threshold, ...]


def classify(labels: Labels, probabilities: Floats) -> Classification:
    """Return the numbers of a set of predictions.

    Args:
        labels: int64 [N], N at least 1.
        probabilities: float64 [N, K], each row with the sum 1.
    """
    count, classes = probabilities.shape
    answers = probabilities.argmax(axis=1)
    matrix = np.bincount(labels * classes + answers, minlength=classes * classes).reshape(classes, classes)
    support, predicted, correct = matrix.sum(axis=1), matrix.sum(axis=0), matrix.diagonal()
    columns = np.ascontiguousarray(probabilities.T)  # a class's scores side by side: twenty times as fast
    scores = tuple(
        score_class(label, int(support[label]), int(predicted[label]), int(correct[label]),
                      average_precision(labels == label, columns[label]))
        for label in range(classes)
    )  # fmt: skip
    right = answers == labels
    best = probabilities[np.arange(count), answers]
    accuracy = share(int(right.sum()), count)
    assert accuracy is not None
    known = [of for of in scores if of.f1 is not None]
    return Classification(
        images=count,
        accuracy=accuracy,
        top5=_top(labels, probabilities, 5) if classes > 5 else None,
        balanced_accuracy=float(np.mean(correct[support > 0] / support[support > 0])),
        macro_f1=math.fsum(of.f1 or 0.0 for of in known) / len(known),
        weighted_f1=math.fsum((of.f1 or 0.0) * of.support for of in known) / count,
        matthews=_matthews(matrix),
        largest_class=float(support.max()) / count,
        chance=1.0 / classes,
        matrix=matrix,
        classes=scores,
        confusions=find_confusions(matrix),
        calibration=calibrate(labels, probabilities),
        thresholds=tuple(_threshold(best, right, target) for target in _TARGETS),
    )


def score_class(label: int, support: int, predicted: int, correct: int, area: float | None) -> ClassScores:
    """Return the scores of a class from its counts and its average precision."""
    # 2 P R / (P + R) is 2 correct / (support + predicted), without dividing twice.
    f1 = 2 * correct / (support + predicted) if support + predicted else None
    return ClassScores(
        label=label, support=support, predicted=predicted, correct=correct,
        precision=share(correct, predicted), recall=share(correct, support), f1=f1, average_precision=area,
    )  # fmt: skip


def _top(labels: Labels, probabilities: Floats, most: int) -> float:
    """Return the share whose class is among the `most` first; of equal ones the higher numbers come last."""
    own = probabilities[np.arange(len(labels)), labels][:, None]
    numbers = np.arange(probabilities.shape[1])[None, :]
    before = (probabilities > own) | ((probabilities == own) & (numbers < labels[:, None]))
    return float(np.mean(before.sum(axis=1) < most))


def _matthews(matrix: NDArray[np.int64]) -> float:
    """J. Gorodkin's coefficient (2004), as `matthews_corrcoef`; 0 where one side is of one class only."""
    counts = matrix.astype(np.float64)
    of_label, of_answer, total = counts.sum(axis=1), counts.sum(axis=0), counts.sum()
    together = np.trace(counts) * total - of_label @ of_answer
    spread = (total * total - of_label @ of_label) * (total * total - of_answer @ of_answer)
    return float(together / np.sqrt(spread)) if spread > 0 else 0.0


def find_confusions(matrix: NDArray[np.int64]) -> tuple[Confusion, ...]:
    """Return what is off the diagonal of int64 [K, K], the largest counts first."""
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    rows, columns = np.nonzero(wrong)
    order = np.argsort(-wrong[rows, columns], kind="stable")
    return tuple(
        Confusion(label=int(rows[k]), taken_for=int(columns[k]), count=int(wrong[rows[k], columns[k]]))
        for k in order
    )


def _ranked(positive: NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats, Floats]:
    """Return each distinct score from the highest, how many have it or more, and of those the positive."""
    order = np.argsort(-scores, kind="stable")
    ranked = scores[order]
    last = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    return ranked[last], (last + 1).astype(np.float64), np.cumsum(positive[order])[last].astype(np.float64)


def average_precision(positive: NDArray[np.bool_], scores: Floats) -> float | None:
    """Return the area below precision over recall as steps (`average_precision_score`).

    Args:
        positive: [N], which are of the class.
        scores: [N], the higher the more likely.

    Returns:
        0 to 1; None where none is positive.
    """
    total = int(positive.sum())
    if total == 0:
        return None
    # Recall stays as it is below the lowest score of a positive: of a thousand classes, nearly all of a list.
    above = scores >= scores[positive].min()
    _, taken, correct = _ranked(positive[above], scores[above])
    return float(np.sum(np.diff(correct, prepend=0.0) / total * (correct / taken)))


def precision_recall(positive: NDArray[np.bool_], scores: Floats) -> tuple[Floats, Floats, Floats]:
    """Return precision, recall and threshold for each distinct score, the highest first."""
    thresholds, taken, correct = _ranked(positive, scores)
    return correct / taken, correct / max(1, int(positive.sum())), thresholds


def area_under_roc(positive: NDArray[np.bool_], scores: Floats) -> float | None:
    """Return the area below the ROC curve (`roc_auc_score`); None where only one side is there."""
    total = int(positive.sum())
    others = len(positive) - total
    if total == 0 or others == 0:
        return None
    _, taken, correct = _ranked(positive, scores)
    right = np.concatenate([[0.0], correct]) / total
    wrong = np.concatenate([[0.0], taken - correct]) / others
    return float(np.sum(np.diff(wrong) * (right[1:] + right[:-1]) / 2))


def calibrate(labels: Labels, probabilities: Floats) -> Calibration:
    """Say whether probabilities mean what they say; arguments as for `classify`."""
    count = len(labels)
    bins, error = make_bins(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels)
    smallest = np.finfo(np.float64).eps
    logits = np.log(np.maximum(probabilities, smallest))
    temperature, least = _temperature(labels, logits)
    squares = (probabilities**2).sum(axis=1) - 2 * probabilities[np.arange(count), labels] + 1
    return Calibration(
        bins=bins, error=error, brier=float(squares.mean()), temperature=temperature,
        log_loss=_log_loss(labels, logits), log_loss_after=least,
    )  # fmt: skip


def make_bins(probabilities: Floats, right: NDArray[np.bool_]) -> tuple[tuple[Bin, ...], float]:
    """Return bins of equal width, and the mean distance of probability and share over all answers.

    Args:
        probabilities: float64 [N].
        right: bool [N].
    """
    edges = np.linspace(0.0, 1.0, _BINS + 1)
    where = np.clip(np.searchsorted(edges, probabilities, side="left") - 1, 0, _BINS - 1)
    bins, error = [], 0.0
    for number in range(_BINS):
        inside = where == number
        count = int(inside.sum())
        confidence = float(probabilities[inside].mean()) if count else 0.0
        accuracy = float(right[inside].mean()) if count else 0.0
        error += count / len(right) * abs(confidence - accuracy)
        bins.append(
            Bin(
                low=float(edges[number]), high=float(edges[number + 1]), count=count,
                confidence=confidence, accuracy=accuracy,
            )
        )  # fmt: skip
    return tuple(bins), error


def _log_loss(labels: Labels, logs: Floats) -> float:
    return float(-logs[np.arange(len(labels)), labels].mean())


def _slope(labels: Labels, logits: Floats, sharpness: float) -> tuple[float, float, float]:
    """Return the log loss of logits that were multiplied by a number, and its two derivatives by that.

    In pieces that stay in the processor's cache: a pass over all at once takes three times as long.
    """
    loss = first = second = 0.0
    for begin in range(0, len(labels), _PIECE):
        part, own = logits[begin : begin + _PIECE], labels[begin : begin + _PIECE]
        scaled = part * sharpness
        scaled -= scaled.max(axis=1, keepdims=True)
        odds = np.exp(scaled)
        total = odds.sum(axis=1)
        mean = np.einsum("ij,ij->i", odds, part) / total
        square = np.einsum("ij,ij,ij->i", odds, part, part) / total
        rows = np.arange(len(own))
        loss += float((np.log(total) - scaled[rows, own]).sum())
        first += float((mean - part[rows, own]).sum())
        second += float((square - mean * mean).sum())
    return loss / len(labels), first / len(labels), second / len(labels)


def _temperature(labels: Labels, logits: Floats) -> tuple[float, float]:
    """Return the temperature of the least log loss (C. Guo and others, 2017), and that loss.

    Of many numbers the search begins where that of some rows ended.
    """
    every = max(1, logits.size // _QUICK)
    start = 1.0
    if every > 1:
        start = find_sharpness(partial(_slope, labels[::every], logits[::every]), 1.0)[0]
    sharpness, loss = find_sharpness(partial(_slope, labels, logits), start)
    return 1 / sharpness, loss


def find_sharpness(slope: Callable[[float], tuple[float, float, float]], start: float) -> tuple[float, float]:
    """Return what to multiply logits by, and the log loss after that.

    The loss is convex. Newton's step is taken where it stays between the bounds that the slope's sign has
    given so far, and half of the way between them where it does not.

    Args:
        slope: Of a factor the log loss, and its two derivatives by that.
        start: Where the search begins.
    """
    low, high = 1 / _TEMPERATURES[1], 1 / _TEMPERATURES[0]
    at, loss = start, 0.0
    for _ in range(_STEPS):
        loss, first, second = slope(at)
        if first > 0:
            high = at
        else:
            low = at
        step = at - first / second if second > 0 else math.inf
        if abs(step - at) <= 1e-9 * at or high - low <= 1e-9 * at:
            break
        at = step if low < step < high else (low + high) / 2
    return at, loss


def _threshold(best: Floats, right: NDArray[np.bool_], target: float) -> Threshold:
    thresholds, taken, correct = _ranked(right, best)
    wrong = (taken - correct) / taken
    kept = np.flatnonzero(wrong <= target)
    if len(kept) == 0:
        return Threshold(target=target, threshold=None, accepted=0.0, wrong=0.0)
    last = int(kept[-1])
    return Threshold(
        target=target, threshold=float(thresholds[last]), accepted=float(taken[last]) / len(best),
        wrong=float(wrong[last]),
    )  # fmt: skip


def describe_threshold(found: Threshold) -> str:
    """Say a threshold as a sentence, such as `at 0.83 92 % are accepted with 1 % wrong`."""
    if found.threshold is None:
        return f"no threshold keeps wrong answers at {found.target:.3g}"
    return f"at {found.threshold:.2f} {found.accepted:.0%} are accepted with {found.wrong:.1%} wrong"


def by_harm(scores: Sequence[ClassScores]) -> list[ClassScores]:
    """Return classes in the order in which to look at them: those of most wrong answers first."""
    return sorted(scores, key=lambda of: (-of.harm, of.label))
