"""A training from a checked config to its end on this rank: everything is opened here, and closed again."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import paddle

from trainer.checkpoints.background import BackgroundWriter
from trainer.checkpoints.contents import Contents
from trainer.checkpoints.state import TrainState, format_state, parse_state
from trainer.config.root import TrainConfig
from trainer.config.sections import GlobalSection
from trainer.engine.changes import Settings, describe_settings, find_jumps, list_changes
from trainer.engine.class_head import class_names
from trainer.engine.collective import join_ranks
from trainer.engine.ema import ExponentialMovingAverage
from trainer.engine.feed import is_gpu
from trainer.engine.liveness import Liveness
from trainer.engine.output import Output, open_output
from trainer.engine.report_parts import REPORT_WITHIN_S, finish_reports, make_reports
from trainer.engine.reports import Reports
from trainer.engine.resume import ResumeOptions, find_contents, parse_resume, restore, start_from_pretrained
from trainer.engine.run_log import RunLog, SilentRunLog
from trainer.engine.saving import Saver
from trainer.engine.scalars import Scalars
from trainer.engine.scalars import is_installed as scalars_are_possible
from trainer.engine.setup import (
    Lists,
    Setup,
    build_setup,
    prepare,
    renew_optimizers,
    restore_optimizer,
    say_of_epochs,
    say_of_losses,
    with_mounted_weights,
    wrap,
)
from trainer.engine.signals import StopSignal
from trainer.engine.time_budget import restore_budget
from trainer.engine.train import Training, first_state
from trainer.errors import CheckpointError, TrainerError
from trainer.models.weights import own_tensors
from trainer.models.weights_store import OFFLINE, WeightsStore
from trainer.optim.plateau import Plateau
from trainer.progress import NO_PROGRESS, Progress
from trainer.protocol.reportfile import ConfigValue
from trainer.ranks import Ranks
from trainer.results import TrainResult


@dataclass(slots=True)
class TrainingProgress:
    """How far this process got, for whoever reports its end, be it good or bad.

    Attributes:
        step: Steps completed, or None before training began.
        checkpoint: Folder of the last whole checkpoint that it wrote, or None.
        early_end: Why the run ended before its last epoch; None where it did not.
    """

    step: int | None = None
    checkpoint: str | None = None
    early_end: str | None = None


def run_training(
    config: TrainConfig, ranks: Ranks, *, resume: str = "auto", overwrite: bool = False,
    weights: WeightsStore = OFFLINE, say: Callable[[str], None] = lambda _: None,
    claimed: Callable[[], None] = lambda: None, progress: Progress = NO_PROGRESS,
    stop: StopSignal | None = None, reached: TrainingProgress | None = None,
    values: tuple[ConfigValue, ...] | None = None,
) -> TrainResult:  # fmt: skip
    """Train as the config says.

    Args:
        config: Checked; its paths are mapped.
        ranks: This process.
        resume: `auto`, `latest`, `never`, or the prefix of a PaddleClas checkpoint.
        overwrite: Take an output folder that another run filled.
        weights: Where pretrained weights are kept.
        say: Told what `train.log` is told, line by line, without the time.
        claimed: Called on rank 0 when the output folder is this run's.
        progress: Is told of every step and of every batch of an evaluation.
        stop: Asks for an early end; its signals are handled while this runs.
        reached: Is kept true, also where this raises.
        values: The config's, and where each comes from, for the report; None makes no report.

    Returns:
        What the run came to.

    Raises:
        ConfigError: The config does not go with so many ranks.
        TrainerError: Training ended early; its class says how.
        DataError: The data was refused.
    """
    stop, reached = stop or StopSignal(), reached or TrainingProgress()
    lists = prepare(config, ranks)  # before anything is taken or set up: a bad list is told at once
    options = parse_resume(resume, config.run)
    with contextlib.ExitStack() as stack:
        stack.enter_context(stop.watching())
        liveness = Liveness(ranks.heartbeats, local_rank=ranks.local_rank)
        stack.callback(liveness.close)
        output, run_log = _open(config.run, ranks, adopt=options.adopt, overwrite=overwrite, say=say)
        stack.callback(run_log.close)
        run_log.progress = progress
        if output is not None:
            stack.callback(output.close)
            claimed()
        for note in (*_notes(lists), *say_of_losses(config, lists)):
            run_log.say(note)
        collective = join_ranks(config.run.device, ranks)
        _prepare_device(config.run, run_log)
        setup = build_setup(config, lists, ranks=ranks, collective=collective)
        stack.callback(setup.close)
        for note in say_of_epochs(config.run, setup.train_loader):
            run_log.say(f"warning: {note}")
        contents = None
        if output is not None:
            contents = find_contents(
                options, output, steps_per_epoch=setup.options.steps_per_epoch,
                world_size=ranks.shards, run_log=run_log,
            )  # fmt: skip
            if contents is not None:
                restore(contents, setup.model, optimizers=len(setup.optimizers))
            else:
                start_from_pretrained(
                    config.arch, config.run.pretrained_model, setup.model,
                    store=with_mounted_weights(config, weights), run_log=run_log,
                    names=class_names(config, lists.train),
                )  # fmt: skip
        setup = wrap(setup)
        setup, state = _share(setup, contents, run_id=output.run_id if output is not None else "")
        if config.ema is not None:
            setup = _keep_ema(setup, contents, decay=config.ema.decay)
        if config.amp is not None and config.amp.use_amp:
            run_log.say(f"AMP: {setup.precision.label}")
        _say_ranks(setup, config, run_log)
        saver = None
        if output is not None:
            settings = describe_settings(
                config, world_size=ranks.shards, names=class_names(config, lists.train)
            )
            _say_changes(setup, contents, settings, state, run_log)
            saver = Saver(
                setup, output, run_log, writer=_start_writer(stack, run_log), begun=state, settings=settings,
                restored=[item.arrays for item in contents.optimizers] if contents is not None else (),
            )  # fmt: skip
        reports = make_reports(config, setup, lists, output, values=values, run_log=run_log)
        stack.callback(reports.close)
        training = Training(
            setup, state, saver=saver, run_log=run_log, liveness=liveness, stop=stop, output=output,
            go_back=_WayBack(config, output=output, saver=saver, run_log=run_log), reports=reports,
        )  # fmt: skip
        _train(
            training, saver, reached, reports,
            lambda: finish_reports(reports, config, setup, lists, epoch=training.state.epoch),
        )  # fmt: skip
        return _sum_up(training, reached, output, output_dir=Path(config.run.output_dir))


def _train(
    training: Training, saver: Saver | None, reached: TrainingProgress, reports: Reports,
    finish: Callable[[], None],
) -> None:  # fmt: skip
    try:
        training.run()
        reached.early_end = training.early_end
        finish()
    except TrainerError:
        reports.finish(within_s=REPORT_WITHIN_S)  # what was evaluated has its page
        raise
    finally:
        reached.step = training.state.step
        if saver is not None:
            saver.close()
            reached.checkpoint = str(saver.last.folder) if saver.last is not None else None


class _WayBack:
    """Goes back, in this process and on all ranks, to the last checkpoint that this run has written."""

    def __init__(
        self, config: TrainConfig, *, output: Output | None, saver: Saver | None, run_log: RunLog
    ) -> None:
        self._config = config
        self._output = output
        self._saver = saver
        self._run_log = run_log

    def __call__(self, setup: Setup) -> tuple[Setup, TrainState]:
        """Return what trains on instead of `setup`, and from where: as a process that resumes would have it.

        Raises:
            CheckpointError: There is none, or it cannot be read.
        """
        for optimizer in setup.optimizers:
            optimizer.clear_grad()  # what batches of an update that is not whole have left, of bad weights
        setup, contents = renew_optimizers(setup, self._config), None
        if self._output is not None and self._saver is not None:
            self._saver.wait()
            contents = find_contents(
                ResumeOptions(), self._output, steps_per_epoch=setup.options.steps_per_epoch,
                world_size=setup.ranks.shards, run_log=self._run_log,
            )  # fmt: skip
            if contents is None:
                raise CheckpointError(
                    where="Global.on_nan", expected="a checkpoint to go back to", got="none",
                    fix="run again, or set on_nan: stop",
                )  # fmt: skip
            restore(contents, setup.model, optimizers=len(setup.optimizers))
        setup.collective.wait()
        setup.collective.broadcast(list(own_tensors(setup.model).values()))
        setup, state = _share(setup, contents, run_id=self._output.run_id if self._output is not None else "")
        if self._config.ema is not None:
            setup = _keep_ema(setup, contents, decay=self._config.ema.decay)
        if self._saver is not None and contents is not None:
            self._saver.go_back(setup, [item.arrays for item in contents.optimizers])
        return setup, state


def _say_ranks(setup: Setup, config: TrainConfig, run_log: RunLog) -> None:
    ranks = setup.ranks
    if ranks.world_size > 1:
        run_log.announce(
            f"rank {ranks.rank} of {ranks.world_size}: {config.run.device}, "
            f"{len(setup.train_loader)} batches of {config.data.Train.sampler.batch_size} an epoch"
        )
    if ranks.shards > ranks.world_size:
        run_log.say(
            f"{ranks.world_size} of {ranks.shards} ranks are there: a step takes {setup.options.update_freq} "
            "batches of each, so that it has the same images"
        )


def _start_writer(stack: contextlib.ExitStack, run_log: RunLog) -> BackgroundWriter:
    writer = BackgroundWriter(os.environ, say=run_log.announce)
    stack.callback(writer.close)
    with contextlib.suppress(OSError):  # the first save tries again, and says why
        writer.start()  # so that it is ready by then
    return writer


def _notes(lists: Lists) -> tuple[str, ...]:
    notes = (*lists.train.notes, *(lists.evaluation.notes if lists.evaluation is not None else ()))
    return tuple(f"warning: {note}" for note in notes)


def _sum_up(
    training: Training, reached: TrainingProgress, output: Output | None, *, output_dir: Path
) -> TrainResult:
    state, layout = training.state, output.layout if output is not None else None
    best = layout.output_dir / "best_model.pdparams" if layout is not None else None
    return TrainResult(
        run_id=state.run_id, output_dir=output_dir, epochs=state.epoch, steps=state.step,
        train=training.last_epoch, evaluation=training.last_evaluation,
        metric=state.metric, best_metric=state.best_metric, best_epoch=state.best_epoch,
        checkpoint=Path(reached.checkpoint) if reached.checkpoint is not None else None,
        best_weights=best if best is not None and best.is_file() else None,
        metrics_file=layout.metrics if layout is not None else None, early_end=reached.early_end,
    )  # fmt: skip


def _open(
    run: GlobalSection, ranks: Ranks, *, adopt: bool, overwrite: bool, say: Callable[[str], None]
) -> tuple[Output | None, RunLog]:
    if not ranks.is_first:
        return None, SilentRunLog(say)
    output = open_output(Path(run.output_dir), run_id=ranks.run_id, adopt=adopt, overwrite=overwrite)
    layout = output.layout
    try:
        wanted = run.use_visualdl
        scalars = Scalars(layout.output_dir) if wanted and scalars_are_possible() else None
        run_log = RunLog(
            layout.output_dir, metrics=layout.metrics, attempt=ranks.attempt, say=say, scalars=scalars
        )
    except OSError as error:
        output.close()
        raise CheckpointError(f"{layout.output_dir}: expected a folder to write to: {error}") from error
    if output.note is not None:
        run_log.say(f"warning: {output.note}")
    if wanted and scalars is None:
        run_log.say("use_visualdl: visualdl is not installed; the numbers are in metrics.jsonl")
    return output, run_log


def seed_generators(run: GlobalSection) -> None:
    """Seed what draws weights, orders and images."""
    # PaddleClas seeds the three generators before anything is built; without a seed it takes 0 where there
    # are several ranks (ppcls/engine/engine.py). All ranks begin with the same weights, whatever they draw.
    seed = run.seed or 0
    random.seed(seed)
    np.random.seed(seed)
    paddle.seed(seed)
    if run.deterministic and run.on_gpu:
        paddle.set_flags({"FLAGS_cudnn_deterministic": True})


def _prepare_device(run: GlobalSection, run_log: RunLog) -> None:
    """Seed, and have a GPU's kernels and memory layouts chosen by trial in the first steps, or by rule.

    With layouts Paddle runs convolutions channels last where that is faster by the type of their numbers, as
    half precision is on tensor cores. The switch is the whole process', so it is also set back.
    """
    if is_gpu():
        choice = {"enable": run.autotune}
        paddle.incubate.autotune.set_config({"kernel": choice, "layout": choice})
    elif run.autotune:
        run_log.say("warning: Global.autotune has no effect here: there is no GPU to try kernels on")
    seed_generators(run)


def _keep_ema(setup: Setup, contents: Contents | None, *, decay: float) -> Setup:
    saved = setup.collective.broadcast_arrays(contents.average if contents is not None else None)
    ema = ExponentialMovingAverage(setup.model, decay=decay, saved=saved)
    return replace(setup, ema=ema)


def _say_changes(
    setup: Setup, contents: Contents | None, settings: Settings, state: TrainState, run_log: RunLog
) -> None:
    """Say what is asked for that the checkpoint was not trained with, and which rates jump."""
    if contents is None:
        return
    run_log.row("resumed", epoch=state.epoch, step=state.step)
    changes = list_changes(contents.settings, settings) if contents.settings else []
    if changes:
        run_log.say("changed since the checkpoint was saved: " + "; ".join(changes))
    before = [optimizer.learning_rate for optimizer in contents.optimizers]
    now = [schedule(state.step) for schedule in setup.schedules]
    for jump in find_jumps(before, now, foreign=not contents.settings):
        run_log.say(jump)


def _share(setup: Setup, contents: Contents | None, *, run_id: str) -> tuple[Setup, TrainState]:
    """Hand what rank 0 has read to all ranks; return with what and where training begins."""
    text = setup.collective.broadcast_text(format_state(contents.state) if contents is not None else None)
    if text is None:
        return setup, first_state(run_id=run_id, world_size=setup.ranks.shards)
    for index, optimizer in enumerate(setup.optimizers):
        saved = contents.optimizers[index].arrays if contents is not None else None
        restore_optimizer(optimizer, setup.collective.broadcast_arrays(saved))
    state = parse_state(text)
    setup.precision.restore(state.loss_scale)
    if state.plateau is not None and isinstance(setup.schedule, Plateau):
        setup.schedule.restore(state.plateau)
    if state.draws is not None:
        setup.train_loader.restore_rng(state.draws)
    if state.sampler.cursor == 0:  # a fresh epoch is padded for the ranks that there are now
        state = replace(state, sampler=replace(state.sampler, world_size=setup.ranks.shards))
    return restore_budget(setup, state), replace(state, run_id=run_id) if run_id else state
