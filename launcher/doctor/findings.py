"""What a check finds, and running many checks at once within a bounded time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from time import monotonic

from launcher.errors import LaunchError
from launcher.kube.errors import DeniedError

PATIENCE_S = 15.0
"""For all checks together; each request has a shorter limit of its own."""


class Level(Enum):
    """How a check ends."""

    OK = "ok"
    WARN = "warn"
    """Some jobs will not run."""
    FAIL = "fail"
    """No job will run."""
    SKIP = "skip"
    """It could not be looked at, or is not there and need not be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """The end of a check.

    Attributes:
        check: Its name, one word.
        said: What was found.
        cure: What to do; empty where there is nothing to do.
    """

    check: str
    level: Level
    said: str
    cure: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """Something to look at; `look` may raise any `LaunchError`."""

    name: str
    look: Callable[[], Sequence[Finding]]


def ok(check: str, said: str) -> Finding:
    """Return a finding without a cure."""
    return Finding(check=check, level=Level.OK, said=said)


def warn(check: str, said: str, cure: str) -> Finding:
    """Return a finding that some jobs will not survive."""
    return Finding(check=check, level=Level.WARN, said=said, cure=cure)


def fail(check: str, said: str, cure: str) -> Finding:
    """Return a finding that no job will survive."""
    return Finding(check=check, level=Level.FAIL, said=said, cure=cure)


def findings_of(checks: Sequence[Check], *, patience_s: float = PATIENCE_S) -> list[Finding]:
    """Run checks at once; return their findings in the order of the checks.

    One that is not allowed to look is skipped, one that does not end in time or is refused has failed.
    """
    ended: dict[int, Sequence[Finding]] = {}

    def look(index: int) -> None:
        ended[index] = look_once(checks[index])

    # daemons: a container engine that hangs must not keep the command from ending
    threads = [threading.Thread(target=look, args=(index,), daemon=True) for index in range(len(checks))]
    for thread in threads:
        thread.start()
    until_s = monotonic() + patience_s
    found: list[Finding] = []
    for index, thread in enumerate(threads):
        thread.join(max(0.0, until_s - monotonic()))
        late = [fail(checks[index].name, f"no answer in {patience_s:g} s", "try again; see what it hangs on")]
        found += ended.get(index, late)
    return found


def look_once(check: Check) -> Sequence[Finding]:
    """Run a check; what it raises is a finding, too."""
    try:
        return check.look()
    except DeniedError as error:
        said = "could not be looked at as this user"
        return [Finding(check=check.name, level=Level.SKIP, said=said, cure=error.fix)]
    except LaunchError as error:
        return [fail(check.name, error.finding, error.fix)]
