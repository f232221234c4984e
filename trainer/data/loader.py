"""Reads an epoch's samples in their order and yields batches."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from trainer.config.data import CustomLabelDataset, SplitSection
from trainer.config.pipeline import stage_of
from trainer.config.samplers import RASampler
from trainer.config.sections import MAX_IMAGE_PIXELS
from trainer.data.bad_images import BadImages, how_to_fix
from trainer.data.batch_ops import build_mixing
from trainer.data.encoded import read_encoded
from trainer.data.lists import SampleList
from trainer.data.normalization import find_normalization
from trainer.data.ops.build import Transforms
from trainer.data.rng import Rng, Stream, instead_of, per_batch, per_sample
from trainer.data.sampling import make_sampling
from trainer.data.sharding import Indices, Shard
from trainer.errors import DataError, ImageError


def _nothing() -> None:
    """Give nothing back: the memory is the batch's own."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Batch:
    """One rank's part of a global batch.

    Attributes:
        images: float32 [B, C, H, W], normalised, RGB unless DecodeImage says otherwise; or uint8
            [B, H, W, 3], of which `Loader.normalization` makes that, by `trainer.engine.feed`.
        labels: int64 [B, 1], or float32 [B, K] where the images were mixed.
        indices: int64 [B], samples of the list.
        valid: bool [B], False for padding, which repeats another sample. Training trains on it, as PaddleClas
            does, an evaluation leaves it out, and neither counts it. False for bad images too
            in an evaluation.
        global_samples: Samples of all ranks' batches, padding left out.
        end: Place of the epoch's order after the global batch; where a resumed epoch goes on.
        bad_images: How many images of this part cannot be read, padding left out.
        epoch: Whose order it is of, from 0.
        release: Gives the memory of `images` back to the reader processes, for whoever has copied them. They
            must not be read after it. Nobody has to call it: memory that nobody refers to any longer is given
            back by itself.
    """

    images: NDArray[np.float32] | NDArray[np.uint8]
    labels: NDArray[np.int64] | NDArray[np.float32]
    indices: Indices
    valid: NDArray[np.bool_]
    global_samples: int
    end: int
    bad_images: int = 0
    epoch: int = 0
    release: Callable[[], object] = _nothing


class Assembly:
    """A batch that is being filled; its memory is made when the first image says how large it is."""

    def __init__(self, shard: Shard, indices: Indices) -> None:
        self.shard = shard
        self.indices = indices
        self.drawn_labels = np.zeros(len(indices), dtype=np.int64)
        """Labels that an operation draws, where one does; set by whoever puts the image."""
        self.bad = np.zeros(len(indices), dtype=np.bool_)
        """Where an image could not be read; set by whoever was to put it."""
        self._images: NDArray[Any] | None = None
        self._lock = threading.Lock()

    def put(self, slot: int, image: NDArray[Any]) -> tuple[int, ...] | None:
        """Copy an image in; returns the shape that was expected where it has another one."""
        with self._lock:
            if self._images is None:
                self._images = np.empty((len(self.indices), *image.shape), dtype=image.dtype)
        if self._images.shape[1:] != image.shape:
            return self._images.shape[1:]
        self._images[slot] = image
        return None

    def images(self) -> NDArray[Any]:
        """Return the images once all were put that can be read; of no known shape where none can."""
        if self._images is None:
            return np.zeros((len(self.indices), 1, 1, 1), dtype=np.float32)
        return self._images


_BATCHES_AHEAD = 2  # read beyond the one that the engine works on

_TRIES = 100  # of images in place of one that cannot be read: with half of all unreadable, 2 ** -100 fail

Problem = str | None


class _Bad(str):
    """Why an image cannot be read. It alone is borne by `bad_images: skip`; other problems end a run."""

    __slots__ = ()


