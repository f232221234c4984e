"""Finds a learning rate by a short range test: the rate grows geometrically until the loss does, too.

The method is Smith's (2017, arXiv:1506.01186, section 3.3), with the rate growing by a constant factor a
step. Three rates are offered, under the names that fastai's finder gave them: `valley`, the middle of the
longest way down of the smoothed loss, which is proposed; `steep`, where it falls fastest; `minimum`, a tenth
of the rate at its lowest. Both ends are left out: the first means are of few steps, and behind the lowest
point the loss grows.

A curve that does not fall by more than its own noise gives no proposal. Any rule finds some point of a flat
curve, and the point means nothing: 2.7e-06 was proposed once where the loss was flat from 3e-06 to 0.1. Nor
is a fall from a height to which too large a rate has brought the loss a way down: what counts begins no
higher than the loss began.

Such a curve still shows the bound that Smith looks for, the rate from which the loss grows for good: from
random weights a hundred steps are seldom enough for a fall that stands out of the noise, but too large a
rate is seen in each. A third of it is a guess, and is called that: where to begin, not what was measured.
Nothing is written.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

from trainer.config.root import TrainConfig
from trainer.data.loader import Loader
from trainer.engine.collective import join_ranks
from trainer.engine.feed import FedBatch, feed
from trainer.engine.liveness import Liveness
from trainer.engine.resume import start_from_pretrained
from trainer.engine.run import seed_generators
from trainer.engine.run_log import SilentRunLog
from trainer.engine.setup import Setup, build_setup, prepare, with_mounted_weights, wrap
from trainer.engine.signals import StopSignal
from trainer.engine.step import Stepper
from trainer.errors import DivergedError
from trainer.models.weights_store import WeightsStore
from trainer.ranks import Ranks

SMOOTHING = 0.9
"""Weight of the past in the running mean of the losses."""
TOO_HIGH = 4.0
"""The test ends where the smoothed loss is so many times its lowest."""
_RISEN = 0.1
"""Share of a loss above it from which on the loss grows: of the first one, behind which nothing is a way
down, and of the lowest one so far."""
_GUESS = 1 / 3
"""Of the rate from which the loss grows. In ten cases of two sets the best rate of a grid was 0.13 to 0.87
of that rate; how well the guess did on two others is in benchmarks/RESULTS.md."""
_FEWEST = 10
"""Steps before the loss grew, of which a curve can be told at all."""
_LEFT_OUT = 0.1
"""Share of the steps that are left out at the beginning, and again before the mean is steady enough."""
_LEAST_FALL = 0.02
"""Share of the first loss by which it must fall to be no flat curve."""
_NOISES = 7.0
"""Standard deviations of the smoothed loss's noise by which it must fall.

