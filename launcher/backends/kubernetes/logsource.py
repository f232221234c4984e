"""A job's pods and their logs, as `launcher.logs` asks for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from urllib.parse import quote

from launcher import objects
from launcher.backends.kubernetes.events import read_events
from launcher.backends.kubernetes.kueue import MAX_WORKLOADS, WORKLOAD_KINDS
from launcher.backends.kubernetes.pods import needs_events, read_wait
from launcher.backends.kubernetes.status import read_job
from launcher.backends.kubernetes.workloads import reduce_workload
from launcher.backends.states import JobEvent
from launcher.kinds.base import JobKind
from launcher.kinds.pods import container_of, node_of
from launcher.kinds.registry import DEFAULT
from launcher.kube.api import LogClient
from launcher.kube.errors import AbsentError
from launcher.logs.source import (
    Container,
    FailureKind,
    LogRequest,
    LogResponse,
    Pod,
    Receiver,
    Snapshot,
    SourceError,
)
from launcher.objects import EVENTS, KubeObject
from launcher.plan.handle import Handle

_PAGE = "250"
"""Objects in one answer: a look at a thousand pods takes four, each of ten megabytes while it is read."""


class KubernetesLogSource:
    """One job. A `Source`."""

    keeps_logs = False
    snapshot_every_s = 2.0

    def __init__(self, client: LogClient, handle: Handle, *, kind: JobKind = DEFAULT) -> None:
        """`handle` names the job, which is an object of `kind`; `client` reaches its cluster."""
        self._client, self._handle, self._kind = client, handle, kind
        self._uid: str | None = None
        self._workloads = list(WORKLOAD_KINDS)
        self._earlier: frozenset[str] = frozenset()

    async def snapshot(self) -> Snapshot:
        """See `Source.snapshot`. A job that is not there any more has ended."""
        namespace, name = self._handle.namespace, self._handle.job
        resource = self._kind.resource
        path = (
            f"/apis/{resource.api_version}/namespaces/{quote(namespace, safe='')}/{resource.plural}"
            f"/{quote(name, safe='')}"
        )
        call = self._client.describe(resource=resource, namespace=namespace, name=name)
        try:
            job = await self._client.fetch(path, {}, call)
        except SourceError as error:
            if error.end.failure is FailureKind.STALE and isinstance(error.end.error, AbsentError):
                return Snapshot(has_ended=True, pods=())
            raise
        if self._uid not in (None, objects.uid_of(job)):  # a namesake has taken the place of ours
            return Snapshot(has_ended=True, pods=())
        self._uid = objects.uid_of(job)
        listed = await self._list_pods()
        pods = self._kind.pods_of(job, listed)
        earlier = self._kind.earlier_of(job, listed)
        self._earlier = frozenset(objects.uid_of(pod) for own in earlier.values() for pod in own)
        queued = await self._list_workloads(job)
        status = read_job(job, pods, kind=self._kind, restarts={}, progress=None, queued=queued)
        has_ended = status.state.is_terminal
        events = {} if has_ended else await self._list_events(pods)
        return Snapshot(
            has_ended=has_ended,
            pods=tuple(
                _read_pod(pod, events.get(objects.name_of(pod), ()), earlier.get(node_of(pod), ()))
                for pod in pods
            ),
            waits_for="" if has_ended else status.reason,
        )

    def open(self, request: LogRequest, receiver: Receiver) -> LogResponse:
        """See `Source.open`."""
        if request.container.uid in self._earlier:  # a pod of its own, and no container of the present one
            request = replace(request, previous=False)
        return self._client.stream(
            request, receiver, namespace=self._handle.namespace, container=self._kind.container
        )

    async def renew(self, refused: object) -> None:
        """See `Source.renew`."""
        await self._client.renew(refused)

    async def _list_events(self, pods: Sequence[KubeObject]) -> dict[str, tuple[JobEvent, ...]]:
        """Return one pod's, of those about which only events tell anything: its peers wait for the same."""
        name = next((objects.name_of(pod) for pod in pods if needs_events(pod)), None)
        if name is None:
            return {}
        namespace = self._handle.namespace
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/events"
        query = {"fieldSelector": f"involvedObject.kind=Pod,involvedObject.name={name}", "limit": _PAGE}
        call = self._client.describe(resource=EVENTS, namespace=namespace, name="")
        try:
            found = (await self._client.fetch(path, query, call)).get("items") or []
        except SourceError:  # they only make a sentence better
            return {}
        uids = {objects.name_of(pod): objects.uid_of(pod) for pod in pods}
        own = [item for item in found if (item.get("involvedObject") or {}).get("uid") in (None, uids[name])]
        return {name: read_events(own, job=self._handle.job, kind=self._kind)}

    async def _list_workloads(self, job: KubeObject) -> list[KubeObject]:
        """Return those among which a queued job waits, where they may be seen."""
        if not self._kind.is_queued(job) or self._kind.is_cancelled(job):
            return []
        namespace = self._handle.namespace
        while self._workloads:
            kind = self._workloads[0]
            path = f"/apis/{kind.api_version}/namespaces/{quote(namespace, safe='')}/{kind.plural}"
            call = self._client.describe(resource=kind, namespace=namespace, name="")
            try:
                found = await self._client.fetch(path, {"limit": str(MAX_WORKLOADS)}, call)
            except SourceError as error:  # they only make a sentence better
                if error.end.failure is FailureKind.LOGIN:
                    raise
                if error.end.failure is FailureKind.AGAIN:
                    return []
                self._workloads.pop(0)  # not served, or not for us
            else:
                return list(map(reduce_workload, found.get("items") or []))
        return []

    async def _list_pods(self) -> list[KubeObject]:
        namespace = self._handle.namespace
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods"
        query = {"labelSelector": self._kind.pod_selector(self._handle.job), "limit": _PAGE}
        found: list[KubeObject] = []
        while True:
            page = await self._client.fetch(path, query, self._client.describe(namespace=namespace, name=""))
            found += map(objects.trim_pod, page.get("items") or [])
            mark = (page.get("metadata") or {}).get("continue")
            if not mark:
                return found
            query = {**query, "continue": str(mark)}


