"""What every backend says of a job: how it and its pods stand, and what was noted."""

from __future__ import annotations

from collections.abc import Iterable, Set
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from launcher.plan.handle import Handle

if TYPE_CHECKING:
    from trainer.protocol.progress import Progress
    from trainer.protocol.termination import Termination


class JobState(Enum):
    """Where a job stands, whatever runs it. No other words are used; docs/commands.md describes them."""

    SUBMITTED = "Submitted"
    """It is stored, and what is to run it has not begun to."""
    QUEUED = "Queued"
    """A queue holds it back."""
    SCHEDULING = "Scheduling"
    """A pod has no node yet."""
    PULLING = "Pulling"
    """A node cannot get the image, and goes on trying."""
    STARTING = "Starting"
    """Volumes, images and containers are being made ready."""
    RUNNING = "Running"
    RESTARTING = "Restarting"
    """It ran, and a pod of it has to begin again."""
    SUSPENDED = "Suspended"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    CANCELLED = "Cancelled"
    LOST = "Lost"
    """What ran it is gone without a word: the machine was restarted or its supervisor killed."""

    @property
    def is_terminal(self) -> bool:
        """Whether nothing will change any more by itself."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.LOST)


class PodState(Enum):
    """A pod's phase, by Kubernetes' own names."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, kw_only=True, slots=True)
class PodStatus:
    """One replica.

    Attributes:
        pod: Its name, `<job>-worker-<i>`.
        node: Index of the node, the i of its name.
        state: Phase of its present restart.
        host: Machine that it runs on; empty where it has none yet, or where there is only one.
        restarts: How often it was made again.
        exit_code: Of the container's end, or None while it runs; of the last restart while a new one
            is being made.
        termination: What its node process left behind, or None.
        reason: Why it waits or how it ended, for people; empty where there is nothing to say.
        started_s: Unix time, or None.
        ended_s: Unix time, or None.
        uid: What tells it from another pod of the same name; empty where names are used once.
        bound_s: Unix time at which it was given a node, or None.
    """

    pod: str
    node: int
    state: PodState
    host: str = ""
    restarts: int = 0
    exit_code: int | None = None
    termination: Termination | None = None
    reason: str = ""
    started_s: float | None = None
    ended_s: float | None = None
    uid: str = ""
    bound_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobStatus:
    """A job at one moment.

    Attributes:
        pods: By node index.
        reason: A sentence about the state, empty where there is nothing to say.
        created_s: Unix time.
        ended_s: Unix time, or None while it goes on.
        progress: The last progress line of node 0, or None before the first.
    """

    handle: Handle
    run_id: str
    state: JobState
    pods: tuple[PodStatus, ...]
    reason: str = ""
    created_s: float
    ended_s: float | None = None
    progress: Progress | None = None

    @property
    def termination(self) -> Termination | None:
        """The verdict on the job: that of the first pod, by node, that failed with one, else node 0's."""
        messages = [pod.termination for pod in self.pods if pod.termination is not None]
        return next((message for message in messages if message.exit), messages[0] if messages else None)


def trains_with_fewer(away: Set[int], progress: Progress | None) -> str:
    """Say with how many nodes a job trains, where all pods that do not run are of nodes it does without.

    Args:
        away: Nodes whose pods do not run, or are not there.
        progress: The last progress line of node 0, or None.
    """
    if progress is None or not away or 0 in away or not away <= set(progress.absent or ()):
        return ""
    return progress.fewer_nodes


def early_end(pods: Iterable[PodStatus]) -> str:
    """Say why a job that succeeded ended before its last epoch; empty where it did not."""
    said = [pod.termination for pod in pods if pod.node == 0 and pod.termination is not None]
    return said[0].reason if said and not said[0].exit and said[0].reason != "done" else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class JobEvent:
    """Something that was noted about a job by what runs it.

    Attributes:
        time_s: When it was last seen, in Unix time.
        reason: One word.
        about: Name of the job or of its part.
        count: How often it was seen.
    """

    time_s: float
    is_warning: bool
    reason: str
    message: str
    about: str
    count: int = 1
