"""The training process's side of its reader processes: asks for batches, waits for them, hands them out.

What the readers do and what is shared with them stands in `reader_process` and `ring`. Here is decided how
many batches are read ahead, which slot a batch goes to, and when a slot is free again.

The memory of a batch belongs to whoever holds its arrays. A slot is used again once nobody refers to them any
longer, or has said so before (`Batch.release`); nothing can be overwritten that somebody still reads. Whoever
keeps many batches gets copies from the third on, so that the others do not wait for him.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainer.data.reader_pool import HELD, ReaderPool
from trainer.data.reader_process import Remark, describe_end
from trainer.data.reading import Recipe
from trainer.data.ring import Layout, State
from trainer.errors import TrainerError

_LEAST_AHEAD = 2  # batches, besides the next one
_MOST_RESTARTS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """A batch to be read, as `Ring.publish` takes it.

    Attributes:
        indices: Samples of the list.
        repeats: How often each stood in the epoch's order before.
        epoch: From 0.
        side: Of its images; None keeps what the operations say.
        stage: Of a training whose images grow; None in every other.
    """

    indices: NDArray[np.int64]
    repeats: NDArray[np.int64]
    epoch: int
    side: int | None
    stage: int | None


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Filled:
    """A batch that was read.

    Attributes:
        images: float32 or uint8 [B, …]; None where none could be read.
        indices: The samples that were read.
        bad: Which of those that were wanted cannot be.
        labels: That operations drew.
        problems: What ends the run, in the batch's order.
        bad_images: Index and reason of samples that were found to be bad.
        warnings: Index and text of samples that were read though something is wrong.
        release: Gives the memory of `images` back.
    """

    images: NDArray[Any] | None
    indices: NDArray[np.int64]
    bad: NDArray[np.bool_]
    labels: NDArray[np.int64]
    problems: Sequence[str]
    bad_images: Sequence[tuple[int, str]]
    warnings: Sequence[tuple[int, str]]
    release: Callable[[], object]


@dataclass(slots=True, eq=False)
class Pending:
    """A batch that was asked for."""

    split: int
    slot: int
    order: int
    request: Request
    remarks: list[Remark] = field(default_factory=list)


class Readers:
    """Some reader processes and what they read: one split, or those of a training and of its evaluation."""

    def __init__(self) -> None:
        """Begin without any; they are started when the first batch is asked for."""
        self._recipes: list[Recipe] = []
        self._deciders: list[Callable[[], int]] = []
        self._counts: list[int] | None = None
        self._largest = 1
        self._ahead = _LEAST_AHEAD
        self._running: ReaderPool | None = None
        self._order = 0
        self._pending: dict[int, Pending] = {}  # by order
        self._restarts = 0
        self._notes: list[str] = []
        self.chosen: int | None = None
        """What `num_workers: auto` of the first split has chosen, which goes for the others, too."""
        self._said_short = False
        self._left: list[Remark] = []  # of images whose batch nobody waits for any longer
        self._last_end = 0  # how the reader ended that died last
        self._lock = threading.RLock()

    def add(self, recipe: Recipe, *, workers: Callable[[], int], batch_size: int) -> int:
        """Read a split, too; returns its number.

        Args:
            recipe: How.
            workers: Says how many processes may read it; asked once, before the first batch.
            batch_size: Of its largest batch.
        """
        assert self._counts is None
        self._recipes.append(recipe)
        self._deciders.append(workers)
        self._largest = max(self._largest, batch_size)
        return len(self._recipes) - 1

    def count(self, split: int) -> int:
        """Return how many processes read a split; 0 where none are to.

        Raises:
            ConfigError: An operation of the user's own cannot be made.
        """
        with self._lock:
            if self._counts is None:
                self._counts = [decide() for decide in self._deciders]
                # Enough for each process to have something to do while the slowest finishes a batch.
                self._ahead = max(self._ahead, math.ceil(2 * max(self._counts) / self._largest))
            return self._counts[split]

    def note(self, text: str) -> None:
        """Have something said."""
        self._notes.append(text)

    def ask(self, split: int, request: Request) -> Pending | None:
        """Have a batch read; None where no slot is free.

        Raises:
            TrainerError: Reader processes could not be started, or there is no memory.
        """
        with self._lock:
            running = self._start()
            slot = running.free_slot()
            if slot is None:  # a reader that has much to say waits until somebody listens, and holds its slot
                self._take_remarks(running.remarks())
                slot = running.free_slot()
            if running.is_short and not self._said_short:
                self._said_short = True
                self._notes.append(
                    "warning: reader processes: there is memory for fewer batches ahead than "
                    f"{self._ahead}, of {-(-running.room >> 20)} MiB each; raise {running.store.setting} "
                    "where training waits for images"
                )
            if slot is None:
                return None
            self._order += 1
            pending = Pending(split=split, slot=slot, order=self._order, request=request)
            self._pending[pending.order] = pending
            self._publish(running, pending)
            return pending

    def may_ask(self, waiting: int) -> bool:
        """Say whether one more batch is to be read ahead of those that wait; the first one goes alone, since
        nobody knows before how large its images are.
        """
        if waiting == 0:
            return True
        return waiting <= self._ahead and self._running is not None and self._running.room > 0

    def wait(self, pending: Pending) -> Filled | None:
        """Wait until a batch is read; None where there is room now for more to be asked for.

        Raises:
            TrainerError: Readers die again and again, or there is no memory.
        """
        while True:
            if pending.order not in self._pending:
                raise TrainerError("expected reader processes to go on, got: they were ended meanwhile")
            running = self._start()
            finished, needed = running.ring.look(pending.slot)
            if needed:
                running.make_room(pending.slot, needed)
                return None
            if finished:
                self._restarts = 0
                return self._collect(running, pending)
            if self._hear(running):
                self._restart(running)

    def cancel(self, pending: Pending) -> None:
        """Have a batch not read after all."""
        with self._lock:
            is_asked = self._pending.pop(pending.order, None) is not None
            self._left += pending.remarks
            if is_asked and self._running is not None and self._running.is_alive:
                self._running.cancel(pending.slot)

    def take_notes(self) -> list[str]:
        """Return what is to be said of the processes and was not yet."""
        notes, self._notes = self._notes, []
        return notes

    def close(self) -> None:
        """End the processes and give the memory back, but for what somebody holds."""
        with self._lock:
            running, self._running = self._running, None
            self._pending.clear()
        if running is not None:
            running.close()

    def _start(self) -> ReaderPool:
        if self._running is None:
            layout = Layout(
                slots=(self._ahead + 1 + HELD) * len(self._recipes), images=self._largest,
                readers=max(self.count(split) for split in range(len(self._recipes))),
            )  # fmt: skip
            try:
                self._running = ReaderPool(layout, self._recipes)
            except OSError as error:
                raise TrainerError(
                    where="reader processes", expected=f"{layout.readers} processes that can be started",
                    got=(error.strerror or str(error)).lower(), fix="lower num_workers, or set it to 0",
                ) from error  # fmt: skip
        return self._running

    def _publish(self, running: ReaderPool, pending: Pending) -> None:
        request = pending.request
        running.ring.publish(
            pending.slot, pending.order, indices=request.indices, repeats=request.repeats,
            split=pending.split, readers=self.count(pending.split), epoch=request.epoch,
            side=request.side, stage=request.stage,
        )  # fmt: skip

    def _hear(self, running: ReaderPool, timeout_ms: int | None = None) -> bool:
        """Wait for news, for ever where None, and take them in; says whether the fork server has ended."""
        remarks, news, ended = running.hear(timeout_ms)
        self._take_remarks(remarks)
        for item in news:
            if "failed" in item:
                raise TrainerError(item["failed"])
            self._note_death(item)
        return ended

    def _take_remarks(self, remarks: Sequence[Remark]) -> None:
        for remark in remarks:
            pending = self._pending.get(remark.order)
            (pending.remarks if pending is not None else self._left).append(remark)

    def _note_death(self, item: dict[str, Any]) -> None:
        self._last_end = item["died"]
        self._notes.append(
            f"warning: reader process {item['pid']} {describe_end(item['died'])}; another one takes its "
            "place and reads again what it was at"
        )

    def _restart(self, running: ReaderPool) -> None:
        """Begin anew with memory of its own: nobody knows whether the old readers are gone already."""
        with self._lock:
            code = running.close()
            self._restarts += 1
            if self._restarts > _MOST_RESTARTS:
                raise TrainerError(
                    where="reader processes", expected="processes that run until they are ended",
                    got=f"{self._restarts} times in a row one that {describe_end(code)}",
                    fix="set num_workers: 0",
                )  # fmt: skip
            self._notes.append(
                f"warning: the process that starts the readers {describe_end(code)}; all are started again"
            )
            self._running = None
            fresh = self._start()
            for pending in self._pending.values():
                slot = fresh.free_slot()
                assert slot is not None
                pending.slot = slot
                pending.remarks.clear()
                self._publish(fresh, pending)

    def _collect(self, running: ReaderPool, pending: Pending) -> Filled:
        self._take_remarks(running.remarks())  # those of a finished batch were sent before it was finished
        with self._lock:
            self._pending.pop(pending.order, None)
        found = running.ring.outcomes(pending.slot)
        if np.any(found.states == State.DEADLY):
            self._hear(running, 0)  # how they died
        images, release = running.hand_out(pending.slot)
        problems, bad_images, warnings = [], [], []
        # A reader says once that an image is bad, be its batch read to the end or not.
        of_others = [
            remark for remark in self._left
            if remark.split == pending.split and remark.kind in ("bad", "warning")
        ]  # fmt: skip
        self._left = [remark for remark in self._left if remark.split != pending.split]
        for remark in [*of_others, *sorted(pending.remarks, key=lambda remark: remark.place)]:
            if remark.kind == "bad":
                bad_images.append((remark.index, remark.text))
            elif remark.kind == "warning":
                warnings.append((remark.index, remark.text))
            elif remark.kind == "problem":
                problems.append(remark.text)
            else:
                raise remark.error if remark.error is not None else TrainerError(remark.text)
        for place in np.flatnonzero(found.states == State.DEADLY).tolist():
            recipe, index = self._recipes[pending.split], int(pending.request.indices[place])
            problems.append(
                f"{recipe.source}:{index + 1}: {recipe.paths[index]}: expected an image that can be read, "
                f"got one at which each reader process {describe_end(self._last_end)}; remove the line"
            )
        return Filled(
            images=images, indices=found.indices, bad=found.bad, labels=found.labels, problems=problems,
            bad_images=bad_images, warnings=warnings, release=release,
        )  # fmt: skip


__all__ = ["Filled", "Pending", "Readers", "Request"]
