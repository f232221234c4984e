"""FmixOperator and MixupCutmixHybrid against slow readings of the specification."""

from __future__ import annotations

import math
import random
from typing import Any

import numpy as np
import pytest

from tests.trainer.data.test_batch_ops import CLASSES, Array, loader, make, same, some_batch
from trainer.data.rng import Stream


def seeded(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)


def slow_mask(height: int, width: int, share: float, decay: float, soft: float) -> Array:
    down, across = np.fft.fftfreq(height), np.fft.fftfreq(width)[: width // 2 + 1 + width % 2]
    strength = np.zeros((height, len(across)))
    for row, one in enumerate(down):
        for column, other in enumerate(across):
            frequency = max(math.sqrt(one * one + other * other), 1 / max(height, width))
            strength[row, column] = 1 / frequency**decay
    drawn = np.random.randn(1, *strength.shape, 2)
    spectrum = np.zeros((len(across), 2), dtype=complex)
    for column in range(len(across)):
        for part in range(2):
            spectrum[column, part] = strength[0, column] * drawn[0, 0, column, part]
            spectrum[column, part] += 1j * strength[1, column] * drawn[0, 1, column, part]
    levels = np.fft.irfftn(spectrum, (height, width), axes=(0, 1))
    count = height * width
    ones = math.ceil(share * count) if random.random() > 0.5 else math.floor(share * count)
    edge = int(count * min(soft, share, 1 - share))
    mask = np.zeros(count)
    for rank, place in enumerate(np.argsort(levels.reshape(-1))[::-1]):
        if rank < ones - edge:
            mask[place] = 1
        elif rank < ones + edge:
            mask[place] = 1 - (rank - ones + edge) / (2 * edge - 1)
    return mask.reshape(height, width)


@pytest.mark.parametrize(
    "keys", [{}, {"alpha": 0.5, "decay_power": 2, "reformulate": True}, {"max_soft": 0.3}],
    ids=["defaults", "reformulated", "soft"],
)  # fmt: skip
@pytest.mark.parametrize(("height", "width"), [(9, 12), (8, 7)])
def test_fmix_is_what_a_slow_reading_gives(keys: dict[str, Any], height: int, width: int) -> None:
    for seed in range(8):
        images, labels = some_batch(seed, height=height, width=width)
        seeded(seed)
        order = np.random.permutation(len(images))
        alpha = keys.get("alpha", 1)
        share = np.random.beta(alpha + bool(keys.get("reformulate")), alpha)
        mask = slow_mask(height, width, share, keys.get("decay_power", 3), keys.get("max_soft", 0))
        wanted = mask * images + (1 - mask) * images[order]
        targets = np.zeros((len(images), CLASSES))
        for here, other in enumerate(order):
            targets[here, labels[here, 0]] += share
            targets[here, labels[other, 0]] += 1 - share
        mixed, found = make({"FmixOperator": keys})(images.copy(), labels, Stream(seed).rng)
        assert (mixed.dtype, found.dtype) == (np.float32, np.float32)
        np.testing.assert_allclose(mixed, wanted, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found, targets, rtol=1e-5, atol=1e-6)


class Hybrid:
    """MixupCutmixHybrid with plain loops, drawing from the seeded modules."""

    def __init__(self, keys: dict[str, Any]) -> None:
        self.mix, self.minmax = keys.get("mixup_alpha", 1.0), keys.get("cutmix_minmax")
        self.cut = 1.0 if self.minmax else keys.get("cutmix_alpha", 0.0)
        self.prob, self.switch = keys.get("prob", 1.0), keys.get("switch_prob", 0.5)
        self.correct, self.smooth = keys.get("correct_lam", True), keys.get("label_smoothing", 0.1)
        self.mode = keys.get("mode", "batch")

    def __call__(self, images: Array, labels: Array) -> tuple[Array, Array]:
        count, source = len(images), images.copy()
        shares = np.ones(count)
        for members, share, cut in self.groups(count):
            if share == 1:
                continue
            box, kept = self.box(*images.shape[2:], share) if cut else (None, share)
            for here in members:
                there = count - 1 - here
                if box:
                    top, bottom, left, right = box
                    images[here, :, top:bottom, left:right] = source[there, :, top:bottom, left:right]
                else:
                    images[here] = source[here] * share + source[there] * (1 - share)
                shares[here] = kept
        targets = np.full((count, CLASSES), self.smooth / CLASSES)
        for here in range(count):
            targets[here, labels[here, 0]] += (1 - self.smooth) * shares[here]
            targets[here, labels[count - 1 - here, 0]] += (1 - self.smooth) * (1 - shares[here])
        return images, targets

    def groups(self, count: int) -> list[tuple[list[int], float, bool]]:
        both, beta = self.mix > 0 and self.cut > 0, np.random.beta
        if self.mode == "batch":
            share, cut = 1.0, False
            if np.random.rand() < self.prob:
                cut = bool(np.random.rand() < self.switch) if both else self.cut > 0
                share = beta(self.cut, self.cut) if cut else beta(self.mix, self.mix)
            return [(list(range(count)), share, cut)]
        size = count // 2 if self.mode == "pair" else count
        if both:
            cuts = np.random.rand(size) < self.switch
            of_cut, of_mix = beta(self.cut, self.cut, size), beta(self.mix, self.mix, size)
            shares = [of_cut[i] if cuts[i] else of_mix[i] for i in range(size)]
        else:
            cuts, alpha = np.full(size, self.cut > 0), self.cut or self.mix
            shares = list(beta(alpha, alpha, size))
        touched = np.random.rand(size) < self.prob
        members = [[i, count - 1 - i] if self.mode == "pair" else [i] for i in range(size)]
        return [(members[i], shares[i] if touched[i] else 1.0, bool(cuts[i])) for i in range(size)]

    def box(self, height: int, width: int, share: float) -> tuple[tuple[int, int, int, int], float]:
        if self.minmax:
            low, high = self.minmax
            tall = np.random.randint(int(height * low), int(height * high))
            wide = np.random.randint(int(width * low), int(width * high))
            top, left = np.random.randint(height - tall), np.random.randint(width - wide)
            box = top, top + tall, left, left + wide
        else:
            tall, wide = int(height * math.sqrt(1 - share)), int(width * math.sqrt(1 - share))
            y, x = np.random.randint(height), np.random.randint(width)
            box = max(0, y - tall // 2), min(height, y + tall // 2), max(0, x - wide // 2), x + wide // 2
            box = box[0], box[1], box[2], min(width, box[3])
        if self.correct or self.minmax:
            share = 1 - (box[1] - box[0]) * (box[3] - box[2]) / (height * width)
        return box, share


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
@pytest.mark.parametrize(
    "keys",
    [
        {}, {"mixup_alpha": 0.0, "cutmix_alpha": 0.7, "label_smoothing": 0.0},
        {"mixup_alpha": 0.4, "cutmix_alpha": 1.0, "prob": 0.7, "correct_lam": False},
        {"cutmix_minmax": [0.25, 0.8], "switch_prob": 0.8},
    ],
    ids=["mixup", "cutmix", "both", "minmax"],
)  # fmt: skip
def test_the_hybrid_is_what_a_slow_reading_gives(mode: str, keys: dict[str, Any]) -> None:
    op = {"MixupCutmixHybrid": {**keys, "mode": mode, "num_classes": CLASSES}}
    for seed in range(8):
        images, labels = some_batch(seed)
        seeded(seed)
        wanted, targets = Hybrid({**keys, "mode": mode})(images.copy(), labels)
        mixed, found = make(op)(images.copy(), labels, Stream(seed).rng)
        assert (mixed.dtype, found.dtype) == (np.float32, np.float32)
        np.testing.assert_allclose(mixed, wanted, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(found, targets, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("mode", ["batch", "pair", "elem"])
def test_the_middle_of_an_odd_batch_is_mixed_with_itself(mode: str) -> None:
    images, labels = some_batch(1, count=5)
    op = {"MixupCutmixHybrid": {"mode": mode, "num_classes": CLASSES, "label_smoothing": 0.0}}
    mixed, found = make(op)(images.copy(), labels, Stream(1).rng)
    np.testing.assert_allclose(mixed[2], images[2], rtol=1e-6)
    assert found[2, labels[2, 0]] == pytest.approx(1)


def test_a_sampler_takes_fmix() -> None:
    op = {"OpSampler": {"FmixOperator": {"alpha": 0.7, "prob": 1.0}}}
    images, labels = some_batch(3)
    rng = Stream(3).rng
    rng.python.choices([0, 1], weights=[1, 0])
    alone = make({"FmixOperator": {"alpha": 0.7}})(images.copy(), labels, rng)
    sampled = make(op)(images.copy(), labels, Stream(3).rng)
    assert all(np.array_equal(one, other) for one, other in zip(alone, sampled, strict=True))


@pytest.mark.parametrize("op", ["FmixOperator", "MixupCutmixHybrid"])
def test_neither_workers_nor_a_resumption_change_such_a_batch(op: str, folder: Any) -> None:
    folder.draw(14)
    keys = {op: {"num_classes": 3, "mode": "elem"} if op == "MixupCutmixHybrid" else {}}
    whole = list(loader(folder, keys).batches(1))
    assert same(whole, list(loader(folder, keys, num_workers=3).batches(1)))
    assert same(whole[2:], list(loader(folder, keys).batches(1, start=whole[1].end)))
