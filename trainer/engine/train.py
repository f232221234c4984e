"""The training loop: epochs of steps, evaluations and saves, on every rank alike.

Steps are counted here as they are handed to the device. What they measured comes later, of several at once
(`trainer.engine.step` says when): rows of metrics.jsonl are then written for each of them, in order, with the
time at which the step was over here. Nothing is saved before what led to it was fetched and found finite.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import paddle

from trainer.checkpoints.state import SamplerState, TrainState
from trainer.config.ops import STAGES
from trainer.config.pipeline import stage_of
from trainer.data.bad_images import format_count, format_left_out
from trainer.data.loader import Batch, Loader
from trainer.engine.averages import AverageMeter, Throughput
from trainer.engine.evaluate import Evaluation, evaluate_model
from trainer.engine.feed import FedBatch, feed
from trainer.engine.liveness import Liveness
from trainer.engine.output import Output
from trainer.engine.run_log import RunLog, format_duration, format_values
from trainer.engine.saving import Saver
from trainer.engine.setup import Setup
from trainer.engine.signals import StopSignal
from trainer.engine.step import Stepper, StepResult, StepTaken
from trainer.errors import DataError, DivergedError, InterruptedRunError, StoppedError, TrainerError
from trainer.models.stages import set_stage
from trainer.optim.plateau import Plateau
from trainer.protocol.evaluated import Evaluated, describe_evaluated, describe_failure
from trainer.protocol.heartbeat import Phase

_CURE = (
    "look whether the labels are right, and try a learning rate of a third and of three times this one, more "
    "epochs, or pretrained weights"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Unfetched:
    """What is known here of a batch whose measurements are still on the device."""

    iteration: int
    step: int
    taken: StepTaken
    samples: int
    own_samples: int
    step_s: float
    read_s: float
    at_s: float


@dataclass(kw_only=True, slots=True)
class _Epoch:
    """The epoch that is going on."""

    index: int
    means: AverageMeter
    bad_images: int
    throughput: Throughput


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
        self._stepper = Stepper(setup, liveness=liveness, stop=stop, clock=clock)
        self._unfetched: list[_Unfetched] = []
        self._asked = False
        self._save_is_wanted = False
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
        if self._saver is not None:
            self._saver.finish()
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
        setup = self._setup
        self._liveness.epoch = epoch
        running = _Epoch(
            index=epoch, means=AverageMeter(self.state.measured), throughput=Throughput(),
            bad_images=self.state.sampler.bad_images,
        )  # fmt: skip
        self._liveness.enter(Phase.LOAD)
        if setup.options.is_progressive:
            self._begin_stage(stage_of(epoch, epochs=setup.options.run.epochs))
        setup.network.train()
        done, left, loader = self._read()
        began_s = self._clock()
        try:
            progress = self._run_log.progress
            progress.begin(f"epoch {epoch + 1}/{setup.options.run.epochs}", left)
            for iteration, fed in enumerate(loader, start=done):
                read_s = self._clock() - began_s
                batch = fed.batch
                taken = self._stepper.step(fed, step=self.state.step)
                if taken.applied:
                    self._advance(epoch, batch, bad_images=running.bad_images, batches=iteration + 1)
                prints = iteration % setup.options.run.print_batch_step == 0
                due = prints or self._stepper.must_agree or self._is_told_to_stop(taken)
                results = self._fetch() if due else []  # waits for the device, which is part of the step
                step_s = self._clock() - began_s
                running.throughput.add(step_s=step_s, read_s=read_s, samples=batch.global_samples)
                self._unfetched.append(
                    _Unfetched(
                        iteration=iteration, step=self.state.step, taken=taken, samples=batch.global_samples,
                        own_samples=len(batch.labels), step_s=step_s, read_s=read_s, at_s=time.time(),
                    )
                )  # fmt: skip
                self._say_bad_images(setup.train_loader)
                self._take(running, results)
                if prints:
                    self._say_step(running, iteration, taken)
                if self._is_told_to_stop(taken):
                    self._stop_here(running)
                if taken.applied and iteration + 1 < done + left:  # the end of an epoch is saved anyway
                    self._save_if_due(running)
                progress.advance()
                self._liveness.enter(Phase.LOAD)
                began_s = self._clock()
            self._take(running, self._fetch())
        except DataError:
            if setup.ranks.world_size == 1:  # with peers nobody can be asked what they measured
                with contextlib.suppress(TrainerError):
                    self._take(running, self._fetch())
            raise
        finally:
            loader.close()
        self.last_epoch = running.means.values()
        self._finish_epoch(epoch, self.last_epoch, bad_images=running.bad_images)

    def _read(self) -> tuple[int, int, Generator[FedBatch, None, None]]:
        """Return how many batches of the epoch are done, how many are left, and these."""
        loader, sampler = self._setup.train_loader, self.state.sampler
        done = loader.batches_before(sampler.cursor)
        read = loader.batches
        if loader.is_continuous:
            done = done if sampler.batches is None else sampler.batches
            read = loader.batches_on
        left = max(0, self._setup.options.batches - done)
        batches = read(sampler.epoch, start=sampler.cursor, order_world_size=sampler.world_size or None)
        return done, left, feed(loader, batches, limit=left)

    def _say_step(self, running: _Epoch, iteration: int, taken: StepTaken) -> None:
        """Say how far the epoch is, with the means so far and the times since the last line."""
        epochs, batches = self._setup.options.run.epochs, self._setup.options.batches
        left = (epochs - running.index) * batches - iteration - 1
        self._run_log.say(
            f"[Train][Epoch {running.index + 1}/{epochs}][Iter: {iteration}/{batches}]"
            f"lr: {_format_rates(taken)}, {format_values(running.means.values())}, {running.throughput}, "
            f"eta: {format_duration(left * running.throughput.step_s)}"
        )
        running.throughput = Throughput()

    def _begin_stage(self, stage: int) -> None:
        rate = set_stage(self._setup.model, stage)
        dropout = "" if rate is None else f", dropout {rate:g}"
        self._run_log.say(f"[Train]stage {stage + 1} of {STAGES}{dropout}")

    def _say_bad_images(self, loader: Loader) -> None:
        for text in loader.take_unsaid():
            self._run_log.announce(text)  # of any rank: each reads other images

    def _say_cache(self, split: str, loader: Loader) -> None:
        if (text := loader.describe_cache()) is not None:
            self._run_log.say(f"[{split}]{text}")

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
        if self._saver is not None:
            self._saver.poll()

    def _fetch(self) -> list[StepResult]:
        """Wait for what the steps since the last time measured; all ranks do so after the same step."""
        if not self._stepper.unfetched:
            return []
        is_time = self._saver is not None and self._saver.is_time()
        results, asked, wanted = self._stepper.fetch(wants_save=is_time)
        self._asked, self._save_is_wanted = self._asked or asked, self._save_is_wanted or wanted
        return results

    def _take(self, running: _Epoch, results: list[StepResult]) -> None:
        """Write down what was fetched.

        Raises:
            DivergedError: A loss is no number; rows end with its.
            DataError: More images than are borne could not be read.
        """
        if not results:
            return
        rows, self._unfetched = self._unfetched, []
        took_s = sum(row.step_s for row in rows)
        self._liveness.images_per_s = sum(row.own_samples for row in rows) / took_s if took_s else 0.0
        for row, result in zip(rows, results, strict=True):
            running.bad_images += result.bad_images
            running.means.add(result.means, samples=row.samples)
            self._record(running.index, row, result)
        sampler = replace(self.state.sampler, bad_images=running.bad_images)
        self.state = replace(self.state, sampler=sampler)
        self._setup.train_loader.bad_images.refuse_too_many(running.bad_images)

    def _record(self, epoch: int, row: _Unfetched, result: StepResult) -> None:
        self._liveness.loss = result.loss
        rates = row.taken.learning_rates
        self._run_log.row(
            "step", at_s=row.at_s, epoch=epoch + 1, iter=row.iteration, step=row.step, lr=rates[0],
            **{f"lr_{index}": rate for index, rate in enumerate(rates) if index},
            samples=row.samples, **result.means, images_per_s=_rate(row.samples, row.step_s),
            reader_s=round(row.read_s, 6),
        )  # fmt: skip
        if not math.isfinite(result.loss):
            raise _diverged(row.step, expected="a finite loss", got=str(result.loss))

    def _is_told_to_stop(self, taken: StepTaken) -> bool:
        if not taken.applied:
            return False
        alone = self._setup.ranks.world_size == 1 and self._stop.number != 0
        stop_step = self._liveness.stop_step
        return alone or self._asked or (stop_step is not None and self.state.step >= stop_step)

    def _stop_here(self, running: _Epoch) -> None:
        """Save and end the run.

        Raises:
            StoppedError: Always, or InterruptedRunError.
        """
        self._take(running, self._fetch())
        self._save(replace(self.state, measured=running.means.sums()))
        if self._saver is not None:
            self._saver.finish()
        why = f"stopped after step {self.state.step}"
        if self._stop.number == signal.SIGINT:
            raise InterruptedRunError(f"{why}; go on by --resume latest")
        raise StoppedError(why)

    def _save_if_due(self, running: _Epoch) -> None:
        """Save within an epoch.

        All ranks come to the same answer after the same step: of steps by counting them, of minutes by what
        rank 0 said in the last fetch.
        """
        every = self._setup.options.run.save_every_steps
        if self._save_is_wanted or (every is not None and self.state.step % every == 0):
            self._take(running, self._fetch())
            self._save(replace(self.state, measured=running.means.sums()))

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
        self._say_cache("Train", self._setup.train_loader)
        self.state = replace(
            self.state,
            epoch=completed,
            measured=None,
            sampler=self._next_sampler(completed),
        )
        self._liveness.epoch = min(completed, run.epochs - 1)
        evaluated = self._is_due(completed)
        best = self._evaluate(completed) if evaluated else False
        keep = run.save_interval > 0 and completed % run.save_interval == 0
        self._save(self.state, evaluated=evaluated, best=best, epoch_name=keep)

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
            self._say_cache("Eval", setup.eval_loader)

    def _save(
        self, state: TrainState, *, evaluated: bool = False, best: bool = False, epoch_name: bool = False
    ) -> None:
        """Save weights whose losses were all fetched and found finite, as they are themselves.

        Raises:
            DivergedError: The last update left weights that are no numbers.
        """
        setup = self._setup
        self._save_is_wanted = False
        self._liveness.enter(Phase.SAVE)
        self._refuse_broken_weights()
        setup.collective.broadcast_buffers(setup.model)
        if self._saver is not None:
            draws = setup.train_loader.rng_state()
            scale = setup.precision.state()
            plateau = setup.schedule.state() if isinstance(setup.schedule, Plateau) else None
            whole = replace(state, draws=draws, loss_scale=scale, plateau=plateau)
            self._saver.save(whole, evaluated=evaluated, best=best, epoch_name=epoch_name)

    def _refuse_broken_weights(self) -> None:
        trained = [tensor for tensor in self._setup.model.parameters() if not tensor.stop_gradient]
        whole = paddle.stack([paddle.isfinite(tensor).all() for tensor in trained]).astype("float64")
        broken = int(
            np.count_nonzero(self._setup.collective.sum_tensor(whole) < self._setup.ranks.world_size)
        )
        if broken:
            got = f"nan or inf in {broken} of {len(trained)} tensors"
            raise _diverged(self.state.step, expected="finite weights", got=got)


def _diverged(step: int, *, expected: str, got: str) -> DivergedError:
    return DivergedError(
        where=f"step {step}", expected=expected, got=got,
        fix="lower Optimizer.lr.learning_rate, or lengthen warmup_epoch",
    )  # fmt: skip


def _rate(samples: int, seconds: float) -> float:
    return round(samples / seconds, 3) if seconds else 0.0


def _format_rates(taken: StepTaken) -> str:
    return ", ".join(f"{rate:.8f}" for rate in taken.learning_rates)


def first_state(*, run_id: str, world_size: int) -> TrainState:
    """Return the state of a run that has not begun."""
    return TrainState(
        run_id=run_id, epoch=0, step=0, sampler=SamplerState(epoch=0, world_size=world_size, cursor=0)
    )
