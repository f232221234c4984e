"""Divides the images of a folder into lists: shares and folds of each class, with groups in one piece.

Without groups each class is divided by itself, so that its choice depends on no other class. A group is what
must not be torn apart, such as all pictures of one person or all frames of one film; it may have images of
several classes, so that classes cannot be divided one by one. Groups are then dealt out, the largest first,
each to the part where it makes the squares of the differences from the shares that were asked for least,
added up over the classes and as shares of what was asked for: the idea of scikit-learn's
StratifiedGroupKFold. Finding the best division of all is a problem of packing, for which there is no
quick answer.
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trainer.errors import DataError

Images = Mapping[str, Sequence[str]]
"""Class name -> sorted paths of its images, relative to the folder."""
Groups = Mapping[str, str]
"""Path -> the group that it is of."""
MAX_FOLDS = 1000
"""So many folds at most: each is two lists, of which one has nearly all images in it."""
_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitOptions:
    """How images are divided.

    Attributes:
        val: Share of each class to hold out, above 0 and below 1; not used with `folds`.
        test: Share of each class for a list of its own; 0 for none.
        folds: Parts that are held out in turns, 2 or more; 0 for none.
        groups: Regular expression that is searched for in each path: its first group, or all that it matches,
            names what stays together. None for no groups.
        seed: Of all choices.
    """

    val: float = 0.2
    test: float = 0.0
    folds: int = 0
    groups: str | None = None
    seed: int = 0

    def refusals(self) -> list[str]:
        """Say what cannot be, whatever the images are."""
        said = []
        if not self.folds and not 0 < self.val < 1:
            said.append(f"val: expected a share above 0 and below 1, got {self.val}")
        if not 0 <= self.test < 1:
            said.append(f"test: expected a share from 0 to below 1, got {self.test}")
        if self.folds < 0 or self.folds == 1:
            said.append(f"folds: expected 2 or more, got {self.folds}")
        elif self.folds > MAX_FOLDS:
            said.append(f"folds: expected at most {MAX_FOLDS}, got {self.folds}")
        return said


@dataclass(frozen=True, kw_only=True, slots=True)
class Division:
    """Who is in which list.

    Attributes:
        train: Those of the first fold, where there are folds.
        val: The same; empty where none is held out.
        test: None where none was asked for.
        folds: What each fold holds out.
    """

    train: Images
    val: Images
    test: Images | None = None
    folds: tuple[Images, ...] = ()

    def train_of(self, fold: int) -> Images:
        """Return what a fold, from 0, trains on: all that others hold out."""
        return join([part for number, part in enumerate(self.folds) if number != fold])


def divide(images: Images, options: SplitOptions, *, groups: Groups | None, holds_out: bool) -> Division:
    """Divide images.

    Args:
        images: Of each class; enough, as `find_shortages` says.
        options: How.
        groups: Of each path; None for no groups.
        holds_out: Whether a part is held out at all; False where there is one already.
    """
    tested = None
    if options.test:
        least = (options.folds or 2) if holds_out else 1
        tested, images = _hold_out(images, options.test, options.seed, "/test", groups=groups, least=least)
    if not holds_out:
        return Division(train=images, val={}, test=tested)
    if options.folds:
        folds = tuple(_deal(images, options.folds, options.seed, groups))
        whole = Division(train={}, val=folds[0], test=tested, folds=folds)
        return Division(train=whole.train_of(0), val=folds[0], test=tested, folds=folds)
    val, train = _hold_out(images, options.val, options.seed, "", groups=groups, least=1)
    return Division(train=train, val=val, test=tested)


def find_groups(images: Images, pattern: str) -> dict[str, str]:
    """Return the group of each path.

    Raises:
        DataError: It is no regular expression, or some paths have no group.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise DataError([f"groups: expected a regular expression, got {pattern!r}: {error}"]) from error
    found, without = {}, []
    for path in (path for paths in images.values() for path in paths):
        match = expression.search(path)
        group = None if match is None else match[1 if expression.groups else 0]
        if group:
            found[path] = group
        else:
            without.append(path)
    if without:
        shown = ", ".join(without[:_SHOWN]) + (", …" if len(without) > _SHOWN else "")
        raise DataError(
            [
                f"groups: expected {pattern!r} to name a group of each path, got none of {len(without)}: "
                f"{shown}; correct the expression"
            ]
        )
    return found


