"""Reads an epoch's samples in their order and yields batches."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from trainer.config.data import CustomLabelDataset, SplitSection
from trainer.config.extras import module_of, refuse
from trainer.config.ops import ImageOp
from trainer.config.pipeline import stage_of
from trainer.config.samplers import RASampler
from trainer.config.sections import MAX_IMAGE_PIXELS
from trainer.data.auto_workers import Room, choose_workers, measure_read_time
from trainer.data.bad_images import BadImages
from trainer.data.batch_ops import build_mixing
from trainer.data.decoded_cache import CacheFolder, describe_failure, describe_use, plan_cache
from trainer.data.lists import SampleList
from trainer.data.normalization import AnyImage, find_normalization, write_image
from trainer.data.ops.build import Transforms
from trainer.data.readers import Filled, Pending, Readers, Request
from trainer.data.reading import Recipe, SampleKey, SampleReader
from trainer.data.rng import Rng, Stream, per_batch
from trainer.data.rounds import Part, Rounds
from trainer.data.sampling import make_sampling
from trainer.data.sharding import Indices
from trainer.errors import DataError
from trainer.protocol.limits import usable_cores
from trainer.protocol.safe_files import UnsafePathError


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
        start: Place of the epoch's order where the global batch begins.
        shard: Which part of the global batch it is, from 0.
        counts: Whether it is trained on; False of one that only keeps this rank in step with the others.
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
    start: int = 0
    shard: int = 0
    counts: bool = True
    release: Callable[[], object] = _nothing


@dataclass(slots=True, eq=False)
class _Assembly:
    """A batch that is being filled.

    Attributes:
        part: Which places of the epoch's order it has.
        indices: The samples that stand there, or those that were read in their place.
        repeats: How often each had stood in the epoch's order before.
        drawn_labels: Labels that an operation draws, where one does.
        bad: Where an image could not be read.
        images: None until an image was read.
        release: Gives the memory of `images` back.
    """

    part: Part
    indices: Indices
    repeats: Indices
    drawn_labels: NDArray[np.int64]
    bad: NDArray[np.bool_]
    images: NDArray[Any] | None = None
    release: Callable[[], object] = _nothing

    def put(self, place: int, image: AnyImage) -> tuple[int, ...] | None:
        """Copy an image in; returns the shape that was expected where it has another one."""
        if self.images is None:
            self.images = np.empty((len(self.indices), *image.shape), dtype=image.dtype)
        if self.images.shape[1:] != image.shape:
            return self.images.shape[1:]
        write_image(image, self.images[place])
        return None


class Loader:
    """One rank's batches of a list, an epoch at a time."""

    def __init__(
        self, *, split: SplitSection, samples: SampleList, rank: int, world_size: int, seed: int,
        training: bool, epochs: int | None = None, max_pixels: int = MAX_IMAGE_PIXELS, uint8: bool = False,
        readers: Readers | None = None, room: Room | None = None, shards: int | None = None,
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
            readers: Processes that read for other loaders, too; None for processes of its own.
            room: What `num_workers: auto` may use; None for all of this machine or pod.
            shards: Parts that each global batch is cut into, at least `world_size`; None for that. Of more
                parts than ranks each rank has several, in as many `rounds`.

        Raises:
            DataError: There are too few samples for a step.
        """
        self._samples = samples
        self._rank = rank
        self._world_size = world_size
        self._shards = shards or world_size
        self._rounds = Rounds(rank=rank, world_size=world_size, parts=self._shards)
        self.rounds = self._rounds.count  # batches of a rank that make one global batch
        self._seed = seed
        self._sampling = make_sampling(split.sampler, n=len(samples), seed=seed, labels=samples.labels)
        self._training = training
        self.bad_images = BadImages(
            skip=split.loader.bad_images == "skip", limit=split.loader.bad_images_limit, samples=samples
        )
        self._workers = split.loader.num_workers
        self.saves_decoding = split.loader.cache is not None or split.loader.decode == "fast"
        """Whether `loader.cache` or `decode: fast` is set."""
        self._epochs = epochs
        may_leave = uint8 and not split.dataset.batch_transform_ops
        self.normalization = find_normalization(split.dataset.transform_ops) if may_leave else None
        """What makes float32 [B, C, H, W] of uint8 [B, H, W, 3]; None where images are float32 already."""
        dataset = split.dataset
        self._cache = _plan_cache(
            split, samples.source, uint8=self.normalization is not None, most=max_pixels, training=training
        )
        self.recipe = Recipe(
            ops=dataset.transform_ops, paths=samples.paths, source=samples.source, seed=seed,
            training=training, skip=self.bad_images.skip, max_pixels=max_pixels,
            uint8=self.normalization is not None, fast=split.loader.decode == "fast",
            cache=self._cache.plan if self._cache is not None else None,
            label_key=dataset.label_key if isinstance(dataset, CustomLabelDataset) else None,
        )  # fmt: skip
        """How each sample is read, whoever does it."""
        self._mix = build_mixing(
            split.dataset.batch_transform_ops or (), classes=samples.classes,
            doubles=split.loader.rng == "paddleclas",
        )  # fmt: skip
        # PaddleClas seeds with seed + rank once it is distributed (d178931, ppcls/engine/engine.py).
        own_seed = seed + rank if world_size > 1 else seed
        self._stream = Stream(own_seed) if split.loader.rng == "paddleclas" else None
        self._reader = SampleReader(self.recipe, self.bad_images, stream=self._stream)
        cv2.setNumThreads(1)  # ranks and readers fill the cores already
        self._room = room
        self._readers = readers or Readers()
        self._notes: list[str] = []
        self._number = self._readers.add(
            self.recipe, workers=self._decide, batch_size=self._sampling.largest_batch
        )
        self._refuse_unimportable(dataset.transform_ops)
        if training and len(self) == 0:
            raise DataError([f"{samples.source}: {_too_few(split, len(samples), self._shards)}"])

    def __len__(self) -> int:
        return self._sampling.steps(world_size=self._shards) * self.rounds

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
        return self._sampling.done(cursor, world_size=self._shards) * self.rounds

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
        """Yield the batches of an epoch. Closing the generator ends reading ahead, not the reader processes.

        Args:
            epoch: From 0.
            start: Places of the epoch's order that were trained on already.
            order_world_size: Ranks that the order was padded for, where an epoch goes on that others began;
                None means as many as there are.

        Raises:
            DataError: Images cannot be read, and none are to be skipped; names line and file of all those of
                one batch.
        """
        self._open_cache()
        positions = self._sampling.positions(epoch, world_size=order_world_size or self._shards)
        assemblies = self._assemblies(positions, start)
        read = self._read_ahead if self._readers.count(self._number) else self._read
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

        Arguments and errors as of `batches`; closing the generator ends reading ahead.
        """
        while True:
            found = self.batches(epoch, start=start, order_world_size=order_world_size)
            try:
                yield from found
            finally:
                found.close()
            epoch, start, order_world_size = epoch + 1, 0, None

    def close(self) -> None:
        """End the reader processes, those of all loaders that share them, and let go of the cache."""
        self._readers.close()
        if self._cache is not None:
            self._cache.close()

    def take_unsaid(self) -> list[str]:
        """Return what is to be said of images and of reader processes, and nobody has said yet."""
        notes, self._notes = self._notes, []
        return [*notes, *self._readers.take_notes(), *self.bad_images.take_unsaid()]

    def _open_cache(self) -> None:
        """Make the cache's folder, or join those who use it; rank 0 says so."""
        if self._cache is None or self._cache.is_open:
            return
        try:
            said = self._cache.open()
        except OSError as error:
            if isinstance(error, UnsafePathError) and self._cache.plan.kind == "memory":
                raise
            raise DataError([describe_failure(self._cache.plan, error)]) from error
        if self._rank == 0:
            self._notes.append(said)

    def describe_cache(self) -> str | None:
        """Say what the cache did on this node since the last time; None without one, or nothing was read."""
        if self._cache is None or not self._cache.is_open:
            return None
        use = self._cache.take_use()
        return describe_use(self._cache.plan, use) if use.hits + use.misses else None

    @property
    def worker_count(self) -> int:
        """How many processes read; 0 where this one does, and before `auto` has chosen."""
        return self._workers if self._workers != "auto" else self._readers.chosen or 0

    def _decide(self) -> int:
        """Return how many processes read, and have said what was chosen or cannot be."""
        where = f"DataLoader.{'Train' if self._training else 'Eval'}.loader.num_workers"
        if self._workers == 0:
            return 0
        if not sys.platform.startswith("linux"):
            self._readers.note(f"{where}: reader processes need Linux; images are read in this one")
            return 0
        if self._workers != "auto":
            return self._workers
        if self._readers.chosen is None:
            if self._stream is not None:
                count, said = 0, "0: rng: paddleclas draws in the order of reading"
            elif self._own_ops(self.recipe.ops):
                count, said = 0, "0: operations of the program itself cannot be imported by other processes"
            else:
                room = self._room or Room(cores=usable_cores())
                images = len(self._samples) // self._world_size
                count, said = choose_workers(room, measure_read_time(self.recipe), images=images)
            self._readers.chosen = count
            if self._rank == 0:
                self._readers.note(f"{where}: auto: {said}")
        return self._readers.chosen

    def _refuse_unimportable(self, ops: Sequence[ImageOp]) -> None:
        """Refuse operations that reader processes could not find.

        Raises:
            ConfigError: An operation was registered by the program that runs, which is no module.
        """
        if self._workers not in (0, "auto") and (own := self._own_ops(ops)):
            message = (
                "expected an operation of a module, which reader processes can import, got one of the "
                "program itself; move it into a file of its own, or set num_workers: 0"
            )
            raise refuse("op", own[0].label, message)

    @staticmethod
    def _own_ops(ops: Sequence[ImageOp]) -> list[ImageOp]:
        return [op for op in ops if module_of(op) == "__main__"]

    def _assemblies(self, positions: Indices, start: int) -> Iterator[_Assembly]:
        repeats = self._sampling.repeats(positions)
        for part in self._rounds.parts_of(self._sampling, length=len(positions), start=start):
            shard = part.shard
            yield _Assembly(
                part=part, indices=positions[shard.places] % len(self._samples),
                repeats=repeats[shard.places],
                drawn_labels=np.zeros(len(shard.places), dtype=np.int64),
                bad=np.zeros(len(shard.places), dtype=np.bool_),
            )  # fmt: skip

    def _finish(self, assembly: _Assembly, positions: Indices, epoch: int) -> Batch:
        n, part, shard = len(self._samples), assembly.part, assembly.part.shard
        valid = positions[shard.places] < n
        valid[len(valid) - shard.extra :] = False
        valid &= part.counts
        bad = int(np.count_nonzero(assembly.bad & valid))
        if not self._training:
            valid &= ~assembly.bad
        images, listed = assembly.images, self._samples.labels
        if images is None:  # not one could be read, and no shape is known
            images = np.zeros((len(assembly.indices), 1, 1, 1), dtype=np.float32)
        labels = listed[assembly.indices] if listed is not None else assembly.drawn_labels
        if labels.ndim == 1:
            labels = labels.reshape(-1, 1)
        if self._mix is not None:
            images, labels = self._mix(images, labels, self._rng_of_batch(epoch, part))
        there = int(np.count_nonzero(positions[shard.start : shard.end] < n))
        return Batch(
            images=images, labels=labels, indices=assembly.indices, valid=valid,
            global_samples=self._rounds.share(there, part), start=shard.start, end=shard.end, bad_images=bad,
            epoch=epoch, shard=part.number, counts=part.counts, release=assembly.release,
        )  # fmt: skip

    def _read(self, assemblies: Iterator[_Assembly], epoch: int) -> Generator[_Assembly, None, None]:
        for assembly in assemblies:
            self._read_here(assembly, epoch)
            yield assembly

    def _read_here(self, assembly: _Assembly, epoch: int) -> None:
        """Read a batch in this process."""
        request, problems = self._request(assembly, epoch), []
        for place, index in enumerate(request.indices.tolist()):
            key = SampleKey(
                index=index, epoch=epoch, repeat=int(request.repeats[place]), side=request.side,
                stage=request.stage,
            )  # fmt: skip
            outcome = self._reader.read(key, partial(assembly.put, place))
            assembly.indices[place] = outcome.index
            assembly.bad[place] = outcome.is_bad
            assembly.drawn_labels[place] = outcome.label
            problems.append(outcome.problem)
        _refuse(problems)

    def _read_ahead(self, assemblies: Iterator[_Assembly], epoch: int) -> Generator[_Assembly, None, None]:
        """Have batches read by the processes, some of them ahead."""
        readers = self._readers
        waiting: deque[tuple[_Assembly, Pending]] = deque()
        following: _Assembly | None = next(assemblies, None)
        try:
            while waiting or following is not None:
                while following is not None and readers.may_ask(len(waiting)):
                    pending = readers.ask(self._number, self._request(following, epoch))
                    if pending is None:
                        break
                    waiting.append((following, pending))
                    following = next(assemblies, None)
                if not waiting:  # others have all the memory: it cannot be waited for
                    assert following is not None
                    self._read_here(following, epoch)
                    yield following
                    following = next(assemblies, None)
                    continue
                assembly, pending = waiting[0]
                filled = readers.wait(pending)
                if filled is None:
                    continue
                waiting.popleft()
                self._take(assembly, filled)
                yield assembly
        finally:
            for _, pending in waiting:
                readers.cancel(pending)

    def _take(self, assembly: _Assembly, filled: Filled) -> None:
        """Take over what reader processes have read."""
        for index, reason in filled.bad_images:
            self.bad_images.note(index, reason)
        for index, text in filled.warnings:
            self.bad_images.warn(index, text)
        _refuse(filled.problems)
        assembly.indices, assembly.bad, assembly.drawn_labels = filled.indices, filled.bad, filled.labels
        assembly.images, assembly.release = filled.images, filled.release

    def _request(self, assembly: _Assembly, epoch: int) -> Request:
        return Request(
            indices=assembly.indices.copy(), repeats=assembly.repeats, epoch=epoch,
            side=self._sampling.side(assembly.part.shard.start),
            stage=None if self._epochs is None else stage_of(epoch, epochs=self._epochs),
        )  # fmt: skip

    def _rng_of_batch(self, epoch: int, part: Part) -> Rng:
        if self._stream is not None:
            return self._stream.rng
        return per_batch(self._seed, epoch=epoch, start=part.shard.start, rank=part.number)


def _plan_cache(
    split: SplitSection, source: str, *, uint8: bool, most: int, training: bool
) -> CacheFolder | None:
    """Decide where decoded images are kept; None where they are not."""
    loader = split.loader
    if loader.cache is None:
        return None
    plan = plan_cache(
        loader.cache, source=source, max_pixels=most, size_bytes=loader.cache_bytes, training=training,
        disk_folder=Path(loader.cache_dir) if loader.cache_dir else user_cache_path("ftlaunch") / "decoded",
    )  # fmt: skip
    return CacheFolder(plan, Transforms(split.dataset.transform_ops, uint8=uint8).choose().fixed_ops)


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


def _refuse(outcomes: Iterable[str | None]) -> None:
    # Padding may have asked for the same image twice.
    problems = list(dict.fromkeys(problem for problem in outcomes if problem is not None))
    if problems:
        raise DataError(problems)


__all__ = ["Batch", "Loader"]
