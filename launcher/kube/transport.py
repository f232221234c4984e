"""Requests to an API server: what goes into them, what their answers mean, tokens that are renewed."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import quote, urlencode

from launcher.errors import UnreachableError
from launcher.kube.access import Access, Reload
from launcher.kube.connections import ExchangeError, HttpRequest, HttpResponse
from launcher.kube.endpoint import Endpoint
from launcher.kube.errors import NoAnswerError
from launcher.kube.failures import MAX_ANSWER_BYTES, RequestContext, read_distrust, read_failure, unfold
from launcher.kube.http import Fields, Headers
from launcher.kube.proxy import ProxyError
from launcher.kube.remarks import log, log_answer, remark
from launcher.objects import KubeObject, Resource, is_object
from trainer.protocol.printable import printable
from trainer.protocol.untrusted import parse_json

JSON, MERGE_PATCH = "application/json", "application/merge-patch+json"
METADATA = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1, {JSON}"
METADATA_LIST = METADATA.replace("Metadata;", "MetadataList;")
"""Of each object the metadata alone (kubernetes.io, "Kubernetes API Concepts", metadata-only fetches)."""
PACKED: Fields = (("Accept-Encoding", "gzip"),)
"""The API server packs answers from 128 KiB on, lists to a thirteenth (kubernetes v1.34.7,
k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/writers.go)."""
ANYTHING = f"{JSON}, */*"
_UNKNOWN_USER = 401
_WARNING_CHARS = 8192


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
class Response:
    """What came back.

    Attributes:
        document: The body, decoded.
        headers: Looked up in any case of letters.
    """

    document: KubeObject
    headers: Mapping[str, str]


class Transport:
    """One cluster, as one identity."""

    def __init__(self, access: Access, *, timeouts: Timeouts, reload: Reload) -> None:
        """`reload` reads the access anew, when the cluster no longer knows us."""
        self._timeouts = timeouts
        self._reload = reload
        self._use(access)

    def _use(self, access: Access) -> None:
        self._access = access
        self._pool = access.make_pool()

    @property
    def access(self) -> Access:
        """How the cluster is reached now, and as whom; renewed where that has run out."""
        if not self._access.identity.holds:
            log.info("the credentials have run out: they are read again")
            self._use(self._reload(None))
        return self._access

    @property
    def authorization(self) -> str:
        """What was last said of us, renewed or not; empty where it is nothing."""
        return dict(self._access.identity.fields()).get("Authorization", "")

    def fetch(self, request: Request, call: RequestContext) -> Response:
        """Send a request whose answer is an object.

        Raises:
            NoAnswerError: None came, or something else did.
            LaunchError: It is refused; see `launcher.kube.failures`.
        """
        return self.fetch_sized(request, call)[0]

    def fetch_sized(self, request: Request, call: RequestContext) -> tuple[Response, int]:
        """As `fetch`, with how many bytes the answer had."""
        answer = self.send(request, call)
        decoded: object = None
        with suppress(ValueError):
            decoded = parse_json(answer.data, where=str(call), max_bytes=MAX_ANSWER_BYTES)
        if not is_object(decoded):
            raise NoAnswerError(
                where=call,
                expected="a Kubernetes object",
                got=f"{answer.data[:80]!r}",
                fix=f"check that {call.access} names a Kubernetes API server",
            )
        return Response(document=decoded, headers=answer.headers), len(answer.data)

    def send(
        self, request: Request, call: RequestContext, *, most_bytes: int = MAX_ANSWER_BYTES
    ) -> HttpResponse:
        """Send a request and return the answer; raises as `fetch` does.

        Args:
            request: What is sent.
            call: The same in words.
            most_bytes: Of the answer.
        """
        shown = self.access.identity.fields()
        answer = self._send(request, call, shown, most_bytes=most_bytes)
        if answer.status == _UNKNOWN_USER:  # nothing was done; a token may have run out before its time
            log.info("401: the credentials are read again, and the request is sent once more")
            self._use(self._reload(dict(shown).get("Authorization", "")))
            shown = self._access.identity.fields()
            answer = self._send(request, call, shown, most_bytes=most_bytes)
        if answer.status >= 300:
            raise read_failure(call, code=answer.status, body=answer.data, headers=answer.headers)
        return answer

    @contextmanager
    def open(self, request: Request, call: RequestContext, *, total_s: float) -> Iterator[HttpResponse]:
        """Send a request, and hand on the answer while it comes; raises as `fetch` does.

        Args:
            request: What is sent.
            call: The same in words.
            total_s: Until its last byte.
        """
        answer = self._send(request, call, self.access.identity.fields(), total_s=total_s)
        try:
            if answer.status >= 300:
                raise read_failure(call, code=answer.status, body=answer.data, headers=answer.headers)
            yield answer
        finally:
            log.debug("%s %s: the answer has ended", request.method, request.path)
            answer.close()  # what is left of it would block the next request on this connection

    def _send(
        self,
        request: Request,
        call: RequestContext,
        shown: Fields,
        *,
        total_s: float | None = None,
        most_bytes: int = MAX_ANSWER_BYTES,
    ) -> HttpResponse:
        """Send a request; with `total_s` the answer is handed on while it comes."""
        target = f"{request.path}?{urlencode(request.query)}" if request.query else request.path
        payload = None if request.body is None else json.dumps(request.body).encode()
        whole = total_s is None
        http_request = HttpRequest(
            request.method,
            target,
            body=payload,
            headers=(
                *request_headers(shown, accept=request.accept),
                *((("Content-Type", request.content_type),) if payload is not None else ()),
                *(PACKED if whole else ()),
            ),
            connect_s=self._timeouts.connect_s,
            read_s=self._timeouts.read_s if total_s is None else total_s,
            whole=whole,
            total_s=total_s,
            most_bytes=most_bytes,
        )
        began_s = time.monotonic()
        try:
            answer = self._pool.send(http_request)
        except ExchangeError as error:
            kind = type(error.__cause__ or error).__name__
            log_answer(request.method, request.path, request.query, status=kind, began_s=began_s)
            raise explain_silence(error, call=call, endpoint=self._access.endpoint) from error
        log_answer(request.method, request.path, request.query, status=answer.status, began_s=began_s)
        read_warnings(answer.headers)
        return answer


def request_headers(shown: Fields, *, accept: str = ANYTHING) -> Fields:
    """Return the headers of a request, without `Host`; `shown` says who we are."""
    return (("User-Agent", "ftlaunch"), ("Accept", accept), *shown)


def explain_silence(error: BaseException, *, call: RequestContext, endpoint: Endpoint) -> UnreachableError:
    """Return what it means that no usable answer came, with what to do."""
    server = endpoint.url
    said = str(error) if isinstance(error, ExchangeError) else f"{type(error).__name__}: {error}"
    distrust = read_distrust(error, where=str(call), server=server, access=call.access)
    if distrust is not None:
        return distrust
    for found in unfold(error):
        if isinstance(found, ProxyError):
            return NoAnswerError(
                where=call, expected=f"an answer from {server}", got=f"none: {found} ({call.access})"
            )
    way = f" through the proxy {endpoint.proxy}" if endpoint.proxy is not None else ""
    return NoAnswerError(
        where=call,
        expected=f"an answer from {server}{way}",
        got=printable(said),
        fix=f"check that the cluster of {call.access} runs and can be reached from here",
    )


def read_warnings(headers: Mapping[str, str]) -> None:
    """Say what the API server warns of, each once: deprecated kinds, and what admission plugins say.

    As kubectl does (kubernetes.io, "Warning: Helpful Warnings Ahead"): RFC 7234's `299 - "text"`.
    """
    for value in headers.every("warning") if isinstance(headers, Headers) else ():
        for found in re.finditer(r'299 \S+ "((?:[^"\\]|\\.)*)"', value[:_WARNING_CHARS]):
            text = re.sub(r"\\(.)", r"\1", found[1])
            remark(f"the cluster warns: {printable(text.encode('latin-1').decode('utf-8', 'replace'))}")


def path_of(resource: Resource, *, namespace: str, name: str = "") -> str:
    """Return where the API keeps an object or a list; an empty namespace is none, or all of them."""
    root = f"/apis/{resource.group}" if resource.group else "/api"
    place = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    path = f"{root}/{resource.version}{place}/{resource.plural}"
    return f"{path}/{quote(name, safe='')}" if name else path