The deepest fall of pure noise, in 2,000 drawn curves a length: 99 of 100 stay below 6.3 (normal noise) or 7.0
(skewed) in a test of 100 steps, below 6.3 or 7.4 in one of 200.
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class LrFindResult:
    """What a test saw.

    Attributes:
        rates: Learning rate of each step.
        losses: Smoothed loss of each step.
        raw: Loss of each step's batch.
        proposals: Rates by the name of the rule: valley, steep, minimum; empty where the curve is flat.
        lowest: Rate at the lowest smoothed loss; training at it or above is near to diverging.
        grows_from: Rate from which the smoothed loss grows for good; None where it does not within the test.
        fall: How far the smoothed loss falls at most, in units of the loss.
        noise: Standard deviation of the smoothed loss's noise, in units of the loss.
        diverged: Whether the test ended because the loss grew.
        batch: Images of each step.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    raw: tuple[float, ...]
    proposals: Mapping[str, float]
    lowest: float
    grows_from: float | None = None
    fall: float
    noise: float
    diverged: bool
    batch: int = 0

    @property
    def proposal(self) -> float | None:
        """What to train with; None where the curve is flat."""
        return self.proposals.get("valley")

    @property
    def guess(self) -> float | None:
        """Where to begin trying rates where nothing is proposed: a third of `grows_from`."""
        return None if self.grows_from is None else float(f"{_GUESS * self.grows_from:.2g}")

    @property
    def rises(self) -> bool:
        """Whether the loss ends higher than it began by more than its noise."""
        return self.losses[-1] - self.losses[0] > max(self.fall, _NOISES * self.noise)


def find_rate(
    config: TrainConfig, *, low: float, high: float, steps: int, store: WeightsStore,
    report: Callable[[int], None] = lambda _: None, say: Callable[[str], None] = lambda _: None,
) -> LrFindResult:  # fmt: skip
    """Train a few steps from the weights that training would begin with.

    Args:
        config: Checked; its schedule is replaced.
        low: Rate of the first step.
        high: Rate of the last step, where the loss does not grow before.
        steps: Optimizer steps.
        store: Where pretrained weights are kept.
        report: Called with the number of steps done.
        say: Told of images that cannot be read, and of what is odd in the lists.

    Raises:
        DataError: A list or an image is refused.
        WeightsError: The pretrained weights cannot be had or used.
        DivergedError: The loss grows from the first steps on, or is no number there.
    """
    setup = set_up_alone(config, store=store, say=say)
    growth = (high / low) ** (1 / max(1, steps - 1))
    setup = replace(setup, schedules=[lambda step: low * growth**step for _ in setup.schedules])
    stepper = Stepper(setup, liveness=Liveness(None, local_rank=0), stop=StopSignal())
    setup.begin_training()
    rates: list[float] = []
    raw: list[float] = []
    mean, least, diverged, parts = 0.0, math.inf, False, 0.0
    with closing(setup), closing(endless(setup.train_loader, say)) as batches:
        for fed in batches:
            taken = stepper.step(fed, step=len(rates))
            (result,), _, _ = stepper.fetch()  # of each step, because the test ends where the loss grows
            parts += result.loss / setup.options.update_freq
            if not taken.applied:
                continue
            loss, parts = parts, 0.0
            mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
            smooth = mean / (1 - SMOOTHING ** (len(rates) + 1))  # without the zero that the mean began with
            if not math.isfinite(smooth) or smooth > TOO_HIGH * least:
                diverged = True
                break
            rates.append(taken.learning_rates[0])
            raw.append(loss)
            least = min(least, smooth)
            report(len(rates))
            if len(rates) == steps:
                break
    return replace(choose_rates(rates, raw, diverged=diverged), batch=config.data.Train.sampler.batch_size)


def set_up_alone(config: TrainConfig, *, store: WeightsStore, say: Callable[[str], None]) -> Setup:
    """Return what trains some steps in this process, from the weights that training would begin with.

    Args:
        config: Checked.
        store: Where pretrained weights are kept.
        say: Told of what is odd in the lists.

    Raises:
        DataError: A list is refused.
        WeightsError: The pretrained weights cannot be had or used.
    """
    ranks = Ranks()
    lists = prepare(config, ranks)
    for note in lists.train.notes:
        say(f"warning: {note}")
    collective = join_ranks(config.run.device, ranks)
    seed_generators(config.run)
    setup = build_setup(config, lists, ranks=ranks, collective=collective)
    start_from_pretrained(
        config.arch, config.run.pretrained_model, setup.model, store=with_mounted_weights(config, store),
        run_log=SilentRunLog(),
    )  # fmt: skip
    return wrap(setup)


def choose_rates(rates: Sequence[float], raw: Sequence[float], *, diverged: bool) -> LrFindResult:
    """Say which rates a curve speaks for.

    Args:
        rates: Of each step, growing by a constant factor.
        raw: Loss of each step's batch.
        diverged: Whether the loss grew beyond all bounds after the last of them.

    Raises:
        DivergedError: The loss grows from the first steps on.
    """
    losses = smoothed(raw)
    lowest = min(range(len(losses)), key=losses.__getitem__) if losses else 0
    left_out = math.ceil(_LEFT_OUT * len(losses))
    if len(losses) < _FEWEST:
        raise DivergedError(
            expected="a loss that falls at first",
            got=f"{len(losses)} steps until it grew",
            fix="lower --from, or look at the labels and the weights",
        )
    # The very first steps are not in the mean at all: a loss that begins far too high is seen in it for long.
    means = losses[:left_out] + smoothed(_without_spikes(raw[left_out:]))
    end = _end_of_learning(means, begin=2 * left_out)
    way_down = _deepest_fall(means[:end], begin=2 * left_out)
    fall, noise = means[way_down[0]] - means[way_down[-1]], _noise(raw[:end])
    flat = fall < max(_LEAST_FALL * abs(means[way_down[0]]), _NOISES * noise)
    growth = _start_of_growth(means, begin=2 * left_out, noise=noise)
    return LrFindResult(
        rates=tuple(rates), losses=tuple(losses), raw=tuple(raw),
        proposals={} if flat else _propose(rates, means, way_down),
        lowest=rates[lowest if flat else way_down[-1]], fall=fall, noise=noise, diverged=diverged,
        grows_from=None if growth is None else rates[growth],
    )  # fmt: skip


def smoothed(raw: Sequence[float]) -> list[float]:
    """Return the running means of losses, without the zero that such a mean begins with."""
    means: list[float] = []
    mean = 0.0
    for count, loss in enumerate(raw, start=1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        means.append(mean / (1 - SMOOTHING**count))
    return means


def _without_spikes(raw: Sequence[float]) -> list[float]:
    """Return for each step the median of it and its neighbours: one lucky batch is no fall."""
    padded = [*raw[:1], *raw, *raw[-1:]]
    return [sorted(padded[at : at + 3])[1] for at in range(len(raw))]


def _end_of_learning(losses: Sequence[float], *, begin: int) -> int:
    """Return the step from which on the loss is well above where it began, because rates are too large."""
    first = sum(losses[begin // 2 : begin + 1]) / max(1, begin + 1 - begin // 2)
    bound = first + _RISEN * abs(first)
    return next((at for at in range(begin, len(losses)) if losses[at] > bound), len(losses))


def _start_of_growth(losses: Sequence[float], *, begin: int, noise: float) -> int | None:
    """Return the step from which on the loss stays well above the lowest so far; None where it ends lower."""
    lowest, start = math.inf, None
    for at in range(begin, len(losses)):
        lowest = min(lowest, losses[at])
        if losses[at] <= lowest + max(_RISEN * abs(lowest), _NOISES * noise):
            start = None
        elif start is None:
            start = at
    return start


def _deepest_fall(losses: Sequence[float], *, begin: int) -> range:
    """Return the steps from the one before which the loss falls furthest to the lowest one behind it."""
    top, best = begin, range(begin, begin + 1)
    for here in range(begin, len(losses)):
        if losses[here] > losses[top]:
            top = here
        if losses[top] - losses[here] > losses[best[0]] - losses[best[-1]]:
            best = range(top, here + 1)
    return best


def _noise(raw: Sequence[float]) -> float:
    """Return the standard deviation that the batches' noise gives the smoothed loss.

    Taken from differences of neighbouring steps, which a slow fall does not touch, without the largest tenth
    of them, which are of bad batches and of the end, where the loss grows.
    """
    steps = sorted(abs(after - before) for before, after in itertools.pairwise(raw))
    kept = steps[: max(1, int(0.9 * len(steps)))]
    # 1.25: what the largest tenth of normal noise adds to the root of the mean square.
    one_batch = 1.25 * math.sqrt(sum(step * step for step in kept) / len(kept) / 2)
    return one_batch * math.sqrt((1 - SMOOTHING) / (1 + SMOOTHING))  # of a running mean


def _propose(rates: Sequence[float], losses: Sequence[float], way_down: range) -> dict[str, float]:
    valley = _longest_fall(losses, way_down)
    # Steps are equally far apart in log(rate); the slope over both neighbours is steadier than over one.
    steep = min(way_down[:-1] or way_down, key=lambda at: losses[at + 1] - losses[at - 1])
    chosen = {
        "valley": rates[valley[len(valley) // 2]],
        "steep": rates[steep],
        "minimum": rates[way_down[-1]] / 10,
    }
    return {name: float(f"{rate:.2g}") for name, rate in chosen.items()}


def _longest_fall(losses: Sequence[float], way_down: range) -> list[int]:
    """Return the places of the longest falling subsequence, in order.

    For each place, how many places such a sequence has that ends there, and the place before it: a test has a
    hundred steps, so that comparing all pairs takes a millisecond.
    """
    lengths, before = dict.fromkeys(way_down, 1), dict[int, int]()
    for here in way_down:
        for earlier in range(way_down.start, here):
            if losses[earlier] > losses[here] and lengths[earlier] >= lengths[here]:
                lengths[here], before[here] = lengths[earlier] + 1, earlier
    places = [max(way_down, key=lengths.__getitem__)]
    while places[-1] in before:
        places.append(before[places[-1]])
    return places[::-1]


def endless(loader: Loader, say: Callable[[str], None]) -> Generator[FedBatch, None, None]:
    """Yield batches on the device, an epoch after the other; closing it ends the loader.

    Args:
        loader: Whose.
        say: Told of images that cannot be read.

    Raises:
        DataError: An image is refused, or more cannot be read than are borne.
    """
    epoch = 0
    try:
        while True:
            batches, bad = feed(loader, loader.batches(epoch)), 0
            try:
                for fed in batches:
                    bad += fed.batch.bad_images
                    for text in loader.take_unsaid():
                        say(text)
                    loader.bad_images.refuse_too_many(bad)
                    yield fed
            finally:
                batches.close()
            epoch += 1
    finally:
        loader.close()
