"""Which labels are probably wrong: confident learning over predictions of images that were not trained on.

C. Northcutt, L. Jiang and I. Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021
(JAIR 70, section 3): a class has a threshold of its own, the mean probability that images labelled with it
have of it. An image belongs confidently to the most probable of the classes whose threshold it reaches; where
that is not its label, the label is suspect. Counts of both make the confident joint, whose part off the
diagonal, scaled to each label's images, estimates how many labels are wrong.

Suspects are ranked by the margin between the label's probability and the best other class's, which ranks best
where few labels are wrong (the same authors' cleanlab calls it `normalized_margin`). These are forty lines;
the package brings scikit-learn and pandas to say the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trainer.insight.classification import Floats, Labels


@dataclass(frozen=True, kw_only=True, slots=True)
class Suspect:
    """A label that is probably wrong.

    Attributes:
        row: Of the predictions.
        label: As listed.
        instead: The class that the image probably is of.
        margin: Probability of the label, less that of the best other class; -1 to 1.
    """

    row: int
    label: int
    instead: int
    margin: float


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelErrors:
    """What is suspect about a list.

    Attributes:
        estimated: How many labels are wrong, as an estimate.
        suspects: The least probable labels first, with the confidently wrong before all others.
    """

    estimated: int
    suspects: tuple[Suspect, ...]


def find_label_errors(labels: Labels, probabilities: Floats, *, most: int | None = None) -> LabelErrors:
    """Rank labels by how probably they are wrong.

    Args:
        labels: int64 [N], N at least 1.
        probabilities: float64 [N, K] of images that were not trained on with these labels.
        most: Suspects to return; None for all images whose label is not the most probable class.
    """
    rows, classes = np.arange(len(labels)), probabilities.shape[1]
    support = np.bincount(labels, minlength=classes)
    own = probabilities[rows, labels]
    thresholds = np.bincount(labels, weights=own, minlength=classes) / np.maximum(1, support)
    thresholds[support == 0] = np.inf  # nothing is known of a class without an image
    reached = np.where(probabilities >= thresholds, probabilities, -1.0)
    confident = reached.argmax(axis=1)
    is_confident = reached[rows, confident] >= 0
    pairs = labels[is_confident] * classes + confident[is_confident]
    joint = np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)
    counted = joint.sum(axis=1)
    scaled = joint.diagonal() / np.maximum(1, counted) * support
    estimated = float((support - scaled)[counted > 0].sum())
    others = probabilities.copy()
    others[rows, labels] = -1.0
    best = others.argmax(axis=1)
    margin = own - others[rows, best]
    wrong = is_confident & (confident != labels)
    order = np.lexsort((margin, ~wrong))
    order = order[margin[order] < 0]
    found = tuple(
        Suspect(row=int(row), label=int(labels[row]), instead=int(best[row]), margin=float(margin[row]))
        for row in order[: len(order) if most is None else most]
    )
    return LabelErrors(estimated=round(estimated), suspects=found)
