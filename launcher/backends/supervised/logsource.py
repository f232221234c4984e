"""A supervised job's pods and their logs, as `launcher.logs` asks for them: files of this machine, by offset.

The supervisor writes each start of a pod into a file of its own, in the kubelet's form, in whole lines whose
times never go back (`podlog`). So an answer is the file from some offset on, read until it ends; a followed
one is over once the supervisor has noted the container's end and what was written until then is read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from launcher.backends.states import PodState
from launcher.backends.supervised.state import JobLayout, JobRecord, PodRecord
from launcher.errors import LaunchError, NotFoundError
from launcher.logs.file_response import POLL_S, FileResponse
from launcher.logs.source import (
    Container,
    End,
    FailureKind,
    LogRequest,
    Pod,
    Receiver,
    Snapshot,
    SourceError,
)
from launcher.times import STAMP_BYTES, parse_instant


class SupervisedLogSource:
    """One job. A `Source`."""

    keeps_logs = True
    snapshot_every_s = 0.25

    def __init__(self, layout: JobLayout, load: Callable[[], tuple[JobRecord, str]]) -> None:
        """Read nothing yet.

        Args:
            layout: Where the job's files lie.
            load: Returns how the job stands, and a sentence on why it does not go on, or an empty one. Raises
                `NotFoundError` where there is no such job.
        """
        self._layout, self._load = layout, load
        self._run_id: str | None = None
        self._record: JobRecord | None = None
        self._loaded_s = float("-inf")

    async def snapshot(self) -> Snapshot:
        """See `Source.snapshot`. A job that is not there any more has ended."""
        record, reason = self._reload()
        if record is None:
            return Snapshot(has_ended=True, pods=())
        is_supervised = record.supervisor.is_running()
        return Snapshot(
            has_ended=record.state.is_terminal or not is_supervised,
            pods=tuple(self._read_pod(pod, record, is_supervised=is_supervised) for pod in record.pods),
            waits_for=reason,
        )

    def open(self, request: LogRequest, receiver: Receiver) -> FileResponse:
        """See `Source.open`. A log that was never begun is an empty one."""
        container = request.container
        path = self._layout.log(container.pod, container.restarts)
        return FileResponse(path, request, receiver, is_over=lambda: self._is_over(container))

    async def renew(self, refused: object) -> None:
        """See `Source.renew`; nobody is asked who we are."""

    def _reload(self) -> tuple[JobRecord | None, str]:
        self._record, reason = None, ""
        try:
            record, reason = self._load()
        except NotFoundError:
            pass
        except LaunchError as error:
            raise SourceError(End(failure=FailureKind.NEVER, error=error)) from error
        else:
            if self._run_id in (None, record.run_id):  # else a namesake has taken the place of ours
                self._record, self._run_id = record, record.run_id
        self._loaded_s = asyncio.get_running_loop().time()
        return self._record, reason

    def _read_pod(self, pod: PodRecord, record: JobRecord, *, is_supervised: bool) -> Pod:
        starts = [
            Container(node=pod.node, pod=pod.name, uid=record.run_id, restarts=number)
            for number in range(pod.restart + 1)
        ]
        has_ended = _has_ended(pod) or not is_supervised
        return Pod(
            container=starts[-1],
            earlier=tuple(one for one in starts[:-1] if self._layout.log(one.pod, one.restarts).exists()),
            has_started=has_ended or self._layout.log(pod.name, pod.restart).exists(),
            has_ended=has_ended,
            waits_for=pod.reason if pod.started_s is None else "",
            began_ns=tuple(
                (one, began_ns) for one in starts
                if (began_ns := _first_ns(self._layout.log(one.pod, one.restarts))) is not None
            ),
        )  # fmt: skip

    def _is_over(self, container: Container) -> bool:
        """Whether nothing more is written to a container's log; of all logs that are followed one asks."""
        if asyncio.get_running_loop().time() - self._loaded_s >= POLL_S:
            try:
                self._reload()
            except SourceError:
                return True  # the next snapshot says why
        if self._record is None or not self._record.supervisor.is_running():
            return True
        pod = next((pod for pod in self._record.pods if pod.name == container.pod), None)
        return pod is None or pod.restart != container.restarts or _has_ended(pod)


def _first_ns(path: Path) -> int | None:
    """Return the time of a log's first line; None where there is none."""
    try:
        with path.open("rb") as file:
            return parse_instant(file.read(STAMP_BYTES))
    except OSError:
        return None


def _has_ended(pod: PodRecord) -> bool:
    # one that is to be made again is pending, and has ended too
    return pod.ended_s is not None or pod.state in (PodState.SUCCEEDED, PodState.FAILED)
