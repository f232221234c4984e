"""Requests to an API server: what goes into them, what their answers mean, tokens that are renewed."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode

from launcher.kube.access import Access
from launcher.kube.answers import MAX_ANSWER_BYTES, Call, read_failure
from launcher.kube.errors import NoAnswerError
from launcher.kube.exchange import Answer, ExchangeError, Sent
from launcher.kube.resources import KubeObject, Resource
from launcher.kube.trust import read_distrust
from trainer.protocol.untrusted import parse_json

JSON, MERGE_PATCH = "application/json", "application/merge-patch+json"
METADATA = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1, {JSON}"
METADATA_LIST = METADATA.replace("Metadata;", "MetadataList;")
"""Of each object the metadata alone (kubernetes.io, "Kubernetes API Concepts", metadata-only fetches)."""
PACKED = {"Accept-Encoding": "gzip"}
"""The API server packs answers from 128 KiB on, lists to a thirteenth (kubernetes v1.34.7,
k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/writers.go)."""
ANYTHING = f"{JSON}, */*"
_UNKNOWN_USER = 401


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
class Request:
    """What is sent."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: KubeObject | None = None
    content_type: str = JSON
    accept: str = ANYTHING


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        document: The body, decoded.
        headers: Looked up in any case of letters.
    """

    document: KubeObject
    headers: Mapping[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Way:
    """What other modules of this room need to talk to a cluster in their own manner.

    Attributes:
        configuration: The library's, with host, certificates and proxy.
        headers: Makes the headers of a request; renews an expired token.
        login: What to do where the cluster does not know us, for messages.
    """

    configuration: Any
    headers: Callable[[], Mapping[str, str]]
    login: str = "log in again"


class Transport:
    """One cluster, as one identity."""

    def __init__(self, access: Access, *, timeouts: Timeouts, reload: Callable[[], Access]) -> None:
        """`reload` reads the access anew, when the cluster no longer knows us."""
        self._timeouts = timeouts
        self._reload = reload
        self._use(access)

    def _use(self, access: Access) -> None:
        self._configuration = access.configuration
        self._pool = access.make_pool()
        self._login = access.login

    @property
    def way(self) -> Way:
        """How the cluster is reached now."""
        return Way(
            configuration=self._configuration,
            headers=lambda: self._headers(content_type=""),
            login=self._login,
        )

    def fetch(self, request: Request, call: Call) -> Reply:
        """Send a request whose answer is an object.

        Raises:
            NoAnswerError: None came, or something else did.
            LaunchError: It is refused; see `launcher.kube.answers`.
        """
        answer = self.send(request, call)
        try:
            decoded = parse_json(answer.data, where=str(call), max_bytes=MAX_ANSWER_BYTES)
        except ValueError as error:
            decoded = error
        if not isinstance(decoded, dict):
            raise NoAnswerError(
                f"{call}: expected a Kubernetes object, got {answer.data[:80]!r}; "
                f"check that {call.access} names a Kubernetes API server"
            )
        return Reply(document=decoded, headers=answer.headers)

    def send(self, request: Request, call: Call) -> Answer:
        """Send a request and return the answer; raises as `fetch` does."""
        answer = self._exchange(request, call)
        if answer.status == _UNKNOWN_USER:  # nothing was done; a token may have run out before its time
            self._use(self._reload())
            answer = self._exchange(request, call)
        if answer.status >= 300:
            raise read_failure(call, code=answer.status, body=answer.data, headers=answer.headers)
        return answer

    @contextmanager
    def open(self, request: Request, call: Call, *, read_s: float) -> Iterator[Answer]:
        """Send a request, and hand on the answer while it comes; raises as `fetch` does.

        Args:
            request: What is sent.
            call: The same in words.
            read_s: Longest silence.
        """
        answer = self._exchange(request, call, read_s=read_s, whole=False)
        try:
            if answer.status >= 300:
                raise read_failure(call, code=answer.status, body=answer.data, headers=answer.headers)
            yield answer
        finally:
            answer.close()  # what is left of it would block the next request on this connection

    def _exchange(
        self, request: Request, call: Call, *, read_s: float | None = None, whole: bool = True
    ) -> Answer:
        target = f"{request.path}?{urlencode(request.query)}" if request.query else request.path
        payload = None if request.body is None else json.dumps(request.body).encode()
        sent = Sent(
            request.method,
            target,
            body=payload,
            headers=self._headers(content_type=request.content_type if payload else "")
            | {"Accept": request.accept}
            | (PACKED if whole else {}),
            connect_s=self._timeouts.connect_s,
            read_s=read_s or self._timeouts.read_s,
            whole=whole,
        )
        try:
            return self._pool.exchange(sent)
        except ExchangeError as error:
            server = self._configuration.host
            distrust = read_distrust(error, where=str(call), server=server, access=call.access)
            if distrust is not None:
                raise distrust from error
            raise NoAnswerError(
                f"{call}: expected an answer from {server}, got {error}; "
                f"check that the cluster of {call.access} runs and can be reached from here"
            ) from error

    def _headers(self, *, content_type: str) -> dict[str, str]:
        headers = {"User-Agent": "ftlaunch", "Accept": f"{JSON}, */*"}
        if content_type:
            headers["Content-Type"] = content_type
        bearer = self._configuration.auth_settings().get("BearerToken")  # renews an expired token
        if bearer and bearer["value"]:
            headers["Authorization"] = bearer["value"]
        return headers


def path_of(resource: Resource, *, namespace: str, name: str = "") -> str:
    """Return where the API keeps an object or a list; an empty namespace is none, or all of them."""
    root = f"/apis/{resource.group}" if resource.group else "/api"
    place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    path = f"{root}/{resource.version}{place}/{resource.plural}"
    return f"{path}/{quote(name, safe='')}" if name else path
