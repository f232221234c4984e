"""Saving a run: gathers its contents on rank 0, writes the checkpoint, refreshes PaddleClas's names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trainer.checkpoints.contents import Contents, OptimizerState, as_files
from trainer.checkpoints.paddleclas import publish
from trainer.checkpoints.pdfiles import Array
from trainer.checkpoints.state import TrainState
from trainer.checkpoints.store import Checkpoint, CheckpointStore
from trainer.engine.output import Output
from trainer.engine.run_log import RunLog
from trainer.engine.setup import Setup, automatic_names, optimizer_arrays
from trainer.errors import CheckpointError
from trainer.models.weights import model_weights
from trainer.protocol.layout import CheckpointName


@dataclass(slots=True)
class Saver:
    """Rank 0's way to a checkpoint; the other ranks have none.

    Attributes:
        last: The last whole checkpoint, or None.
        settings: What the run was asked for; goes into each checkpoint.
        restored: Arrays of each optimizer that the run goes on from; empty for one that begins.
    """

    setup: Setup
    output: Output
    run_log: RunLog
    last: Checkpoint | None = None
    settings: Mapping[str, str | int | float | bool | None] = field(default_factory=dict)
    restored: Sequence[Mapping[str, Array]] = ()

    def save(self, state: TrainState, *, best: bool = False, epoch_name: bool = False) -> None:
        """Write a checkpoint.

        Args:
            state: How far the run is.
            best: Its evaluation is the best so far.
            epoch_name: Keep it as `epoch_N` too.

        Raises:
            CheckpointError: The output folder cannot be written; what was saved before is whole.
        """
        contents = Contents(
            weights=model_weights(self.setup.model), automatic_names=automatic_names(self.setup.model),
            optimizers=[
                OptimizerState(arrays=self._arrays(index), learning_rate=schedule(state.step))
                for index, schedule in enumerate(self.setup.schedules)
            ],
            state=state,
            average=self.setup.ema.arrays() if self.setup.ema is not None else None,
            settings=self.settings,
        )  # fmt: skip
        store = CheckpointStore(self.output.layout)
        name = CheckpointName(epoch=state.epoch, step=state.step)
        names = [
            "latest",
            *(["best_model"] if best else []),
            *([f"epoch_{state.epoch}"] if epoch_name else []),
        ]
        try:
            checkpoint = store.save(name, as_files(contents), run_id=state.run_id)
            if best:
                store.mark_best(checkpoint)
            for public in names:
                publish(checkpoint, self.output.layout.output_dir, name=public)
            store.prune()
        except OSError as error:
            raise CheckpointError(
                f"{self.output.layout.output_dir}: expected room for a checkpoint, got: {error}; "
                "free some and run again, or choose another Global.output_dir"
            ) from error
        self.last = checkpoint
        self.run_log.row(
            "checkpoint", epoch=state.epoch, step=state.step, path=str(checkpoint.folder), best=float(best)
        )
        self.run_log.say(f"saved {checkpoint.folder}, also as {', '.join(names)}")

    def _arrays(self, index: int) -> dict[str, Array]:
        """Return an optimizer's arrays; until its first step those that it was restored with.

        Paddle makes them in the first step, and a run that was stopped after its very last one makes none.
        """
        found = optimizer_arrays(self.setup.optimizers[index])
        return found or dict(self.restored[index] if self.restored else {})
