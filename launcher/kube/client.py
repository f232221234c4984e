"""One cluster over HTTP.

Of the Kubernetes library it uses what stays the same in its versions 35 to 37, and only once it connects: the
configuration (see `access`), and the urllib3 pool with TLS and proxy. No model classes, so that an object
reaches the server exactly as it was rendered.
"""

from __future__ import annotations

import builtins
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from launcher.kube.access import SERVICE_ACCOUNT, Access, load_access
from launcher.kube.answers import Call, Verb, read_failure
from launcher.kube.errors import ExpiredError, NoAnswerError
from launcher.kube.resources import PODS, KubeObject, Resource

_UNKNOWN_USER = 401
PAGE = 500
"""Objects in one answer, as kubectl asks for."""
_JSON = "application/json"
_DRY_RUN = {"dryRun": "All"}
_MERGE_PATCH = "application/merge-patch+json"


@dataclass(frozen=True, kw_only=True, slots=True)
class Timeouts:
    """How long one request may take.

    Attributes:
        connect_s: Until the connection stands.
        read_s: Between two pieces of the answer.
    """

    connect_s: float = 5.0
    read_s: float = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Request:
    method: str
    path: str
    query: Mapping[str, str]
    body: KubeObject | None = None
    content_type: str = _JSON


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """What other modules of this room need to talk to a cluster in their own manner.

    Attributes:
        configuration: The library's, with host, certificates and proxy.
        headers: Makes the headers of a request; renews an expired token.
    """

    configuration: Any
    headers: Callable[[], Mapping[str, str]]


