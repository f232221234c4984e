"""Asks the API over connections of our own, many at once: decoded JSON, and logs as they are written.

Where the cluster is, and who we are to it, is decided where single requests have it from
(`launcher.kube.access`). Each request has a connection of its own, since most of them are logs that are
followed for hours; at most 64 are being made at a time, because an API server shakes hands one after the
other, and a thousand that wait would run into their time limits.

What an answer means for who follows logs is one of four kinds (`FailureKind`), and not what a status says by
itself: for half a minute after a cluster had trouble, 403 and 404 are no refusals either, because an API
server that has just come back knows neither roles nor custom resources for a moment (`judge`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode

from launcher.kube.access import Access
from launcher.kube.client import Client
from launcher.kube.errors import CertificateError
from launcher.kube.failures import MAX_ANSWER_BYTES, RequestContext, read_failure
from launcher.kube.http import Fields, Unpacker, format_request
from launcher.kube.remarks import log, log_answer
from launcher.kube.stream import READ_BYTES, ResponseStream
from launcher.kube.transport import PACKED, explain_silence, read_warnings, request_headers
from launcher.logs.source import End, FailureKind, LogRequest, Receiver, SourceError
from launcher.objects import PODS, Resource, is_object
from launcher.times import SETTLE_S, format_stamp
from trainer.protocol.untrusted import parse_json

Dial = Callable[[Callable[[], ResponseStream]], Awaitable[object]]
_AT_ONCE = 64
ANSWER_S = 20.0


def read_trouble(code: int) -> FailureKind:
    """Return what to do about an HTTP status from 300 up."""
    if code == 401:
        return FailureKind.LOGIN
    if code in (400, 404, 409, 410):
        return FailureKind.STALE
    return FailureKind.AGAIN if code in (408, 429) or code >= 500 else FailureKind.NEVER


class _Json:
    """Collects a whole answer."""

    def __init__(self) -> None:
        self.status, self.headers = 0, {}  # type: int, Mapping[str, str]
        self.pieces: list[bytes] = []
        self._unpacker: Unpacker | None = None
        self.ended: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self.status, self.headers = status, headers
        self._unpacker = Unpacker(headers, most_bytes=MAX_ANSWER_BYTES)

    def body(self, piece: bytes) -> None:
        assert self._unpacker is not None
        self.pieces.append(self._unpacker.take(piece))

    def done(self, error: Exception | None) -> None:
        try:
            if error is None and self.pieces and self._unpacker is not None:
                self._unpacker.end()
        except ValueError as cut:
            error = cut
        if not self.ended.done():
            self.ended.set_result(error)


class _Log:
    """Hands a log's answer on; a refusal's body is read for its reason."""

    def __init__(self, receiver: Receiver, judge: Callable[..., End], log_it: Callable[..., None]) -> None:
        self._receiver, self._judge, self._log_it = receiver, judge, log_it
        self._status, self._headers = 0, {}  # type: int, Mapping[str, str]
        self._refusal = b""

    def head(self, status: int, headers: Mapping[str, str]) -> None:
        self._status, self._headers = status, headers
        self._log_it(status=status)
        if status < 300:
            self._receiver.begin()

    def body(self, piece: bytes) -> None:
        if self._status < 300:
            self._receiver.take(piece)
        else:
            self._refusal = (self._refusal + piece)[:65536]

    def done(self, error: Exception | None) -> None:
        self._log_it(status="whole" if error is None else type(error).__name__)
        if self._status < 300 and error is None:
            self._receiver.end(End())
        else:
            self._receiver.end(self._judge(self._status, self._headers, self._refusal, error))


def read_end(call: RequestContext, status: int, headers: Mapping[str, str], body: bytes) -> End:
    """Return what a refusal means."""
    after = headers.get("retry-after", "")
    return End(
        failure=read_trouble(status),
        after_s=min(float(after), 300.0) if after.isascii() and after.isdigit() else 0.0,
        error=read_failure(call, code=status, body=body),
    )


class AsyncClient:
    """Asks one cluster, as one identity."""

    def __init__(
        self, client: Client, *, reconnect: Callable[[], Client] | None = None, dial: Dial | None = None,
        answer_s: float = ANSWER_S,
    ) -> None:  # fmt: skip
        """Bring the credentials of `client` along.

        Args:
            client: Of the cluster.
            reconnect: Reads the credentials afresh; None for the client's own way.
            dial: Connects a wire; None for TCP.
            answer_s: How long a connection may take, and how long a whole object's answer.
        """
        self._client, self._reconnect = client, reconnect
        self._access = client.access
        self._dial = dial or self._dial_tcp
        self._answer_s = answer_s
        self._gate = asyncio.Semaphore(_AT_ONCE)
        self._buffer = memoryview(bytearray(READ_BYTES))
        self._dialling: set[asyncio.Task[None]] = set()
        self._troubled_s = float("-inf")
        self._take_access()

    def _take_access(self) -> None:
        self._endpoint = self._access.endpoint
        self._context = self._endpoint.make_context()

    async def renew(self, refused: object) -> None:
        """See `LogClient.renew`; a plugin that is asked for them may take its time, and a person's."""
        if refused is not None and refused is not self._access:
            return  # what they were sent with was on its way when others were read
        log.info("the credentials are read again")
        self._client = await asyncio.to_thread(self._reconnect or self._client.renewed)
        self._access = self._client.access
        self._take_access()

    async def fetch(self, path: str, query: Mapping[str, str], call: RequestContext) -> dict[str, Any]:
        """Return an object.

        Raises:
            SourceError: The answer is none, or a refusal.
        """
        listener, began_s, judge = _Json(), time.monotonic(), partial(self.judge, call, self._access)
        found: object = None
        stream = self._send(path, query, listener, more=PACKED)
        try:
            cut: Exception | None = await asyncio.wait_for(listener.ended, self._answer_s)
            read_warnings(listener.headers)
            if listener.status >= 300:
                body = b"".join(listener.pieces)
                raise SourceError(judge(listener.status, listener.headers, body, None))
            found = (
                None
                if cut is not None
                else parse_json(b"".join(listener.pieces), where=str(call), max_bytes=MAX_ANSWER_BYTES)
            )
        except (ValueError, asyncio.TimeoutError) as error:
            cut = error
        finally:
            stream.close()
            status = listener.status or type(cut).__name__
            log_answer("GET", path, query, status=status, began_s=began_s)
        if cut is not None or not is_object(found):
            why = cut or ValueError(f"{found!r:.80}")
            raise SourceError(judge(0, {}, b"", why)) from cut
        return found

    def stream(
        self, request: LogRequest, receiver: Receiver, *, namespace: str, container: str
    ) -> ResponseStream:
        """Ask for a log."""
        query = {"container": container, "timestamps": "true"}
        if request.previous:
            query["previous"] = "true"
        if request.follow:
            query["follow"] = "true"
        if request.since_s is not None:
            query["sinceTime"] = f"{format_stamp(max(0, request.since_s) * 1_000_000_000)[:19].decode()}Z"
        if request.tail_lines is not None:
            query["tailLines"] = str(request.tail_lines)
        pod = quote(request.container.pod, safe="")
        path = f"/api/v1/namespaces/{quote(namespace, safe='')}/pods/{pod}/log"
        call = self.describe(namespace=namespace, name=request.container.pod, subresource="log")
        log_it = partial(log_answer, "GET", path, query, began_s=time.monotonic())
        return self._send(path, query, _Log(receiver, partial(self.judge, call, self._access), log_it))

    def judge(  # noqa: PLR0917 - the last four are an answer's
        self,
        call: RequestContext,
        sent: Access,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        error: Exception | None,
    ) -> End:
        """Say what to do about an answer that is none, or a refusal, to what was `sent`."""
        now_s = asyncio.get_running_loop().time()
        if status < 300:
            end = self._explain_silence(call, error or ConnectionError("cut"))
        else:
            end = read_end(call, status, headers, body)
        if end.failure is FailureKind.LOGIN:
            return replace(end, refused=sent)
        if end.failure is FailureKind.AGAIN:
            self._troubled_s = now_s
        elif now_s - self._troubled_s < SETTLE_S and status in (403, 404):
            return replace(end, failure=FailureKind.AGAIN)
        return end

    def _explain_silence(self, call: RequestContext, error: Exception) -> End:
        if isinstance(error, asyncio.TimeoutError):
            error = TimeoutError(f"no word for {self._answer_s:g} s")
        silence = explain_silence(error, call=call, endpoint=self._endpoint)
        # CA and certificates are renewed as tokens are
        failure = FailureKind.LOGIN if isinstance(silence, CertificateError) else FailureKind.AGAIN
        return End(failure=failure, error=silence)

    def describe(
        self, *, namespace: str, name: str, resource: Resource = PODS, subresource: str = ""
    ) -> RequestContext:
        """Say in RBAC's words what is asked; for a list without a name."""
        context = self._client.context
        return RequestContext(
            verb="get" if name else "list", resource=resource, namespace=namespace, name=name,
            subresource=subresource, access=f"context {context!r}" if context else "this service account",
            login=self._access.login,
        )  # fmt: skip

    def _send(
        self, path: str, query: Mapping[str, str], listener: _Json | _Log, *, more: Fields = ()
    ) -> ResponseStream:
        headers = (*self._endpoint.headers(), *request_headers(self._access.identity.fields()), *more)
        request = format_request("GET", self._endpoint.target(f"{path}?{urlencode(query)}"), headers=headers)
        stream = ResponseStream(
            request, listener, context=self._context, server_name=self._endpoint.server_name,
            buffer=self._buffer,
        )  # fmt: skip
        task = asyncio.get_running_loop().create_task(self._connect(stream))
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)
        return stream

    async def _connect(self, stream: ResponseStream) -> None:
        async with self._gate:
            try:
                await asyncio.wait_for(self._dial(lambda: stream), self._answer_s)
            except (OSError, asyncio.TimeoutError) as error:
                stream.fail(error)

    async def _dial_tcp(self, make: Callable[[], ResponseStream]) -> None:
        loop, endpoint = asyncio.get_running_loop(), self._endpoint
        if endpoint.proxy is None:
            await loop.create_connection(make, endpoint.host, endpoint.port)
            return
        sock = await asyncio.to_thread(endpoint.dial, timeout_s=self._answer_s)
        sock.setblocking(False)
        await loop.create_connection(make, sock=sock)
