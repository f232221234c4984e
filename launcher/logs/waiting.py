"""Says what a job waits for that does not run yet: each reason once, until all runs."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

_COUNTS = re.compile(r"\d+")
MAX_TEXT = 600


class Waiting:
    """What was said of one job."""

    def __init__(self, say: Callable[[str], None]) -> None:
        """`say` takes a sentence for the user."""
        self._say = say
        self._said: set[str] = set()

    def tell(self, pods: Mapping[str, str], *, of_job: str = "") -> None:
        """Say what has not been said yet.

        Args:
            pods: Reasons, where known, by the names of the pods that wait; empty once all run, and then all
                is forgotten.
            of_job: Of the job as a whole, said where no pod has a reason.
        """
        if not pods and not of_job:
            self._said.clear()
        reasons: dict[str, list[str]] = {}
        for pod, reason in pods.items():
            if reason:
                reasons.setdefault(_flatten(reason), []).append(pod)
        for reason, names in reasons.items():
            who = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
            self._tell_once(reason, f"waiting for {who}: {reason}")
        if not reasons and of_job:
            self._tell_once(_flatten(of_job), f"waiting: {_flatten(of_job)}")

    def _tell_once(self, reason: str, sentence: str) -> None:
        # in a busy cluster the scheduler's counts of nodes change with every look
        key = _COUNTS.sub("#", reason)
        if key not in self._said:
            self._said.add(key)
            self._say(sentence)


def _flatten(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= MAX_TEXT else f"{flat[:MAX_TEXT]}…"
