"""What a check finds, and running many checks at once within a bounded time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import partial

from launcher.errors import LaunchError
from launcher.kube.errors import DeniedError
from launcher.threads import run_within

TIMEOUT_S = 15.0
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
        message: What was found.
        fix: What to do; empty where there is nothing to do.
    """

    check: str
    level: Level
    message: str
    fix: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Check:
    """Something to look at; `run` may raise any `LaunchError`."""

    name: str
    run: Callable[[], Sequence[Finding]]
    role: str = ""
    """File of k8s/rbac that has the rules for it, where that is an optional one."""


def ok(check: str, message: str) -> Finding:
    """Return a finding with nothing to fix."""
    return Finding(check=check, level=Level.OK, message=message)


def warn(check: str, message: str, fix: str) -> Finding:
    """Return a finding that some jobs will not survive."""
    return Finding(check=check, level=Level.WARN, message=message, fix=fix)


def fail(check: str, message: str, fix: str) -> Finding:
    """Return a finding that no job will survive."""
    return Finding(check=check, level=Level.FAIL, message=message, fix=fix)


def run_checks(checks: Sequence[Check], *, timeout_s: float = TIMEOUT_S) -> list[Finding]:
    """Run checks at once; return their findings in the order of the checks.

    One that is not allowed to look is skipped, one that does not end in time or is refused has failed.
    """
    calls = [partial(run_check, check) for check in checks]
    found: list[Finding] = []
    for check, ended in zip(checks, run_within(calls, within_s=timeout_s), strict=True):
        if ended is None:
            found.append(fail(check.name, f"no answer in {timeout_s:g} s", "try again; see what it hangs on"))
        else:
            found += ended.result()
    return found


def run_check(check: Check) -> Sequence[Finding]:
    """Run a check; what it raises is a finding, too."""
    try:
        return check.run()
    except DeniedError as error:
        message = "could not be looked at as this user"
        fix = f"k8s/rbac/{check.role}, which is optional, has the rule" if check.role else error.fix
        return [Finding(check=check.name, level=Level.SKIP, message=message, fix=fix)]
    except LaunchError as error:
        return [fail(check.name, error.finding, error.fix)]
