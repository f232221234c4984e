"""The training loop: epochs of steps, evaluations and saves, on every rank alike."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from trainer.checkpoints.state import SamplerState, TrainState
from trainer.config.ops import STAGES
from trainer.config.pipeline import stage_of
from trainer.data.bad_images import format_count, format_left_out
from trainer.data.loader import Batch, Loader
from trainer.engine.averages import AverageMeter, Throughput
from trainer.engine.evaluate import Evaluation, evaluate_model
from trainer.engine.feed import feed
from trainer.engine.liveness import Liveness
from trainer.engine.output import Output
from trainer.engine.run_log import RunLog, format_duration, format_values
from trainer.engine.saving import Saver
from trainer.engine.setup import Setup
from trainer.engine.signals import StopSignal
from trainer.engine.step import Stepper, StepResult
from trainer.errors import DivergedError, InterruptedRunError, StoppedError
from trainer.models.stages import set_stage
from trainer.optim.plateau import Plateau
from trainer.protocol.evaluated import Evaluated, describe_evaluated, describe_failure
from trainer.protocol.heartbeat import Phase

_CURE = (
    "look whether the labels are right, and try a learning rate of a third and of three times this one, more "
    "epochs, or pretrained weights"
)


class Training:
    """One run of the loop from a state to the end of the last epoch."""

    def __init__(
        self, setup: Setup, state: TrainState, *, saver: Saver | None, run_log: RunLog, liveness: Liveness,
        stop: StopSignal, output: Output | None, clock: Callable[[], float] = time.perf_counter,
    ) -> None:  # fmt: skip
        """`saver` and `output` are rank 0's; `state` is where to begin; `clock` measures in seconds."""
        self.state = state
        self.last_epoch: Mapping[str, float] = {}
        self.last_evaluation: Mapping[str, float] = {}
        self._setup = setup
        self._saver = saver
        self._run_log = run_log
        self._liveness = liveness
        self._stop = stop
        self._output = output
        self._clock = clock
        self._stepper = Stepper(setup, liveness=liveness, stop=stop)
        liveness.total_steps = setup.options.run.epochs * setup.options.steps_per_epoch
        liveness.step, liveness.epoch = state.step, state.epoch

    def run(self) -> TrainState:
        """Train to the end and return the last state.

        Raises:
            DivergedError: The loss is no longer a number.
            StoppedError: Told to stop; the state was saved.
            InterruptedRunError: The same by Ctrl-C.
            CheckpointError: A checkpoint could not be written.
            DataError: An image could not be read, or more than are borne.
        """
        began_s = self._clock()
        while self.state.epoch < self._setup.options.run.epochs and self.early_end is None:
            self._epoch(self.state.epoch)
        self._liveness.enter(Phase.DONE)
        why, count = self.early_end, self.state.early_stopping
        if why is not None and count is not None:
            self._run_log.say(why)
            self._run_log.row(
                "early_stopping", epoch=self.state.epoch, step=self.state.step, metric=count.metric,
                best=count.best, best_epoch=count.best_epoch, reason=why,
            )  # fmt: skip
        self._run_log.say(f"trained to step {self.state.step} in {format_duration(self._clock() - began_s)}")
        found = self._liveness.evaluated
        failure = describe_failure(found) if found is not None else None
        if failure is not None:
            self._run_log.say(f"{failure}; {_CURE}")
        return self.state

    @property
    def early_end(self) -> str | None:
        """Why the run ends before its last epoch; None where it does not."""
        options, state = self._setup.options, self.state
        if options.early_stopping is None or state.epoch == options.run.epochs:
            return None
        return options.early_stopping.why_ended(
            state.early_stopping, epoch=state.epoch, epochs=options.run.epochs
        )

    def _epoch(self, epoch: int) -> None:
        setup, sampler = self._setup, self.state.sampler
        self._liveness.epoch = epoch
        means, throughput, bad = AverageMeter(self.state.measured), Throughput(), sampler.bad_images
        batches = setup.options.batches
        done = setup.train_loader.batches_before(sampler.cursor)
        read = setup.train_loader.batches
        if setup.train_loader.is_continuous:
            done = done if sampler.batches is None else sampler.batches
            read = setup.train_loader.batches_on
        self._liveness.enter(Phase.LOAD)
        if setup.options.is_progressive:
            self._begin_stage(stage_of(epoch, epochs=setup.options.run.epochs))
        setup.network.train()
        read_ahead = read(sampler.epoch, start=sampler.cursor, order_world_size=sampler.world_size or None)
        loader = feed(setup.train_loader, read_ahead, limit=max(0, batches - done))
        began_s = self._clock()
        try:
            progress = self._run_log.progress
            progress.begin(f"epoch {epoch + 1}/{setup.options.run.epochs}", max(0, batches - done))
            for iteration, fed in enumerate(loader, start=done):
                read_s = self._clock() - began_s
                result = self._stepper.step(fed, step=self.state.step)
                bad += result.bad_images
                if result.applied:
                    self._advance(epoch, fed.batch, bad_images=bad, batches=iteration + 1)
                step_s = self._clock() - began_s
                means.add(result.means, samples=result.samples)
                throughput.add(step_s=step_s, read_s=read_s, samples=result.samples)
                self._record(epoch, iteration, result, step_s=step_s, read_s=read_s)
                self._say_bad_images(setup.train_loader)
                setup.train_loader.bad_images.refuse_too_many(bad)
                if iteration % setup.options.run.print_batch_step == 0:
                    left = (setup.options.run.epochs - epoch) * batches - iteration - 1
                    self._run_log.say(
                        f"[Train][Epoch {epoch + 1}/{setup.options.run.epochs}][Iter: {iteration}/{batches}]"
                        f"lr: {_format_rates(result)}, {format_values(means.values())}, {throughput}, "
                        f"eta: {format_duration(left * throughput.step_s)}"
                    )
                    throughput = Throughput()
                self._stop_if_asked(result, means)
                progress.advance()
                self._liveness.enter(Phase.LOAD)
                began_s = self._clock()
        finally:
            loader.close()
        self.last_epoch = means.values()
        self._finish_epoch(epoch, self.last_epoch, bad_images=bad)

    def _begin_stage(self, stage: int) -> None:
        rate = set_stage(self._setup.model, stage)
        dropout = "" if rate is None else f", dropout {rate:g}"
        self._run_log.say(f"[Train]stage {stage + 1} of {STAGES}{dropout}")

    def _say_bad_images(self, loader: Loader) -> None:
        for text in loader.take_unsaid():
            self._run_log.announce(text)  # of any rank: each reads other images

    def _advance(self, epoch: int, batch: Batch, *, bad_images: int, batches: int) -> None:
        continuous = self._setup.train_loader.is_continuous
        self.state = replace(
            self.state,
            step=self.state.step + 1,
            sampler=SamplerState(
                epoch=batch.epoch if continuous else epoch,
                world_size=self.state.sampler.world_size,
                cursor=batch.end,
                bad_images=bad_images,
                batches=batches if continuous else None,
            ),
        )
        self._liveness.step = self.state.step
        if self._output is not None:
            self._output.beat()

    def _record(
        self, epoch: int, iteration: int, result: StepResult, *, step_s: float, read_s: float
    ) -> None:
        self._liveness.loss = result.loss
        self._liveness.images_per_s = result.own_samples / step_s if step_s else 0.0
        self._run_log.row(
            "step", epoch=epoch + 1, iter=iteration, step=self.state.step, lr=result.learning_rate,
            **{f"lr_{index}": rate for index, rate in enumerate(result.learning_rates) if index},
            samples=result.samples, **result.means, images_per_s=round(result.samples / step_s, 3),
            reader_s=round(read_s, 6),
        )  # fmt: skip
        if not math.isfinite(result.loss):
            raise DivergedError(
                where=f"step {self.state.step}",
                expected="a finite loss",
                got=str(result.loss),
                fix="lower Optimizer.lr.learning_rate, or lengthen warmup_epoch",
            )

    def _stop_if_asked(self, result: StepResult, means: AverageMeter) -> None:
        board_says = self._liveness.stop_step is not None and self.state.step >= self._liveness.stop_step
        if not result.applied or not (result.asked_to_stop or board_says):
            return
        self._save(replace(self.state, measured=means.sums()))
        why = f"stopped after step {self.state.step}"
        if self._stop.number == signal.SIGINT:
            raise InterruptedRunError(f"{why}; go on by --resume latest")
        raise StoppedError(why)

    def _finish_epoch(self, epoch: int, means: Mapping[str, float], *, bad_images: int) -> None:
        run, completed = self._setup.options.run, epoch + 1
        self._run_log.say(f"[Train][Epoch {completed}/{run.epochs}][Avg]{format_values(means)}")
        counted = {"bad_images": bad_images} if self._setup.train_loader.bad_images.skip else {}
        self._run_log.row("epoch", epoch=completed, step=self.state.step, **means, **counted)
        if bad_images:
            self._run_log.say(
                f"[Train][Epoch {completed}/{run.epochs}]{format_count(bad_images)} could not be read; "
                "others of the list were trained on instead"
            )
        self.state = replace(
            self.state,
            epoch=completed,
            measured=None,
            sampler=self._next_sampler(completed),
        )
        self._liveness.epoch = min(completed, run.epochs - 1)
        best = self._evaluate(completed) if self._is_due(completed) else False
        keep = run.save_interval > 0 and completed % run.save_interval == 0
        self._save(self.state, best=best, epoch_name=keep)

    def _next_sampler(self, completed: int) -> SamplerState:
        if self._setup.train_loader.is_continuous:
            return replace(self.state.sampler, bad_images=0, batches=0)
        return SamplerState(epoch=completed, world_size=self._setup.ranks.world_size, cursor=0)

    def _is_due(self, completed: int) -> bool:
        run = self._setup.options.run
        # The last epoch always: a run that is shorter than its interval would end without a metric, and
        # without best weights to predict with.
        due = completed % run.eval_interval == 0 or completed == run.epochs
        return self._setup.eval_loader is not None and due and completed > run.start_eval_epoch - 1

    def _evaluate(self, completed: int) -> bool:
        setup, averaged = self._setup, None
        results = self._measure()
        self.last_evaluation = results.values
        said = f"; {format_left_out(results.bad_images)}" if results.bad_images else ""
        self._run_log.say(f"[Eval][Epoch {completed}][Avg]{format_values(results.values)}{said}")
        if setup.ema is not None:
            with setup.ema.in_place():
                averaged = self._measure()
            self._run_log.say(f"[Eval][Epoch {completed}][EMA][Avg]{format_values(averaged.values)}")
        of_average = {f"ema_{name}": value for name, value in averaged.values.items()} if averaged else {}
        floor = results.largest_class if "top1" in results.metrics else None
        beside = {"largest_class": floor} if floor is not None else {}
        self._run_log.row(
            "eval", epoch=completed, step=self.state.step, **results.values, **of_average, **beside
        )
        # PaddleClas d178931, ppcls/engine/evaluation/classification.py: the first metric, never the loss.
        key = next(iter(results.metrics), None)
        chosen = self._compare(key, results, averaged)[0] if key is not None else None
        if setup.options.early_stopping is not None:
            count = setup.options.early_stopping.observe(
                self.state.early_stopping, {**results.values, **of_average}, key=key, chosen=chosen,
                epoch=completed,
            )  # fmt: skip
            self.state = replace(self.state, early_stopping=count)
        if key is None:
            return False
        if isinstance(setup.schedule, Plateau):
            setup.schedule.observe(results.metrics[key])
        metric, best = self._compare(key, results, averaged)
        so_far = metric if best else self.state.best_metric
        self.state = replace(
            self.state,
            metric=metric,
            best_metric=so_far,
            best_epoch=completed if best else self.state.best_epoch,
        )
        self._run_log.say(f"[Eval][Epoch {completed}][best metric: {self.state.best_metric}]")
        if key == "top1" and floor is not None:
            self._report_floor(metric, floor, images=results.images)
        return best

    def _report_floor(self, top1: float, floor: float, *, images: int) -> None:
        """Say, and publish on rank 0, how far a model that looks at no image would have come."""
        best = self.state.best_metric if self.state.best_metric is not None else top1
        found = Evaluated(top1=top1, best_top1=best, largest_class=floor, images=images)
        self._run_log.say(f"[Eval][Epoch {self.state.epoch}]{describe_evaluated(found)}")
        if self._setup.ranks.is_first:
            self._liveness.evaluated = found

    def _compare(self, key: str, results: Evaluation, averaged: Evaluation | None) -> tuple[float, bool]:
        """Return the better of both evaluations' metric, and whether it is the best of the run so far."""
        sign = -1.0 if self._setup.options.less_is_better else 1.0
        found = [of.metrics[key] for of in (results, averaged) if of is not None]
        metric, so_far = max(found, key=lambda value: sign * value), self.state.best_metric
        # A tie is won by the later one, as in PaddleClas.
        return metric, so_far is None or sign * metric >= sign * so_far

    def _measure(self) -> Evaluation:
        setup = self._setup
        assert setup.eval_loader is not None
        try:
            return evaluate_model(
                setup.model, setup.eval_loader, loss=setup.loss_in_eval, measures=setup.measures_in_eval,
                collective=setup.collective, liveness=self._liveness, precision=setup.precision,
                progress=self._run_log.progress,
            )  # fmt: skip
        finally:
            self._say_bad_images(setup.eval_loader)

    def _save(self, state: TrainState, *, best: bool = False, epoch_name: bool = False) -> None:
        setup = self._setup
        self._liveness.enter(Phase.SAVE)
        setup.collective.broadcast_buffers(setup.model)
        if self._saver is not None:
            draws = setup.train_loader.rng_state()
            scale = setup.precision.state()
            plateau = setup.schedule.state() if isinstance(setup.schedule, Plateau) else None
            whole = replace(state, draws=draws, loss_scale=scale, plateau=plateau)
            self._saver.save(whole, best=best, epoch_name=epoch_name)


def _format_rates(result: StepResult) -> str:
    return ", ".join(f"{rate:.8f}" for rate in result.learning_rates)


def first_state(*, run_id: str, world_size: int) -> TrainState:
    """Return the state of a run that has not begun."""
    return TrainState(
        run_id=run_id, epoch=0, step=0, sampler=SamplerState(epoch=0, world_size=world_size, cursor=0)
    )
