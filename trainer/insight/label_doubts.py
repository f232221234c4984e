"""Which labels are probably wrong before anything is trained: confident learning over a small classifier.

No network is at hand yet, so images are described by what needs no training, and a kernel machine tells the
classes apart by that:

* Patches of 6 × 6 pixels of the image at 32 × 32 are whitened and compared with a few hundred typical ones,
  found by spherical k-means in the set itself; how much of each is in each quarter of the image, and at most
  anywhere, describes its shapes and textures (A. Coates, H. Lee and A. Ng, "An Analysis of Single-Layer
  Networks in Unsupervised Feature Learning", AISTATS 2011, with its patch normalisation and threshold).
* Histograms of hue, saturation and brightness describe its colours.
* Kernel ridge regression over both, on landmarks drawn from the set (the Nyström method; all images, where
  they are few), gives a score of each class. Its answers to images that were left out follow from the whole
  fit without another one: each residual divided by one less its leverage. So every label is held against a
  classifier that has not seen it, which folds would do for a fifth of the images less.

These scores go into `label_errors` as the answers of a trained network do. What this cannot do: tell classes
apart by what 32 × 32 pixels do not show, or that needs knowledge of the world. `agreement` says how far it
comes, and where that is hardly above chance nothing is said. Copies of an image with the same wrong label
vouch for each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.insight.label_errors import Suspect, find_label_errors

SIDE = 32
"""Of the pictures that are compared."""
_PATCH, _MANY = 6, 20_000
"""Side of a patch; images from which on only every other place of a patch is looked at, each way."""
_PLACES = SIDE - _PATCH + 1
_TYPICAL, _SAMPLED, _ROUNDS = 192, 20_000, 8
_FLAT, _WHITE = 10.0, 0.1
"""Added to the variance of a patch, and of its components, so that noise is not blown up (as Coates does)."""
_ABOVE = 0.5
_LANDMARKS = 1200
_AT_ONCE = 64
_BLOCK = 2048
_RIDGES = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
_LEAST_OF_A_CLASS = 5
_LEAST_ABOVE_CHANCE = 0.3
"""Of the way from always answering the largest class to always agreeing."""
MOST_SCORES = 20_000_000
"""Images times classes, above which the scores of all would not fit beside the rest."""

Vectors = NDArray[np.float32]
Thumbs = NDArray[np.uint8]
Kernel = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelDoubts:
    """What a small classifier thinks of labels.

    Attributes:
        agreement: Share of the labels that it would have given itself, of images that were left out.
        chance: The same for always answering the largest class.
        estimated: How many labels are wrong, as an estimate that counts its own mistakes too.
        suspects: The least probable labels first; empty where it is too weak to say.
        why_not: Why nothing is said; empty where something is.
    """

    agreement: float = 0.0
    chance: float = 0.0
    estimated: int = 0
    suspects: tuple[Suspect, ...] = ()
    why_not: str = ""


def make_thumb(pixels: NDArray[np.uint8]) -> Thumbs:
    """Return an image as uint8 [32, 32, 3], RGB, whatever its shape was."""
    return np.asarray(cv2.resize(pixels, (SIDE, SIDE), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def find_label_doubts(thumbs: Thumbs, labels: NDArray[np.int64], *, seed: int = 0) -> LabelDoubts:
    """Hold every label against a classifier that has not seen it.

    Args:
        thumbs: uint8 [N, 32, 32, 3], RGB.
        labels: int64 [N], each 0 or above.
        seed: Of patches and landmarks that are drawn.
    """
    counts = np.bincount(labels) if len(labels) else np.zeros(0, dtype=np.int64)
    used = np.flatnonzero(counts >= _LEAST_OF_A_CLASS)
    rows = np.flatnonzero(np.isin(labels, used))
    if len(used) < 2:
        return LabelDoubts(why_not=f"fewer than two classes have {_LEAST_OF_A_CLASS} images")
    if len(rows) * len(used) > MOST_SCORES:
        return LabelDoubts(why_not=f"{len(rows):,} images of {len(used):,} classes are more than it can hold")
    targets = np.searchsorted(used, labels[rows])
    draws = np.random.default_rng(seed)
    parts = [_standard(_describe_patches(thumbs[rows], draws)), _standard(_describe_colours(thumbs[rows]))]
    scores = _left_out_scores(parts, targets, len(used), draws)
    agreement = float((scores.argmax(axis=1) == targets).mean())
    chance = float(counts[used].max() / len(rows))
    if agreement - chance < _LEAST_ABOVE_CHANCE * (1 - chance):
        return LabelDoubts(
            agreement=agreement, chance=chance,
            why_not=f"a small classifier agrees with {100 * agreement:.0f} % of the labels only, and always "
            f"answering the largest class with {100 * chance:.0f} %: it is too weak to doubt any",
        )  # fmt: skip
    probabilities = np.clip(scores, 1e-6, None).astype(np.float64)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    found = find_label_errors(targets, probabilities)
    suspects = tuple(
        Suspect(
            row=int(rows[of.row]), label=int(used[of.label]), instead=int(used[of.instead]), margin=of.margin
        )
        for of in found.suspects
    )
    return LabelDoubts(agreement=agreement, chance=chance, estimated=found.estimated, suspects=suspects)


# What images are described by


def _describe_patches(thumbs: Thumbs, draws: np.random.Generator) -> Vectors:
    """Return how much of each typical patch there is: float32 [N, 5 × typical]."""
    mean, whitening, typical = _find_typical(thumbs, draws)
    toward = (whitening @ typical.T).astype(np.float32)
    offset = (mean @ toward).astype(np.float32)
    step, found = 1 if len(thumbs) <= _MANY else 2, []
    half = -(-_PLACES // step) // 2
    for begin in range(0, len(thumbs), _AT_ONCE):
        part = thumbs[begin : begin + _AT_ONCE].astype(np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(part, (_PATCH, _PATCH), axis=(1, 2))[
            :, ::step, ::step
        ]
        patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, 3 * _PATCH**2)
        likeness = _normalise(patches) @ toward
        likeness -= offset + np.float32(_ABOVE)
        np.maximum(likeness, 0, out=likeness)
        maps = likeness.reshape(len(part), windows.shape[1], windows.shape[2], -1)
        quarters = [
            maps[:, rows, columns].mean(axis=(1, 2))
            for rows, columns in product((slice(half), slice(half, None)), repeat=2)
        ]
        found.append(np.concatenate([*quarters, maps.max(axis=(1, 2))], axis=1))
    return np.concatenate(found)


def _find_typical(thumbs: Thumbs, draws: np.random.Generator) -> tuple[Vectors, Vectors, Vectors]:
    """Return the mean of patches, what whitens them, and typical ones of length 1, [typical, 108]."""
    count = min(_SAMPLED, 60 * len(thumbs))
    at = draws.integers(len(thumbs), size=count), *draws.integers(_PLACES, size=(2, count))
    windows = np.lib.stride_tricks.sliding_window_view(thumbs, (_PATCH, _PATCH), axis=(1, 2))
    patches = windows[at].transpose(0, 2, 3, 1).reshape(count, -1).astype(np.float32)
    patches = _normalise(patches)
    mean = patches.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(patches - mean, rowvar=False))
    whitening = ((vectors / np.sqrt(np.maximum(values, 0) + _WHITE)) @ vectors.T).astype(np.float32)
    white = (patches - mean) @ whitening
    typical = _unit(white[draws.choice(count, min(_TYPICAL, count), replace=False)])
    for _ in range(_ROUNDS):
        nearest = (white @ typical.T).argmax(axis=1)
        order = np.argsort(nearest, kind="stable")
        starts = np.flatnonzero(np.append(True, np.diff(nearest[order]) > 0))
        typical[nearest[order][starts]] = _unit(np.add.reduceat(white[order], starts))
    return mean, whitening, typical


def _normalise(patches: Vectors) -> Vectors:
    """Take brightness and contrast away from patches."""
    centred = patches - patches.mean(axis=1, keepdims=True)
    spread = np.sqrt(np.einsum("ij,ij->i", centred, centred) / patches.shape[1] + _FLAT)
    return np.asarray(centred / spread[:, None], dtype=np.float32)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-6), dtype=np.float32)


def _describe_colours(thumbs: Thumbs) -> Vectors:
    """Return root histograms of hue with saturation, of brightness, and of hue by its strength: [N, 62]."""
    found = np.empty((len(thumbs), 62), dtype=np.float32)
    for place, thumb in enumerate(thumbs):
        hue, saturation, value = (
            plane.ravel().astype(np.int64) for plane in cv2.split(cv2.cvtColor(thumb, cv2.COLOR_RGB2HSV))
        )
        strength = (saturation / 255) ** 2 * (value / 255)
        found[place, :36] = np.bincount(hue * 12 // 180 * 3 + saturation * 3 // 256, minlength=36)
        found[place, 36:44] = np.bincount(value * 8 // 256, minlength=8)
        found[place, 44:] = 3 * np.bincount(hue * 18 // 180, weights=strength, minlength=18)
    return np.sqrt(found / SIDE**2)


def _standard(vectors: Vectors) -> Vectors:
    """Give every feature mean 0 and about deviation 1; what hardly varies stays small."""
    centred = vectors - vectors.mean(axis=0)
    spread = centred.std(axis=0)
    return np.asarray(centred / (spread + 0.05 * spread.mean() + 1e-6), dtype=np.float32)


# The classifier


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Likeness:
    """How alike images are to landmarks, by descriptions that are chosen.

    Attributes:
        parts: Descriptions, float32 [N, …] each.
        marks: Rows of the landmarks.
        widths: Of each description, the squared distance over which likeness falls to 1/e.
    """

    parts: Sequence[Vectors]
    marks: NDArray[np.int64]
    widths: Sequence[float]

    def of(self, block: Sequence[Vectors], chosen: Sequence[int]) -> Kernel:
        """Return the likeness of images to the landmarks, float64 [n, landmarks], 0 to 1."""
        found = np.zeros((len(block[0]), len(self.marks)))
        for place in chosen:
            distances = _distances(block[place], self.parts[place][self.marks])
            found += np.exp(-distances / self.widths[place])
        return found / len(chosen)

    def blocks(self, chosen: Sequence[int]) -> Iterator[tuple[slice, Kernel]]:
        """Yield the likeness of all images, some at a time."""
        for begin in range(0, len(self.parts[0]), _BLOCK):
            rows = slice(begin, begin + _BLOCK)
            yield rows, self.of([part[rows] for part in self.parts], chosen)

    def of_marks(self, chosen: Sequence[int]) -> Kernel:
        """Return the likeness of the landmarks to each other."""
        return self.of([part[self.marks] for part in self.parts], chosen)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Fit:
    """Ridge regression on landmarks in the basis in which it is diagonal, for one choice of descriptions."""

    chosen: tuple[int, ...]
    basis: Kernel
    values: Kernel
    solved: Kernel
    prior: Kernel

    def scores(self, spread: Kernel, ridge: float, truth: Kernel) -> Kernel:
        """Return the scores of images by all the others: the fit's, with each image's own part taken out.

        Args:
            spread: Their likeness in the fit's basis.
            ridge: Added to the values.
            truth: float64 [n, classes], 1 at the label.
        """
        shrunk = 1 / (self.values + ridge)
        fitted = (spread * shrunk) @ self.solved
        leverage = np.minimum((spread**2) @ shrunk, 1 - 1e-6)[:, None]
        return np.asarray((fitted - leverage * (truth - self.prior)) / (1 - leverage) + self.prior)


def _left_out_scores(
    parts: Sequence[Vectors], labels: NDArray[np.int64], classes: int, draws: np.random.Generator
) -> Vectors:
    """Return a score of each class, float32 [N, classes], of each image by all the others.

    Descriptions and ridge are those of the least squared error of the very scores that are returned.
    """
    count = len(labels)
    marks = np.sort(draws.choice(count, min(_LANDMARKS, count), replace=False))
    widths = [_median_distance(part[marks]) for part in parts]
    likeness = _Likeness(parts=parts, marks=marks, widths=widths)
    ones = np.eye(classes)
    choices = [tuple(range(len(parts))), *((place,) for place in range(len(parts)))]
    fits = [_fit(likeness, labels, ones, chosen) for chosen in choices]
    errors: dict[tuple[int, float], float] = {}
    for number, ridge in product(range(len(fits)), _RIDGES):
        errors[number, ridge] = 0.0
    for number, fit in enumerate(fits):
        for rows, kernel in likeness.blocks(fit.chosen):
            truth, spread = ones[labels[rows]], kernel @ fit.basis
            for ridge in _RIDGES:
                errors[number, ridge] += float(((fit.scores(spread, ridge, truth) - truth) ** 2).sum())
    number, ridge = min(errors, key=lambda key: errors[key])
    scores = np.empty((count, classes), dtype=np.float32)
    for rows, kernel in likeness.blocks(fits[number].chosen):
        scores[rows] = fits[number].scores(kernel @ fits[number].basis, ridge, ones[labels[rows]])
    return scores


def _fit(likeness: _Likeness, labels: NDArray[np.int64], ones: Kernel, chosen: tuple[int, ...]) -> _Fit:
    prior = np.bincount(labels, minlength=len(ones)) / len(labels)
    values, vectors = np.linalg.eigh(likeness.of_marks(chosen))
    keep = values > 1e-8 * values[-1]
    root = vectors[:, keep] / np.sqrt(values[keep])  # features whose products are the likeness
    gram, sums = np.zeros((root.shape[1],) * 2), np.zeros((root.shape[1], len(prior)))
    for rows, kernel in likeness.blocks(chosen):
        features = kernel @ root
        gram += features.T @ features
        sums += features.T @ (ones[labels[rows]] - prior)
    values, vectors = np.linalg.eigh(gram)
    return _Fit(
        chosen=chosen, basis=root @ vectors, values=np.maximum(values, 0), solved=vectors.T @ sums,
        prior=prior,
    )  # fmt: skip


def _distances(a: Vectors, b: Vectors) -> Vectors:
    squares = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b)[None] - 2 * (a @ b.T)
    return np.asarray(np.maximum(squares, 0), dtype=np.float32)


def _median_distance(vectors: Vectors) -> float:
    distances = _distances(vectors[:500], vectors[:500])
    above = distances[distances > 1e-6]
    return float(np.median(above)) if len(above) else 1.0
