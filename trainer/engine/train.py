"""The training loop: epochs of steps, evaluations and saves, on every rank alike.

Steps are counted here as they are handed to the device. What they measured comes later, of several at once
(`trainer.engine.step` says when): rows of metrics.jsonl are then written for each of them, in order, with the
time at which the step was over here. Nothing is saved before what led to it was fetched and found finite.
"""

from __future__ import annotations

import contextlib
import signal
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import replace

from trainer.checkpoints.state import LeftOut, SamplerState, TrainState
from trainer.config.ops import STAGES
from trainer.config.pipeline import stage_of
from trainer.data.bad_images import format_count, format_left_out
from trainer.data.loader import Batch, Loader
from trainer.engine.epoch import RunningEpoch
from trainer.engine.evaluate import Evaluation, evaluate_model
from trainer.engine.feed import FedBatch, feed
from trainer.engine.liveness import Liveness
from trainer.engine.on_nan import REWINDS, BadStep, GoBackError, OnNan, refuse_broken_weights
from trainer.engine.output import Output
from trainer.engine.reports import Reports
from trainer.engine.run_log import RunLog, format_duration, format_values
from trainer.engine.saving import Saver
from trainer.engine.setup import Setup, with_apart
from trainer.engine.signals import StopSignal
from trainer.engine.step import Stepper, StepResult, StepTaken
from trainer.engine.time_budget import Choice, is_due, shorten
from trainer.engine.timekeeper import Timekeeper
from trainer.errors import DataError, InterruptedRunError, StoppedError, TrainerError
from trainer.models.stages import set_stage
from trainer.optim.plateau import Plateau
from trainer.protocol.evaluated import Evaluated, describe_evaluated, describe_failure
from trainer.protocol.heartbeat import Phase
from trainer.protocol.reportfile import EvaluationFacts

_CURE = (
    "look whether the labels are right, and try a learning rate of a third and of three times this one, more "
    "epochs, or pretrained weights"
)


