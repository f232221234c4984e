"""One cluster over HTTP.

No model classes, so that an object reaches the server exactly as it was rendered. How the cluster is
reached, and as whom, is decided in `access`.
"""

from __future__ import annotations

import builtins
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.kube.access import SERVICE_ACCOUNT, Access, Reload, load_access
from launcher.kube.api import Keep, whole
from launcher.kube.errors import AbsentError, ExpiredError, NoAnswerError
from launcher.kube.failures import RequestContext, Verb
from launcher.kube.remarks import log
from launcher.kube.transport import (
    ANYTHING,
    MERGE_PATCH,
    METADATA,
    METADATA_LIST,
    Request,
    Response,
    Timeouts,
    Transport,
    path_of,
)
from launcher.kube.watch import GRACE_S, WATCH_S, WatchEvent, read_watch
from launcher.objects import PODS, KubeObject, Resource, is_object

if TYPE_CHECKING:
    from launcher.volumes.place import Channel

PAGE = 500
"""Objects in one answer, as kubectl asks for."""
MOST_ITEMS = 500_000
"""Of one list: no cluster is as large (kubernetes.io, "Considerations for large clusters": 150,000 pods)."""
MOST_PAGES = 2000
"""Of one list; some may be empty, where selectors leave nothing of them."""
MOST_LISTED_BYTES = 512 << 20
"""Of one list whose objects are kept whole."""
MOST_LOG_BYTES = 256 << 20
"""Of a log that is read at once; a kubelet keeps 10 MiB unless told otherwise (containerLogMaxSize)."""
_DRY_RUN = {"dryRun": "All"}
_TIMEOUTS = Timeouts()