def find_shortages(
    images: Images, options: SplitOptions, *, groups: Groups | None, holds_out: bool
) -> dict[str, str]:
    """Return of each class that has too few images or groups what is expected of it, and what it has."""
    parts = ["training"]
    if options.folds and holds_out:
        parts = [f"each of {options.folds} folds"]
    elif holds_out:
        parts.append("validation")
    if options.test:
        parts.append("test")
    needed = (options.folds if options.folds and holds_out else 1 + holds_out) + bool(options.test)
    each = "" if options.folds and holds_out else " each"
    said = {}
    for name, paths in images.items():
        count = len({groups[path] for path in paths}) if groups is not None else len(paths)
        if 0 < count < needed:
            what, fix = ("images", "add images") if groups is None else ("groups", "name smaller groups")
            said[name] = (
                f"expected at least {needed} {what}, so that {' and '.join(parts)} have one{each}, got "
                f"{count}; {fix}, or remove the class"
            )
    return said


def join(parts: Sequence[Images]) -> Images:
    """Return the images of several parts, sorted in each class."""
    names = sorted({name for part in parts for name in part})
    return {name: sorted(path for part in parts for path in part.get(name, ())) for name in names}


def _hold_out(
    images: Images, share: float, seed: int, salt: str, *, groups: Groups | None, least: int
) -> tuple[Images, Images]:
    """Return what is held out, and what is left, of which each class keeps `least` images or groups."""
    if groups is not None:
        held_out, left = _by_group(images, (share, 1 - share), groups, seed, salt)
        return held_out, left
    chosen = {}
    for name, paths in images.items():
        count = min(max(1, int(len(paths) * share + 0.5)), len(paths) - least)
        # A text as seed is hashed by SHA-512, the same on every machine and version of Python.
        chooser = random.Random(f"{seed}/{name}{salt}")  # noqa: S311
        chosen[name] = set(chooser.sample(list(paths), max(0, count)))
    return (
        {name: sorted(paths) for name, paths in chosen.items()},
        {name: sorted(set(images[name]) - paths) for name, paths in chosen.items()},
    )


def _deal(images: Images, folds: int, seed: int, groups: Groups | None) -> list[Images]:
    if groups is not None:
        return _by_group(images, (1 / folds,) * folds, groups, seed, "/folds")
    parts: list[dict[str, list[str]]] = [{} for _ in range(folds)]
    for name, paths in images.items():
        chooser = random.Random(f"{seed}/{name}/folds")  # noqa: S311
        order, first = chooser.sample(list(paths), len(paths)), chooser.randrange(folds)
        for number, part in enumerate(parts):
            part[name] = sorted(order[(number - first) % folds :: folds])
    return list(parts)


def _by_group(images: Images, shares: Sequence[float], groups: Groups, seed: int, salt: str) -> list[Images]:
    """Deal groups out to parts of these shares, which add up to 1."""
    names, members = list(images), defaultdict[str, list[tuple[int, str]]](list)
    for number, name in enumerate(names):
        for path in images[name]:
            members[groups[path]].append((number, path))

    def rank(group: str) -> tuple[int, float]:
        draw = random.Random(f"{seed}/{group}{salt}").random()  # noqa: S311
        return -len(members[group]), draw

    wanted = [[share * len(images[name]) for name in names] for share in shares]
    have = [[0] * len(names) for _ in shares]
    parts: list[dict[str, list[str]]] = [{name: [] for name in names} for _ in shares]
    for group in sorted(members, key=rank):
        counts = Counter(number for number, _ in members[group])

        def cost(part: int, counts: Counter[int] = counts) -> float:
            lacks = ((have[part][k] - wanted[part][k], wanted[part][k], n) for k, n in counts.items())
            return sum(n * (2 * over + n) / target for over, target, n in lacks)

        best = min(range(len(shares)), key=lambda part: (cost(part), sum(have[part]) / shares[part]))
        for number, path in members[group]:
            have[best][number] += 1
            parts[best][names[number]].append(path)
    return [{name: sorted(paths) for name, paths in part.items()} for part in parts]
