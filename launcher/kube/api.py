"""The seam between backends and a cluster: what is asked of the Kubernetes API, in decoded JSON.

Every method raises the errors of `launcher.kube.errors`, those of a `LogClient` within a `SourceError`.
`launcher.kube.client.Client` implements the protocols over HTTP, but for `LogClient`, which
`launcher.kube.async_client.AsyncClient` does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol

from launcher.kube.watch import WATCH_S, WatchEvent
from launcher.objects import PODS, KubeObject, Resource

if TYPE_CHECKING:
    from launcher.kube.failures import RequestContext
    from launcher.logs.source import LogRequest, LogResponse, Receiver
    from launcher.volumes.place import Channel


Keep = Callable[[KubeObject], KubeObject]


def whole(item: KubeObject) -> KubeObject:
    """Keep all of an object."""
    return item


class KubeApi(Protocol):
    """Objects of one cluster, as one identity.

    An empty namespace means objects that have none or, for a list, those of all namespaces.
    """

    def create(
        self, resource: Resource, body: KubeObject, *, namespace: str, dry_run: bool = False
    ) -> KubeObject:
        """Make an object; return it as the server stored it. A dry run checks all and stores nothing.

        A review (see `RULES_REVIEWS`) has no name and comes back answered.

        Raises:
            ConflictError: An object of this name exists.
            NoAnswerError: Whether it was made is not known.
        """

    def get(self, resource: Resource, name: str, *, namespace: str) -> KubeObject:
        """Return an object.

        Raises:
            AbsentError: There is none of this name.
        """

    def list(
        self,
        resource: Resource,
        *,
        namespace: str,
        labels: str = "",
        fields: str = "",
        at_most: int | None = None,
        keep: Keep = whole,
        metadata_only: bool = False,
    ) -> tuple[KubeObject, ...]:
        """Return the objects that a label selector and a field selector match, such as `a=b,c`.

        Args:
            resource: Their kind.
            namespace: Where; empty for all namespaces, and for kinds of the whole cluster.
            labels: All of them must be there.
            fields: A field selector such as `involvedObject.name=x`; empty chooses all.
            at_most: Stop asking for more pages at so many; None for all there are.
            keep: Returns what is kept of an object; called for each page before the next one is asked for.
            metadata_only: Have nothing but the objects' metadata sent.
        """

    def watch(
        self,
        resource: Resource,
        *,
        namespace: str,
        labels: str = "",
        fields: str = "",
        version: str = "",
        timeout_s: int = WATCH_S,
    ) -> Iterator[WatchEvent]:
        """Hand on what happens to objects, of which it gives the metadata alone; ends after `timeout_s`.

        Args:
            resource: Their kind.
            namespace: Where.
            labels: As in `list`.
            fields: A field selector such as `involvedObject.name=x`; empty chooses all.
            version: Of the change after which to begin; empty begins with all that is there.
            timeout_s: After so long the server ends it.

        Raises:
            ExpiredError: `version` is too old: begin anew.
            NoAnswerError: It broke off: go on from the last change's version.
        """

    def patch(self, resource: Resource, name: str, body: KubeObject, *, namespace: str) -> KubeObject:
        """Merge `body` into an object (RFC 7386: null removes, lists are replaced); return the result."""

    def delete(
        self,
        resource: Resource,
        name: str,
        *,
        namespace: str,
        uid: str,
        at_once: bool = False,
        first: bool = False,
    ) -> None:
        """Ask for an object's end, its dependants first, if it still has this uid.

        Args:
            resource: Its kind.
            name: Its name.
            namespace: Where it is.
            uid: Of the very object that is meant.
            at_once: Remove it without waiting for anybody, a pod of a lost node too; what it runs there may
                go on until the node is back.
            first: Let it go before its dependants, which follow by themselves.

        Raises:
            AbsentError: It is gone already.
            ConflictError: Another object has taken its name.
        """

    def serves(self, resource: Resource) -> bool:
        """Say whether the cluster knows a kind of objects."""


class PodLogs(Protocol):
    """What pods write."""

    def read_pod_log(
        self,
        pod: str,
        *,
        namespace: str,
        container: str,
        previous: bool = False,
        tail_lines: int | None = None,
    ) -> bytes:
        """Return a container's log, each line as `RFC3339Nano text`.

        Args:
            pod: Its name.
            namespace: Where it is.
            container: Which of its containers.
            previous: That of the container before its last restart in place.
            tail_lines: Only so many lines from the end; None for all that the node has kept.

        Raises:
            AbsentError: There is no such pod.
            InvalidError: The container has not started, or has no previous one.
        """


class LogClient(Protocol):
    """What following logs asks of a cluster, within an event loop."""

    def describe(
        self, *, namespace: str, name: str, resource: Resource = PODS, subresource: str = ""
    ) -> RequestContext:
        """Say in RBAC's words what is asked; for a list without a name."""

    async def fetch(self, path: str, query: Mapping[str, str], call: RequestContext) -> KubeObject:
        """Return an object, or a page of a list.

        Raises:
            SourceError: The answer is none, or a refusal.
        """

    def stream(
        self, request: LogRequest, receiver: Receiver, *, namespace: str, container: str
    ) -> LogResponse:
        """Ask for a log."""

    async def renew(self, refused: object) -> None:
        """Read the credentials afresh, unless that was done since `refused` were sent (`End.refused`)."""


class PodPrograms(Protocol):
    """Programs beside those that pods run."""

    def run_in_pod(
        self, pod: str, argv: Sequence[str], *, namespace: str, container: str
    ) -> AbstractContextManager[Channel]:
        """Run a program in a container; the connection is closed with the context.

        Raises:
            AbsentError: There is no such pod.
            DeniedError: A rule for `pods/exec` is missing.
        """
