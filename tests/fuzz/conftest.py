"""Rounds and seed of the fuzz tests: a small share in every run, `make fuzz` as many as ROUNDS says."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable

import pytest


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """Of this test; FUZZ_SEED repeats one, `make fuzz` draws another each time. Shown where a test fails."""
    drawn = int(os.environ.get("FUZZ_SEED") or 1)
    sys.stdout.write(f"{request.node.nodeid}: FUZZ_SEED={drawn}\n")
    return drawn


@pytest.fixture
def rng(seed: int) -> random.Random:
    return random.Random(seed)


@pytest.fixture
def rounds() -> Callable[[int], int]:
    """Return how often a test tries: the number that it names, or a share of FUZZ_ROUNDS."""
    wanted = os.environ.get("FUZZ_ROUNDS")
    return lambda usual: int(wanted) if wanted else usual
