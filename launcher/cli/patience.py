"""Asking on while a cluster does not answer: API servers are restarted, networks come and go, jobs go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from launcher.cli.printing import echo
from launcher.errors import NotAllowedError
from launcher.kube.errors import AbsentError, NoAnswerError

T = TypeVar("T")
PATIENCE_S = 600.0
"""How long a command that watches a job goes on without an answer; upgrades take minutes."""
SETTLE_S = 30.0
"""An API server that has just come back knows neither roles nor custom resources for a moment."""
PAUSE_S = 2.0


@dataclass(slots=True)
class Patience:
    """What one command has been through so far.

    Attributes:
        job: For messages.
        limit_s: After so long without an answer the error comes through.
        until_s: Not beyond this moment of `now`; None for no such moment.
    """

    job: str
    limit_s: float = PATIENCE_S
    until_s: float | None = None
    now: Callable[[], float] = time.monotonic
    pause: Callable[[float], None] = time.sleep
    _silent_since_s: float | None = None
    _silent_until_s: float = 0.0

    def ask(self, question: Callable[[], T]) -> T:
        """Return the answer to a question that changes nothing.

        Raises:
            NoAnswerError: None came in time.
            NotAllowedError: It is refused, and not because the cluster has only just come back.
            AbsentError: Likewise.
        """
        while True:
            try:
                answer = question()
            except NoAnswerError as error:
                self._endure(error)
            except (NotAllowedError, AbsentError):
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
            echo(f"{self.job}: no answer, asking on (the job is not touched by that): {error}", err=True)
        ends_s = self._silent_since_s + self.limit_s
        if now_s >= (ends_s if self.until_s is None else min(ends_s, self.until_s)):
            raise error
        self.pause(PAUSE_S)

    def _note_answer(self) -> None:
        if self._silent_since_s is not None:
            silent_s = self.now() - self._silent_since_s
            echo(f"{self.job}: answers again after {silent_s:.0f} s", err=True)
            self._silent_since_s = None
