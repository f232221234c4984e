"""Finds the largest batch that fits into memory, each tried in a process of its own.

A batch that does not fit may take its process with it: the kernel ends it, or the container engine the whole
pod. So the process that tries is watched, ended before it has taken all that there is, and asks the kernel to
be chosen first. One that was ended, by whomever, does not fit. Sizes double until one does not fit; then the
gap is halved until it is an eighth.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import yaml

from trainer.api import weights_store
from trainer.config.overrides import Overrides, spell_overrides
from trainer.config.root import TrainConfig
from trainer.config.schedules import WithRate
from trainer.errors import TrainerError
from trainer.loading import ConfigSource, LoadOptions, Say, load
from trainer.process_state import process_kept
from trainer.progress import NO_PROGRESS, Progress
from trainer.protocol.limits import free_memory
from trainer.protocol.pathmap import PathMap
from trainer.protocol.python_command import python_command
from trainer.ranks import read_ranks

__all__ = [
    "BatchEstimate", "FitBatchResult", "RateScaling", "TriedBatch", "describe", "estimate", "fit_batch",
    "try_batch",
]  # fmt: skip

_LOG = logging.getLogger("trainer")
_TAKEN = 0.75
"""Of a machine's free memory: it counts the files that are cached, and others would wait for their disk."""
_LEFT_FREE = 0.1
"""Share of the memory that is not given to a batch: other steps may take more than those that were tried."""
_WATCH_EVERY_S = 0.02
_GAP = 8  # a batch is found to an eighth of itself
_MOST = 4096
_ADAPTIVE = frozenset({"Adam", "AdamW", "AdamWDL", "RMSProp"})


@dataclass(frozen=True, kw_only=True, slots=True)
class TriedBatch:
    """A batch size that was tried.

    Attributes:
        batch: Images of a step of one rank.
        fits: Whether the steps were done within the memory that there is.
        memory_bytes: The most that they took, with what is read ahead on a CPU; None where nobody knows.
        step_s: Seconds of a step, without waiting for images; None where it does not fit.
        gpu_bytes: Memory of the GPU; None on a CPU, whose memory others share.
        reason: Why it does not fit; empty where it does.
    """

    batch: int
    fits: bool
    memory_bytes: int | None = None
    step_s: float | None = None
    gpu_bytes: int | None = None
    reason: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchEstimate:
    """What a step takes by the sizes of the network's layers.

    Attributes:
        batch: Images of the step.
        device_bytes: Of the memory that the network computes in; a process takes some more of the host's.
        weights_bytes: Of these, weights, gradients and what the optimizer keeps.
        image_bytes: Of these, what each image takes.
        multiplications: Multiply-adds of one image's forward pass.
    """

    batch: int
    device_bytes: int
    weights_bytes: int
    image_bytes: int
    multiplications: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RateScaling:
    """What a change of the batch means for the learning rate.

    Attributes:
        now: Of the config, for its own batch.
        scaled: For the batch that was found.
        rule: `linear` for SGD and Momentum, `square root` for those that divide by the gradient's size.
    """

    now: float
    scaled: float
    rule: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FitBatchResult:
    """What was found.

    Attributes:
        batch: The largest that fits, of one rank; None where not even one image does.
        fastest: That with the most images a second, of those that fit; the smallest within 5 % of the most.
        is_most: It was not searched further: it is as many as were asked for, or as there are images.
        configured: The config's own.
        tried: In the order of their sizes.
        limit_bytes: What a batch may take; None where nothing bounds it.
        limit: Where that comes from.
        rate: None where the config has no one learning rate.
    """

    batch: int | None
    fastest: int | None
    is_most: bool
    configured: int
    tried: tuple[TriedBatch, ...]
    limit_bytes: int | None
    limit: str
    rate: RateScaling | None


