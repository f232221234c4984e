"""What a tracker is: what it is asked for, and what it is given.

A tracker runs in a process of its own beside the training, one a target. Whatever it raises is said, and the
same rows are tried again later; what hangs is ended with its process and started again. So a tracker may be
as plain as the service's own client: no retries, no threads, no state of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer.protocol.tracking import Ending


class TrackerError(Exception):
    """What a tracker was asked for cannot be done, however often it is tried: a setting is wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """What was measured at one step.

    Attributes:
        step: Optimizer steps completed.
        epoch: From 1.
        time_s: Unix time.
        values: Name such as `train/loss` or `eval/top1` -> number, which is finite.
    """

    step: int
    epoch: int
    time_s: float
    values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A run of ftlaunch, as a tracker gets to know it.

    Attributes:
        job: Its name.
        run_id: 32 hexadecimal digits, the same over restarts.
        known: What `start` has returned before; None the first time.
        parameters: The config, versions and the commit, by name.
        settings: Of the target, as the config has them.
        output_dir: Where the run writes; a tracker of files writes there.
        state_dir: A folder that lasts over restarts, for a tracker that keeps something.
    """

    job: str
    run_id: str
    known: str | None
    parameters: Mapping[str, str]
    settings: Mapping[str, str] = field(default_factory=dict)
    output_dir: Path = Path()
    state_dir: Path = Path()


class Tracker(ABC):
    """Sends rows to one place. `start` and `log` are all that one must have."""

    settings: frozenset[str] | None = None
    """Names of the settings that it takes; None for any. Of those that come along: `tracking.SETTINGS`."""

    @abstractmethod
    def start(self, run: Run) -> str:
        """Find the run at the service, or make it, and return its id there.

        Called in each life of the process. An id other than `run.known` means that the run is a new one
        there, and gets all rows from the first on.
        """

    @abstractmethod
    def log(self, rows: Sequence[Row]) -> None:
        """Send rows, and return when the service has them."""

    def missing(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return those of some rows that the service has not got; asked where an answer was lost.

        A tracker that cannot ask leaves this out: such rows are then sent again.
        """
        return rows

    def describe(self, facts: Mapping[str, str]) -> None:  # noqa: B027 - may be left out
        """Take what has become known of the run, such as `best_checkpoint`."""

    def artifact(self, path: Path) -> None:  # noqa: B027 - may be left out
        """Take a file that belongs to the run; one of the same name is replaced."""

    def end(self, ending: Ending) -> None:  # noqa: B027 - may be left out
        """Be told how the run stands: at the end of its tracking, and where one that was over goes on."""

    def close(self) -> None:  # noqa: B027 - may be left out
        """Wait until all has arrived; the last call of each life that ends in order."""

    @property
    def place(self) -> str:
        """Where people see the run; empty where that is not known."""
        return ""
