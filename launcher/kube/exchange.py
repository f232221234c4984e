"""One request over HTTP and its answer, whoever keeps the connections.

`launcher.kube.connections` keeps those of a plain kubeconfig; for all others the Kubernetes library's urllib3
does, which knows proxies, too. Only those import it: that takes a twentieth of a submit.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Protocol

PIECE = 65536
"""At most so many bytes at once of an answer that is read while it comes."""


class ExchangeError(Exception):
    """No answer, or one that was cut off. Its text says which error it was; its cause is that error."""

    @classmethod
    def of(cls, error: BaseException) -> ExchangeError:
        """Name an error with its kind."""
        return cls(f"{type(error).__name__}: {error}")


class Sent(NamedTuple):
    """A request.

    Attributes:
        method: Such as `GET`.
        target: Path and query, below what the server's URL has of a path.
        body: What is sent with it.
        headers: By name.
        connect_s: Until the connection stands, TLS included.
        read_s: Between two pieces of the answer.
        whole: Wait for the body; else it is read through `stream`, and the answer must be closed.
    """

    method: str
    target: str
    body: bytes | None
    headers: Mapping[str, str]
    connect_s: float
    read_s: float
    whole: bool


class Answer(Protocol):
    """What a server sends back.

    Attributes:
        status: HTTP status.
        headers: Looked up in any case of letters.
        data: The whole body; waits for what has not come yet.
    """

    @property
    def status(self) -> int: ...  # noqa: D102
    @property
    def headers(self) -> Mapping[str, str]: ...  # noqa: D102
    @property
    def data(self) -> bytes: ...  # noqa: D102

    def stream(self) -> Iterator[bytes]:
        """Hand the body on piece by piece, each as soon as it is there.

        Raises:
            ExchangeError: It was cut off.
        """

    def close(self) -> None:
        """Have no more of it, and keep nothing that would stand in the way of the next request."""


class Pool(Protocol):
    """Connections to one server, which are used again. Many threads may ask."""

    def exchange(self, sent: Sent) -> Answer:
        """Send a request, once, and return its answer; a redirection is one, too.

        Raises:
            ExchangeError: None came.
        """


class LibraryPool:
    """The pool of the Kubernetes library, which is urllib3's."""

    def __init__(self, manager: Any, *, server: str) -> None:
        self._manager, self._server = manager, server.rstrip("/")

    def exchange(self, sent: Sent) -> Answer:
        """See `Pool.exchange`."""
        import urllib3

        try:
            answer = self._manager.request(
                sent.method,
                f"{self._server}{sent.target}",
                body=sent.body,
                headers=sent.headers,
                retries=False,  # whether to ask again is the caller's decision
                redirect=False,
                timeout=urllib3.Timeout(connect=sent.connect_s, read=sent.read_s),
                preload_content=sent.whole,
            )
        except urllib3.exceptions.HTTPError as error:
            raise ExchangeError.of(error) from error
        return _LibraryAnswer(answer)


class _LibraryAnswer:
    def __init__(self, answer: Any) -> None:
        self._answer = answer
        self.status: int = answer.status
        self.headers: Mapping[str, str] = answer.headers

    @property
    def data(self) -> bytes:
        return bytes(self._answer.data)

    def stream(self) -> Iterator[bytes]:
        import urllib3

        try:
            yield from self._answer.stream(PIECE)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise ExchangeError.of(error) from error

    def close(self) -> None:
        self._answer.close()
