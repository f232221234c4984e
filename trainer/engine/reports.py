"""Rank 0's end of the report: hands answers to the process that makes the page, and goes on training.

The page is made by a process of its own (`trainer.insight.training_report`), for the reason that checkpoints
are: beside a thread that computes, a step that is bound by Python's dispatch takes several times as long.
What training pays is one copy of the answers into memory that both have. At most `_MOST_WAITING` evaluations
wait for it; whoever hands over one more waits for the first.

    rank 0                                      the page's maker
    facts of the run, its list       ──────▶    keeps them
    the first batch, as pictures     ──────▶    keeps them
    an evaluation, with its answers  ──────▶    writes predictions, then the page
    takes the answer in              ◀──────    {"done": 3, "seconds": 0.2} or {"failed": "…"}
    maps of the surest mistakes      ──────▶    writes the page once more

A report is a convenience: whatever goes wrong with it is said, and ends no training.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from trainer.config.ops import ImageOp
from trainer.data.lists import SampleList
from trainer.data.seen import show_images
from trainer.engine.class_activation import ActivationMaps
from trainer.engine.evaluate import Answers, Evaluation
from trainer.engine.feed import FedBatch
from trainer.protocol.children import start_child_into
from trainer.protocol.codec import encode
from trainer.protocol.python_command import python_command
from trainer.protocol.reportfile import MAX_MESSAGE, EvaluationFacts, MapFacts, RunFacts, SeenBatch

_MOST_WAITING = 2
_LOOK_EVERY_S = 1.0
_END_WITHIN_S = 600.0
_PICTURES = 16
MAX_ANSWERS = 1 << 26
"""Numbers, which are 256 MiB of logits; of more than that no report is made. The page's maker takes up to ten
times that: probabilities are of 64 bits, and are sorted by class."""

Explain: TypeAlias = Callable[[list[int]], ActivationMaps]
"""Makes class activation maps of some samples of the list."""


class Reports:
    """What the loop tells of a training. This one does nothing: ranks but 0, and runs without a report.

    Attributes:
        wanted: Evaluations keep their answers; the same on all ranks.
    """

    def __init__(self, *, wanted: bool = False) -> None:
        self.wanted = wanted

    @property
    def last(self) -> EvaluationFacts | None:
        """Of which a page was asked for last; None where there is none."""
        return None

    def see(self, fed: FedBatch) -> None:
        """Be shown a batch that was printed, when its numbers may be waited for."""

    def evaluated(
        self, facts: EvaluationFacts, plain: Evaluation, averaged: Evaluation | None = None
    ) -> None:
        """Take an evaluation, and one of the moving average where there is one."""

    def hand_over(self) -> None:
        """Have pages made of what was evaluated."""

    def finish(
        self, explain: Explain | None = None, *, why_not: str = "", within_s: float = _END_WITHIN_S
    ) -> None:
        """Have the last page made, with maps where something makes them, and wait for it."""

    def close(self) -> None:
        """End the process."""


class ReportProcess(Reports):
    """Those of rank 0."""

    def __init__(
        self, facts: RunFacts, samples: SampleList, *, ops: Sequence[ImageOp], environ: Mapping[str, str],
        say: Callable[[str], None], tick: Callable[[], None] = lambda: None,
    ) -> None:  # fmt: skip
        """Nothing is started yet.

        Args:
            facts: Of the run.
            samples: What is evaluated on.
            ops: Of the training's images.
            environ: Of the process.
            say: Told what goes wrong.
            tick: Called about once a second while something is waited for.
        """
        super().__init__(wanted=True)
        self._facts, self._samples, self._ops = facts, samples, ops
        self._environ = {**environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        self._say, self._tick = say, tick
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._seen: tuple[SeenBatch, NDArray[np.uint8]] | None = None
        self._waiting = 0
        self._taken: tuple[EvaluationFacts, Answers] | None = None
        self._last: tuple[EvaluationFacts, Answers] | None = None

    @property
    def last(self) -> EvaluationFacts | None:
        """See `Reports`."""
        return self._last[0] if self._last is not None else None

    def see(self, fed: FedBatch) -> None:
        """See `Reports`: keeps the first batch."""
        if self._seen is None:
            pictures, exact = show_images(fed.images[:_PICTURES].numpy(), self._ops)
            captions = tuple(map(_caption, fed.batch.labels[:_PICTURES], [self._facts.names] * _PICTURES))
            seen = SeenBatch(captions=captions, exact=exact)
            self._seen = seen, pictures
            if self._channel is not None:
                self._send("seen", seen, pictures)

    def evaluated(
        self, facts: EvaluationFacts, plain: Evaluation, averaged: Evaluation | None = None
    ) -> None:
        """See `Reports`: keeps the better one's answers."""
        chosen = plain
        if averaged is not None and facts.key is not None:
            sign = -1.0 if self._facts.less_is_better else 1.0
            if sign * averaged.metrics[facts.key] > sign * plain.metrics[facts.key]:
                chosen = averaged
        if chosen.answers is not None:
            facts = replace(facts, of_average=chosen is averaged, unreadable=chosen.bad_images)
            self._taken = facts, chosen.answers

    def hand_over(self) -> None:
        """See `Reports`."""
        if self._taken is None:
            return
        (facts, answers), self._taken = self._taken, None
        self._last = facts, answers
        try:
            self._start()
        except OSError as error:
            self._say(f"warning: no report was made of epoch {facts.epoch}: {error}")
            return
        while self._waiting >= _MOST_WAITING and self._take_answer(_LOOK_EVERY_S):
            self._tick()
        if self._send("evaluation", facts, answers.indices, answers.logits, answers.labels):
            self._waiting += 1

    def finish(
        self, explain: Explain | None = None, *, why_not: str = "", within_s: float = _END_WITHIN_S
    ) -> None:
        """See `Reports`."""
        if self._last is not None and self._channel is not None:
            self._send_maps(self._last[1], explain, why_not)
            self._last = None
        self._wait(within_s)

    def _send_maps(self, answers: Answers, explain: Explain | None, why_not: str) -> None:
        rows = surest_mistakes(answers)
        if explain is None or not len(rows):
            if why_not:
                self._send("maps", MapFacts(why_not=why_not))
            return
        try:
            made = explain(answers.indices[rows].tolist())
        except Exception as error:  # noqa: BLE001 - a report ends no training, whatever a user's network raises
            self._send("maps", MapFacts(why_not=f"{type(error).__name__}: {error}"[:300]))
            return
        self._send(
            "maps", MapFacts(layer=made.layer, why_not=made.why_not), made.indices, made.maps, made.pictures
        )

    def _wait(self, within_s: float) -> None:
        if self._channel is None:
            return
        with contextlib.suppress(OSError):
            self._channel.shutdown(socket.SHUT_WR)  # it does what it has, and ends
        until_s = time.monotonic() + within_s
        while time.monotonic() < until_s and self._take_answer(_LOOK_EVERY_S):
            self._tick()
        self.close()

    def close(self) -> None:
        """See `Reports`: whatever it is at is given up."""
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            if self._waiting:
                self._process.kill()
            self._process.wait()
        self._channel = self._process = None

    def _start(self) -> None:
        if self._channel is not None:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                command = python_command("trainer.insight.training_report", [str(theirs.fileno())])
                self._process = start_child_into(2, command, env=self._environ, pass_fds=(theirs.fileno(),))
            except OSError:
                ours.close()
                raise
        self._channel, self._waiting = ours, 0
        names = "\n".join(self._samples.paths).encode("utf-8", "surrogatepass")
        self._send("run", self._facts, np.frombuffer(names, dtype=np.uint8))
        if self._seen is not None:
            self._send("seen", *self._seen)

    def _send(self, kind: str, facts: object, *arrays: NDArray[Any]) -> bool:
        """Send facts and arrays, in memory without a name; says whether somebody was there to take them."""
        assert self._channel is not None
        with _make_file() as file:
            text = np.frombuffer(json.dumps(encode(facts)).encode(), dtype=np.uint8)
            for array in (text, *arrays):
                np.save(file, array, allow_pickle=False)
            file.flush()
            message = json.dumps({"kind": kind, "arrays": len(arrays)}).encode()
            try:
                socket.send_fds(self._channel, [message], [file.fileno()])
            except OSError:
                self._lose()
                return False
        return True

    def _take_answer(self, timeout_s: float) -> bool:
        """Take what the process says, as long as that takes; returns whether there is more to wait for."""
        if self._channel is None:
            return False
        looked = select.poll()
        looked.register(self._channel, select.POLLIN)
        if not looked.poll(timeout_s * 1000):
            return True
        try:
            message = self._channel.recv(MAX_MESSAGE)
        except OSError:
            message = b""
        if not message:
            self._lose()
            return False
        self._waiting = max(0, self._waiting - 1)
        failure = json.loads(message).get("failed")
        if failure:
            self._say(f"warning: the report could not be written: {failure}")
        return True

    def _lose(self) -> None:
        """Be without the process, which has ended; the next evaluation starts it again."""
        if self._waiting:
            code = self._process.wait() if self._process is not None else None
            self._say(f"warning: the process that makes the report ended with {code} before it was done")
        self._waiting = 0
        self.close()