class Loader:
    """One rank's batches of a list, an epoch at a time."""

    def __init__(
        self, *, split: SplitSection, samples: SampleList, rank: int, world_size: int, seed: int,
        training: bool, epochs: int | None = None, max_pixels: int = MAX_IMAGE_PIXELS, uint8: bool = False,
    ) -> None:  # fmt: skip
        """Prepare to read.

        Args:
            split: Dataset, sampler and loader of the config.
            samples: The dataset's list.
            rank: Whose batches.
            world_size: Ranks that share an epoch.
            seed: Of the run, for the operations' generators; the order of samples does not depend on it.
            training: Refuse an epoch without a single step; let others take the place of bad images.
            epochs: Of a training whose images grow; None in every other.
            max_pixels: Images that claim more are bad.
            uint8: Leave the end of the operations to `normalization`, where they have such an end and the
                images of a batch are not mixed, which takes floating-point numbers.

        Raises:
            DataError: There are too few samples for a step.
        """
        self._samples = samples
        self._rank = rank
        self._world_size = world_size
        self._seed = seed
        self._sampling = make_sampling(split.sampler, n=len(samples), seed=seed)
        self._training = training
        self._max_pixels = max_pixels
        self.bad_images = BadImages(
            skip=split.loader.bad_images == "skip", limit=split.loader.bad_images_limit, samples=samples
        )
        self._workers = split.loader.num_workers
        self._epochs = epochs
        may_leave = uint8 and not split.dataset.batch_transform_ops
        self.normalization = find_normalization(split.dataset.transform_ops) if may_leave else None
        """What makes float32 [B, C, H, W] of uint8 [B, H, W, 3]; None where images are float32 already."""
        self._transforms = Transforms(split.dataset.transform_ops, uint8=self.normalization is not None)
        dataset = split.dataset
        self._label_key = dataset.label_key if isinstance(dataset, CustomLabelDataset) else None
        self._mix = build_mixing(
            split.dataset.batch_transform_ops or (), classes=samples.classes,
            doubles=split.loader.rng == "paddleclas",
        )  # fmt: skip
        # PaddleClas seeds with seed + rank once it is distributed (d178931, ppcls/engine/engine.py).
        own_seed = seed + rank if world_size > 1 else seed
        self._stream = Stream(own_seed) if split.loader.rng == "paddleclas" else None
        cv2.setNumThreads(1)  # ranks and reader threads fill the cores already
        if training and len(self) == 0:
            raise DataError([f"{samples.source}: {_too_few(split, len(samples), world_size)}"])

    def __len__(self) -> int:
        return self._sampling.steps(world_size=self._world_size)

    @property
    def source(self) -> str:
        """The list file."""
        return self._samples.source

    @property
    def samples(self) -> SampleList:
        """The list that it reads."""
        return self._samples

    def normalized(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Return a batch's images as float32 [B, C, H, W], whatever they are."""
        if self.normalization is None or images.dtype != np.uint8:
            return images
        return self.normalization.apply(images)

    def batches_before(self, cursor: int) -> int:
        """Return how many batches of a rank a place of the epoch's order has before it."""
        return self._sampling.done(cursor, world_size=self._world_size)

    @property
    def is_continuous(self) -> bool:
        """Whether an epoch goes on in the order that the last one has left, as with `rng: paddleclas`.

        PaddleClas makes its iterator once, and anew where it ends, not where an epoch does (d178931,
        ppcls/engine/train/train.py): with an `update_freq` that does not divide the batches, or with
        `iter_per_epoch`, epochs and orders drift apart.
        """
        return self._stream is not None

    def rng_state(self) -> str | None:
        """Return where the stream of `rng: paddleclas` is; None with `per_sample`, which has no state."""
        return self._stream.state() if self._stream is not None else None

    def restore_rng(self, state: str) -> None:
        """Go on with the random numbers from a state; no effect with `per_sample`.

        Raises:
            FormatError: The state is broken.
        """
        if self._stream is not None:
            self._stream.restore(state)

    def batches(
        self, epoch: int, *, start: int = 0, order_world_size: int | None = None
    ) -> Generator[Batch, None, None]:
        """Yield the batches of an epoch. Closing the generator ends its reader threads.

        Args:
            epoch: From 0.
            start: Places of the epoch's order that were trained on already.
            order_world_size: Ranks that the order was padded for, where an epoch goes on that others began;
                None means as many as there are.

        Raises:
            DataError: Images cannot be read, and none are to be skipped; names line and file of all those of
                one batch.
        """
        positions = self._sampling.positions(epoch, world_size=order_world_size or self._world_size)
        assemblies = self._assemblies(positions, start)
        read = self._read_ahead if self._workers else self._read
        filled = read(assemblies, epoch)
        try:
            for assembly in filled:
                yield self._finish(assembly, positions, epoch)
        finally:
            filled.close()

    def batches_on(
        self, epoch: int, *, start: int = 0, order_world_size: int | None = None
    ) -> Generator[Batch, None, None]:
        """Yield the batches from a place of an epoch's order on, then those of the next orders, without end.

        Arguments and errors as of `batches`; closing the generator ends its reader threads.
        """
        while True:
            found = self.batches(epoch, start=start, order_world_size=order_world_size)
            try:
                yield from found
            finally:
                found.close()
            epoch, start, order_world_size = epoch + 1, 0, None

    def _assemblies(self, positions: Indices, start: int) -> Iterator[Assembly]:
        shards = self._sampling.shards(
            len(positions), rank=self._rank, world_size=self._world_size, start=start
        )
        for shard in shards:
            yield Assembly(shard, positions[shard.places] % len(self._samples))

    def _finish(self, assembly: Assembly, positions: Indices, epoch: int) -> Batch:
        n, shard = len(self._samples), assembly.shard
        valid = positions[shard.places] < n
        valid[len(valid) - shard.extra :] = False
        bad = int(np.count_nonzero(assembly.bad & valid))
        if not self._training:
            valid &= ~assembly.bad
        images, listed = assembly.images(), self._samples.labels
        labels = listed[assembly.indices] if listed is not None else assembly.drawn_labels
        if labels.ndim == 1:
            labels = labels.reshape(-1, 1)
        if self._mix is not None:
            images, labels = self._mix(images, labels, self._rng_of_batch(epoch, shard.start))
        return Batch(
            images=images,
            labels=labels,
            indices=assembly.indices,
            valid=valid,
            global_samples=int(np.count_nonzero(positions[shard.start : shard.end] < n)),
            end=shard.end,
            bad_images=bad,
            epoch=epoch,
        )

    def _read(self, assemblies: Iterator[Assembly], epoch: int) -> Generator[Assembly, None, None]:
        for assembly in assemblies:
            _refuse(self._put(assembly, slot, epoch) for slot in range(len(assembly.indices)))
            yield assembly

    def _read_ahead(self, assemblies: Iterator[Assembly], epoch: int) -> Generator[Assembly, None, None]:
        pending: deque[tuple[Assembly, list[Future[Problem]]]] = deque()
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="reader")
        try:
            while True:
                while len(pending) <= _BATCHES_AHEAD and (assembly := next(assemblies, None)) is not None:
                    slots = range(len(assembly.indices))
                    pending.append(
                        (assembly, [pool.submit(self._put, assembly, slot, epoch) for slot in slots])
                    )
                if not pending:
                    return
                assembly, futures = pending.popleft()
                _refuse(future.result() for future in futures)
                yield assembly
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _put(self, assembly: Assembly, slot: int, epoch: int) -> Problem:
        """Read one sample into its slot, or another one for it; returns the problem where it cannot be."""
        index = int(assembly.indices[slot])
        problem = self._put_sample(assembly, slot, epoch, index=index)
        if not isinstance(problem, _Bad) or not self.bad_images.skip:
            return problem
        assembly.bad[slot] = True
        if not self._training:
            return None
        repeat = self._sampling.repeat(int(assembly.shard.places[slot]))
        chooser = instead_of(self._seed, epoch=epoch, index=index, repeat=repeat)
        for _ in range(_TRIES):
            other = chooser.randrange(len(self._samples))
            found = self._put_sample(assembly, slot, epoch, index=other, of=index)
            if not isinstance(found, _Bad):
                assembly.indices[slot] = other  # its label goes with it
                return found
        return f"{problem}; nor can {_TRIES} images that were drawn to take its place"

    def _put_sample(
        self, assembly: Assembly, slot: int, epoch: int, *, index: int, of: int | None = None
    ) -> Problem:
        """Read sample `index` into a slot, with the generators of sample `of` in whose place it is."""
        if (known := self.bad_images.reason(index)) is not None:
            return _Bad(known)
        path = self._samples.paths[index]
        where = f"{self._samples.place(index)}: {path}"
        try:
            side = self._sampling.side(assembly.shard.start)
            stage = None if self._epochs is None else stage_of(epoch, epochs=self._epochs)
            transform = self._transforms.choose(side=side, stage=stage)
            repeat = self._sampling.repeat(int(assembly.shard.places[slot]))
            rng = self._rng_of(epoch, index if of is None else of, repeat)
            encoded = read_encoded(Path(path), max_pixels=self._max_pixels)
            image = transform(encoded.data, rng)
        except ImageError as error:
            return self._bad(index, f"{where}: {error}; {how_to_fix(skip=self.bad_images.skip)}")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            mend = how_to_fix(skip=self.bad_images.skip)
            return self._bad(index, f"{where}: expected a readable image, got: {reason}; {mend}")
        if encoded.warning:
            self.bad_images.warn(index, f"{where}: {encoded.warning}")
        if self._label_key is not None:
            assembly.drawn_labels[slot] = rng.labels[self._label_key]
        other = assembly.put(slot, image)
        if other is None:
            return None
        return (
            f"{where}: expected a batch's images to have one shape, got {list(image.shape)} beside "
            f"{list(other)}; let transform_ops resize or crop to a fixed size"
        )

    def _bad(self, index: int, reason: str) -> Problem:
        if self.bad_images.skip:
            self.bad_images.note(index, reason)
        return _Bad(reason)

    def _rng_of(self, epoch: int, index: int, repeat: int) -> Rng:
        if self._stream is not None:
            return self._stream.rng
        return per_sample(self._seed, epoch=epoch, index=index, repeat=repeat)

    def _rng_of_batch(self, epoch: int, start: int) -> Rng:
        if self._stream is not None:
            return self._stream.rng
        return per_batch(self._seed, epoch=epoch, start=start, rank=self._rank)


def _too_few(split: SplitSection, count: int, world_size: int) -> str:
    sampler = split.sampler
    if isinstance(sampler, RASampler) and count < sampler.selected_round:
        return (
            f"expected at least {sampler.selected_round} samples, got {count}: RASampler takes whole rounds "
            f"of {sampler.selected_round} samples; lower selected_round"
        )
    return (
        f"expected at least {world_size * sampler.batch_size} samples for a batch of {sampler.batch_size} on "
        f"each of {world_size} ranks, got {count}; lower batch_size, or set drop_last: False"
    )


def _refuse(outcomes: Iterable[Problem]) -> None:
    # Padding may have asked for the same image twice.
    problems = list(dict.fromkeys(problem for problem in outcomes if problem is not None))
    if problems:
        raise DataError(problems)


__all__ = ["Batch", "Loader"]
