"""The launcher's own errors, one class for each thing that a caller does differently.

A message says `where: expected X, got Y; what to do`; the cause is chained. Only `launcher.cli` prints them.
"""

from __future__ import annotations

from enum import IntEnum
from typing import ClassVar


class CliExit(IntEnum):
    """Exit codes of the command line."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    UNREACHABLE = 3
    NOT_FOUND = 4
    JOB_FAILED = 5
    CANCELLED = 6
    TIMEOUT = 124
    INTERRUPTED = 130


class LaunchError(Exception):
    """Something that a person can mend; anything else that escapes is a bug."""

    exit_code: ClassVar[CliExit] = CliExit.INTERNAL


class UsageError(LaunchError):
    """The command line or the config asks for something that cannot be."""

    exit_code = CliExit.USAGE


class TakenError(UsageError):
    """A name is in use by another run."""


class NotFoundError(LaunchError):
    """There is no such job, run or object."""

    exit_code = CliExit.NOT_FOUND


class UnreachableError(LaunchError):
    """The backend does not answer or does not let us in."""

    exit_code = CliExit.UNREACHABLE


class NothingSentError(UnreachableError):
    """What would run the job cannot be reached, and that was found before anything was asked of it."""


class NotAllowedError(UnreachableError):
    """The backend answers and does not let us in: it has done nothing, and will not until somebody acts."""