def fit_batch(
    config: ConfigSource,
    *,
    set: Overrides = (),
    most: int | None = None,
    steps: int = 3,
    memory_bytes: int | None = None,
    weights_dir: str | Path | None = None,
    strict: bool = False,
    extra_modules: Sequence[str] = (),
    say: Say = _LOG.info,
    warn: Say = _LOG.warning,
    progress: Progress = NO_PROGRESS,
) -> FitBatchResult:
    """Find the largest batch of one rank that fits into the memory of this machine's GPU, or of this pod.

    Args:
        config: The config.
        set: Changes of it.
        most: Try no larger one; None for the number of training images, at most 4,096.
        steps: Training steps of each try, 2 or more.
        memory_bytes: What a batch may take, such as that of another pod; None for three quarters of what
            is free here. More than that is not taken.
        weights_dir: As for `train`; weights are not downloaded, and not needed for this.
        strict: As for `train`.
        extra_modules: As for `train`.
        say: Told of each size that was tried.
        warn: Told what is odd about the config.
        progress: Is told of every size.

    Raises:
        TrainerError: As for `train`; or the steps fail for another reason than memory.
    """
    options = LoadOptions(
        overrides=spell_overrides(set), strict=strict, extra_modules=tuple(extra_modules), computes=False,
        path_map=PathMap(),
    )  # fmt: skip
    loaded = load(config, options, read_ranks(), warn=warn)
    configured = loaded.config.data.Train.sampler.batch_size
    free = free_memory()
    limit = int(free * _TAKEN) if free is not None else None
    named = "three quarters of what is free here"
    if memory_bytes is not None and (limit is None or memory_bytes < limit):
        limit, named = memory_bytes, "what was given"
    with tempfile.TemporaryDirectory(prefix="trainer-fit-batch-") as scratch:
        path = Path(scratch) / "config.yaml"
        path.write_text(yaml.safe_dump(dict(loaded.document.values), allow_unicode=True), encoding="utf-8")
        arguments = ["fit-batch", "-c", str(path), "--steps", str(steps), "--output", "json"]
        for module in extra_modules:
            arguments += ["--extra-module", module]
        if weights_dir is not None:
            arguments += ["--weights-dir", str(weights_dir)]
        trials = _Trials(arguments, limit=limit, say=say, progress=progress)
        found = search(trials.fits, first=min(configured, most or configured), most=most or _MOST)
    fit = sorted((one for one in trials.tried if one.fits), key=lambda one: one.batch)
    return FitBatchResult(
        batch=found, fastest=_fastest(fit), is_most=found == (most or _MOST), configured=configured,
        tried=tuple(sorted(trials.tried, key=lambda one: one.batch)),
        limit_bytes=trials.limit, limit="the GPU's, less a tenth" if trials.on_gpu else named,
        rate=scale_rate(loaded.config, found) if found is not None else None,
    )  # fmt: skip


def try_batch(
    config: ConfigSource,
    *,
    batch: int,
    set: Overrides = (),
    steps: int = 3,
    weights_dir: str | Path | None = None,
    strict: bool = False,
    extra_modules: Sequence[str] = (),
    say: Say = _LOG.info,
    warn: Say = _LOG.warning,
) -> TriedBatch:
    """Train some steps with a batch size in this process, and say what they took.

    Arguments and errors as of `fit_batch`. Where there is no memory, this process may be ended; `fit_batch`
    calls this in processes of its own.
    """
    options = LoadOptions(
        overrides=spell_overrides(set), strict=strict, extra_modules=tuple(extra_modules), path_map=PathMap()
    )
    with process_kept():
        loaded = load(config, options, read_ranks(), warn=warn)
        from trainer.engine.batch_trial import try_steps

        trial = try_steps(
            loaded.config, batch=batch, steps=steps, store=weights_store(weights_dir, offline=True), say=say
        )
    return TriedBatch(
        batch=batch, fits=trial.fits, memory_bytes=trial.memory_bytes, step_s=trial.step_s,
        gpu_bytes=trial.gpu_bytes, reason=trial.reason,
    )  # fmt: skip


def estimate(
    config: ConfigSource,
    *,
    set: Overrides = (),
    strict: bool = False,
    extra_modules: Sequence[str] = (),
    warn: Say = _LOG.warning,
) -> BatchEstimate:
    """Say what a step with the config's own batch takes by the sizes of the network's layers; try nothing.

    Neither lists nor images nor weights are read. Arguments as of `fit_batch`.

    Raises:
        TrainerError: The config is refused; or the images' size is not known before they are read.
    """
    options = LoadOptions(
        overrides=spell_overrides(set), strict=strict, extra_modules=tuple(extra_modules), computes=False
    )
    loaded = load(config, options, read_ranks(), warn=warn)
    batch = loaded.config.data.Train.sampler.batch_size
    with process_kept():
        import paddle

        from trainer.config.step_memory import StepMemory
        from trainer.engine.memory import estimate_step
        from trainer.models.registry import build_model

        paddle.set_device("cpu")
        found = estimate_step(loaded.config, build_model(loaded.config.arch))
        StepMemory().keep(loaded.config, found)
    if found is None:
        raise TrainerError(
            where="DataLoader.Train.dataset.transform_ops", expected="operations that give images one size",
            got="none that does",
        )  # fmt: skip
    return BatchEstimate(
        batch=batch, device_bytes=found.device_bytes_of(batch), weights_bytes=found.weights_bytes,
        image_bytes=found.image_bytes, multiplications=found.multiplications,
    )  # fmt: skip