class Client:
    """One cluster, as one identity. Implements `KubeApi` and `PodLogs`.

    Attributes:
        namespace: Where objects go if nobody says otherwise.
        context: Name of the kubeconfig's context; empty inside a cluster.
    """

    def __init__(self, access: Access, *, timeouts: Timeouts, reload: Callable[[], Access]) -> None:
        """`reload` reads the access anew, when the cluster no longer knows us."""
        self.namespace = access.namespace
        self.context = access.context
        self._timeouts = timeouts
        self._reload = reload
        self._use(access)

    def _use(self, access: Access) -> None:
        from kubernetes.client.api_client import ApiClient

        self._configuration = access.configuration
        self._pool = ApiClient(access.configuration).rest_client.pool_manager

    def create(
        self, resource: Resource, body: KubeObject, *, namespace: str, dry_run: bool = False
    ) -> KubeObject:
        """See `KubeApi.create`. Fields that the server does not know are refused, not dropped."""
        request = _Request(
            method="POST",
            path=_path(resource, namespace),
            query={"fieldManager": "ftlaunch", "fieldValidation": "Strict"} | (_DRY_RUN if dry_run else {}),
            body=body,
        )
        call = self._call("create", resource, namespace=namespace, name=str(body["metadata"].get("name", "")))
        return self._object(request, call)

    def get(self, resource: Resource, name: str, *, namespace: str) -> KubeObject:
        """See `KubeApi.get`."""
        request = _Request(method="GET", path=_path(resource, namespace, name), query={})
        return self._object(request, self._call("get", resource, namespace=namespace, name=name))

    def list(
        self,
        resource: Resource,
        *,
        namespace: str,
        labels: str = "",
        fields: str = "",
        at_most: int | None = None,
    ) -> tuple[KubeObject, ...]:
        """See `KubeApi.list`. Asks for a page at a time, and once more where a page has expired meanwhile."""
        page = PAGE if at_most is None else min(PAGE, at_most)
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(page)}
        query = {key: value for key, value in query.items() if value}
        call = self._call("list", resource, namespace=namespace)
        try:
            return self._pages(_path(resource, namespace), query, call, at_most=at_most)
        except ExpiredError:
            return self._pages(_path(resource, namespace), query, call, at_most=at_most)

    def _pages(
        self, path: str, query: Mapping[str, str], call: Call, *, at_most: int | None
    ) -> tuple[KubeObject, ...]:
        items: builtins.list[KubeObject] = []
        token = ""
        while True:
            more = {"continue": token} if token else {}
            answer = self._object(_Request(method="GET", path=path, query={**query, **more}), call)
            items += answer["items"]
            token = str((answer.get("metadata") or {}).get("continue") or "")
            if not token or (at_most is not None and len(items) >= at_most):
                return tuple(items[:at_most])

    def patch(self, resource: Resource, name: str, body: KubeObject, *, namespace: str) -> KubeObject:
        """See `KubeApi.patch`."""
        request = _Request(
            method="PATCH",
            path=_path(resource, namespace, name),
            query={"fieldManager": "ftlaunch", "fieldValidation": "Strict"},
            body=body,
            content_type=_MERGE_PATCH,
        )
        return self._object(request, self._call("patch", resource, namespace=namespace, name=name))

    def delete(self, resource: Resource, name: str, *, namespace: str, uid: str) -> None:
        """See `KubeApi.delete`."""
        options = {
            "apiVersion": "v1", "kind": "DeleteOptions",
            "propagationPolicy": "Foreground", "preconditions": {"uid": uid},
        }  # fmt: skip
        request = _Request(method="DELETE", path=_path(resource, namespace, name), query={}, body=options)
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
        request = _Request(method="GET", path=f"{_path(PODS, namespace, pod)}/log", query=query)
        call = self._call("get", PODS, namespace=namespace, name=pod, subresource="log")
        return self._send(request, call)

    @property
    def way(self) -> Way:
        """How the cluster is reached now."""
        return Way(configuration=self._configuration, headers=lambda: self._headers(content_type=""))

    def _call(
        self, verb: Verb, resource: Resource, *, namespace: str, name: str = "", subresource: str = ""
    ) -> Call:
        access = f"context {self.context!r}" if self.context else "this cluster's service account"
        return Call(
            verb=verb,
            resource=resource,
            namespace=namespace,
            name=name,
            subresource=subresource,
            access=access,
        )

    def _object(self, request: _Request, call: Call) -> KubeObject:
        answer = self._send(request, call)
        try:
            decoded = json.loads(answer)
        except ValueError as error:
            decoded = error
        if not isinstance(decoded, dict):
            raise NoAnswerError(
                f"{call}: expected a Kubernetes object, got {answer[:80]!r}; "
                f"check that {call.access} names a Kubernetes API server"
            )
        return decoded

    def _send(self, request: _Request, call: Call) -> bytes:
        answer = self._exchange(request, call)
        if answer.status == _UNKNOWN_USER:  # nothing was done; a token may have run out before its time
            self._use(self._reload())
            answer = self._exchange(request, call)
        if answer.status >= 300:
            raise read_failure(call, code=answer.status, body=answer.data, headers=answer.headers)
        return bytes(answer.data)

    def _exchange(self, request: _Request, call: Call) -> Any:
        import urllib3

        url = f"{self._configuration.host.rstrip('/')}{request.path}?{urlencode(request.query)}"
        payload = None if request.body is None else json.dumps(request.body).encode()
        try:
            return self._pool.request(
                request.method,
                url,
                body=payload,
                headers=self._headers(content_type=request.content_type if payload else ""),
                retries=False,  # whether to ask again is the caller's decision
                redirect=False,
                timeout=urllib3.Timeout(connect=self._timeouts.connect_s, read=self._timeouts.read_s),
            )
        except urllib3.exceptions.HTTPError as error:
            raise NoAnswerError(
                f"{call}: expected an answer from {self._configuration.host}, got {type(error).__name__}: "
                f"{error}; check that the cluster of {call.access} runs and can be reached from here"
            ) from error

    def _headers(self, *, content_type: str) -> dict[str, str]:
        headers = {"User-Agent": "ftlaunch", "Accept": f"{_JSON}, */*"}
        if content_type:
            headers["Content-Type"] = content_type
        bearer = self._configuration.auth_settings().get("BearerToken")  # renews an expired token
        if bearer and bearer["value"]:
            headers["Authorization"] = bearer["value"]
        return headers


def connect(
    *,
    context: str | None = None,
    kubeconfig: Path | None = None,
    environ: Mapping[str, str] = os.environ,
    service_account: Path = SERVICE_ACCOUNT,
    timeouts: Timeouts = Timeouts(),
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


def _path(resource: Resource, namespace: str, name: str = "") -> str:
    root = f"/apis/{resource.group}" if resource.group else "/api"
    place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    path = f"{root}/{resource.version}{place}/{resource.plural}"
    return f"{path}/{quote(name, safe='')}" if name else path
