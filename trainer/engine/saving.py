"""Saving a run: gathers its contents on rank 0, hands them to the writer, and hears what became of them.

A save is a copy of the arrays; a process of its own writes it while the next steps go on
(`trainer.checkpoints.background`). What it could not write is told at the next step, and by
`Global.on_save_error` ends the run, or is tried again at the next save. A run never ends as if it had been
saved: whoever stops it waits for the writer.
"""

from __future__ import annotations

import errno
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from trainer.checkpoints.background import BackgroundWriter, Written
from trainer.checkpoints.contents import Contents, OptimizerState
from trainer.checkpoints.paddleclas import BEST
from trainer.checkpoints.pdfiles import Array
from trainer.checkpoints.state import TrainState
from trainer.checkpoints.store import Checkpoint
from trainer.checkpoints.writer import Order
from trainer.engine.output import Output
from trainer.engine.run_log import RunLog
from trainer.engine.setup import Setup, automatic_names, optimizer_arrays
from trainer.errors import CheckpointError
from trainer.models.weights import view_on_host
from trainer.protocol.layout import Keep, Manifest

_LONG_S = 5.0


class Saver:
    """Rank 0's way to a checkpoint; the other ranks have none."""

    def __init__(
        self, setup: Setup, output: Output, run_log: RunLog, *, writer: BackgroundWriter,
        begun: TrainState, settings: Mapping[str, str | int | float | bool | None],
        restored: Sequence[Mapping[str, Array]] = (), clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        """Begin without a checkpoint.

        Args:
            setup: What is saved; its options say what is kept.
            output: Where to.
            run_log: Told of each checkpoint.
            writer: That writes; the caller closes it.
            begun: Where the run goes on from, or begins.
            settings: What the run was asked for; goes into each checkpoint.
            restored: Arrays of each optimizer that the run goes on from; empty for one that begins.
            clock: Measures in seconds.
        """
        self.last: Checkpoint | None = None
        """The last whole checkpoint, or None."""
        self.blocked_s = 0.0
        """Seconds that training has waited for saves so far."""
        self._setup = setup
        self._output = output
        self._run_log = run_log
        self._writer = writer
        self._settings = settings
        self._restored = restored
        self._clock = clock
        self._handed_over_s = clock()
        self._unsaved: CheckpointError | None = None
        self._best_written = begun.best_metric, begun.best_epoch
        self._best_is_lost = False

    def is_time(self) -> bool:
        """Whether `Global.save_every_minutes` have passed since the last save was handed over."""
        minutes = self._setup.options.run.save_every_minutes
        return minutes is not None and self._clock() - self._handed_over_s >= 60.0 * minutes

    def save(
        self, state: TrainState, *, evaluated: bool = False, best: bool = False, epoch_name: bool = False
    ) -> None:
        """Take a snapshot, and have a checkpoint written of it.

        Where the one before is still being written, that is waited for.

        Args:
            state: How far the run is.
            evaluated: `state.metric` is of these weights.
            best: Its evaluation is the best so far.
            epoch_name: Keep it as `epoch_N` too.

        Raises:
            CheckpointError: The one before, or this one, cannot be written; what was saved before is whole.
        """
        began_s = self._clock()
        self.wait()
        if (waited_s := self._clock() - began_s) > _LONG_S:
            self._run_log.say(
                f"step {state.step} waited {waited_s:.0f} s until the checkpoint before was written: saves "
                "come faster than the volume takes them"
            )
        if self._best_is_lost:
            state, best = self._choose_best(state, evaluated=evaluated)
        order = Order(
            output_dir=self._output.layout.output_dir,
            contents=self._gather(state),
            about=replace(
                self._describe(state, evaluated=evaluated),
                names=(
                    "latest",
                    *([BEST] if best else []),
                    *([f"epoch_{state.epoch}"] if epoch_name else []),
                ),
            ),
        )
        self._handed_over_s = self._clock()
        try:
            self._writer.hand_over(order)
        except OSError as error:
            self._take(Written(order=order, failure=str(error), errno=error.errno or 0))
        self.blocked_s += self._clock() - began_s

    def poll(self) -> None:
        """Take in what became of the save under way, if that is known: a look, without a wait.

        Raises:
            CheckpointError: It could not be written, and `Global.on_save_error` says to stop.
        """
        ended = self._writer.poll()
        if ended is not None:
            self._take(ended)

    def wait(self) -> None:
        """Wait for the save under way.

        Raises:
            CheckpointError: As `poll` does.
        """
        ended = self._writer.wait(self._output.beat)
        if ended is not None:
            self._take(ended)

    def finish(self) -> None:
        """Wait for the last save of the run.

        Raises:
            CheckpointError: It could not be written, whatever `Global.on_save_error` says.
        """
        self.wait()
        if self._unsaved is not None:
            raise self._unsaved

    def go_back(self, setup: Setup, restored: Sequence[Mapping[str, Array]]) -> None:
        """Save another setup from now on, which was restored from the last checkpoint."""
        self._setup, self._restored = setup, restored

    def close(self) -> None:
        """Let a save under way end, where the run ends early; what goes wrong is said."""
        try:
            self.wait()
        except CheckpointError as error:
            self._run_log.announce(f"warning: {error}")

    def _gather(self, state: TrainState) -> Contents:
        setup = self._setup
        return Contents(
            weights={key: view_on_host(tensor) for key, tensor in setup.model.state_dict().items()},
            automatic_names=automatic_names(setup.model),
            optimizers=[
                OptimizerState(arrays=self._arrays(index), learning_rate=schedule(state.step))
                for index, schedule in enumerate(setup.schedules)
            ],
            state=state,
            average=setup.ema.arrays() if setup.ema is not None else None,
            settings=self._settings,
        )

    def _describe(self, state: TrainState, *, evaluated: bool) -> Manifest:
        run, metric = self._setup.options.run, state.metric
        is_number = metric is not None and math.isfinite(metric)
        return Manifest(
            run_id=state.run_id,
            files={},
            metric=metric if evaluated and is_number else None,
            less_is_better=self._setup.options.less_is_better,
            ends_epoch=state.measured is None,
            keep=Keep(latest=run.keep_latest, best=run.keep_best, every=run.keep_every),
        )

    def _choose_best(self, state: TrainState, *, evaluated: bool) -> tuple[TrainState, bool]:
        """Hold an evaluation against the best one that was written, once a better one could not be."""
        metric, (kept, epoch) = state.metric, self._best_written
        sign = -1.0 if self._setup.options.less_is_better else 1.0
        if evaluated and metric is not None and (kept is None or sign * metric >= sign * kept):
            return replace(state, best_metric=metric, best_epoch=state.epoch), True
        return replace(state, best_metric=kept, best_epoch=epoch), False

    def _take(self, ended: Written) -> None:
        order, state, names = ended.order, ended.order.contents.state, ended.order.about.names
        if ended.is_bug:
            raise RuntimeError(f"writing {order.name}: {ended.failure}")
        if ended.checkpoint is None:
            self._best_is_lost = self._best_is_lost or BEST in names
            self._unsaved = refuse_save(order.output_dir, ended)
            if self._setup.options.run.on_save_error == "stop":
                raise self._unsaved
            last = f"the last one is {self.last.folder}" if self.last is not None else "none was saved yet"
            self._run_log.announce(
                f"warning: {order.name} was not saved: {self._unsaved}; {last}; training goes on and tries "
                "again at the next save (Global.on_save_error: warn)"
            )
            return
        self.last, self._unsaved = ended.checkpoint, None
        if BEST in names:
            self._best_written = state.best_metric, state.best_epoch
        self._run_log.row(
            "checkpoint", epoch=state.epoch, step=state.step, path=str(ended.checkpoint.folder),
            best=float(BEST in names), write_s=round(ended.seconds, 3),
        )  # fmt: skip
        self._run_log.say(f"saved {ended.checkpoint.folder}, also as {', '.join(names)}")

    def _arrays(self, index: int) -> dict[str, Array]:
        """Return an optimizer's arrays; until its first step those that it was restored with.

        Paddle makes them in the first step, and a run that was stopped after its very last one makes none.
        """
        found = optimizer_arrays(self._setup.optimizers[index])
        return found or dict(self._restored[index] if self._restored else {})


_FULL = (errno.ENOSPC, errno.EDQUOT)


def refuse_save(output_dir: Path, ended: Written) -> CheckpointError:
    """Make the error of a save that failed; what was saved before is whole."""
    full = ended.errno in _FULL
    return CheckpointError(
        where=str(output_dir),
        expected="room for a checkpoint" if full else "to write a checkpoint",
        got=ended.failure,
        fix=f"{'free some' if full else 'mend that'} and run again, or choose another Global.output_dir",
    )
