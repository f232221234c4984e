"""What following a job's logs needs of the place where it runs; the seam that tests stand in for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

from launcher.errors import LaunchError

SAVED = "saved"
"""Stands for the pod of a container whose log the output folder holds."""


class FailureKind(Enum):
    """What to do about an answer that is not a log."""

    AGAIN = "again"
    """Cut, refused for the moment, or no answer: ask again, later each time."""
    STALE = "stale"
    """Gone or not there yet (404, 410, 400): take a new snapshot of the pods."""
    LOGIN = "login"
    """Not known any more (401): renew the credentials once."""
    NEVER = "never"
    """Not allowed: tell the user."""


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """How an answer ended.

    Attributes:
        failure: None where it is complete.
        after_s: The server asked to wait so long (429, 503).
        error: For the user.
        refused: The credentials that were sent, where it is they that are not known; for `Source.renew`.
    """

    failure: FailureKind | None = None
    after_s: float = 0.0
    error: LaunchError | None = None
    refused: object = None


class SourceError(Exception):
    """Looking at the job did not work."""

    def __init__(self, end: End) -> None:
        super().__init__(str(end.error or end.failure))
        self.end = end


@dataclass(frozen=True, kw_only=True, slots=True)
class Container:
    """One start of a pod's container: a log of its own.

    Attributes:
        uid: Of the pod; a pod that is made again has another one.
        restarts: In place, so far.
    """

    node: int
    pod: str
    uid: str
    restarts: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Pod:
    """A pod as it is now.

    Attributes:
        container: Its present one.
        earlier: Those before it whose logs can still be read, oldest first.
        has_started: That has a log.
        has_ended: Nothing more is written to it.
        waits_for: Why it has not started, for people.
        began_ns: Containers of these and when each began, in Unix time, as far as that is known.
    """

    container: Container
    earlier: tuple[Container, ...] = ()
    has_started: bool
    has_ended: bool
    waits_for: str = ""
    began_ns: tuple[tuple[Container, int], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Snapshot:
    """A job as it is now.

    Attributes:
        pods: Those that exist, one a node at most.
        waits_for: Why the job as a whole does not go on, for people.
    """

    has_ended: bool
    pods: tuple[Pod, ...]
    waits_for: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class LogRequest:
    """A request for a log.

    Attributes:
        previous: That of the container before the present one.
        follow: Go on until the container ends.
        since_s: Unix time of the first line; None for the beginning.
        tail_lines: So many at the end; None for all.
    """

    container: Container
    previous: bool = False
    follow: bool = False
    since_s: int | None = None
    tail_lines: int | None = None


class Receiver(Protocol):
    """Who asked. Nothing is called after `end`, nor after the answer was dropped."""

    def begin(self) -> None:
        """The answer begins."""

    def take(self, piece: bytes) -> None:
        """Take a piece of `RFC3339Nano text` lines, cut anywhere."""

    def end(self, end: End) -> None:
        """The answer has ended."""


class LogResponse(Protocol):
    """A log on its way."""

    def pause(self) -> None:
        """Let the server wait."""

    def resume(self) -> None:
        """Go on reading."""

    def close(self) -> None:
        """Close the connection without a further word."""


class Source(Protocol):
    """A job's pods and their logs.

    Attributes:
        keeps_logs: Logs lie on this machine and stay as long as the job: they need no record of ours.
        snapshot_every_s: How often it may be asked how things stand, without cause; more pods, less often.
    """

    @property
    def keeps_logs(self) -> bool: ...  # noqa: D102
    @property
    def snapshot_every_s(self) -> float: ...  # noqa: D102

    async def snapshot(self) -> Snapshot:
        """Return how things are now.

        Raises:
            SourceError: That is not known.
        """

    def open(self, request: LogRequest, receiver: Receiver) -> LogResponse:
        """Ask for a log."""

    async def renew(self, refused: object) -> None:
        """Read the credentials afresh, unless that was done since `refused` were sent (`End.refused`)."""


class FirstNode:
    """A source of which only node 0's pod is seen: where a training speaks, of a job of a thousand pods."""

    def __init__(self, source: Source) -> None:
        self._source = source

    @property
    def keeps_logs(self) -> bool:
        """See `Source`."""
        return self._source.keeps_logs

    @property
    def snapshot_every_s(self) -> float:
        """See `Source`."""
        return self._source.snapshot_every_s

    async def snapshot(self) -> Snapshot:
        """See `Source`."""
        found = await self._source.snapshot()
        return replace(found, pods=tuple(pod for pod in found.pods if pod.container.node == 0))

    def open(self, request: LogRequest, receiver: Receiver) -> LogResponse:
        """See `Source`."""
        return self._source.open(request, receiver)

    async def renew(self, refused: object) -> None:
        """See `Source`."""
        await self._source.renew(refused)
