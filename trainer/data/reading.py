"""Reads one sample of a list: from its line to the pixels that a network takes, or another one in its place.

The training process does so itself with `num_workers: 0`; else reader processes do. Both run this code, and
what it draws depends on the sample alone, so that nobody can tell from the pixels who has read them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from trainer.config.ops import ImageOp
from trainer.config.sections import MAX_IMAGE_PIXELS
from trainer.data.bad_images import how_to_fix
from trainer.data.decoded_cache import CachePlan, DecodedCache
from trainer.data.encoded import read_encoded
from trainer.data.normalization import AnyImage
from trainer.data.ops.build import Transform, Transforms
from trainer.data.ops.registry import Pixels
from trainer.data.rng import Rng, Stream, instead_of, per_sample
from trainer.errors import ImageError

_TRIES = 100  # of images in place of one that cannot be read: with half of all unreadable, 2 ** -100 fail


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """All that reading a sample depends on besides the sample; handed to reader processes as a pickle.

    Attributes:
        ops: `transform_ops`.
        paths: Image files by sample.
        source: The list file, for places such as `train_list.txt:17`.
        seed: Of the run.
        training: Let others take the place of bad images, rather than leave them out.
        skip: `bad_images: skip`.
        label_key: The label that an operation draws; None where the list has labels.
        max_pixels: Images that claim more are bad.
        uint8: Leave the end of the operations to `find_normalization(ops)`.
        fast: `decode: fast`.
        cache: Where decoded images are kept; None to decode each time.
    """

    ops: Sequence[ImageOp]
    paths: Sequence[str]
    source: str
    seed: int
    training: bool
    skip: bool
    label_key: str | None = None
    max_pixels: int = MAX_IMAGE_PIXELS
    uint8: bool = False
    fast: bool = False
    cache: CachePlan | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SampleKey:
    """A sample to be read.

    Attributes:
        index: In the list.
        epoch: From 0.
        repeat: How often it stood in the epoch's order before.
        side: Of the square images of its batch, in pixels; None keeps what the operations say.
        stage: Of a training whose images grow; None in every other.
    """

    index: int
    epoch: int
    repeat: int = 0
    side: int | None = None
    stage: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What came of it.

    Attributes:
        index: The sample that was read: another one where the one that was wanted is bad.
        is_bad: The one that was wanted cannot be read.
        label: Drawn by an operation; 0 where none draws it.
        problem: Why nothing was read, which ends the run; None where something was, or need not be.
    """

    index: int
    is_bad: bool = False
    label: int = 0
    problem: str | None = None


Put = Callable[[AnyImage], "tuple[int, ...] | None"]
"""Takes an image into its batch; returns the shape of the batch's images where it has another one."""


class Remarks(Protocol):
    """Who is told of bad images, and knows those that were."""

    def reason(self, index: int) -> str | None:
        """Return why a sample cannot be read, where that is known."""

    def note(self, index: int, reason: str) -> None:
        """Keep that a sample cannot be read."""

    def warn(self, index: int, text: str) -> None:
        """Keep that a sample was read though something is wrong with it."""


class _Bad(str):
    """Why an image cannot be read. It alone is borne by `bad_images: skip`; other problems end a run."""

    __slots__ = ()


class SampleReader:
    """Reads samples, one at a time."""

    def __init__(self, recipe: Recipe, remarks: Remarks, *, stream: Stream | None = None) -> None:
        """`stream`: draw from it, in the order of reading, as `rng: paddleclas` says.

        Raises:
            ConfigError: An operation of the user's own cannot be made.
        """
        self._recipe = recipe
        self._remarks = remarks
        self._stream = stream
        self._transforms = Transforms(recipe.ops, uint8=recipe.uint8, fast=recipe.fast)
        plain = self._transforms.choose()
        self._cache = DecodedCache(recipe.cache, plain.fixed_ops) if recipe.cache is not None else None
        self._keys: dict[Transform, bytes] = {}

    def read(self, key: SampleKey, put: Put) -> Outcome:
        """Read a sample, or another one in its place, and put it."""
        recipe, label = self._recipe, 0
        problem, label = self._read_into(key, key.index, put)
        if not isinstance(problem, _Bad) or not recipe.skip:
            return Outcome(index=key.index, label=label, problem=None if problem is None else str(problem))
        if not recipe.training:
            return Outcome(index=key.index, is_bad=True)
        chooser = instead_of(recipe.seed, epoch=key.epoch, index=key.index, repeat=key.repeat)
        for _ in range(_TRIES):
            other = chooser.randrange(len(recipe.paths))
            found, label = self._read_into(key, other, put)
            if not isinstance(found, _Bad):
                return Outcome(index=other, is_bad=True, label=label, problem=found)  # its label goes with it
        said = f"{problem}; nor can {_TRIES} images that were drawn to take its place"
        return Outcome(index=key.index, is_bad=True, problem=said)

    def _read_into(self, key: SampleKey, index: int, put: Put) -> tuple[str | None, int]:
        """Read sample `index` with the generators of the one that is wanted; returns problem and label."""
        if (known := self._remarks.reason(index)) is not None:
            return _Bad(known), 0
        recipe = self._recipe
        path = recipe.paths[index]
        where = f"{recipe.source}:{index + 1}: {path}"
        rng = self._rng_of(key)
        try:
            transform = self._transforms.choose(side=key.side, stage=key.stage)
            whole, warning = self._begin(path, transform, rng)
            image = transform.finish(whole, rng)
        except ImageError as error:
            return self._bad(index, f"{where}: {error}; {how_to_fix(skip=recipe.skip)}"), 0
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            mend = how_to_fix(skip=recipe.skip)
            return self._bad(index, f"{where}: expected a readable image, got: {reason}; {mend}"), 0
        if warning:
            self._remarks.warn(index, f"{where}: {warning}")
        label = 0 if recipe.label_key is None else rng.labels[recipe.label_key]
        other = put(image)
        if other is None:
            return None, label
        return (
            f"{where}: expected a batch's images to have one shape, got {list(image.shape)} beside "
            f"{list(other)}; let transform_ops resize or crop to a fixed size"
        ), label

    def _begin(self, path: str, transform: Transform, rng: Rng) -> tuple[Pixels, str]:
        """Return what is the same each time of an image file, decoded or from the cache, and a warning."""
        cache = self._cache
        if cache is None:
            encoded = read_encoded(Path(path), max_pixels=self._recipe.max_pixels)
            return transform.begin(encoded.data, rng), encoded.warning
        key = self._keys.get(transform)
        if key is None:
            key = self._keys[transform] = cache.key(transform.fixed_ops)
        found = cache.find(path, key)
        if found is not None:
            return found, ""
        encoded = read_encoded(Path(path), max_pixels=self._recipe.max_pixels)
        image = transform.begin(encoded.data, rng)
        if not encoded.warning:  # which is to be said each time
            cache.keep(path, key, image)
        return image, encoded.warning

    def _bad(self, index: int, reason: str) -> _Bad:
        if self._recipe.skip:
            self._remarks.note(index, reason)
        return _Bad(reason)

    def _rng_of(self, key: SampleKey) -> Rng:
        if self._stream is not None:
            return self._stream.rng
        return per_sample(self._recipe.seed, epoch=key.epoch, index=key.index, repeat=key.repeat)


__all__ = ["Outcome", "Put", "Recipe", "Remarks", "SampleKey", "SampleReader"]