def search(fits: Callable[[int], bool], *, first: int, most: int) -> int | None:
    """Return the largest batch that fits, to an eighth of itself; None where not even one image does.

    Args:
        fits: Says of a size whether it does; asked once for each.
        first: Size to begin with, at most `most`.
        most: Size above which none is tried.
    """
    good, bad = 0, most + 1
    batch = first
    while good < batch < bad:
        if fits(batch):
            good, batch = batch, min(2 * batch, most)
        else:
            bad, batch = batch, max(1, batch // 2)
            if good:
                break
    while good and bad <= most and bad - good > max(1, good // _GAP):
        middle = (good + bad) // 2
        if middle > 2 * _GAP:  # kernels like whole eights
            middle = max(good + 1, middle // _GAP * _GAP)
        if fits(middle):
            good = middle
        else:
            bad = middle
    return good or None


def scale_rate(config: TrainConfig, batch: int) -> RateScaling | None:
    """Say what the learning rate becomes with another batch; None where there is no one rate."""
    optimizer = config.optimizers[0][1]
    rate = optimizer.lr.learning_rate if isinstance(optimizer.lr, WithRate) else None
    own = config.data.Train.sampler.batch_size
    if len(config.optimizers) > 1 or not rate or own < 1:
        return None
    adapts = type(optimizer).__name__ in _ADAPTIVE
    factor = math.sqrt(batch / own) if adapts else batch / own
    rule = "square root" if adapts else "linear"
    return RateScaling(now=rate, scaled=float(f"{rate * factor:.3g}"), rule=rule)


def _fastest(fit: Sequence[TriedBatch]) -> int | None:
    speeds = {one.batch: one.batch / one.step_s for one in fit if one.step_s}
    most = max(speeds.values(), default=0.0)
    return next((batch for batch, speed in speeds.items() if speed >= 0.95 * most), None)


class _Trials:
    """Starts a process a size, and keeps what became of it."""

    def __init__(self, arguments: Sequence[str], *, limit: int | None, say: Say, progress: Progress) -> None:
        self._arguments, self._say, self._progress = arguments, say, progress
        self.limit = limit
        self.on_gpu = False
        self.tried: list[TriedBatch] = []

    def fits(self, batch: int) -> bool:
        tried = self._try(batch)
        self.tried.append(tried)
        self._progress.clear()
        self._say(describe(tried))
        return tried.fits

    def _try(self, batch: int) -> TriedBatch:
        command = python_command("trainer", [*self._arguments, "--try", str(batch)])
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
            try:
                peak, was_ended = self._watch(child)
            finally:
                if child.poll() is None:
                    child.kill()
                    child.wait()
            out.seek(0)
            err.seek(0)
            said, words = out.read().decode("utf-8", "replace"), err.read().decode("utf-8", "replace")
        if was_ended:
            return TriedBatch(batch=batch, fits=False, memory_bytes=peak, reason="ended at the limit")
        if child.returncode < 0:
            reason = f"ended by signal {-child.returncode}"
            return TriedBatch(batch=batch, fits=False, memory_bytes=peak or None, reason=reason)
        if child.returncode:
            raise TrainerError(
                where=f"a batch of {batch}", expected="training steps, or too little memory for them",
                got=words.strip().removeprefix("trainer: ") or f"exit code {child.returncode}",
            )  # fmt: skip
        return self._bound(TriedBatch(**json.loads(said)))

    def _bound(self, tried: TriedBatch) -> TriedBatch:
        if tried.gpu_bytes is not None:
            self.on_gpu, self.limit = True, int(tried.gpu_bytes * (1 - _LEFT_FREE))
        if not tried.fits or tried.memory_bytes is None or self.limit is None:
            return tried
        if tried.memory_bytes > self.limit:
            return replace(tried, fits=False, step_s=None, reason="above the limit")
        return tried

    def _watch(self, child: subprocess.Popen[bytes]) -> tuple[int, bool]:
        """Wait for a process; end it where it takes more than there is. Returns its peak, and whether."""
        peak = 0
        while child.poll() is None:
            peak = max(peak, _resident(child.pid))
            if self.limit is not None and not self.on_gpu and peak > self.limit:
                child.kill()
                child.wait()
                return peak, True
            time.sleep(_WATCH_EVERY_S)
        return peak, False


def describe(tried: TriedBatch) -> str:
    """Return one line of a table: size, memory, time of a step, images a second, whether it fits."""
    memory = f"{tried.memory_bytes / 2**20:8.0f} MiB" if tried.memory_bytes else "           ?"
    if not tried.fits:
        return f"{tried.batch:>7} {memory}  does not fit: {tried.reason}"
    speed = f"{1e3 * tried.step_s:8.0f} ms {tried.batch / tried.step_s:8.0f} images/s" if tried.step_s else ""
    return f"{tried.batch:>7} {memory} {speed}  fits"


def _resident(pid: int) -> int:
    with contextlib.suppress(OSError, IndexError, ValueError):
        fields = Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()
        return int(fields[1]) * 4096
    return 0
