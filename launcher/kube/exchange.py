"""One request over HTTP and its answer, whoever keeps the connections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol

Fields = tuple[tuple[str, str], ...]
"""Headers to send: pairs, because `Impersonate-Group` stands there once for each group."""

PIECE = 65536
"""At most so many bytes at once of an answer that is read while it comes."""


class ExchangeError(Exception):
    """No answer, or one that was cut off. Its text says which error it was; its cause is that error."""

    @classmethod
    def of(cls, error: BaseException) -> ExchangeError:
        """Name an error with its kind."""
        return cls(f"{type(error).__name__}: {error}")


class HttpRequest(NamedTuple):
    """A request.

    Attributes:
        method: Such as `GET`.
        target: Path and query, below what the server's URL has of a path.
        body: What is sent with it.
        headers: Names and values.
        connect_s: Until the connection stands, TLS included.
        read_s: Between two pieces of the answer.
        whole: Wait for the body; else it is read through `stream`, and the answer must be closed.
        total_s: Until the last piece of an answer that is read through `stream`; None for no end.
        most_bytes: Of a whole answer's body, unpacked. More is refused.
    """

    method: str
    target: str
    body: bytes | None
    headers: Fields
    connect_s: float
    read_s: float
    whole: bool
    total_s: float | None = None
    most_bytes: int = 64 << 20


class HttpResponse(Protocol):
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

    def send(self, request: HttpRequest) -> HttpResponse:
        """Send a request, once, and return its answer; a redirection is one, too.

        Raises:
            ExchangeError: None came.
        """
