"""Profiles some steps of a training: where each part of a step goes, which operators take long, a trace.

Everything is measured by `paddle.profiler`, whose trace has the layers and operators of each step, on a GPU
its kernels and copies too, and beside them the parts of the loop that are marked here. The trace is the JSON
that chrome://tracing and Perfetto open. On a GPU the parts are what the host spends: it tells the device what
to do, and waits for it in `fetch` only.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paddle import profiler

from trainer.config.root import TrainConfig
from trainer.engine.liveness import Liveness
from trainer.engine.lr_finder import endless, set_up_alone
from trainer.engine.signals import StopSignal
from trainer.engine.step import Stepper
from trainer.errors import CheckpointError
from trainer.models.weights_store import WeightsStore
from trainer.protocol.limits import usable_cores
from trainer.protocol.safe_files import replace_file
from trainer.protocol.step_times import StepTimes, find_waiting

_WARM_UP = 3
"""Steps before those that are measured: the first ones make room, choose algorithms and start readers."""
_WAIT, _STEP, _FETCH = "wait for images", "step", "fetch"
_OPERATORS = 15


@dataclass(frozen=True, kw_only=True, slots=True)
class OperatorTime:
    """What calls of one operator took, a step.

    Attributes:
        name: As Paddle calls it.
        calls: In a step.
        seconds: In a step, with what it calls.
    """

    name: str
    calls: float
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """Where the time of some steps went.

    Attributes:
        steps: That were measured.
        batch: Images of each.
        step_s: Seconds of a step.
        parts: Seconds of a step by part: wait for images, copy, forward, backward, update, fetch, other.
        operators: Those that took most.
        workers: Reader processes.
        verdict: What holds the training up, and what mends it; empty where nothing stands out.
        trace: The file for chrome://tracing and Perfetto.
    """

    steps: int
    batch: int
    step_s: float
    parts: Mapping[str, float]
    operators: tuple[OperatorTime, ...]
    workers: int
    verdict: str
    trace: Path


def profile_steps(
    config: TrainConfig, *, steps: int, trace: Path, store: WeightsStore,
    report: Callable[[], None] = lambda: None, say: Callable[[str], None] = lambda _: None,
) -> Profile:  # fmt: skip
    """Train some steps from the weights that training would begin with, and measure them.

    Args:
        config: Checked.
        steps: How many are measured, after three that are not.
        trace: Written; replaced where it is there.
        store: Where pretrained weights are kept.
        report: Called after each step.
        say: Told of images that cannot be read, and of what is odd in the lists.

    Raises:
        DataError: A list or an image is refused.
        WeightsError: The pretrained weights cannot be had or used.
        CheckpointError: The trace cannot be written.
    """
    setup = set_up_alone(config, store=store, say=say)
    stepper = Stepper(setup, liveness=Liveness(None, local_rank=0), stop=StopSignal())
    setup.begin_training()
    targets = [profiler.ProfilerTarget.CPU]
    if config.run.on_gpu:
        targets.append(profiler.ProfilerTarget.GPU)
    copied_s, began_s = 0.0, 0.0
    # Without a function of its own it would write into a folder ./profiler_log.
    prof = profiler.Profiler(targets=targets, on_trace_ready=lambda _: None)
    with closing(setup), closing(endless(setup.train_loader, say)) as batches:
        for number in range(_WARM_UP + steps):
            if number == _WARM_UP:
                stepper.fetch()
                prof.start()
                began_s = time.perf_counter()
            with profiler.RecordEvent(_WAIT):
                fed = next(batches)
            with profiler.RecordEvent(_STEP):
                stepper.step(fed, step=number)
            copied_s += fed.copy_s if number >= _WARM_UP else 0.0
            if number >= _WARM_UP:
                prof.step()
            report()
        with profiler.RecordEvent(_FETCH):
            stepper.fetch()
        step_s = (time.perf_counter() - began_s) / steps
        prof.stop()
        workers = setup.train_loader.worker_count
    events = _export(prof, trace)
    parts = _parts(events, steps=steps, step_s=step_s, copy_s=copied_s / steps)
    times = StepTimes(
        steps=steps, step_s=step_s, wait_s=parts[_WAIT], copy_s=parts["copy"], peers_s=0.0,
        fetch_s=parts[_FETCH], eval_s=0.0, save_s=0.0, workers=workers, ranks=1, cores=usable_cores(),
    )  # fmt: skip
    found = find_waiting(times, saves_decoding=setup.train_loader.saves_decoding)
    return Profile(
        steps=steps, batch=config.data.Train.sampler.batch_size, step_s=step_s, parts=parts,
        operators=_operators(events, steps=steps), workers=workers,
        verdict=f"{found.sentence}; {found.fix}" if found is not None else "", trace=trace,
    )  # fmt: skip


def _export(prof: profiler.Profiler, trace: Path) -> Sequence[Mapping[str, Any]]:
    """Write what was recorded, and return its slices."""
    with tempfile.TemporaryDirectory() as folder:
        raw = Path(folder) / "trace.json"
        prof.export(str(raw), format="json")
        document = json.loads(raw.read_text(encoding="utf-8"))
    slices = [event for event in document["traceEvents"] if event.get("ph") == "X"]
    for event in slices:  # `matmul[1.2 ms]`: the time is beside it, and names are to be counted
        event["name"] = str(event["name"]).partition("[")[0]
    try:
        replace_file(trace, json.dumps(document).encode())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CheckpointError(where=trace, expected="a file to write the trace to", got=reason) from error
    return slices


def _parts(
    events: Iterable[Mapping[str, Any]], *, steps: int, step_s: float, copy_s: float
) -> Mapping[str, float]:
    """Return the seconds of a step by part; they add up to the step."""
    sums = dict.fromkeys((_WAIT, _STEP, _FETCH, "Backward", "Optimization"), 0.0)
    for event in events:
        kind = event["name"] if event.get("cat") == "PythonUserDefined" else event.get("cat")
        if kind in sums:
            sums[kind] += float(event["dur"]) / 1e6 / steps
    forward = max(0.0, sums[_STEP] - sums["Backward"] - sums["Optimization"])
    parts = {
        _WAIT: max(0.0, sums[_WAIT] - copy_s), "copy": copy_s, "forward": forward,
        "backward": sums["Backward"], "update": sums["Optimization"], _FETCH: sums[_FETCH],
    }  # fmt: skip
    return {**parts, "other": max(0.0, step_s - sum(parts.values()))}


def _operators(events: Iterable[Mapping[str, Any]], *, steps: int) -> tuple[OperatorTime, ...]:
    found: dict[str, tuple[int, float]] = {}
    for event in events:
        if event.get("cat") == "Operator":
            name = event["name"].removesuffix(" dygraph")
            calls, micros = found.get(name, (0, 0.0))
            found[name] = (calls + 1, micros + float(event["dur"]))
    ordered = sorted(found.items(), key=lambda item: -item[1][1])[:_OPERATORS]
    return tuple(
        OperatorTime(name=name, calls=calls / steps, seconds=micros / 1e6 / steps)
        for name, (calls, micros) in ordered
    )
