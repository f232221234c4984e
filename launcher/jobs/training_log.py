"""What a training says of itself in its log: losses, rates and evaluations, as they pass.

A job on a cluster has no file of measurements that this machine could look into every second, but its log
comes anyway. The lines are the trainer's own (`trainer/engine/epoch.py`, `train.py`), in the form of
PaddleClas's; a line of another form is text and nothing else.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

_STAMP = re.compile(r"^\[\d{4}/\d\d/\d\d (\d\d:\d\d:\d\d)\] trainer INFO: ", re.ASCII)
_TRAIN = re.compile(
    r"\[Train\]\[Epoch (\d{1,7})/(\d{1,7})\]\[(?:(Avg)|Iter: (\d{1,9})/(\d{1,9}))\](.*)", re.ASCII
)
_EVAL = re.compile(r"\[Eval\]\[Epoch (\d{1,7})\]\[Avg\](.*)", re.ASCII)
_BEST = re.compile(r"\[Eval\]\[Epoch (\d{1,7})\]\[best metric: ([0-9.e+-]{1,30})\]", re.ASCII)
_VALUE = re.compile(r"([A-Za-z_][\w.@-]{0,60}): (-?[0-9.]{1,30}(?:e[+-]?[0-9]{1,3})?)(?![\w.])", re.ASCII)
_MAX_LINE, _MAX_EPOCHS, _MAX_LOSSES, _MAX_LINES = 4096, 2000, 512, 200
_LOSS = "loss"


@dataclass(slots=True)
class EpochValues:
    """What was measured in an epoch, by name; empty before."""

    train: dict[str, float] = field(default_factory=dict)
    evaluated: dict[str, float] = field(default_factory=dict)


class TrainingLog:
    """The last lines of a log, and the numbers of all. Bounded, whatever is said.

    Attributes:
        lines: The last ones, as text; of the date of the trainer's own the time is left.
        epochs: By number, from 1, in their order.
        total_epochs: Of the whole run; 0 while unknown.
        position: Epochs that have passed, by the last line of steps.
        losses: Means of the epoch so far, one for each line of steps; the last few hundred.
        metric: The first metric of the evaluations; None before the first.
        best_epoch: Of the best evaluation so far; None before the first.
    """

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=_MAX_LINES)
        self.epochs: dict[int, EpochValues] = {}
        self.total_epochs = 0
        self.position = 0.0
        self.losses: deque[float] = deque(maxlen=_MAX_LOSSES)
        self.metric: str | None = None
        self.best_epoch: int | None = None
        self._best: float | None = None

    def add(self, lines: Iterable[str]) -> None:
        """Take lines, without their newlines."""
        for line in lines:
            short = line[:_MAX_LINE]
            self.lines.append(_STAMP.sub(r"\1 ", short))
            if "[Epoch " in short:
                self._read(short)

    def _read(self, line: str) -> None:
        if found := _TRAIN.search(line):
            self.total_epochs = int(found[2])
            epoch, values = int(found[1]), _values(found[6])
            if found[3]:
                self._epoch(epoch).train = values
            elif _LOSS in values:
                self.losses.append(values[_LOSS])
            done = 1.0 if found[3] else int(found[4]) / max(1, int(found[5]))
            self.position = epoch - 1 + done
        elif found := _EVAL.search(line):
            values = _values(found[2])
            self._epoch(int(found[1])).evaluated = values
            names = list(values)
            after = names[names.index(_LOSS) + 1 :] if _LOSS in names else names
            self.metric = after[0] if after else self.metric
        elif found := _BEST.search(line):
            best = _number(found[2])
            if best is not None and best != self._best:
                self._best, self.best_epoch = best, int(found[1])

    def _epoch(self, number: int) -> EpochValues:
        for later in [other for other in self.epochs if other > number]:
            del self.epochs[later]  # a restart went back to before them
        if number not in self.epochs:
            self.epochs[number] = EpochValues()
            while len(self.epochs) > _MAX_EPOCHS:
                del self.epochs[next(iter(self.epochs))]
        return self.epochs[number]

    def curve(self, name: str, *, of: str) -> list[float]:
        """Return a value of each epoch that has it, of `train` or `evaluated`."""
        found: list[Mapping[str, float]] = [
            epoch.train if of == "train" else epoch.evaluated for epoch in self.epochs.values()
        ]
        return [values[name] for values in found if name in values]


def _values(text: str) -> dict[str, float]:
    pairs = ((name, _number(value)) for name, value in _VALUE.findall(text))
    return {name: value for name, value in pairs if value is not None}


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
