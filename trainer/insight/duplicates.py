"""Finds images that are there twice: the same bytes, or the same picture scaled, compressed or mirrored.

Copies of the same bytes are found by their digests. For the others every image would have to be compared
with every other, five thousand million pairs of a hundred thousand. Copies differ in few of the 64 bits of
their hashes, and with up to seven at least one of the hash's eight bytes is the same in both (with ten it
nearly always is): images are sorted by each byte in turn, and only those within one of its 256 buckets are
compared, bit by bit and in blocks, which is a 256th of the pairs eight times.

What differs in few bits is then compared by 24 × 24 grey pixels: 64 signs alone take two pictures of one
composition for copies. Both must agree, the thumbs as they are and what is left of them without their low
frequencies: two T-shirts are one bright shape on black, and differ in what is drawn on them. The bounds are
measured: photographs compressed at quality 30, halved, enlarged, brightened or mirrored are above them, and
of distinct garments and digits of 28 and 32 pixels some in a hundred; the smaller an image is, the less there
is that it could be told by, so that small ones must agree in more.

A mirrored copy is found in the same way, the hash of one against the mirrored hash of the other.

Not a BK-tree or a graph of neighbours: at seven bits of 64 a tree visits most of its nodes, and either would
be an index in Python where this is a few passes of numpy over arrays.

Where the images of a set are all alike (a camera over a conveyor belt), nearly every pair is proposed, and
that pictures are alike says nothing of whether they are copies. The number of pairs that are looked at is
bounded, and `Duplicates.alike` says that near copies were not told apart.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.insight.image_facts import THUMB, Facts

_MAX_BITS, _MAX_BITS_OF_SMALL = 10, 6
_SAME = 0.95
"""Least correlation of two thumbs of one picture."""
_SAME_DETAIL, _SAME_DETAIL_OF_SMALL = 0.85, 0.965
"""Least correlation of their high frequencies."""
_SMALL = 100
"""Pixels of the longest side below which an image is a small one; of a pair both must be."""
_DETAIL_ABOVE = 1.5
"""Standard deviation, in pixels of the thumb, of the blur that takes the high frequencies away."""
_PLAIN = 4.0
"""Contrast below which an image has nothing that it could be told by."""
_BLOCK = 1 << 18
"""Pairs that are compared at once: 2 MB of differences."""
_AT_ONCE = 4096
"""Pairs whose thumbs are compared at once: 9 MB each side."""
_MAX_PAIRS, _MAX_DETAILS = 10_000_000, 200_000
"""Pairs of one set that are compared by their thumbs, and by the high frequencies of these."""
_ALIKE = 10
"""Pairs for each image that is in one above which the pictures of a set are all alike: one image with ten
copies has five."""

Groups: TypeAlias = tuple[tuple[int, ...], ...]
Pairs: TypeAlias = NDArray[np.int64]
Pictures: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicates:
    """Images that are there more than once, as places in what was searched.

    Attributes:
        exact: Groups of files with the same bytes, each sorted.
        near: Groups of images that look the same and are not all the same bytes; each with the members of
            the exact groups that belong to it.
        alike: The pictures of the set look so alike that near copies cannot be told from others; `near` is
            empty then.
    """

    exact: Groups
    near: Groups
    alike: bool = False


def find_duplicates(facts: Facts) -> Duplicates:
    """Find what is there more than once.

    Args:
        facts: [N] records of `FACTS`.
    """
    exact, first = _same_bytes(facts)
    chosen = np.flatnonzero((first == np.arange(len(facts))) & (facts["contrast"] >= _PLAIN))
    pairs = _near_pairs(facts[chosen])
    if pairs is None or len(pairs) > _ALIKE * len(np.unique(pairs)):
        return Duplicates(exact=exact, near=(), alike=True)
    members: dict[int, list[int]] = {}
    for place, of in enumerate(first.tolist()):
        members.setdefault(of, []).append(place)
    joined = _join([(int(chosen[a]), int(chosen[b])) for a, b in pairs.tolist()])
    near = tuple(tuple(sorted(place for of in group for place in members[of])) for group in joined)
    return Duplicates(exact=exact, near=near)


def _same_bytes(facts: Facts) -> tuple[Groups, NDArray[np.int64]]:
    """Return the groups of the same bytes, and of each image the first that has its bytes."""
    digests = np.ascontiguousarray(facts["digest"]).view("V16").ravel()
    _, where, inverse = np.unique(digests, return_index=True, return_inverse=True)
    first = where[inverse.ravel()].astype(np.int64)
    groups: dict[int, list[int]] = {}
    for place in np.flatnonzero(first != np.arange(len(first))).tolist():
        groups.setdefault(int(first[place]), [int(first[place])]).append(place)
    return tuple(tuple(group) for _, group in sorted(groups.items())), first


def _near_pairs(facts: Facts) -> Pairs | None:
    """Return [M, 2] places of images that look the same; None where too many pairs are proposed."""
    found: list[Pairs] = []
    compared = detailed = 0
    small = np.maximum(facts["width"], facts["height"]) < _SMALL
    for others, mirrored in ((facts["looks"], False), (facts["mirrored"], True)):
        for proposed, bits in _proposals(facts["looks"], others):
            is_small = small[proposed].all(axis=1)
            few = bits <= np.where(is_small, _MAX_BITS_OF_SMALL, _MAX_BITS)
            pairs, is_small = proposed[few], is_small[few]
            compared += len(pairs)
            if compared > _MAX_PAIRS or detailed > _MAX_DETAILS:
                return None
            a, b = _pictures(facts["thumb"][pairs[:, 0]]), _pictures(facts["thumb"][pairs[:, 1]])
            if mirrored:
                b = b[:, :, ::-1]
            alike = _correlate(a, b) >= _SAME
            if not alike.any():
                continue
            a, b, pairs, is_small = a[alike], b[alike], pairs[alike], is_small[alike]
            detailed += len(pairs)
            bounds = np.where(is_small, _SAME_DETAIL_OF_SMALL, _SAME_DETAIL)
            found.append(np.sort(pairs[_correlate(_detail(a), _detail(b)) >= bounds], axis=1))
    if not found:
        return np.zeros((0, 2), dtype=np.int64)
    return np.unique(np.concatenate(found), axis=0)


def _pictures(thumbs: NDArray[np.uint8]) -> Pictures:
    return thumbs.reshape(-1, THUMB, THUMB).astype(np.float32)


def _detail(pictures: Pictures) -> Pictures:
    """Return what a blur takes away."""
    return np.stack([one - cv2.GaussianBlur(one, (0, 0), _DETAIL_ABOVE) for one in pictures])


def _correlate(a: Pictures, b: Pictures) -> Pictures:
    """Return the correlation of each picture of `a` with that of `b`: [M], -1 to 1."""
    a, b = a - a.mean(axis=(1, 2), keepdims=True), b - b.mean(axis=(1, 2), keepdims=True)
    lengths = np.sqrt(np.einsum("ijk,ijk->i", a, a) * np.einsum("ijk,ijk->i", b, b))
    product: Pictures = np.einsum("ijk,ijk->i", a, b) / np.maximum(lengths, np.float32(1e-6))
    return product


def _proposals(
    hashes: NDArray[np.uint64], others: NDArray[np.uint64]
) -> Iterator[tuple[Pairs, NDArray[np.uint8]]]:
    """Yield [M, 2] pairs (a, b), a < b, of hashes that differ in few bits, and in how many.

    A pair comes once, with the first byte in which both agree.
    """
    for byte in range(8):
        shift, below = np.uint64(8 * byte), np.uint64((1 << 8 * byte) - 1)
        key = ((hashes >> shift) & np.uint64(0xFF)).astype(np.int64)
        other_key = ((others >> shift) & np.uint64(0xFF)).astype(np.int64)
        order, other_order = np.argsort(key, kind="stable"), np.argsort(other_key, kind="stable")
        begins = np.searchsorted(key[order], np.arange(257))
        other_begins = np.searchsorted(other_key[other_order], np.arange(257))
        for value in range(256):
            rows = order[begins[value] : begins[value + 1]]
            columns = other_order[other_begins[value] : other_begins[value + 1]]
            if len(columns) == 0:
                continue
            height = max(1, _BLOCK // len(columns))
            for at in range(0, len(rows), height):
                block = rows[at : at + height]
                differ = hashes[block][:, None] ^ others[columns][None, :]
                bits = _count_bits(differ)
                a, b = np.nonzero((bits <= _MAX_BITS) & (block[:, None] < columns[None, :]))
                if byte and len(a):  # those that agree in an earlier byte have come already
                    lower = differ[a, b] & below
                    seen = np.zeros(len(a), dtype=np.bool_)
                    for earlier in range(byte):
                        seen |= ((lower >> np.uint64(8 * earlier)) & np.uint64(0xFF)) == 0
                    a, b = a[~seen], b[~seen]
                for part in range(0, len(a), _AT_ONCE):
                    some = slice(part, part + _AT_ONCE)
                    pairs = np.stack([block[a[some]], columns[b[some]]], axis=1)
                    yield pairs, bits[a[some], b[some]]


_COUNTS = np.array([bin(value).count("1") for value in range(1 << 16)], dtype=np.uint8)


def _count_bits(values: NDArray[np.uint64]) -> NDArray[np.uint8]:
    if hasattr(np, "bitwise_count"):  # since numpy 2.0
        counts: NDArray[np.uint8] = np.bitwise_count(values)
        return counts
    parts = np.ascontiguousarray(values).view(np.uint16).reshape(*values.shape, 4)
    summed: NDArray[np.uint8] = _COUNTS[parts].sum(axis=-1, dtype=np.uint8)
    return summed


def _join(pairs: list[tuple[int, int]]) -> list[list[int]]:
    """Return the groups that pairs connect, each sorted, in the order of their first members."""
    parent: dict[int, int] = {}

    def root(place: int) -> int:
        while (above := parent.setdefault(place, place)) != place:
            parent[place] = parent[above]
            place = above
        return place

    for a, b in pairs:
        first, second = sorted((root(a), root(b)))
        parent[second] = first
    groups: dict[int, list[int]] = {}
    for place in sorted(parent):
        groups.setdefault(root(place), []).append(place)
    return [groups[of] for of in sorted(groups)]
