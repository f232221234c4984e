"""Random generators that operations draw from. They are handed in; nothing here is global."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.random.bit_generator import ISeedSequence
from numpy.typing import NDArray

from trainer.protocol.untrusted import FormatError, parse_object

_WHAT = "draws"


class Rng:
    """Python's generator and NumPy's, seeded for one thing that draws.

    NumPy's old generator on purpose: its stream never changes between versions (NEP 19), and it is the one
    that PaddleClas draws from. It is seeded when it is first asked for: many samples never do.

    Attributes:
        python: Python's generator.
        labels: What operations drew last that may serve as the image's label, by name.
    """

    __slots__ = ("_numpy", "_words", "labels", "python")

    def __init__(self, python: random.Random, words: int | NDArray[np.uint32]) -> None:
        """Take a generator that is seeded already, and NumPy's seed."""
        self.python = python
        self.labels: dict[str, int] = {}
        self._words = words
        self._numpy: np.random.RandomState | None = None

    @property
    def numpy(self) -> np.random.RandomState:
        """NumPy's generator."""
        if self._numpy is None:
            # RandomState(words) would gather entropy first, for a tenth of a millisecond under the lock.
            generator = np.random.MT19937(_Unseeded())  # type: ignore[arg-type]  # any ISeedSequence, it says
            self._numpy = np.random.RandomState(generator)
            self._numpy.seed(self._words)
        return self._numpy


class _Unseeded(ISeedSequence):
    """Fills a generator's state that is overwritten at once."""

    def generate_state(self, n_words: int, dtype: Any = np.uint32) -> NDArray[Any]:  # NumPy's signature
        return np.zeros(n_words, dtype=dtype)


def per_sample(seed: int, *, epoch: int, index: int, repeat: int = 0) -> Rng:
    """Return the generators of one sample in one epoch, whoever reads it and whenever.

    Args:
        seed: Of the run.
        epoch: From 0.
        index: Of the sample in its list.
        repeat: Which of its places in the epoch, where it has several by RASampler.
    """
    return _seeded(f"{seed}/{epoch}/{index}" + (f"/{repeat}" if repeat else ""))


def instead_of(seed: int, *, epoch: int, index: int, repeat: int = 0) -> random.Random:
    """Return what draws the images that may take the place of one that cannot be read.

    It depends on what `per_sample` depends on, and on nothing else: whichever rank or worker reads the
    sample, in a resumed run too, takes the same one.
    """
    return _seeded(f"{seed}/{epoch}/{index}/{repeat}/instead").python


def per_batch(seed: int, *, epoch: int, start: int, rank: int) -> Rng:
    """Return the generators of one rank's batch in one epoch, whoever read its images.

    Args:
        seed: Of the run.
        epoch: From 0.
        start: Place of the epoch's order where the global batch begins; a resumed epoch keeps it.
        rank: Whose batch.
    """
    return _seeded(f"{seed}/{epoch}/batch/{start}/{rank}")


def _seeded(text: str) -> Rng:
    digest = hashlib.blake2b(text.encode(), digest_size=32).digest()
    words = np.frombuffer(digest[16:], dtype="<u4")
    return Rng(random.Random(int.from_bytes(digest[:16], "little")), words)  # noqa: S311


class Stream:
    """One stream for all samples, in the order in which they are read, as PaddleClas has it.

    Python's and NumPy's generators seeded with the same number (PaddleClas d178931, ppcls/engine/engine.py).
    """

    def __init__(self, seed: int) -> None:
        self.rng = Rng(random.Random(seed), seed % 2**32)  # noqa: S311

    def state(self) -> str:
        """Return a text from which `restore` goes on."""
        kind, keys, position, has_gauss, gauss = self.rng.numpy.get_state(legacy=True)
        numpy_state = [str(kind), [int(key) for key in keys], int(position), int(has_gauss), float(gauss)]
        return json.dumps({"python": self.rng.python.getstate(), "numpy": numpy_state})

    def restore(self, text: str) -> None:
        """Go on from a state.

        Raises:
            FormatError: It is broken.
        """
        document: Mapping[str, Any] = parse_object(text, where=_WHAT)
        try:
            version, internal, gauss = document["python"]
            self.rng.python.setstate((version, tuple(internal), gauss))
            kind, keys, position, has_gauss, numpy_gauss = document["numpy"]
            words = np.array(keys, dtype=np.uint32)
            self.rng.numpy.set_state((kind, words, position, has_gauss, numpy_gauss))
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise FormatError(where=_WHAT, expected="the state of two generators", got=str(error)) from error
