"""The errors of all functions, one tree: a class for each exit code of the commands.

Error:
      LaunchError          of jobs and what runs them
        UsageError           2  what is asked for cannot be
        UnreachableError     3  the cluster or engine does not answer, or does not let us in
        NotFoundError        4  there is no such job, run or object
        JobFailedError       5  `Job.wait(check=True)`: it failed or was lost
        JobCancelledError    6  `Job.wait(check=True)`: it was cancelled
        WaitTimeoutError   124  `Job.wait(timeout_s=…)`: it goes on
      TrainerError         of what runs in this process; `trainer.errors` has all classes
        ConfigError          2  a config was refused: `problems` has each with file, line and column
        DataError            3  lists or images were refused

`exit_code` is the number; parts of the sentence are fields. What a command exits with 7 for (a copy that
differs, a check that failed) is a value here: a finding, a fault. Anything else that escapes is a bug.
"""

from launcher.errors import CliExit, LaunchError, NotFoundError, UnreachableError, UsageError
from launcher.jobs.wait import WaitTimeoutError
from trainer.config.problems import ConfigError
from trainer.errors import DataError
from trainer.protocol.errors import Error, TrainerError

__all__ = [
    "ConfigError",
    "DataError",
    "Error",
    "JobCancelledError",
    "JobFailedError",
    "LaunchError",
    "NotFoundError",
    "TrainerError",
    "UnreachableError",
    "UsageError",
    "WaitTimeoutError",
]


class JobFailedError(LaunchError):
    """A job was to succeed, and failed or was lost."""

    exit_code = CliExit.JOB_FAILED


class JobCancelledError(LaunchError):
    """A job was to succeed, and was cancelled."""

    exit_code = CliExit.CANCELLED