def surest_mistakes(answers: Answers, most: int = 36) -> NDArray[np.int64]:
    """Return the rows of the wrong answers that the network was surest of, the surest first.

    Of several labels an image there are none.
    """
    logits = answers.logits
    if answers.labels.shape[1:] != (1,):
        return np.zeros(0, dtype=np.int64)
    odds = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    best = 1.0 / odds.sum(axis=1)
    wrong = np.flatnonzero(logits.argmax(axis=1) != answers.labels[:, 0])
    return wrong[np.argsort(-best[wrong], kind="stable")][:most]


def _caption(label: NDArray[Any], names: Sequence[str]) -> str:
    """Say what an image is of: one class, or the classes that were mixed, with their shares."""
    if label.shape == (1,):
        number = int(label[0])
        return names[number] if number < len(names) else str(number)
    row = label[0] if label.ndim == 2 else label
    order = np.argsort(-row, kind="stable")[:2]
    parts = [f"{row[k]:.2f} {names[k] if k < len(names) else k}" for k in order if row[k] > 0]
    return " + ".join(parts) or "no class"


def _make_file() -> BinaryIO:
    """Open memory that has no name; where the system has no such thing, a file without a name."""
    if hasattr(os, "memfd_create"):  # not bounded by /dev/shm, which containers keep small
        return os.fdopen(os.memfd_create("report"), "w+b")
    return tempfile.TemporaryFile()
