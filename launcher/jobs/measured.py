"""What a run has measured so far, taken in row by row, in bounded memory: for who looks again and again.

A run of a million steps has a `metrics.jsonl` of hundreds of megabytes. Who draws it twice a second reads
only what is new (`RowReader`), and keeps of each value a few thousand points, neighbours put together where
there are more.
"""

from __future__ import annotations

import os
from array import array
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from launcher.jobs.curves import MeasuredCurve, Panel, Part
from launcher.jobs.metrics import (
    METRICS,
    Row,
    Score,
    choose_metric,
    find_score,
    is_number,
    output_here,
    parse_rows,
)
from launcher.jobs.training_log import EpochValues
from trainer.protocol.safe_files import open_read

MOST_POINTS = 4000
"""Of a curve; it has at least half of them where there are more rows."""
_MOST_NAMES, _MAX_NAME, _MOST_EPOCHS, _MOST_SCORED = 64, 100, 2000, 4000
_MOST_BYTES = 4 * 1024 * 1024
"""Read at once, and so the longest time until somebody who leaves is heard."""
_PARTS: dict[str, Part] = {"step": "train", "eval": "eval"}
_BESIDE = {"event", "attempt", "time_s", "epoch", "iter", "step", "samples", "largest_class"}


class _Points:
    """A value over steps. Each point stands for `_each` rows."""

    def __init__(self) -> None:
        self.steps, self.values = array("d"), array("d")
        self._each, self._rest = 1, 0
        self._sum_step = self._sum_value = 0.0

    def add(self, step: int, value: float) -> None:
        self._sum_step += step
        self._sum_value += value
        self._rest += 1
        if self._rest == self._each:
            self._put()
        if len(self.steps) > MOST_POINTS:
            self.steps, self.values = _halve(self.steps), _halve(self.values)
            self._each *= 2

    def cut(self, step: int) -> None:
        """Forget the steps from this one on."""
        self._rest, self._sum_step, self._sum_value = 0, 0.0, 0.0
        while self.steps and self.steps[-1] >= step:
            self.steps.pop()
            self.values.pop()

    def all(self) -> tuple[tuple[int, float], ...]:
        known = [(round(step), value) for step, value in zip(self.steps, self.values, strict=True)]
        if self._rest:  # the newest rows, which are no whole point yet
            known.append((round(self._sum_step / self._rest), self._sum_value / self._rest))
        return tuple(known)

    def _put(self) -> None:
        self.steps.append(self._sum_step / self._rest)
        self.values.append(self._sum_value / self._rest)
        self._rest, self._sum_step, self._sum_value = 0, 0.0, 0.0


def _halve(values: array[float]) -> array[float]:
    odd = len(values) % 2
    pairs = array("d", ((values[at] + values[at + 1]) / 2 for at in range(0, len(values) - odd, 2)))
    pairs.extend(values[len(values) - odd :])
    return pairs


