"""Asks several questions side by side, and waits for the answers only so long."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from launcher.errors import LaunchError

T = TypeVar("T")
THREADS = 4
"""Each has a connection, whose handshake costs more than two questions on a connection that stands."""


class Answers(Generic[T]):
    """What came of it.

    Attributes:
        given: Answers, by the question's name.
        failed: Refusals and failures, by the question's name.
        late: Names of the questions without an answer in time.
    """

    def __init__(self, names: tuple[str, ...]) -> None:
        self.given: dict[str, T] = {}
        self.failed: dict[str, Exception] = {}
        self.late = set(names)


def ask_together(questions: Mapping[str, Callable[[], T]], *, within_s: float) -> Answers[T]:
    """Ask in a few threads, which end with the process at the latest.

    Raises:
        Exception: What a question raised that is no error of ours: a bug.
    """
    heard: queue.SimpleQueue[tuple[str, T | None, Exception | None]] = queue.SimpleQueue()
    answers: Answers[T] = Answers(tuple(questions))

    open_questions: queue.SimpleQueue[tuple[str, Callable[[], T]]] = queue.SimpleQueue()
    for pair in questions.items():
        open_questions.put(pair)

    def ask() -> None:
        while True:
            try:
                name, question = open_questions.get_nowait()
            except queue.Empty:
                return
            try:
                heard.put((name, question(), None))
            except Exception as error:  # noqa: BLE001 - passed on to the thread that asked
                heard.put((name, None, error))

    for _ in range(min(THREADS, len(questions))):
        threading.Thread(target=ask, daemon=True).start()
    until_s = time.monotonic() + within_s
    while answers.late:
        try:
            name, answer, error = heard.get(timeout=max(0.0, until_s - time.monotonic()))
        except queue.Empty:
            break
        answers.late.discard(name)
        if error is None:
            answers.given[name] = answer  # type: ignore[assignment]  # None is an answer where T has it
        elif isinstance(error, LaunchError):
            answers.failed[name] = error
        else:
            raise error
    return answers
