"""Asking again while a cluster does not answer: API servers are restarted, networks fail, jobs go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from launcher.errors import NotAllowedError
from launcher.jobs.notes import Note, Notes, ignore
from launcher.kube.errors import AbsentError, NoAnswerError
from launcher.times import SETTLE_S

T = TypeVar("T")
LIMIT_S = 600.0
"""How long a use case that watches a job goes on without an answer; upgrades take minutes."""
PAUSE_S = 2.0


@dataclass(slots=True)
class Retry:
    """Repeats questions that change nothing, and keeps how long nobody has answered any of them.

    Attributes:
        job: For notes.
        notes: Told once when the silence begins, and once when it ends.
        limit_s: After so long without an answer the error comes through.
        until_s: Not beyond this moment of `now`; None for no such moment.
    """

    job: str
    notes: Notes = ignore
    limit_s: float = LIMIT_S
    until_s: float | None = None
    now: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    _silent_since_s: float | None = None
    _silent_until_s: float = 0.0

    def ask(self, question: Callable[[], T]) -> T:
        """Return the answer to a question.

        Raises:
            NoAnswerError: None came in time.
            NotAllowedError: It is refused, and not because the cluster has only just come back.
            AbsentError: What is asked about is not there, with the same exception.
        """
        while True:
            try:
                answer = question()
            except NoAnswerError as error:
                self._endure(error)
            except (NotAllowedError, AbsentError):
                # an API server that restarts serves before its roles and resources are loaded
                if self._silent_since_s is None or self.now() - self._silent_until_s > SETTLE_S:
                    raise
                self.pause(PAUSE_S)
            else:
                self._note_answer()
                return answer

    def _endure(self, error: NoAnswerError) -> None:
        now_s = self._silent_until_s = self.now()
        if self._silent_since_s is None:
            self._silent_since_s = now_s
            self.notes(Note(f"{self.job}: no answer, asking on (the job is not touched by that): {error}"))
        ends_s = self._silent_since_s + self.limit_s
        if now_s >= (ends_s if self.until_s is None else min(ends_s, self.until_s)):
            raise error
        self.pause(PAUSE_S)

    def _note_answer(self) -> None:
        if self._silent_since_s is not None:
            silent_s = self.now() - self._silent_since_s
            self.notes(Note(f"{self.job}: answers again after {silent_s:.0f} s"))
            self._silent_since_s = None
