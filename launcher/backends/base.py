"""What every backend can do, and the values that it answers with. The contract suite holds all to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from launcher.backends.waker import Pause, Waker
from launcher.errors import UsageError
from launcher.plan.handle import BackendKind, Handle
from launcher.render.manifest import Manifest

if TYPE_CHECKING:  # a submit does without
    from launcher.logs.source import Source
    from launcher.volumes.place import Place
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
    """What ran it is gone without a word: the machine was restarted or its keeper killed."""

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
        state: Phase of its present incarnation.
        host: Machine that it runs on; empty where it has none yet, or where there is only one.
        restarts: How often it was made again.
        exit_code: Of the container's end, or None while it runs; of the last incarnation while a new one
            is being made.
        termination: What its node process left behind, or None.
        reason: Why it waits or how it ended, for people; empty where there is nothing to say.
        started_s: Unix time, or None.
        ended_s: Unix time, or None.
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Submission:
    """All that a backend needs to start a job.

    Attributes:
        manifest: What is to run.
        run_folder: Folder of this run on this machine; the caller has put the manifest there.
        host_folders: Docker and local: mount path in the pod -> absolute folder or file of this machine.
        workdir: Docker and local: what stands for the pod's working directory.
    """

    manifest: Manifest
    run_folder: Path
    host_folders: Mapping[str, Path] = field(default_factory=dict)
    workdir: Path


@dataclass(frozen=True, kw_only=True, slots=True, order=True)
class LogRef:
    """One container's log: which pod, and which of its incarnations, from 0."""

    node: int
    incarnation: int
    pod: str


class Backend(ABC):
    """A place where jobs run. Every method may raise `UnreachableError`.

    Methods that take a handle raise `NotFoundError` where there is no such job.
    """

    kind: ClassVar[BackendKind]
    remarks: tuple[str, ...] = ()  # what the last submit gave cause to say
    cancel_deletes = False  # whether a cancelled job is gone, with nothing to resume

    @abstractmethod
    def submit(self, submission: Submission) -> Handle:
        """Start a job, exactly once: a second call with the same run id finds the first one's job.

        Raises:
            TakenError: Another run has a job of this name.
        """

    @abstractmethod
    def check(self, submission: Submission) -> tuple[str, ...]:
        """Find out whether a submit would be taken, without leaving anything behind.

        Returns:
            What was checked, a sentence each.

        Raises:
            TakenError: Another run has a job of this name.
        """

    @abstractmethod
    def status(self, handle: Handle) -> JobStatus:
        """Return how the job stands now."""

    def waker(self, handle: Handle) -> Waker:
        """Return what tells when a job's status may have changed; by default its pauses alone."""
        del handle
        return Pause()

    @abstractmethod
    def list_jobs(self, run_ids: Sequence[str] = ()) -> tuple[JobStatus, ...]:
        """Return all jobs of ours that this backend can see, newest first; those of some runs if named."""

    @abstractmethod
    def cancel(self, handle: Handle) -> None:
        """Ask a job to save and stop, and not to come back; return without waiting for its end.

        A job that has ended already stays as it is.
        """

    @abstractmethod
    def resume(self, handle: Handle) -> None:
        """Take a cancelled, suspended or lost job up again, from its last checkpoint, as the same run.

        A job that goes on stays as it is.

        Raises:
            UsageError: It has ended by itself, or is still stopping.
        """

    @abstractmethod
    def delete(self, handle: Handle, *, force: bool = False) -> None:
        """Remove a job and all that was made for it but its output; `force` waits for no lost node."""

    def sweep(self, handle: Handle, *, run_id: str, now_s: float) -> bool:
        """Remove what an interrupted submit of a run has left, if its job was never made.

        Args:
            handle: Of the job that was meant.
            run_id: Of the run; nothing of another run is touched.
            now_s: Unix time; what is younger than an hour stays.

        Returns:
            Whether there was something.
        """
        del handle, run_id, now_s
        return False

    def list_events(self, handle: Handle) -> tuple[JobEvent, ...]:
        """Return what is still kept of the notes about a job, oldest first; empty where none are made."""
        self.status(handle)  # there must be such a job
        return ()

    def command_in(self, handle: Handle, *, node: int, command: Sequence[str], terminal: bool) -> list[str]:
        """Return a command of this machine that runs `command` beside a pod's program.

        Raises:
            UsageError: This backend has no such thing.
        """
        del node, command, terminal
        raise UsageError(f"{handle}: expected a job in containers, got one without; run the command here")

    @abstractmethod
    def list_logs(self, handle: Handle) -> tuple[LogRef, ...]:
        """Return the logs that exist now, in order of node and incarnation."""

    @abstractmethod
    def read_log(self, handle: Handle, ref: LogRef, *, offset: int) -> bytes:
        """Return what the log holds from byte `offset` on, in whole lines of `RFC3339Nano stream F|P text`.

        Empty where there is nothing new. The last line may lack its newline only once the container has
        ended.
        """

    def open_folder(self, handle: Handle, path: str, *, manifest: Manifest) -> AbstractContextManager[Place]:
        """Reach `path`, as the job's pods name it, while the context lasts; the job may be gone already.

        Raises:
            UsageError: It cannot be reached from here.
        """
        del path, manifest
        raise UsageError(f"{handle}: expected a job whose volumes can be reached, got another")

    def log_source(self, handle: Handle) -> Source | None:
        """Return what streams a job's logs; None where `list_logs` and `read_log` are polled."""
        del handle
        return None


def refuse_to_resume(handle: Handle, state: JobState, *, stopping: bool) -> None:
    """Do nothing for a job that goes on.

    Raises:
        UsageError: It has ended by itself, or is still stopping.
    """
    if stopping:
        raise UsageError(
            f"{handle.job}: expected a job that has stopped, got one that is still saving; "
            f"`ftlaunch wait {handle.job}` first"
        )
    if state.is_terminal:
        raise UsageError(
            f"{handle.job}: expected a cancelled or suspended job, got one that has {state.value.lower()}; "
            f"go on from its output with `ftlaunch submit CONFIG --continue {handle.job}`"
        )