class Client:
    """One cluster, as one identity. Implements `KubeApi`, `PodLogs` and `PodPrograms`.

    Attributes:
        namespace: Where objects go if nobody says otherwise.
        context: Name of the kubeconfig's context; empty inside a cluster.
    """

    def __init__(self, access: Access, *, timeouts: Timeouts, reload: Reload) -> None:
        """`reload` reads the access anew, when the cluster no longer knows us."""
        self._timeouts, self._reload = timeouts, reload
        self.namespace = access.namespace
        self.context = access.context
        self._login = access.login
        self._transport = Transport(access, timeouts=timeouts, reload=reload)
        self._served: dict[tuple[str, str], frozenset[str]] = {}

    def renewed(self) -> Client:
        """Return a client that has read its credentials anew, because the cluster has refused ours."""
        return Client(
            self._reload(self._transport.authorization), timeouts=self._timeouts, reload=self._reload
        )

    def create(
        self, resource: Resource, body: KubeObject, *, namespace: str, dry_run: bool = False
    ) -> KubeObject:
        """See `KubeApi.create`. Fields that the server does not know are refused, not dropped."""
        request = Request(
            method="POST",
            path=path_of(resource, namespace=namespace),
            query={"fieldManager": "ftlaunch", "fieldValidation": "Strict"} | (_DRY_RUN if dry_run else {}),
            body=body,
        )
        call = self._call("create", resource, namespace=namespace, name=_name_of(body))
        return self._object(request, call)

    def get(self, resource: Resource, name: str, *, namespace: str) -> KubeObject:
        """See `KubeApi.get`."""
        request = Request(method="GET", path=path_of(resource, namespace=namespace, name=name))
        return self._object(request, self._call("get", resource, namespace=namespace, name=name))

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
        """See `KubeApi.list`. Asks for a page at a time, and once more where a page has expired meanwhile."""
        page = PAGE if at_most is None else min(PAGE, at_most)
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(page)}
        request = Request(
            method="GET",
            path=path_of(resource, namespace=namespace),
            query={key: value for key, value in query.items() if value},
            accept=METADATA_LIST if metadata_only else ANYTHING,
        )
        call = self._call("list", resource, namespace=namespace)
        try:
            return self._pages(request, call, at_most=at_most, keep=keep)
        except ExpiredError:
            log.info("%s: a page has expired: the list is asked for again", call)
            return self._pages(request, call, at_most=at_most, keep=keep)

    def _pages(
        self, request: Request, call: RequestContext, *, at_most: int | None, keep: Keep
    ) -> tuple[KubeObject, ...]:
        items: builtins.list[KubeObject] = []
        token, seen, size = "", set[str](), 0
        while True:
            more = {"continue": token} if token else {}
            answer, page_bytes = self._transport.fetch_sized(
                replace(request, query={**request.query, **more}), call
            )
            listed = _read_items(answer.document, call)
            for item in listed:  # half of an object, in thousands of them, that nobody here reads
                item.get("metadata", {}).pop("managedFields", None)
            items += map(keep, listed)
            size += page_bytes if keep is whole else 0
            token = str((answer.document.get("metadata") or {}).get("continue") or "")
            del answer, listed  # before the next page comes
            if not token or (at_most is not None and len(items) >= at_most):
                return tuple(items[:at_most])
            if token in seen or len(seen) > MOST_PAGES or len(items) > MOST_ITEMS or size > MOST_LISTED_BYTES:
                raise NoAnswerError(
                    where=call,
                    expected="a list that ends",
                    got=f"{len(items)} objects and no end of it",
                    fix=f"check that {call.access} names a Kubernetes API server",
                )
            seen.add(token)

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
        """See `KubeApi.watch`."""
        query = {
            "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": str(timeout_s),
            "labelSelector": labels, "fieldSelector": fields, "resourceVersion": version,
        }  # fmt: skip
        request = Request(
            method="GET",
            path=path_of(resource, namespace=namespace),
            query={key: value for key, value in query.items() if value},
            accept=METADATA,
        )
        call = self._call("watch", resource, namespace=namespace)
        with self._transport.open(request, call, total_s=timeout_s + GRACE_S) as answer:
            yield from read_watch(answer, call)

    def patch(self, resource: Resource, name: str, body: KubeObject, *, namespace: str) -> KubeObject:
        """See `KubeApi.patch`."""
        request = Request(
            method="PATCH",
            path=path_of(resource, namespace=namespace, name=name),
            query={"fieldManager": "ftlaunch", "fieldValidation": "Strict"},
            body=body,
            content_type=MERGE_PATCH,
        )
        return self._object(request, self._call("patch", resource, namespace=namespace, name=name))

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
        """See `KubeApi.delete`."""
        order = "Background" if first else "Foreground"
        options = {
            "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": {"uid": uid},
            **({"gracePeriodSeconds": 0} if at_once else {"propagationPolicy": order}),
        }  # fmt: skip
        request = Request(
            method="DELETE", path=path_of(resource, namespace=namespace, name=name), query={}, body=options
        )
        self._object(request, self._call("delete", resource, namespace=namespace, name=name))

    def read_pod_log(
        self,
        pod: str,
        *,
        namespace: str,
        container: str,
        previous: bool = False,
        tail_lines: int | None = None,
    ) -> bytes:
        """See `PodLogs.read_pod_log`."""
        query = {"container": container, "timestamps": "true"}
        if previous:
            query["previous"] = "true"
        if tail_lines is not None:
            query["tailLines"] = str(tail_lines)
        request = Request(
            method="GET", path=f"{path_of(PODS, namespace=namespace, name=pod)}/log", query=query
        )
        call = self._call("get", PODS, namespace=namespace, name=pod, subresource="log")
        return bytes(self._transport.send(request, call, most_bytes=MOST_LOG_BYTES).data)

    def run_in_pod(
        self, pod: str, argv: Sequence[str], *, namespace: str, container: str
    ) -> AbstractContextManager[Channel]:
        """See `PodPrograms`."""
        from launcher.kube.exec import run_in_pod  # WebSockets: most commands do without

        call = self._call("create", PODS, namespace=namespace, name=pod, subresource="exec")
        return run_in_pod(self._transport.access, call, container=container, argv=argv)

    def serves(self, resource: Resource) -> bool:
        """See `KubeApi.serves`. Asks once a group and version (kubernetes.io, "Discovery API")."""
        group = (resource.group, resource.version)
        if group not in self._served:
            root = f"/apis/{resource.group}" if resource.group else "/api"
            try:
                found = self.read(f"{root}/{resource.version}").document.get("resources") or []
            except AbsentError:
                found = []
            listed = found if isinstance(found, builtins.list) else []
            names = [item.get("name") for item in listed if isinstance(item, dict)]
            self._served[group] = frozenset(name for name in names if isinstance(name, str))
        return resource.plural in self._served[group]

    def read(self, path: str) -> Response:
        """Return what stands at a path of the API, such as `/version`, with the answer's headers."""
        call = self._call("get", Resource(plural=path, kind="API"), namespace="", name=path)
        return self._transport.fetch(Request(method="GET", path=path), call)

    @property
    def access(self) -> Access:
        """How the cluster is reached now, and as whom."""
        return self._transport.access

    def _call(
        self, verb: Verb, resource: Resource, *, namespace: str, name: str = "", subresource: str = ""
    ) -> RequestContext:
        access = f"context {self.context!r}" if self.context else "this cluster's service account"
        return RequestContext(
            verb=verb,
            resource=resource,
            namespace=namespace,
            name=name,
            subresource=subresource,
            access=access,
            login=self._login,
        )

    def _object(self, request: Request, call: RequestContext) -> KubeObject:
        return self._transport.fetch(request, call).document


def connect(
    *,
    context: str | None = None,
    kubeconfig: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
    timeouts: Timeouts = _TIMEOUTS,
) -> Client:
    """Read how to reach a cluster. Sends nothing, but may run the kubeconfig's credential plugin.

    Args:
        context: See `load_access`, as for the next three.
        kubeconfig: Which file.
        environ: Variables.
        service_account: Folder.
        timeouts: Of every request.

    Raises:
        KubeconfigError: There is no configuration, or it cannot be used.
    """
    load = partial(
        load_access, context=context, kubeconfig=kubeconfig, environ=environ, service_account=service_account
    )
    return Client(load(), timeouts=timeouts, reload=load)


def _read_items(answer: KubeObject, call: RequestContext) -> builtins.list[KubeObject]:
    """Return a list's objects, each with the parts of the kind that everybody expects."""
    listed = answer.get("items")
    if listed is None:  # in an empty list of metadata alone (kubernetes v1.34)
        return []
    found = listed if isinstance(listed, builtins.list) else None
    if found is None or not all(map(is_object, found)) or not isinstance(answer.get("metadata") or {}, dict):
        raise NoAnswerError(
            where=call,
            expected="a list of Kubernetes objects",
            got="something else",
            fix=f"check that {call.access} names a Kubernetes API server",
        )
    return found


def _name_of(body: KubeObject) -> str:
    """Return a new object's name; reviews have none."""
    return str((body.get("metadata") or {}).get("name", ""))