def _read_pod(pod: KubeObject, events: Sequence[JobEvent], pods_before: Sequence[KubeObject]) -> Pod:
    container = container_of(pod)
    state = container.get("state") or {}
    restarts = int(container.get("restartCount", 0))
    # between two restarts in place the API still gives the log of the one that ended
    last = (container.get("lastState") or {}) if "waiting" in state else state
    has_ended = "terminated" in last
    present = Container(
        node=node_of(pod), pod=objects.name_of(pod), uid=objects.uid_of(pod), restarts=restarts
    )
    return Pod(
        container=present,
        # the kubelet keeps the log of one container before the present one, of the same pod
        earlier=(
            *map(_last_container, pods_before),
            *((replace(present, restarts=restarts - 1),) if restarts > 0 else ()),
        ),
        has_started=has_ended or "running" in state,
        has_ended=has_ended or objects.phase_of(pod) in ("Succeeded", "Failed"),
        waits_for=read_wait(pod, events),
        began_ns=tuple(_begin(pod, present, pods_before)),
    )  # fmt: skip


def _last_container(pod: KubeObject) -> Container:
    restarts = int(container_of(pod).get("restartCount", 0))
    return Container(node=node_of(pod), pod=objects.name_of(pod), uid=objects.uid_of(pod), restarts=restarts)


def _begin(
    pod: KubeObject, present: Container, pods_before: Sequence[KubeObject]
) -> Iterator[tuple[Container, int]]:
    """Yield the containers of which the cluster says when they began, in Unix time."""
    for one in pods_before:
        if (began_ns := _began_ns(container_of(one).get("state"))) is not None:
            yield _last_container(one), began_ns
    state, last = container_of(pod).get("state") or {}, container_of(pod).get("lastState")
    if "waiting" not in state and (began_ns := _began_ns(last)) is not None and present.restarts:
        yield replace(present, restarts=present.restarts - 1), began_ns
    if (began_ns := _began_ns(last if "waiting" in state else state)) is not None:
        yield present, began_ns


def _began_ns(state: KubeObject | None) -> int | None:
    told = [(state or {}).get(name) or {} for name in ("running", "terminated")]
    began_s = next((objects.unix_time(one["startedAt"]) for one in told if one.get("startedAt")), None)
    return None if began_s is None else int(began_s * 1e9)
