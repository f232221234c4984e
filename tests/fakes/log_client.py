"""What follows the logs of a `FakeCluster`: a `LogClient` that asks it in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from launcher.errors import LaunchError
from launcher.kube.errors import AbsentError, CredentialsError, InvalidError, NoAnswerError
from launcher.kube.failures import RequestContext
from launcher.logs.source import End, FailureKind, LogRequest, LogResponse, Receiver, SourceError
from launcher.objects import EVENTS, PODS, KubeObject, Resource
from launcher.times import format_stamp
from tests.fakes.admission import KNOWN
from tests.fakes.cluster import FakeCluster
from tests.fakes.store import JOBS

_POLL_S = 0.01
_LISTS = {resource.plural: resource for resource in (PODS, EVENTS)}


def _end_of(error: LaunchError) -> End:
    kinds = {
        AbsentError: FailureKind.STALE, InvalidError: FailureKind.STALE, NoAnswerError: FailureKind.AGAIN,
        CredentialsError: FailureKind.LOGIN,
    }  # fmt: skip
    return End(failure=kinds.get(type(error), FailureKind.NEVER), error=error)


class FakeLogClient:
    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster

    def describe(
        self, *, namespace: str, name: str, resource: Resource = PODS, subresource: str = ""
    ) -> RequestContext:
        return RequestContext(
            verb="get" if name else "list", resource=resource, namespace=namespace, name=name,
            subresource=subresource, access="context 'fake'",
        )  # fmt: skip

    async def fetch(self, path: str, query: Mapping[str, str], call: RequestContext) -> KubeObject:
        place, _, name = path.rpartition("/")
        try:
            if (plural := place.rpartition("/")[2]) in JOBS:
                return self._cluster.get(KNOWN[plural], name, namespace=call.namespace)
            found = self._cluster.list(
                _LISTS[name], namespace=call.namespace, labels=query.get("labelSelector", "")
            )
        except LaunchError as error:
            raise SourceError(_end_of(error)) from error
        return {"items": list(found)}

    def stream(
        self, request: LogRequest, receiver: Receiver, *, namespace: str, container: str
    ) -> LogResponse:
        return FakeResponse(self._cluster, request, receiver, namespace=namespace, container=container)

    async def renew(self, refused: object) -> None:
        """Nobody's credentials run out here."""


class FakeResponse:
    def __init__(
        self, cluster: FakeCluster, request: LogRequest, receiver: Receiver, *, namespace: str, container: str
    ) -> None:
        self._paused = asyncio.Event()
        self._paused.set()
        self._cluster, self._request, self._receiver = cluster, request, receiver
        self._place = {"namespace": namespace, "container": container}
        self._task = asyncio.get_running_loop().create_task(self._run())

    def pause(self) -> None:
        self._paused.clear()

    def resume(self) -> None:
        self._paused.set()

    def close(self) -> None:
        self._task.cancel()

    async def _run(self) -> None:
        request, sent = self._request, 0
        pod = request.container.pod
        begun = False
        while True:
            is_over = not request.follow or self._has_ended(pod)
            try:
                log = self._cluster.read_pod_log(
                    pod, previous=request.previous, tail_lines=request.tail_lines, **self._place
                )
            except LaunchError as error:
                self._receiver.end(_end_of(error))
                return
            if not begun:
                begun = True
                self._receiver.begin()
            if request.since_s is not None:
                since = format_stamp(request.since_s * 1_000_000_000)
                log = b"\n".join(line for line in log.split(b"\n") if not line or line >= since)
            await self._paused.wait()
            if log[sent:]:
                self._receiver.take(log[sent:])
                sent = len(log)
            if is_over:
                self._receiver.end(End())
                return
            await asyncio.sleep(_POLL_S)

    def _has_ended(self, pod: str) -> bool:
        try:
            found = self._cluster.get(PODS, pod, namespace=self._place["namespace"])
        except LaunchError:
            return True
        return found["status"]["phase"] in ("Succeeded", "Failed")
