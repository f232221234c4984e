"""A job of a list in words: how far, how good, how long, since when, and what differs from the run before.

For the command `list` and for the page. Pure.
"""

from __future__ import annotations

import datetime
from collections.abc import Sequence

from launcher.backends.states import JobState
from launcher.jobs.changes import Change
from launcher.jobs.outcome import Outcome
from launcher.times import format_duration

_NAMED = 3
_AT_WORK = (JobState.RUNNING.value, JobState.RESTARTING.value)


def describe_progress(outcome: Outcome | None) -> str:
    """Write `43%`, or the step where the end is not known; empty before the first."""
    if outcome is None or outcome.step is None:
        return ""
    if not outcome.total_steps:
        return f"step {outcome.step}"
    return f"{outcome.step / outcome.total_steps:.0%}" + (" early" if outcome.is_early else "")


def describe_best(outcome: Outcome | None) -> str:
    """Write `top1 0.912 @7`; empty before the first evaluation."""
    score = outcome.score if outcome is not None else None
    if score is None:
        return ""
    return f"{score.metric} {score.value:.3g}" + (f" @{score.epoch}" if score.epoch else "")


def describe_duration(outcome: Outcome | None, now_s: float) -> str:
    """Write how long a job that runs or has ended took so far; empty for one that waits."""
    if outcome is None or (outcome.ended_s is None and outcome.state not in _AT_WORK):
        return ""
    return format_duration(outcome.ran_s(now_s))


def describe_moment(unix_s: float, now_s: float, *, whole: bool = False) -> str:
    """Write a moment by this machine's clock: the time of today, else the day; `whole` both."""
    then = datetime.datetime.fromtimestamp(unix_s).astimezone()
    now = datetime.datetime.fromtimestamp(now_s).astimezone()
    if whole:
        return then.strftime("%Y-%m-%d %H:%M:%S")
    day = "%m-%d" if then.year == now.year else "%Y-%m-%d"
    return then.strftime("%H:%M" if then.date() == now.date() else day)


def describe_changes(changes: Sequence[Change]) -> str:
    """Write what differs, the first few by name."""
    named = ", ".join(map(str, changes[:_NAMED]))
    return f"{named}, {len(changes) - _NAMED} more" if len(changes) > _NAMED else named
