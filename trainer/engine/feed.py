"""Puts batches on the device that computes: images and labels as tensors, normalised where they land.

On a CPU this copies a batch into a tensor when it is asked for, and that is all.

On a GPU nothing that the host does may make the device wait. Arrays go into pinned memory, from there by a
stream of their own, one batch ahead, while the device works on the batch before. Three things have to be kept
apart, because host, copies and computation each run in an order of their own:

- The computation of a batch waits for its copy, by an event on the computing stream. The host waits for
  neither.
- Pinned memory is read until its copy is done, and the allocator does not know: it is held until the event of
  the copy says so.
- The memory of a batch on the device belongs to the copying stream, which may be given the same memory again
  as soon as the host lets go of the tensors, while the device still computes with them. So before each copy
  the copying stream waits for all that the host had told the computing stream by then.

Being one batch ahead draws random numbers early, which `rng: paddleclas` saves in the middle of an epoch; so
with it the copy is made when the batch is asked for. No GPU has run this yet: its order is tested with
streams that only note what they are told, and all else with CPUs.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

import numpy as np
import paddle
from numpy.typing import NDArray

from trainer.data.loader import Batch, Loader
from trainer.data.normalization import Normalization


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FedBatch:
    """A batch on the device.

    Attributes:
        batch: Its numbers. The memory of its images is given back: only `images` may be read.
        images: float32 [B, C, H, W], normalised.
        labels: int64 [B, 1], or float32 [B, K] where the images were mixed.
        copy_s: What the host has spent on copying it, or on beginning to.
    """

    batch: Batch
    images: paddle.Tensor
    labels: paddle.Tensor
    copy_s: float = 0.0


class Copies(Protocol):
    """How arrays come to a device."""

    def send(self, *arrays: NDArray[Any]) -> Any:
        """Begin to copy arrays, which may change as soon as this returns."""

    def receive(self, sent: Any) -> list[paddle.Tensor]:
        """Return the tensors, which the computation that follows may use."""


class ToHost:
    """The device is a CPU: arrays are copied at once."""

    def send(self, *arrays: NDArray[Any]) -> list[paddle.Tensor]:
        """Copy."""
        return [paddle.to_tensor(array) for array in arrays]

    def receive(self, sent: list[paddle.Tensor]) -> list[paddle.Tensor]:
        """Return what was copied."""
        return sent


class ToGpu:
    """The device is a GPU; see the head of this module for what waits for what."""

    def __init__(self, device: Any = paddle.device) -> None:
        """`device`: has `Stream`, `current_stream` and `stream_guard`, as `paddle.device` has."""
        self._device = device
        self._stream = device.Stream()
        self._copying: list[tuple[list[paddle.Tensor], Any]] = []

    def send(self, *arrays: NDArray[Any]) -> tuple[list[paddle.Tensor], Any]:
        """Begin to copy from pinned memory; returns tensors and the event after which they are there."""
        self._copying = [one for one in self._copying if not one[1].query()]
        pinned = [self.pin(array) for array in arrays]
        self._stream.wait_event(self._device.current_stream().record_event())
        with self._device.stream_guard(self._stream):
            there = [tensor.cuda(blocking=False) for tensor in pinned]
        copied = self._stream.record_event()
        self._copying.append((pinned, copied))
        return there, copied

    def receive(self, sent: tuple[list[paddle.Tensor], Any]) -> list[paddle.Tensor]:
        """Let the computing stream wait, not the host."""
        there, copied = sent
        self._device.current_stream().wait_event(copied)
        return there

    @staticmethod
    def pin(array: NDArray[Any]) -> paddle.Tensor:
        """Copy into memory that a GPU reads by itself."""
        return paddle.to_tensor(array, place=paddle.CUDAPinnedPlace())


class Normalizer:
    """Makes the numbers that a network takes of uint8, on the device or on the way to it."""

    def __init__(self, normalization: Normalization, *, on_gpu: bool) -> None:
        self._normalization = normalization
        self._on_gpu = on_gpu
        if on_gpu:
            self._table = paddle.to_tensor(normalization.table.reshape(-1))
            starts = 256 * np.arange(3, dtype=np.int32).reshape(1, 3, 1, 1)
            self._starts = paddle.to_tensor(starts)

    def before(self, images: NDArray[Any]) -> NDArray[Any]:
        """Return what is to be copied to the device, of a batch's images."""
        return images if self._on_gpu or images.dtype != np.uint8 else self._normalization.apply(images)

    def after(self, images: paddle.Tensor) -> paddle.Tensor:
        """Return float32 [B, C, H, W] of what came there."""
        return self.look_up(images) if self._on_gpu and images.dtype == paddle.uint8 else images

    def look_up(self, images: paddle.Tensor) -> paddle.Tensor:
        """Look up each level of uint8 [B, H, W, 3] in the table on the device: the same bits as on a CPU."""
        levels = images.transpose([0, 3, 1, 2]).astype("int32") + self._starts
        found = paddle.gather(self._table, levels.reshape([-1])).reshape(levels.shape)
        if self._normalization.channels > 3:
            found = paddle.concat([found, paddle.zeros_like(found[:, :1])], axis=1)
        return found


