"""What to do next about one container's log, from what is known of its pod. Pure."""

from __future__ import annotations

import random
from enum import Enum

from launcher.logs.source import Container, Pod

_FIRST_S, _LONGEST_S = 0.5, 15.0


class Step(Enum):
    """What to do next."""

    WAIT = "wait"
    """It has not started."""
    FOLLOW = "follow"
    READ = "read"
    """It has ended and is still there: what is left of it, once."""
    READ_PREVIOUS = "read previous"
    """The same, of a container after which another was started in its pod."""
    DONE = "done"
    GONE = "gone"
    """What is left of it cannot be had any more."""


def choose_step(container: Container, pod: Pod | None, *, is_complete: bool, follow: bool) -> Step:
    """Return what to do next.

    Args:
        container: Whose log is read.
        pod: What now has its pod's name; None where nothing has.
        is_complete: All of it was read after it had ended.
        follow: Go on with what runs; else read once what is there.
    """
    if is_complete:
        return Step.DONE
    if pod is None or pod.container.uid != container.uid:
        return Step.GONE
    ahead = pod.container.restarts - container.restarts
    if ahead == 1:
        return Step.READ_PREVIOUS
    if ahead:
        return Step.GONE
    if not pod.has_started:
        return Step.WAIT if follow else Step.DONE
    return Step.FOLLOW if follow and not pod.has_ended else Step.READ


def is_same(container: Container, pod: Pod | None, *, previous: bool) -> bool:
    """Say whether an answer is that container's, from a look that was begun after the answer had begun.

    The API resolves names, and a container may have been replaced between the last look and the request. Of
    a pod that is gone altogether the answer can only be the last one's.
    """
    if pod is None:
        return True
    return pod.container.uid == container.uid and pod.container.restarts == container.restarts + previous


def back_off_s(failures: int, *, after_s: float, draw: random.Random) -> float:
    """Return how long to wait before asking again: twice as long each time, drawn from its upper half.

    Args:
        failures: In a row, from 1.
        after_s: What the server asked for.
        draw: Randomness, so that many streams do not come back at once.
    """
    if failures <= 1 and not after_s:
        return draw.uniform(0.0, 0.2)
    longest_s = min(_LONGEST_S, _FIRST_S * 2.0 ** min(failures - 2, 10))
    return after_s + draw.uniform(longest_s / 2, longest_s)