class Measured:
    """Curves, epochs and the best evaluation of a run.

    Attributes:
        epochs: Means of training and evaluation, by epochs completed, in their order.
        metric: What chooses the best; None before the first evaluation.
        count: Rows that were taken in.
    """

    def __init__(self) -> None:
        self.epochs: dict[int, EpochValues] = {}
        self.metric: str | None = None
        self.count = 0
        self._points: dict[tuple[Part, str], _Points] = {}
        self._restarts: deque[int] = deque(maxlen=64)
        self._scored: deque[Row] = deque(maxlen=_MOST_SCORED)
        self._attempt: object = None

    def add(self, rows: Iterable[Row]) -> None:
        """Take rows, in their order."""
        for row in rows:
            self.count += 1
            self._note_attempt(row)
            event, epoch = row.get("event"), row.get("epoch")
            part = _PARTS.get(str(event))
            if part is not None:
                self._add_points(part, row)
            if event in ("epoch", "eval") and isinstance(epoch, int) and not isinstance(epoch, bool):
                self._add_epoch(epoch, row, evaluated=event == "eval")
            if event == "eval" or (event == "checkpoint" and row.get("best")):
                self._scored.append(row)
            if event == "eval":
                self.metric = choose_metric(row) or self.metric

    @property
    def score(self) -> Score | None:
        """The best evaluation so far."""
        return find_score(list(self._scored))

    @property
    def names(self) -> list[str]:
        """What can be drawn, in the order in which it was first measured."""
        return list(dict.fromkeys(name for _, name in self._points))

    def panel(self, job: str, name: str) -> Panel:
        """Return the curves of one value; none where it was not measured."""
        curves = [
            MeasuredCurve(job=job, part=part, points=found.all(), restarts=tuple(self._restarts))
            for part in ("train", "eval")
            if (found := self._points.get((part, name))) is not None
        ]  # fmt: skip
        return Panel(metric=name, curves=tuple(curve for curve in curves if curve.points))

    def _note_attempt(self, row: Row) -> None:
        step, attempt = row.get("step"), row.get("attempt")
        if row.get("event") != "step" or not isinstance(step, int):
            return
        if self._attempt is not None and attempt != self._attempt:
            self._restarts.append(step)
            for points in self._points.values():
                points.cut(step)
        self._attempt = attempt

    def _add_points(self, part: Part, row: Row) -> None:
        step = row.get("step")
        if not isinstance(step, int) or isinstance(step, bool):
            return
        for name, value in row.items():
            if name in _BESIDE or not is_number(value) or len(name) > _MAX_NAME:
                continue
            found = self._points.get((part, name))
            if found is None:
                if len(self._points) >= _MOST_NAMES:
                    continue
                found = self._points[part, name] = _Points()
            found.add(step, float(value))  # type: ignore[arg-type]

    def _add_epoch(self, epoch: int, row: Row, *, evaluated: bool) -> None:
        for later in [other for other in self.epochs if other > epoch]:
            del self.epochs[later]
        values = {
            name: float(value)  # type: ignore[arg-type]
            for name, value in list(row.items())[:_MOST_NAMES]
            if name not in _BESIDE and len(name) <= _MAX_NAME and is_number(value)
        }
        known = self.epochs.setdefault(epoch, EpochValues())
        if evaluated:
            known.evaluated = values
        else:
            known.train = values
        while len(self.epochs) > _MOST_EPOCHS:
            del self.epochs[next(iter(self.epochs))]


class RowReader:
    """Reads what was added to the `metrics.jsonl` of a job whose output lies on this machine.

    Attributes:
        is_here: Whether the output lay on this machine at the last look.
    """

    def __init__(self, run_folder: Path, fetched: Path | None = None) -> None:
        """Read nothing yet.

        Args:
            run_folder: Of the job.
            fetched: Folder with its rows, where its output lies elsewhere; None for none.
        """
        self._run_folder, self._fetched, self.is_here = run_folder, fetched, False
        self._at, self._identity = 0, (0, 0)

    def read(self) -> tuple[list[Row], bool]:
        """Return new rows, and whether they begin anew because the file is another one.

        To be called until there are none. A row that is half written is given the next time.
        """
        folder = output_here(self._run_folder)
        if folder is None and self._fetched is not None and (self._fetched / METRICS).is_file():
            folder = self._fetched
        self.is_here = folder is not None
        if folder is None:
            return [], False
        try:
            with open_read(folder / METRICS) as file:
                found = os.fstat(file.fileno())
                identity = (found.st_dev, found.st_ino)
                is_new = identity != self._identity or found.st_size < self._at
                if is_new:
                    self._at, self._identity = 0, identity
                file.seek(self._at)
                data = file.read(_MOST_BYTES)
        except OSError:
            return [], False
        whole = data.rpartition(b"\n")[0]
        if not whole and len(data) == _MOST_BYTES:
            self._at += len(data)  # no row is so long: it is passed over
            return [], is_new
        self._at += len(whole) + 1 if whole else 0
        return parse_rows(whole.split(b"\n")) if whole else [], is_new
