"""One cluster over HTTP: the only module that imports `kubernetes`, and only when it connects.

Of the library it uses what stays the same in its versions 35 to 37: kubeconfig and in-cluster loading with
credential plugins and token refresh, and the urllib3 pool with TLS and proxy. No model classes, so that an
object reaches the server exactly as it was rendered.
"""

from __future__ import annotations

import builtins
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from launcher.kube.answers import Call, Verb, read_failure
from launcher.kube.errors import ExpiredError, KubeconfigError, NoAnswerError
from launcher.kube.resources import PODS, KubeObject, Resource

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
PAGE = 500
"""Objects in one answer, as kubectl asks for."""
_JSON = "application/json"
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


class Client:
    """One cluster, as one identity. Implements `KubeApi` and `PodLogs`.

    Attributes:
        namespace: Where objects go if nobody says otherwise.
        context: Name of the kubeconfig's context; empty inside a cluster.
    """

    def __init__(self, configuration: Any, *, namespace: str, context: str, timeouts: Timeouts) -> None:
        from kubernetes.client.api_client import ApiClient

        self.namespace = namespace
        self.context = context
        self._configuration = configuration
        self._pool = ApiClient(configuration).rest_client.pool_manager
        self._timeouts = timeouts

    def create(self, resource: Resource, body: KubeObject, *, namespace: str) -> KubeObject:
        """See `KubeApi.create`. Fields that the server does not know are refused, not dropped."""
        request = _Request(
            method="POST",
            path=_path(resource, namespace),
            query={"fieldManager": "ftlaunch", "fieldValidation": "Strict"},
            body=body,
        )
        call = self._call("create", resource, namespace=namespace, name=str(body["metadata"]["name"]))
        return self._object(request, call)

    def get(self, resource: Resource, name: str, *, namespace: str) -> KubeObject:
        """See `KubeApi.get`."""
        request = _Request(method="GET", path=_path(resource, namespace, name), query={})
        return self._object(request, self._call("get", resource, namespace=namespace, name=name))

    def list(
        self, resource: Resource, *, namespace: str, labels: str = "", fields: str = ""
    ) -> tuple[KubeObject, ...]:
        """See `KubeApi.list`. Asks for a page at a time, and once more where a page has expired meanwhile."""
        query = {"labelSelector": labels, "fieldSelector": fields, "limit": str(PAGE)}
        query = {key: value for key, value in query.items() if value}
        call = self._call("list", resource, namespace=namespace)
        try:
            return self._pages(_path(resource, namespace), query, call)
        except ExpiredError:
            return self._pages(_path(resource, namespace), query, call)

    def _pages(self, path: str, query: Mapping[str, str], call: Call) -> tuple[KubeObject, ...]:
        items: builtins.list[KubeObject] = []
        token = ""
        while True:
            more = {"continue": token} if token else {}
            answer = self._object(_Request(method="GET", path=path, query={**query, **more}), call)
            items += answer["items"]
            token = str((answer.get("metadata") or {}).get("continue") or "")
            if not token:
                return tuple(items)

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
        import urllib3

        url = f"{self._configuration.host.rstrip('/')}{request.path}?{urlencode(request.query)}"
        payload = None if request.body is None else json.dumps(request.body).encode()
        try:
            answer = self._pool.request(
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
        if answer.status >= 300:
            raise read_failure(call, code=answer.status, body=answer.data)
        return bytes(answer.data)

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
        context: Of the kubeconfig; None for its current one.
        kubeconfig: None for `$KUBECONFIG`, else ~/.kube/config, else the service account inside a cluster.
        environ: Where `KUBECONFIG` and the cluster's own variables are looked up.
        service_account: Folder with the token, the CA's certificate and the namespace.
        timeouts: Of every request.

    Raises:
        KubeconfigError: There is no configuration, or it cannot be used.
    """
    from kubernetes.client.configuration import Configuration

    places = str(kubeconfig) if kubeconfig else environ.get("KUBECONFIG") or "~/.kube/config"
    configuration = Configuration()
    if any(Path(place).expanduser().exists() for place in places.split(os.pathsep) if place):
        chosen = _load_kubeconfig(places, context=context, into=configuration)
        namespace = chosen["context"].get("namespace") or "default"
        return Client(configuration, namespace=namespace, context=chosen["name"], timeouts=timeouts)
    if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in environ:
        namespace = _load_service_account(service_account, environ=environ, into=configuration)
        return Client(configuration, namespace=namespace, context="", timeouts=timeouts)
    raise KubeconfigError(
        f"kubeconfig: expected a file at {places!r}, got none; set KUBECONFIG or --on local"
    )


def _load_kubeconfig(places: str, *, context: str | None, into: Any) -> Mapping[str, Any]:
    import yaml
    from kubernetes.config import ConfigException, list_kube_config_contexts, load_kube_config

    try:
        load_kube_config(config_file=places, context=context, client_configuration=into)
        contexts, current = list_kube_config_contexts(config_file=places)
    except (ConfigException, yaml.YAMLError, OSError) as error:
        raise KubeconfigError(
            f"{places}: expected a usable kubeconfig, got: {error}; see `kubectl config view`"
        ) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # the library does not check shapes
        raise KubeconfigError(f"{places}: expected a kubeconfig, got another document ({error})") from error
    chosen: Mapping[str, Any] = next((item for item in contexts if item["name"] == context), current)
    return chosen


def _load_service_account(folder: Path, *, environ: Mapping[str, str], into: Any) -> str:
    from kubernetes.config import ConfigException
    from kubernetes.config.incluster_config import InClusterConfigLoader

    loader = InClusterConfigLoader(
        token_filename=str(folder / "token"), cert_filename=str(folder / "ca.crt"), environ=environ
    )
    try:
        loader.load_and_set(into)
        return (folder / "namespace").read_text(encoding="utf-8").strip()
    except (ConfigException, OSError) as error:
        raise KubeconfigError(
            f"{folder}: expected a mounted token, got: {error}; mount the service account's or set KUBECONFIG"
        ) from error


def _path(resource: Resource, namespace: str, name: str = "") -> str:
    root = f"/apis/{resource.group}" if resource.group else "/api"
    path = f"{root}/{resource.version}/namespaces/{quote(namespace, safe='')}/{resource.plural}"
    return f"{path}/{quote(name, safe='')}" if name else path
