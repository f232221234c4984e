"""Reads an epoch's samples in their order and yields batches."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np

from trainer.config.data import CustomLabelDataset, SplitSection
from trainer.config.pipeline import stage_of
from trainer.config.samplers import RASampler
from trainer.config.sections import MAX_IMAGE_PIXELS
from trainer.data.bad_images import BadImages, cure
from trainer.data.batch import Assembly, Batch
from trainer.data.encoded import read_encoded
from trainer.data.lists import SampleList
from trainer.data.mixing import build_mixing
from trainer.data.rng import Draws, Stream, instead_of, per_batch, per_sample
from trainer.data.sampling import make_sampling
from trainer.data.sharding import Indices
from trainer.data.sizes import Transforms
from trainer.errors import DataError, ImageError

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
        training: bool, epochs: int | None = None, max_pixels: int = MAX_IMAGE_PIXELS,
    ) -> None:  # fmt: skip
        """Prepare to read.

        Args:
            split: Dataset, sampler and loader of the config.
            samples: The dataset's list.
            rank: Whose batches.
            world_size: Ranks that share an epoch.
            seed: Of the run, for the operations' draws; the order of samples does not depend on it.
            training: Refuse an epoch without a single step; let others take the place of bad images.
            epochs: Of a training whose images grow; None in every other.
            max_pixels: Images that claim more are bad.

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
        self._transforms = Transforms(split.dataset.transform_ops)
        dataset = split.dataset
        self._label_key = dataset.label_key if isinstance(dataset, CustomLabelDataset) else None
        self._mix = build_mixing(split.dataset.batch_transform_ops or (), classes=samples.classes)
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

    def batches_before(self, cursor: int) -> int:
        """Return how many batches of a rank a place of the epoch's order has before it."""
        return self._sampling.done(cursor, world_size=self._world_size)

    def draws_state(self) -> str | None:
        """Return where the stream of `rng: paddleclas` is; None with `per_sample`, which has no state."""
        return self._stream.state() if self._stream is not None else None

    def restore_draws(self, state: str) -> None:
        """Go on with the draws from a state; no effect with `per_sample`.

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

    def _assemblies(self, positions: Indices, start: int) -> Iterator[Assembly]:
        shares = self._sampling.shares(
            len(positions), rank=self._rank, world_size=self._world_size, start=start
        )
        for share in shares:
            yield Assembly(share, positions[share.places] % len(self._samples))

    def _finish(self, assembly: Assembly, positions: Indices, epoch: int) -> Batch:
        n, share = len(self._samples), assembly.share
        valid = positions[share.places] < n
        valid[len(valid) - share.extra :] = False
        bad = int(np.count_nonzero(assembly.bad & valid))
        if not self._training:
            valid &= ~assembly.bad
        images, listed = assembly.images(), self._samples.labels
        labels = listed[assembly.indices] if listed is not None else assembly.drawn_labels
        if labels.ndim == 1:
            labels = labels.reshape(-1, 1)
        if self._mix is not None:
            images, labels = self._mix(images, labels, self._draws_of_batch(epoch, share.start))
        return Batch(
            images=images,
            labels=labels,
            indices=assembly.indices,
            valid=valid,
            global_samples=int(np.count_nonzero(positions[share.start : share.end] < n)),
            end=share.end,
            bad_images=bad,
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
        repeat = self._sampling.repeat(int(assembly.share.places[slot]))
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
        """Read sample `index` into a slot, with the draws of sample `of` in whose place it is."""
        if (known := self.bad_images.reason(index)) is not None:
            return _Bad(known)
        path = self._samples.paths[index]
        where = f"{self._samples.place(index)}: {path}"
        try:
            side = self._sampling.side(assembly.share.start)
            stage = None if self._epochs is None else stage_of(epoch, epochs=self._epochs)
            transform = self._transforms.choose(side=side, stage=stage)
            repeat = self._sampling.repeat(int(assembly.share.places[slot]))
            draws = self._draws(epoch, index if of is None else of, repeat)
            encoded = read_encoded(Path(path), max_pixels=self._max_pixels)
            image = transform(encoded.data, draws)
        except ImageError as error:
            return self._bad(index, f"{where}: {error}; {cure(skip=self.bad_images.skip)}")
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            mend = cure(skip=self.bad_images.skip)
            return self._bad(index, f"{where}: expected a readable image, got: {reason}; {mend}")
        if encoded.warning:
            self.bad_images.warn(index, f"{where}: {encoded.warning}")
        if self._label_key is not None:
            assembly.drawn_labels[slot] = draws.labels[self._label_key]
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

    def _draws(self, epoch: int, index: int, repeat: int) -> Draws:
        if self._stream is not None:
            return self._stream.draws
        return per_sample(self._seed, epoch=epoch, index=index, repeat=repeat)

    def _draws_of_batch(self, epoch: int, start: int) -> Draws:
        if self._stream is not None:
            return self._stream.draws
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
