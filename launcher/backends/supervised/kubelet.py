"""The seam between a supervisor and what runs its pods: processes of this machine, or a container engine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from launcher.backends.replicas import Pod
from launcher.backends.supervised.identity import ProcessId
from launcher.backends.supervised.podlog import Output
from launcher.errors import LaunchError


class StartError(LaunchError):
    """A pod's program cannot be started."""


class Container(ABC):
    """One start of a pod.

    Attributes:
        output: Moves what it writes into its log.
        process: What of it runs on this machine and must not outlive the job, or None.
    """

    output: Output
    process: ProcessId | None

    @abstractmethod
    def has_ended(self) -> bool:
        """Say whether its program has ended."""

    @abstractmethod
    def stop(self) -> None:
        """Ask the program to end, as the kubelet asks a container's first process: SIGTERM."""

    @abstractmethod
    def kill(self) -> None:
        """Kill all that runs in it."""

    @abstractmethod
    def close(self) -> int:
        """Take the last output of a program that has ended, and return its exit code; 128 + signal."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Adopted:
    """A container that an earlier supervisor has started, `restart` being which of its pod's."""

    container: Container
    restart: int


class Kubelet(ABC):
    """Runs the pods of one job.

    Attributes:
        scratch: Folder that the supervisor's successor may have to remove, or empty.
    """

    scratch: str = ""

    @abstractmethod
    def start(self, pod: Pod, *, restart: int, devices: tuple[str, ...]) -> Container:
        """Make a pod's volumes anew and start its program.

        Args:
            pod: As the operator makes it.
            restart: Number of this start, from 0.
            devices: GPUs of this pod.

        Raises:
            StartError: It cannot be started.
        """

    def adopt(self, pod: Pod) -> Adopted | None:
        """Take over what a killed supervisor has left of a pod, running or ended; None for nothing."""
        del pod
        return None

    @abstractmethod
    def sweep(self, running: tuple[Container, ...], *, kill: bool) -> None:
        """Clear away what pods left behind; with `kill` also what still runs of it."""

    @abstractmethod
    def close(self) -> None:
        """Remove what the pods shared, once none of them runs."""
