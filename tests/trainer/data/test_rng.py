from __future__ import annotations

import random

import numpy as np
import pytest

from trainer.data.rng import Stream, per_sample
from trainer.protocol.codec import FormatError

WORDS, FIRST = "23a0392a0c2bdcd278bedbfa7dace60e", 0.6464872269115722


def test_a_sample_s_draws_depend_on_seed_epoch_and_index_alone() -> None:
    def first(seed: int, epoch: int, index: int) -> tuple[float, float]:
        rng = per_sample(seed, epoch=epoch, index=index)
        return rng.python.random(), float(rng.numpy.normal())

    assert first(1, 2, 3) == first(1, 2, 3)
    assert (
        len({first(*key) for key in [(1, 2, 3), (2, 2, 3), (1, 3, 3), (1, 2, 4), (12, 3, 0), (1, 23, 0)]})
        == 6
    )


def test_a_stream_gives_what_the_seeded_modules_give() -> None:
    random.seed(42)
    np.random.seed(42)
    stream = Stream(42)
    assert [stream.rng.python.uniform(0, 1) for _ in range(5)] == [random.uniform(0, 1) for _ in range(5)]
    assert stream.rng.python.randint(0, 9) == random.randint(0, 9)
    assert stream.rng.numpy.normal(size=3).tolist() == np.random.normal(size=3).tolist()


def test_a_stream_goes_on_from_its_state() -> None:
    stream, other = Stream(1), Stream(2)
    stream.rng.python.gauss(0, 1)
    stream.rng.numpy.normal()
    other.restore(stream.state())
    assert other.rng.python.gauss(0, 1) == stream.rng.python.gauss(0, 1)
    assert other.rng.numpy.normal() == stream.rng.numpy.normal()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"python": 1, "numpy": 2}', '{"python": [3, [1], null]}'])
def test_a_broken_state_is_refused(text: str) -> None:
    with pytest.raises(FormatError, match="draws"):
        Stream(0).restore(text)


def test_a_sample_s_draws_are_those_of_earlier_releases() -> None:
    """A resumed run must not see other images because the trainer was upgraded."""
    rng = per_sample(3, epoch=1, index=7)
    numpy = np.random.RandomState(np.frombuffer(bytes.fromhex(WORDS), dtype="<u4"))
    assert rng.python.random() == FIRST
    assert rng.numpy.randint(0, 2**31, 700).tolist() == numpy.randint(0, 2**31, 700).tolist()
    assert rng.numpy.normal() == numpy.normal()
