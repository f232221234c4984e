"""When it is worth while to ask again how a job stands."""

from __future__ import annotations

import time
from typing import Protocol


class Waker(Protocol):
    """Knows when it is worth while to ask how a job stands."""

    def wait(self, least_s: float, *, most_s: float) -> None:
        """Return when something may have happened, but not before `least_s`, nor after `most_s` if longer."""


class Pause:
    """Knows nothing: asks again after each pause."""

    def wait(self, least_s: float, *, most_s: float) -> None:
        """Sleep for the shorter time."""
        del most_s
        time.sleep(least_s)
