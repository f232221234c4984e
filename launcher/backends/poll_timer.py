"""When it is worth while to ask again how a job stands."""

from __future__ import annotations

import time
from typing import Protocol

_OF_A_POD_S = 0.005


def pause_s(least_s: float, *, pods: int) -> float:
    """Return the least time between two looks at a job: one at a thousand pods costs half a second twice."""
    return least_s + _OF_A_POD_S * pods


class PollTimer(Protocol):
    """Knows when it is worth while to ask how a job stands."""

    def wait(self, least_s: float, *, most_s: float) -> None:
        """Return when something may have happened, but not before `least_s`, nor after `most_s` if longer."""


class FixedPause:
    """Knows nothing: asks again after each pause."""

    def wait(self, least_s: float, *, most_s: float) -> None:
        """Sleep for the shorter time."""
        del most_s
        time.sleep(least_s)
