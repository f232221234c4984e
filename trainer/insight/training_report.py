"""The process that makes a training's report: takes answers from rank 0, writes tables and the page.

What it is told, and why it is a process: `trainer.engine.reports`. It works through what it is sent in that
order, and makes a page only where nothing more is waiting, since the next one shows all that this one would.
It is nice to the training, and is ended with it.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from trainer.errors import TrainerError
from trainer.insight.classification import Floats
from trainer.insight.curves import History, MetricsReader
from trainer.insight.evaluation_report import (
    Maps,
    Origin,
    Predictions,
    TrainingView,
    write_page,
    write_table,
)
from trainer.protocol.codec import read
from trainer.protocol.layout import OutputLayout
from trainer.protocol.reportfile import (
    MAX_MESSAGE,
    PREDICTIONS,
    EvaluationFacts,
    MapFacts,
    RunFacts,
    SeenBatch,
    predictions_name,
)
from trainer.protocol.safe_files import remove

_NICER = 5
_WHAT = "report"
T = TypeVar("T")
Arrays = list[NDArray[Any]]


@dataclass(slots=True)
class _Evaluated:
    """The last evaluation."""

    facts: EvaluationFacts
    predictions: Predictions
    probabilities: Floats


@dataclass(slots=True)
class ReportMaker:
    """What is known so far, and the files that are made of it.

    Attributes:
        facts: Of the run.
        paths: Of its list.
    """

    facts: RunFacts
    paths: list[str]
    _reader: MetricsReader = field(init=False)
    _seen: tuple[SeenBatch, NDArray[np.uint8]] | None = None
    _last: _Evaluated | None = None
    _maps: Maps | None = None
    _is_due: bool = False

    def __post_init__(self) -> None:
        self._reader = MetricsReader(OutputLayout(Path(self.facts.output_dir)).metrics)

    def see(self, seen: SeenBatch, pictures: NDArray[np.uint8]) -> None:
        """Take the first batch."""
        self._seen = seen, pictures

    def evaluated(self, facts: EvaluationFacts, arrays: Arrays) -> None:
        """Take an evaluation, and write its table; tables that are no longer kept are removed.

        Raises:
            CheckpointError: The output folder cannot be written.
        """
        indices, logits, labels = arrays
        single = labels.ndim == 2 and labels.shape[1] == 1
        rows = indices.tolist()
        predictions = Predictions(
            paths=[self.paths[row] for row in rows],
            places=[f"{self.facts.listed}:{row + 1}" for row in rows],
            labels=labels[:, 0] if single or labels.ndim == 3 else labels, logits=logits,
            names=[*self.facts.names, *(f"class {k}" for k in range(len(self.facts.names), logits.shape[1]))],
        )  # fmt: skip
        probabilities = predictions.probabilities()
        self._last, self._maps, self._is_due = _Evaluated(facts, predictions, probabilities), None, True
        folder = Path(self.facts.output_dir)
        write_table(predictions, probabilities, folder / predictions_name(facts.epoch))
        self._prune(folder, facts)

    def take_maps(self, facts: MapFacts, arrays: Arrays) -> None:
        """Take where the network looked, for the last evaluation."""
        if not arrays:
            self._maps = Maps(why_not=facts.why_not)
        else:
            indices, heat, pictures = arrays
            paths = [self.paths[row] for row in indices.tolist()]
            self._maps = Maps(
                heat=dict(zip(paths, heat, strict=True)), pictures=dict(zip(paths, pictures, strict=True)),
                layer=facts.layer, why_not=facts.why_not,
            )  # fmt: skip
        self._is_due = self._last is not None

    def write(self) -> None:
        """Write the page, where there is something new.

        Raises:
            CheckpointError: The output folder cannot be written.
        """
        last = self._last
        if last is None or not self._is_due:
            return
        self._is_due = False
        facts, seen = last.facts, self._seen
        notes = self.facts.notes
        if facts.of_average:
            notes = (*notes, "The answers are those of the averaged weights (EMA), which were better.")
        origin = Origin(
            weights=f"{self.facts.output_dir}, epoch {facts.epoch}, step {facts.step}",
            listed=self.facts.listed, version=self.facts.version, unreadable=facts.unreadable, notes=notes,
        )  # fmt: skip
        view = TrainingView(
            epoch=facts.epoch, step=facts.step, epochs=self.facts.epochs, key=facts.key,
            history=self._reader.read(), values=self.facts.values, facts=self.facts.facts,
            seen=seen[1] if seen else None, captions=seen[0].captions if seen else (),
            seen_exactly=seen[0].exact if seen else True,
        )  # fmt: skip
        write_page(
            last.predictions, last.probabilities, Path(self.facts.output_dir), origin,
            max_pixels=self.facts.max_pixels, maps=self._maps, training=view,
        )  # fmt: skip

    def _prune(self, folder: Path, facts: EvaluationFacts) -> None:
        there = {
            int(found[1]): entry for entry in folder.iterdir() if (found := PREDICTIONS.fullmatch(entry.name))
        }
        kept = choose_kept(list(there), self._reader.read(), self.facts, facts)
        for epoch, path in there.items():
            if epoch not in kept:
                remove(path, root=folder)


def choose_kept(epochs: list[int], history: History, run: RunFacts, now: EvaluationFacts) -> set[int]:
    """Return the epochs whose answers are kept: the last ones, the best ones, and each so many.

    Args:
        epochs: Of those that are there.
        history: With what each has measured.
        run: How many are kept.
        now: The evaluation that was just made, of the run's furthest epoch.
    """
    done = sorted(epoch for epoch in epochs if epoch <= now.epoch)  # a run that went back does those anew
    sign = -1.0 if run.less_is_better else 1.0
    measured: list[tuple[float, int]] = []
    for epoch in done:
        row = history.evaluated.get(epoch, {})
        values = [row.get(f"{before}{now.key}") for before in ("", "ema_")]
        numbers = [sign * value for value in values if isinstance(value, int | float)]
        if numbers:
            measured.append((max(numbers), epoch))
    best = [epoch for _, epoch in sorted(measured, reverse=True)[: run.keep_best]]
    every = [epoch for epoch in done if run.keep_every and epoch % run.keep_every == 0]
    return {*done[-run.keep_latest :], *best, *every}


def _receive(channel: socket.socket) -> tuple[str, dict[str, object], Arrays] | None:
    """Take the next message: its kind, its facts, its arrays; None where there is none to come."""
    message, descriptors, _, _ = socket.recv_fds(channel, MAX_MESSAGE, 1)
    if not message:
        return None
    told = json.loads(message)
    with os.fdopen(descriptors[0], "rb") as file:
        file.seek(0)
        text, *arrays = (np.load(file, allow_pickle=False) for _ in range(told["arrays"] + 1))
    return told["kind"], json.loads(text.tobytes()), arrays


def _is_waiting(channel: socket.socket) -> bool:
    try:
        return bool(channel.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT))  # nothing at all is the end
    except BlockingIOError:
        return False


def main(argv: list[str]) -> None:
    """Make reports of what is sent, until the other end is closed.

    Args:
        argv: Number of an open descriptor, a socket.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # the training says when to end
        signal.signal(number, signal.SIG_IGN)
    with contextlib.suppress(OSError):
        os.nice(_NICER)
    channel = socket.socket(fileno=int(argv[0]))
    maker: ReportMaker | None = None
    while (received := _receive(channel)) is not None:
        kind, facts, arrays = received
        began_s = time.monotonic()
        answer: dict[str, object] = {"done": kind}
        try:
            if kind == "run":
                paths = arrays[0].tobytes().decode("utf-8", "surrogatepass").split("\n")
                maker = ReportMaker(read(RunFacts, facts, where=_WHAT), paths)
                continue
            assert maker is not None, "expected the facts of the run first"
            if kind == "seen":
                maker.see(read(SeenBatch, facts, where=_WHAT), arrays[0])
                continue
            if kind == "evaluation":
                maker.evaluated(read(EvaluationFacts, facts, where=_WHAT), arrays)
            else:
                maker.take_maps(read(MapFacts, facts, where=_WHAT), arrays)
            if not _is_waiting(channel):
                maker.write()
        except (TrainerError, OSError) as error:
            answer = {"failed": str(error)}
        except MemoryError:
            answer = {"failed": "the memory is used up"}
        except Exception as error:  # noqa: BLE001 - told to the training, which goes on without a report
            answer = {"failed": f"{type(error).__name__}: {error}"}
        answer["seconds"] = time.monotonic() - began_s
        with contextlib.suppress(OSError):
            channel.send(json.dumps(answer).encode()[:MAX_MESSAGE])


if __name__ == "__main__":
    main(sys.argv[1:])
