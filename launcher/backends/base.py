"""What every backend can do. The contract suite holds all to it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from launcher.backends.poll_timer import FixedPause, PollTimer
from launcher.errors import UsageError
from launcher.names import KindName
from launcher.plan.handle import BackendKind, Handle
from launcher.render.manifest import Manifest

if TYPE_CHECKING:  # a submit does without
    from launcher.backends.states import JobEvent, JobState, JobStatus
    from launcher.kinds.base import JobKind
    from launcher.kube.api import KubeApi, PodLogs
    from launcher.logs.source import Source
    from launcher.objects import KubeObject
    from launcher.volumes.place import Place, Scratch


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


@dataclass(frozen=True, kw_only=True, slots=True)
class Cluster:
    """The cluster behind a backend, for whoever asks about more than a job: `why`, and the preflight.

    Attributes:
        api: Its objects.
        logs: What its pods write.
        jobs: The kind of object that a job is sent as.
        rules: The review of what the user may do, where it was asked for already.
    """

    api: KubeApi
    logs: PodLogs
    jobs: JobKind
    rules: KubeObject | None = None


class Backend(ABC):
    """A place where jobs run: all that is asked of one. Every method may raise `UnreachableError`.

    Methods that take a handle raise `NotFoundError` where there is no such job. Callers know this class
    alone: what a backend lacks, it says here by a default, so that nobody asks for its class or its name.
    What is known of a kind of backend before one is made stands in `launcher.plan.capabilities`.

    Attributes:
        namespace: Where jobs go whose manifest names none; empty where there are no namespaces.
        context: Of the kubeconfig; empty where none leads here.
        job_kind: Kind of job object that this backend sends; None where it sends any that a config names.
        job_kind_notes: What people should know of that kind before they send one, a sentence each.
        remarks: What the last submit gave cause to say.
    """

    kind: ClassVar[BackendKind]
    namespace: str = ""
    context: str = ""
    job_kind: KindName | None = None
    job_kind_notes: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def cluster(self) -> Cluster | None:
        """The cluster that runs the jobs; None where this machine does."""
        return None

    def negotiate(
        self,
        wanted: Literal["auto"] | KindName,
        *,
        asks: Collection[tuple[str, ...]] = (),
        queue: str = "",
    ) -> Backend:
        """Return the backend for the kind of job object that suits this place, which may be this one.

        Asked once, before a job is planned: what can be planned depends on the kind. Jobs that exist are
        reached in the kind that their record names (`launcher.backends.factory`).

        Args:
            wanted: `Launch.api`.
            asks: Keys of `Launch` that the config gives.
            queue: Of Kueue, which the job is to wait in; empty for none.

        Raises:
            UnservedError: The kind that is named is not served.
            DeniedError: No kind may be created.
        """
        del wanted, asks, queue
        return self

    def is_sensitive(self, folder: Path, *, home: Path) -> bool:
        """Say whether a config may not hand a folder of this machine to pods merely by naming it.

        Args:
            folder: Absolute, without links.
            home: The user's.
        """
        del folder, home
        return False

    def make_host_folder(self, folder: Path, *, manifest: Manifest) -> str | None:
        """Make a folder of this machine that the job's pods are to write to; one that is there stays.

        Returns:
            What to do where the pods could not write to it; None where they can.

        Raises:
            OSError: It cannot be made.
        """
        del manifest
        folder.mkdir(parents=True, exist_ok=True)
        return None

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

    def poll_timer(self, handle: Handle) -> PollTimer:
        """Return what tells when a job's status may have changed; by default its pauses alone."""
        del handle
        return FixedPause()

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

    def collect_orphans(self, handle: Handle, *, run_id: str, now_s: float) -> bool:
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
        raise UsageError(
            where=handle, expected="a job in containers", got="one without", fix="run the command here"
        )

    def open_folder(self, handle: Handle, path: str, *, manifest: Manifest) -> AbstractContextManager[Place]:
        """Reach `path`, as the job's pods name it, while the context lasts; the job may be gone already.

        Raises:
            UsageError: It cannot be reached from here.
        """
        del path, manifest
        raise UsageError(where=handle, expected="a job whose volumes can be reached", got="another")

    def open_claim(
        self, claim: str, path: str, *, image: str, run_as: Mapping[str, int], read_only: bool,
        scratch: Scratch | None = None,
    ) -> AbstractContextManager[Place]:  # fmt: skip
        """Reach a folder of a claim while the context lasts.

        Args:
            claim: Its name, in `namespace`.
            path: Below its root; empty for the root.
            image: Any with Python 3.
            run_as: `user`, `group` and `fs_group`, which files are written as.
            read_only: Mount it so.
            scratch: What a program that works beside the claim needs; None where files only pass.

        Raises:
            UsageError: This backend has no claims.
        """
        del path, image, run_as, read_only, scratch
        raise UsageError(where=claim, expected="a backend with claims", got=self.kind)

    def read_tails(self, handle: Handle, *, pods: int, max_bytes: int) -> dict[str, str]:
        """Return the end of the newest log of the first pods that have one, as lines of `RFC3339Nano text`.

        Args:
            handle: Of the job.
            pods: At most so many, by node.
            max_bytes: Of each log.
        """
        from launcher.logs.reading import read_tails, run

        found = run(read_tails(self.log_source(handle), pods=pods))
        return {pod: log[-max_bytes:].decode("utf-8", "replace") for pod, log in found.items()}

    @abstractmethod
    def log_source(self, handle: Handle) -> Source:
        """Return what gives a job's pods and their logs; see `launcher.logs`. Asks nobody yet."""


def refuse_to_resume(handle: Handle, state: JobState, *, stopping: bool) -> None:
    """Do nothing for a job that goes on.

    Raises:
        UsageError: It has ended by itself, or is still stopping.
    """
    if stopping:
        raise UsageError(
            where=handle.job,
            expected="a job that has stopped",
            got="one that is still saving",
            fix=f"`ftlaunch wait {handle.job}` first",
        )
    if state.is_terminal:
        raise UsageError(
            where=handle.job,
            expected="a cancelled or suspended job",
            got=f"one that has {state.value.lower()}",
            fix=f"go on from its output with `ftlaunch submit CONFIG --continue {handle.job}`",
        )
