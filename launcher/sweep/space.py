"""What a study varies: `KEY=log(1e-4,1e-1)`, `KEY=[a,b,c]`, `image_size=[192,224]`, `folds=5`. Pure.

Two kinds of dimensions are told apart. Those of the search make trials differ, and the search looks for
their best values. Those that repeat (`seed`, `folds`) make several jobs of one trial, whose mean is its
value: they say how far a value is to be trusted, and there is no best of them.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

from launcher.errors import Issue, UsageError
from trainer.config.document import parse_document
from trainer.config.overrides import parse_override, read_value, spell_overrides
from trainer.config.problems import ConfigError, KeyPath
from trainer.config.resize import resize

IMAGE_SIZE, SEED, FOLDS = "image_size", "seed", "folds"
_CALL = re.compile(r"(log|uniform|int)\s*\((.*)\)", re.DOTALL)
_MOST_CHOICES, _MOST_REPEATS, _MOST_POINTS = 1000, 20, 1000
_LARGEST_INT = 2**53
"""Of `int`: the whole numbers that a float, and so JSON elsewhere, holds exactly."""
_DIGITS = 4
"""Significant digits of a value that is drawn: more say nothing about a rate, and are hard to type."""
_FORMS = "[a,b,c], log(a,b), uniform(a,b) or int(a,b)"

Value = object
Params = Mapping[str, Value]
Kind = Literal["choice", "float", "int"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Dimension:
    """A value of the config that trials have differently.

    Attributes:
        key: As after `-o`, such as `Optimizer.lr.learning_rate`, or `image_size`.
        kind: `choice`: one of `values`; else a number from `low` to `high`, both included.
        log: Numbers are drawn evenly by their logarithm.
        text: As it was typed, behind `KEY=`.
    """

    key: str
    kind: Kind
    text: str
    values: tuple[Value, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @property
    def ends(self) -> tuple[Value, ...]:
        """The values to check before anything is sent: all of a choice, both ends of a range."""
        if self.kind == "choice":
            return self.values
        return (int(self.low), int(self.high)) if self.kind == "int" else (self.low, self.high)

    def has(self, value: Value) -> bool:
        """Say whether a value is one that could be drawn."""
        if self.kind == "choice":
            return repr(value) in map(repr, self.values)
        is_whole = isinstance(value, int) or (isinstance(value, float) and self.kind == "float")
        return is_whole and not isinstance(value, bool) and self.low <= float(str(value)) <= self.high

    def draw(self, source: random.Random) -> Value:
        """Draw a value."""
        if self.kind == "choice":
            return source.choice(self.values)
        if self.kind == "int":
            return source.randint(int(self.low), int(self.high))
        if self.log:
            value = math.exp(source.uniform(math.log(self.low), math.log(self.high)))
        else:
            value = source.uniform(self.low, self.high)
        return min(self.high, max(self.low, float(f"{value:.{_DIGITS}g}")))


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeat:
    """One job of a trial.

    Attributes:
        label: Ends the job's name, such as `s1` or `f2`; empty where a trial has one job.
        seed: Of `Global.seed`; None leaves the config's.
        fold: From 1: which pair of lists that `trainer make-lists --folds` wrote; None leaves the config's.
    """

    label: str = ""
    seed: int | None = None
    fold: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Space:
    """All that a study varies.

    Attributes:
        repeats: At least one.
        texts: `KEY=VALUES` of each dimension, as typed.
    """

    dimensions: tuple[Dimension, ...]
    repeats: tuple[Repeat, ...] = (Repeat(),)
    texts: tuple[str, ...] = ()

    @property
    def grid_size(self) -> int | None:
        """Number of points of the grid; None where a range has no list of values."""
        if any(dimension.kind == "float" for dimension in self.dimensions):
            return None
        return math.prod(len(_points(dimension)) for dimension in self.dimensions)

    def grid_point(self, number: int) -> dict[str, Value]:
        """Return a point of the grid, the last dimension changing first."""
        found: dict[str, Value] = {}
        for dimension in reversed(self.dimensions):  # a product of all would hold each range in memory
            points = _points(dimension)
            number, index = divmod(number, len(points))
            found[dimension.key] = points[index]
        return {dimension.key: found[dimension.key] for dimension in self.dimensions}

    def grid_number(self, params: Params) -> int | None:
        """Return which point of the grid has these values; None where none has."""
        number = 0
        for dimension in self.dimensions:
            texts = list(map(repr, _points(dimension))) if dimension.key in params else []
            if repr(params.get(dimension.key)) not in texts:
                return None
            number = number * len(texts) + texts.index(repr(params[dimension.key]))
        return number

    def draw(self, *, seed: int, number: int) -> dict[str, Value]:
        """Draw the values of a trial; they depend on the study's seed and the trial's number alone."""
        source = random.Random(f"{seed}/{number}")  # noqa: S311 - no secret
        return {dimension.key: dimension.draw(source) for dimension in self.dimensions}


def _points(dimension: Dimension) -> Sequence[Value]:
    if dimension.kind == "int":
        return range(int(dimension.low), int(dimension.high) + 1)
    return dimension.values


def parse_space(texts: Sequence[str]) -> Space:
    """Read what is varied.

    Args:
        texts: `KEY=VALUES` each.

    Raises:
        UsageError: Any of them is refused; names all.
    """
    problems: list[Issue] = []
    dimensions: dict[str, Dimension] = {}
    seeds: tuple[int, ...] = ()
    folds = 0
    for text in texts:
        key, separator, spec = text.partition("=")
        key, spec = key.strip(), spec.strip()
        try:
            if not separator or not key or not spec:
                raise _refuse(text, "KEY=VALUES, such as Optimizer.lr.learning_rate=log(1e-4,1e-1)", "")
            if key in dimensions or (key == SEED and seeds) or (key == FOLDS and folds):
                raise _refuse(text, "each key once", f"{key} again")
            if key == SEED:
                seeds = _parse_seeds(text, spec)
            elif key == FOLDS:
                folds = _parse_folds(text, spec)
            else:
                dimensions[key] = _parse_dimension(text, key, spec)
        except UsageError as error:
            problems.append(error.issue)
    if not problems and not (dimensions or seeds or folds):
        problems.append(Issue(where="--over", expected="at least one KEY=VALUES", got="none"))
    if problems:
        raise UsageError(problems=problems)
    return Space(dimensions=tuple(dimensions.values()), repeats=_repeats(seeds, folds), texts=tuple(texts))


def _refuse(text: str, expected: str, got: str) -> UsageError:
    return UsageError(where=f"--over {text}", expected=expected, got=got or repr(text))


def _parse_dimension(text: str, key: str, spec: str) -> Dimension:
    if key != IMAGE_SIZE:
        try:
            parse_override(f"{key}=0")
        except ConfigError as error:
            raise _refuse(text, "a key such as Optimizer.lr.learning_rate", repr(key)) from error
    if spec.startswith("[") and spec.endswith("]"):
        found = Dimension(key=key, kind="choice", text=spec, values=_parse_choices(text, spec))
    elif call := _CALL.fullmatch(spec):
        found = _parse_range(text, key, spec, call[1], [part.strip() for part in call[2].split(",")])
    else:
        raise _refuse(text, _FORMS, repr(spec))
    if key == IMAGE_SIZE and not all(_is_side(value) for value in found.ends):
        raise _refuse(text, "whole numbers of pixels from 8 to 4096", spec)
    return found


def _is_side(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 8 <= value <= 4096


def _parse_choices(text: str, spec: str) -> tuple[Value, ...]:
    literal = read_value(spec)
    values = (
        list(literal)
        if isinstance(literal, list)
        else [read_value(part.strip()) for part in _split(spec[1:-1])]
    )
    if not 1 <= len(values) <= _MOST_CHOICES or any(value == "" for value in values):
        raise _refuse(text, f"1 to {_MOST_CHOICES} values between [ and ]", spec)
    if len({repr(value) for value in values}) < len(values):
        raise _refuse(text, "each value once", spec)
    return tuple(values)


def _split(text: str) -> list[str]:
    """Split at the commas that stand in no brackets."""
    parts, depth = [""], 0
    for sign in text:
        depth += (sign in "[({") - (sign in "])}")
        if sign == "," and not depth:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _parse_range(text: str, key: str, spec: str, form: str, parts: list[str]) -> Dimension:
    numbers = [read_value(part) for part in parts]
    if len(numbers) not in (2, 3) or not all(_is_number(number) for number in numbers):
        third = "STEP" if form == "int" else "POINTS"
        raise _refuse(text, f"two numbers, {form}(FROM,TO), or three, {form}(FROM,TO,{third})", spec)
    low, high = float(numbers[0]), float(numbers[1])  # type: ignore[arg-type]  # numbers, as was seen
    if not low < high or (form == "log" and low <= 0):
        raise _refuse(text, "FROM below TO" + (", both above 0" if form == "log" else ""), spec)
    if form == "int" and not (low.is_integer() and high.is_integer()):
        raise _refuse(text, "whole numbers", spec)
    if form == "int" and max(-low, high) > _LARGEST_INT:
        raise _refuse(text, "numbers of at most 16 digits", spec)
    if len(numbers) == 2:
        kind: Kind = "int" if form == "int" else "float"
        return Dimension(key=key, kind=kind, text=spec, low=low, high=high, log=form == "log")
    values = _spread(text, spec, form, (low, high), numbers[2])
    return Dimension(key=key, kind="choice", text=spec, values=values)


def _spread(text: str, spec: str, form: str, ends: tuple[float, float], third: Value) -> tuple[Value, ...]:
    """Return values over a range: every so many of `int`, so many in all of `log` and `uniform`."""
    low, high = ends
    if not isinstance(third, int) or third < 1 or (form != "int" and third < 2) or third > _MOST_POINTS:
        raise _refuse(text, "a whole number from 1" if form == "int" else "a number of points from 2", spec)
    if form == "int":
        whole = range(int(low), int(high) + 1, third)
        if len(whole) > _MOST_POINTS:
            raise _refuse(text, f"at most {_MOST_POINTS} values, or int(FROM,TO)", spec)
        return tuple(whole)
    if not math.isfinite(high / low if form == "log" else high - low):
        raise _refuse(text, "FROM and TO whose distance is a number", spec)
    shares = [index / (third - 1) for index in range(third)]
    exact = [low * (high / low) ** share if form == "log" else low + (high - low) * share for share in shares]
    values = tuple(float(f"{value:.{_DIGITS}g}") for value in exact)
    if len({*values}) < len(values):
        raise _refuse(text, f"points that differ in their first {_DIGITS} digits", spec)
    return values


def _is_number(value: Value) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # of a whole number that no float holds
        return False


def _parse_seeds(text: str, spec: str) -> tuple[int, ...]:
    value = read_value(spec)
    if isinstance(value, int) and not isinstance(value, bool):
        seeds: object = list(range(min(value, _MOST_REPEATS + 1)))  # one too many is refused like any more
    else:
        seeds = value
    if (
        not isinstance(seeds, list) or not 1 <= len(seeds) <= _MOST_REPEATS
        or len({*map(repr, seeds)}) < len(seeds) or not all(map(_is_seed, seeds))
    ):  # fmt: skip
        raise _refuse(
            text, f"a number of seeds from 1 to {_MOST_REPEATS}, or a list of them such as [0,1,2]", spec
        )
    return tuple(seeds)


def _is_seed(value: Value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**31


def _parse_folds(text: str, spec: str) -> int:
    value = read_value(spec)
    if not isinstance(value, int) or isinstance(value, bool) or not 2 <= value <= _MOST_REPEATS:
        raise _refuse(text, f"a number of folds from 2 to {_MOST_REPEATS}", spec)
    return value


def _repeats(seeds: tuple[int, ...], folds: int) -> tuple[Repeat, ...]:
    return tuple(
        Repeat(
            label="".join([*([f"f{fold}"] if fold else []), *([f"s{seed}"] if seed is not None else [])]),
            seed=seed, fold=fold,
        )
        for fold in (range(1, folds + 1) if folds else (None,))
        for seed in (seeds or (None,))
    )  # fmt: skip


def overrides_of(params: Params, repeat: Repeat, *, content: bytes, name: str) -> tuple[str, ...]:
    """Return what is typed after `-o` for a job of a trial.

    Args:
        params: By key of their dimensions.
        repeat: Which job of the trial.
        content: Of the config, whose places of `image_size` and of lists are looked up.
        name: What messages call the config.

    Raises:
        ConfigError: The config's images have no size that could be set, or are no squares.
        UsageError: The config names no lists that could have folds.
    """
    texts: list[str] = []
    for key, value in params.items():
        if key == IMAGE_SIZE:
            texts += resize_overrides(content, int(str(value)), name=name)
        else:
            texts += spell_overrides({key: value})
    if repeat.seed is not None:
        texts.append(f"Global.seed={repeat.seed}")
    if repeat.fold is not None:
        texts += _fold_overrides(content, repeat.fold, name=name)
    return tuple(texts)


def resize_overrides(content: bytes, size: int, *, name: str) -> list[str]:
    """Return what sets the images' size in all places that must agree.

    The places are those in which the config differs from itself once resized: an alias leads to several.
    """
    resized, _ = resize(content, size, name=name)
    before, after = (parse_document(text, name=name).values for text in (content, resized))
    return [f"{'.'.join(map(str, path))}={value!r}" for path, value in _differences(before, after)]


def _differences(before: object, after: object, path: KeyPath = ()) -> list[tuple[KeyPath, object]]:
    if isinstance(before, dict) and isinstance(after, dict):
        return [item for key in after for item in _differences(before.get(key), after[key], (*path, key))]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        pairs = enumerate(zip(before, after, strict=True))
        return [item for index, (old, new) in pairs for item in _differences(old, new, (*path, index))]
    return [] if before == after else [(path, after)]


def _fold_overrides(content: bytes, fold: int, *, name: str) -> list[str]:
    values = parse_document(content, name=name).values
    texts = []
    for part in ("Train", "Eval"):
        here: object = values
        for key in ("DataLoader", part, "dataset", "cls_label_path"):
            here = here.get(key) if isinstance(here, dict) else None
        if not isinstance(here, str):
            raise UsageError(
                where=f"{name}: DataLoader.{part}.dataset.cls_label_path",
                expected="a list, for `folds`",
                got=repr(here),
                fix="`trainer make-lists FOLDER --folds N` writes such lists",
            )
        ending = PurePosixPath(here).suffix  # of the file: its folder may have a dot too
        stem = here.removesuffix(ending)
        texts.append(f"DataLoader.{part}.dataset.cls_label_path={f'{stem}_fold{fold}{ending}'!r}")
    return texts