class Training:
    """One run of the loop from a state to the end of the last epoch."""

    def __init__(
        self, setup: Setup, state: TrainState, *, saver: Saver | None, run_log: RunLog, liveness: Liveness,
        stop: StopSignal, output: Output | None, go_back: Callable[[Setup], tuple[Setup, TrainState]],
        reports: Reports | None = None, clock: Callable[[], float] = time.perf_counter,
    ) -> None:  # fmt: skip
        """Prepare to train.

        Args:
            setup: What trains.
            state: Where to begin.
            saver: Rank 0's.
            run_log: Told of everything.
            liveness: Is kept true.
            stop: Looked at after each step.
            output: Rank 0's.
            go_back: Brings all ranks to the last checkpoint, and returns what trains on, and from where.
            reports: Is told of evaluations; None where there is no report.
            clock: Measures in seconds.
        """
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
        self._go_back = go_back
        self._reports = reports or Reports()
        self._on_nan = OnNan(setup, run_log)
        self._place = LeftOut(epoch=0, start=0, end=0)
        self._stepper = self._make_stepper()
        self._asked = False
        self._save_is_wanted = False
        self._time = Timekeeper(setup, state, liveness=liveness, clock=clock)
        liveness.total_steps = setup.options.run.epochs * setup.options.steps_per_epoch
        liveness.step, liveness.epoch = state.step, state.epoch

    def _make_stepper(self) -> Stepper:
        guard = self._on_nan.make_guard(self._setup)
        return Stepper(self._setup, liveness=self._liveness, stop=self._stop, guard=guard, clock=self._clock)

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
        if self._setup.options.run.on_nan == "rewind":
            self._save(self.state)  # so that there is one to go back to; one that is there stays
        while self.state.epoch < self._setup.options.run.epochs and self.early_end is None:
            try:
                self._epoch(self.state.epoch)
            except GoBackError as error:
                self._rewind(error.bad)
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
        self._time.say_end(self._run_log)
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
        running = RunningEpoch(
            self.state, options=setup.options, run_log=self._run_log, liveness=self._liveness,
            on_nan=self._on_nan,
        )  # fmt: skip
        self._liveness.enter(Phase.LOAD)
        if setup.options.is_progressive:
            self._begin_stage(stage_of(epoch, epochs=setup.options.run.epochs))
        setup = self._freeze(epoch)
        setup.begin_training()
        done, left, loader = self._read()
        self._time.begin_epoch()
        began_s = self._clock()
        try:
            progress = self._run_log.progress
            progress.begin(f"epoch {epoch + 1}/{setup.options.run.epochs}", left)
            for iteration, fed in enumerate(loader, start=done):
                read_s = self._clock() - began_s
                batch = fed.batch
                taken = self._train_on(running, fed)
                if taken.applied:
                    self._advance(epoch, batch, bad_images=running.bad_images, batches=iteration + 1)
                    self._shorten(self._time.step_done(self.state.step))
                prints = iteration % setup.options.run.print_batch_step == 0
                due = prints or self._stepper.must_agree or self._is_told_to_stop(taken)
                before_s = self._clock()
                results = self._fetch() if due else []  # waits for the device, which is part of the step
                step_s, fetch_s = self._clock() - began_s, self._clock() - before_s
                self._time.add(
                    step_s=step_s, read_s=read_s, copy_s=fed.copy_s, peers_s=taken.peers_s, fetch_s=fetch_s,
                    printed=prints,
                )  # fmt: skip
                running.note(
                    batch, taken, iteration=iteration, step=self.state.step, place=self._place,
                    step_s=step_s, read_s=read_s, copy_s=fed.copy_s,
                )  # fmt: skip
                self._say_bad_images(setup.train_loader)
                self._take(running, results)
                if prints:
                    running.say(taken, iteration=iteration)
                    self._reports.see(fed)
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
                with contextlib.suppress(TrainerError, GoBackError):
                    self._take(running, self._fetch())
            raise
        finally:
            loader.close()
        self.last_epoch = running.means.values()
        self._finish_epoch(epoch, self.last_epoch, bad_images=running.bad_images)

    def _read(self) -> tuple[int, int, Generator[FedBatch, None, None]]:
        """Return how many batches of the epoch are done, how many are left, and these."""
        options, loader, sampler = self._setup.options, self._setup.train_loader, self.state.sampler
        done = loader.batches_before(sampler.cursor)
        read = loader.batches
        if loader.is_continuous:
            done = done if sampler.batches is None else sampler.batches
            read = loader.batches_on
        left = max(0, options.batches - done)
        self._place = LeftOut(epoch=sampler.epoch, start=0, end=sampler.cursor)
        end = self.state.step + left // options.update_freq
        self._liveness.epoch_end, self._liveness.epoch_steps = end, options.steps_per_epoch
        batches = read(sampler.epoch, start=sampler.cursor, order_world_size=sampler.world_size or None)
        return done, left, feed(loader, batches, limit=left)

    def _train_on(self, running: RunningEpoch, fed: FedBatch) -> StepTaken:
        """Train on a batch, unless it is one that the run has gone back for."""
        place = self._place = LeftOut(epoch=fed.batch.epoch, start=fed.batch.start, end=fed.batch.end)
        out = (
            one.epoch == place.epoch and one.start < place.end and place.start < one.end
            for one in self.state.left_out or ()
        )
        if not any(out):
            return self._stepper.step(fed, step=self.state.step)
        self._take(running, self._fetch())  # so that rows stay in order
        return self._stepper.leave_out(step=self.state.step)

    def _rewind(self, bad: BadStep) -> None:
        """Go back to the last checkpoint, and leave a batch out from now on.

        Raises:
            DivergedError: The run has gone back often enough.
            CheckpointError: There is none that can be read.
        """
        before = self.state.left_out or ()
        if len(before) >= REWINDS:
            raise bad.refuse(tried=f", after the run had gone back {len(before)} times")
        self._run_log.say(
            f"[Train]warning: step {bad.batch.step}: {bad}; going back and leaving that batch out"
        )
        self._setup, state = self._go_back(self._setup)
        self.state = replace(state, left_out=(*before, bad.batch.place))
        self._stepper = self._make_stepper()
        self._liveness.step = self.state.step
        bad.write(self._run_log, "rewind", to_step=self.state.step)
        self._run_log.say(f"[Train]went back to step {self.state.step}")

    def _begin_stage(self, stage: int) -> None:
        rate = set_stage(self._setup.model, stage)
        dropout = "" if rate is None else f", dropout {rate:g}"
        self._run_log.say(f"[Train]stage {stage + 1} of {STAGES}{dropout}")

    def _freeze(self, epoch: int) -> Setup:
        """Freeze and thaw what is to be in an epoch; returns what trains it."""
        freezing = self._setup.freezing
        if freezing is not None:
            if thawed := freezing.apply(epoch, self._setup.optimizers):
                self._setup = with_apart(self._setup, thawed)
                self._stepper = self._make_stepper()
            for text in freezing.describe(thawed):
                self._run_log.say(f"[Train][Epoch {epoch + 1}]{text}")
        return self._setup

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

    def _take(self, running: RunningEpoch, results: list[StepResult]) -> None:
        """Write down what was fetched.

        Raises:
            DivergedError: A loss is no number, and ends the run; rows end with its.
            GoBackError: The same, and the run goes back.
            DataError: More images than are borne could not be read.
        """
        if not results:
            return
        running.take(results)
        sampler = replace(self.state.sampler, bad_images=running.bad_images)
        self.state = replace(self.state, sampler=sampler)
        self._setup.train_loader.bad_images.refuse_too_many(running.bad_images)

    def _is_told_to_stop(self, taken: StepTaken) -> bool:
        if not taken.applied:
            return False
        alone = self._setup.ranks.world_size == 1 and self._stop.number != 0
        stop_step = self._liveness.stop_step
        return alone or self._asked or (stop_step is not None and self.state.step >= stop_step)

    def _stop_here(self, running: RunningEpoch) -> None:
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

    def _save_if_due(self, running: RunningEpoch) -> None:
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
        self._time.tell_epoch(self._run_log, epoch=completed, epochs=run.epochs, step=self.state.step)
        if bad_images:
            self._run_log.say(
                f"[Train][Epoch {completed}/{run.epochs}]{format_count(bad_images)} could not be read; "
                "others of the list were trained on instead"
            )
        self._say_cache("Train", self._setup.train_loader)
        sampler = self._next_sampler(completed)
        self.state = replace(self.state, epoch=completed, measured=None, sampler=sampler)
        self._liveness.epoch = min(completed, run.epochs - 1)
        evaluated = self._is_due(completed)
        best = self._evaluate(completed) if evaluated else False
        ends = self._shorten(self._time.epoch_done(completed))
        if ends and not evaluated and self._is_due(completed):
            evaluated, best = True, self._evaluate(completed)
        keep = run.save_interval > 0 and completed % run.save_interval == 0
        self._save(self.state, evaluated=evaluated, best=best, epoch_name=keep)
        self._reports.hand_over()
        self._shorten(self._time.epoch_done(completed, is_saved=True))

    def _shorten(self, choice: Choice | None) -> bool:
        """Do what the time budget has chosen; returns whether it has."""
        if choice is None:
            return False
        of_epochs = self._setup.options.run.epochs
        self._setup = shorten(self._setup, choice.epochs, choice.at)
        self._liveness.total_steps = choice.epochs * self._setup.options.steps_per_epoch
        self._run_log.say(choice.said)
        self._run_log.row(
            "time_budget", epoch=self.state.epoch, step=self.state.step, epochs=choice.epochs,
            of_epochs=of_epochs, reason=choice.said,
        )  # fmt: skip
        return True

    def _next_sampler(self, completed: int) -> SamplerState:
        if self._setup.train_loader.is_continuous:
            return replace(self.state.sampler, bad_images=0, batches=0)
        return SamplerState(epoch=completed, world_size=self._setup.ranks.shards, cursor=0)

    def _is_due(self, completed: int) -> bool:
        return is_due(self._setup.options.run, completed, evaluates=self._setup.eval_loader is not None)

    def _evaluate(self, completed: int) -> bool:
        setup, averaged = self._setup, None
        began_s = self._clock()
        results = self._measure()
        self.last_evaluation = results.values
        said = f"; {format_left_out(results.bad_images)}" if results.bad_images else ""
        self._run_log.say(f"[Eval][Epoch {completed}][Avg]{format_values(results.values)}{said}")
        if setup.ema is not None:
            with setup.ema.in_place():
                averaged = self._measure()
            self._run_log.say(f"[Eval][Epoch {completed}][EMA][Avg]{format_values(averaged.values)}")
        self._time.evaluated(began_s)
        key = next(iter(results.metrics), None)  # PaddleClas d178931: the first metric, never the loss
        self._reports.evaluated(
            EvaluationFacts(epoch=completed, step=self.state.step, key=key), results, averaged
        )
        of_average = {f"ema_{name}": value for name, value in averaged.values.items()} if averaged else {}
        floor = results.largest_class if "top1" in results.metrics else None
        beside = {"largest_class": floor} if floor is not None else {}
        self._run_log.row(
            "eval", epoch=completed, step=self.state.step, **results.values, **of_average, **beside
        )
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
        best, at = self.state.best_metric, self.state.best_epoch
        best = top1 if best is None else best
        found = Evaluated(top1=top1, best_top1=best, largest_class=floor, images=images, best_epoch=at)
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
                progress=self._run_log.progress, keeps_answers=self._reports.wanted,
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
        setup, began_s = self._setup, self._clock()
        self._save_is_wanted = False
        self._liveness.enter(Phase.SAVE)
        refuse_broken_weights(setup, step=self.state.step)
        setup.collective.broadcast_buffers(setup.model)
        if self._saver is not None:
            draws = setup.train_loader.rng_state()
            scale = setup.precision.state()
            plateau = setup.schedule.state() if isinstance(setup.schedule, Plateau) else None
            budget = self._time.budget_state()
            whole = replace(state, draws=draws, loss_scale=scale, plateau=plateau, time_budget=budget)
            self._saver.save(whole, evaluated=evaluated, best=best, epoch_name=epoch_name)
        self._time.saved(began_s)


def first_state(*, run_id: str, world_size: int) -> TrainState:
    """Return the state of a run that has not begun."""
    return TrainState(
        run_id=run_id, epoch=0, step=0, sampler=SamplerState(epoch=0, world_size=world_size, cursor=0)
    )
