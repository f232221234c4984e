"""Which images are found to be there twice."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from trainer.insight.duplicates import find_duplicates
from trainer.insight.image_facts import FACTS

COPIES = {
    "compressed": lambda one: cv2.imdecode(cv2.imencode(".jpg", one, [cv2.IMWRITE_JPEG_QUALITY, 40])[1], 1),
    "halved": lambda one: cv2.resize(one, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    "enlarged": lambda one: cv2.resize(one, None, fx=1.5, fy=1.5),
    "brightened": lambda one: np.clip(one.astype(np.float64) * 1.15 + 8, 0, 255).astype(np.uint8),
    "grey": lambda one: cv2.cvtColor(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB),
    "mirrored": lambda one: np.ascontiguousarray(one[:, ::-1]),
    "stretched": lambda one: cv2.resize(one, None, fx=1.3, fy=1.0),
}


def test_distinct_photographs_are_no_copies(photographs, facts_of):
    found = find_duplicates(np.array([facts_of(one) for one in photographs]))
    assert (found.exact, found.near, found.alike) == ((), (), False)


@pytest.mark.parametrize("how", COPIES)
def test_copies_are_found(how: str, photographs, facts_of):
    copied = photographs[::2]
    facts = np.array([facts_of(one) for one in (*photographs, *map(COPIES[how], copied))])
    expected = {(2 * place, len(photographs) + place) for place in range(len(copied))}
    found = set(find_duplicates(facts).near)
    assert found <= expected
    assert len(found) >= 0.95 * len(expected)


def test_files_of_the_same_bytes_are_told_apart_from_those_that_only_look_so(photographs, facts_of):
    first, other = facts_of(photographs[0]), facts_of(photographs[1])
    again = facts_of(COPIES["halved"](photographs[0]))
    found = find_duplicates(np.array([other, first, first, again]))
    assert found.exact == ((1, 2),)
    assert found.near == ((1, 2, 3),)


def test_images_of_one_colour_are_no_copies_of_each_other(facts_of):
    plain = [facts_of(np.full((60, 60, 3), value, dtype=np.uint8)) for value in (10, 90, 170, 250)]
    assert find_duplicates(np.array(plain)).near == ()


def test_a_set_of_pictures_that_are_all_alike_is_said_to_be_one(photographs, facts_of):
    rng = np.random.default_rng(0)
    noisy = [
        facts_of(np.clip(photographs[0] + rng.normal(0, 3, photographs[0].shape), 0, 255).astype(np.uint8))
        for _ in range(60)
    ]
    found = find_duplicates(np.array(noisy))
    assert found.alike
    assert found.near == ()


def test_no_images_have_no_copies():
    assert find_duplicates(np.zeros(0, dtype=FACTS)).near == ()


def test_buckets_find_what_comparing_all_pairs_finds():
    rng = np.random.default_rng(3)
    facts = np.zeros(300, dtype=FACTS)
    facts["looks"] = rng.integers(0, 2**64, 300, dtype=np.uint64)
    facts["mirrored"] = rng.integers(0, 2**64, 300, dtype=np.uint64)
    facts["digest"] = rng.integers(0, 256, (300, 16))
    facts["contrast"], facts["width"] = 50, 300
    facts["thumb"] = rng.integers(0, 256, 24 * 24)  # alike, so that the hashes alone decide
    for place in range(0, 60, 2):  # pairs that differ in 0 to 7 bits
        bits = rng.choice(64, place % 8, replace=False)
        facts["looks"][place + 1] = facts["looks"][place] ^ np.uint64(sum(1 << int(bit) for bit in bits))
    count = [[bin(int(a) ^ int(b)).count("1") for b in facts["looks"]] for a in facts["looks"]]
    pairs = {(a, b) for a in range(300) for b in range(a + 1, 300) if count[a][b] <= 7}
    assert set(find_duplicates(facts).near) == pairs
    assert len(pairs) == 30