def is_gpu() -> bool:
    """Tell whether tensors are made on a GPU in this process."""
    return str(paddle.device.get_device()).startswith("gpu")


class ToDevice:
    """Makes the tensors of batches; whoever has arrays of a loader or of transforms may use it."""

    def __init__(
        self, normalization: Normalization | None, *, on_gpu: bool | None = None, copies: Copies | None = None
    ) -> None:
        """Prepare.

        Args:
            normalization: Of uint8 images; None where they are float32.
            on_gpu: None to ask Paddle.
            copies: Another way than that of the device, for tests.
        """
        on_gpu = is_gpu() if on_gpu is None else on_gpu
        self.on_gpu = on_gpu
        self._copies: Copies = copies or (ToGpu() if on_gpu else ToHost())
        self._normalizer = Normalizer(normalization, on_gpu=on_gpu) if normalization is not None else None

    def send(self, images: NDArray[Any], *others: NDArray[Any]) -> Any:
        """Begin to copy a batch's images, and what belongs to them; the arrays may change afterwards."""
        first = images if self._normalizer is None else self._normalizer.before(images)
        return self._copies.send(first, *others)

    def receive(self, sent: Any) -> list[paddle.Tensor]:
        """Return what was sent, images normalised."""
        images, *others = self._copies.receive(sent)
        return [images if self._normalizer is None else self._normalizer.after(images), *others]


def feed(
    loader: Loader,
    batches: Generator[Batch, None, None],
    *,
    limit: int | None = None,
    valid_only: bool = False,
    to_device: ToDevice | None = None,
) -> Generator[FedBatch, None, None]:
    """Yield batches on the device. Closing the generator closes `batches`.

    Args:
        loader: Whose batches.
        batches: What its `batches` returned.
        limit: Take no more than so many; None for all.
        valid_only: Leave out what `Batch.valid` says: the tensors have fewer rows than the batch has samples,
            or none.
        to_device: None for one of this loader's.

    Raises:
        DataError: As `Loader.batches`; the batches before it are yielded first.
    """
    device = to_device or ToDevice(loader.normalization)
    goes_ahead = device.on_gpu and loader.rng_state() is None

    def sent() -> Iterator[tuple[Batch, tuple[Any, float]]]:
        for batch in islice(batches, limit):
            arrays = (batch.images, batch.labels)
            if valid_only and not batch.valid.all():
                arrays = (batch.images[batch.valid], batch.labels[batch.valid])
            began_s = time.perf_counter()
            going = device.send(*arrays)
            took_s = time.perf_counter() - began_s
            batch.release()
            yield batch, (going, took_s)

    try:
        for batch, (going, sent_s) in _with_next(sent()) if goes_ahead else sent():
            began_s = time.perf_counter()
            images, labels = device.receive(going)
            copy_s = sent_s + time.perf_counter() - began_s
            yield FedBatch(batch=batch, images=images, labels=labels, copy_s=copy_s)
    finally:
        batches.close()


def _with_next(items: Iterator[tuple[Batch, Any]]) -> Iterator[tuple[Batch, Any]]:
    """Ask for each item before the one before it is handed on; what goes wrong then is raised after it."""
    current = next(items, None)
    while current is not None:
        error: Exception | None = None
        following = None
        try:
            following = next(items, None)
        except Exception as caught:  # noqa: BLE001 - raised below
            error = caught
        yield current
        if error is not None:
            raise error
        current = following
