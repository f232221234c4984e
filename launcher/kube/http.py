"""HTTP/1.1 as both clients of this room speak it: a request to bytes, one answer from bytes. Pure.

A parser of our own because following logs is what this program does most: it reads hundreds of streams on
one core, and hands a piece of many chunks on as one piece. It is strict, as RFC 9112 asks of whoever may be
lied to: what a strict reader refuses is refused here, and where the bytes are cut into pieces makes no
difference. How it works: until the blank line all bytes are kept (`_rest`), then the head decides which of
three bodies follows (section 6.3 of the RFC): chunks, a counted body, or all until the connection ends.
Chunks are read in a loop over the piece at hand; what cannot be understood yet, such as half of a size
line, waits in `_rest` for the next one.

Raises ValueError for what is no HTTP.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping

_HEAD_BYTES = 65536
_FIELDS = 256
_SIZE_LINE_BYTES = 4096  # nobody uses chunk extensions
_INTERIM = 16
"""Answers such as `100 Continue` that may come before the real one; a server could send them for ever."""

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9][0-9])(?: [^\x00-\x08\x0a-\x1f\x7f]*)?")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\x00\r\n]*?)[ \t]*")
_LENGTH = re.compile(rb"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[^\r\n]*)?\r\n")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x20-\x7e\x80-\xff\t]*")
_TARGET = re.compile(r"[\x21-\x7e]+")
_BEGINNING = b"HTTP/1."


Fields = tuple[tuple[str, str], ...]
"""Headers to send: pairs, because `Impersonate-Group` stands there once for each group."""


class Headers(Mapping[str, str]):
    """An answer's fields, looked up in any case of letters; several of one name are joined by commas."""

    def __init__(self, fields: Iterable[tuple[str, str]] = ()) -> None:
        self._fields = tuple((name.lower(), value) for name, value in fields)

    def __getitem__(self, name: str) -> str:
        values = self.every(name)
        if not values:
            raise KeyError(name)
        return ", ".join(values)

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._fields))

    def __len__(self) -> int:
        return len(dict(self._fields))

    def every(self, name: str) -> tuple[str, ...]:
        """Return the values of all fields of a name, each as it came."""
        return tuple(value for found, value in self._fields if found == name.lower())


def format_request(
    method: str, target: str, *, headers: Iterable[tuple[str, str]], body: bytes | None = None
) -> bytes:
    """Return a request's bytes.

    Args:
        method: Such as GET.
        target: Path and query, or a whole URL for a proxy; already quoted.
        headers: In this order; those of one name stay apart. `Content-Length` is added where there is a body.
        body: What is sent with it.

    Raises:
        ValueError: A line break or another control character would end a line early (RFC 9112, 11.1), and let
            what stands in a name or a token write headers of its own. The value is not shown: it may be
            secret.
    """
    if not _NAME.fullmatch(method) or not _TARGET.fullmatch(target):
        raise ValueError("a request's line with a space or a control character in it")
    lines = [f"{method} {target} HTTP/1.1"]
    for name, value in headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError(f"a header {name[:40]!r} with a line break or a control character in it")
        lines.append(f"{name}: {value}")
    if body is not None:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")


class ResponseParser:
    """Takes an answer's bytes, cut anywhere. Interim answers (1xx) are passed over.

    Attributes:
        status: HTTP status, 0 before the head is complete.
        headers: The answer's fields.
        is_done: The body is complete.
        can_go_on: It has ended in such a way that the connection can bring another answer.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers = Headers()
        self.is_done = False
        self.can_go_on = False
        self._rest = b""
        self._left: int | None = None  # of the counted body, or of the chunk that is being read
        self._is_chunked = self._is_at_chunk_end = False
        self._stays = False
        self._interim = 0

    def take(self, data: bytes) -> bytes:
        """Return what of the body the data brings."""
        data = self._rest + data if self._rest else data
        self._rest = b""
        while not self.status:
            if not data.startswith(_BEGINNING) and not _BEGINNING.startswith(data):
                raise ValueError(f"no HTTP: {data[:40]!r}")
            head, mark, data = data.partition(b"\r\n\r\n")
            if len(head) > _HEAD_BYTES:
                raise ValueError("a head of more than 64 KiB")
            if not mark:
                self._rest = head
                return b""
            self._read_head(head)
        if self.is_done:
            self.can_go_on = self.can_go_on and not data
            return b""
        if self._is_chunked:
            return self._take_chunks(data)
        if self._left is None:
            return data
        body, self._left = data[: self._left], self._left - len(data)
        if self._left <= 0:
            self.is_done = True
            self.can_go_on = self._stays and self._left == 0
        return body

    def end(self) -> bool:
        """The connection has ended: say whether the answer is complete."""
        if self.status and not self._is_chunked and self._left is None:
            self.is_done = True
        return self.is_done

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.split(b"\r\n")
        found = _STATUS_LINE.fullmatch(first)
        if found is None:
            raise ValueError(f"a status line {first[:40]!r}")
        if len(lines) > _FIELDS:
            raise ValueError(f"a head of more than {_FIELDS} fields")
        fields = []
        for line in lines:
            field = _FIELD.fullmatch(line)  # neither folded nor with a space before its colon, nor a bare LF
            if field is None:
                raise ValueError(f"a field {line[:40]!r}")
            fields.append((field[1].decode("ascii").lower(), field[2].decode("latin-1")))
        status = int(found[2])
        if status < 200:
            self._interim += 1
            if status == 101 or self._interim > _INTERIM:
                raise ValueError(f"an interim answer {status} that nobody asked for, or too many of them")
            return
        self.status, self.headers = status, Headers(fields)
        self._stays = found[1] == b"1" and "close" not in self.headers.get("connection", "").lower()
        self._choose_body()

    def _choose_body(self) -> None:
        codings, lengths = self.headers.every("transfer-encoding"), self.headers.every("content-length")
        if self.status in (204, 304):  # RFC 9110, 6.4.1: never with content
            self.is_done = True
            self.can_go_on = self._stays
        elif codings:
            if codings != ("chunked",) or lengths:  # RFC 9112, 6.3: both may be an attempt to smuggle
                raise ValueError(f"a transfer-encoding {codings!r:.60} with content-length {lengths!r:.60}")
            self._is_chunked, self._left = True, 0
        elif lengths:
            if len(set(lengths)) > 1 or not _LENGTH.fullmatch(lengths[0].encode("latin-1")):
                raise ValueError(f"a content-length {lengths!r:.60}")
            self._left = int(lengths[0])
            self.is_done = self._left == 0
            self.can_go_on = self.is_done and self._stays

    def _take_chunks(self, data: bytes) -> bytes:
        body, at, end = [], 0, len(data)
        left, is_at_chunk_end = self._left or 0, self._is_at_chunk_end
        while at < end:
            if left:
                piece = data[at : at + left]
                body.append(piece)
                at += len(piece)
                left -= len(piece)
                is_at_chunk_end = not left
            elif is_at_chunk_end:
                line_end = data[at : at + 2]
                if len(line_end) < 2:
                    self._rest = line_end
                    break
                if line_end != b"\r\n":
                    raise ValueError(f"a chunk that ends with {line_end!r}")
                at += 2
                is_at_chunk_end = False
            else:
                size = _CHUNK_SIZE.match(data, at)
                if size is None:
                    self._rest = self._begun_size_line(data[at:])
                    break
                at = size.end()
                if at - size.start() > _SIZE_LINE_BYTES:
                    raise ValueError("a chunk's size of more than 4 KiB")
                left = int(size[1], 16)
                if not left:
                    self.is_done = True
                    # trailers are not used by anybody; a connection that has some is not used again
                    self.can_go_on = self._stays and data[at:] == b"\r\n"
                    break
        self._left, self._is_at_chunk_end = left, is_at_chunk_end
        return b"".join(body) if len(body) != 1 else body[0]

    @staticmethod
    def _begun_size_line(data: bytes) -> bytes:
        """Return what may yet become a chunk's size."""
        if b"\r\n" in data or len(data) > _SIZE_LINE_BYTES:
            raise ValueError(f"a chunk's size {data[:40]!r}")
        return data


class TooMuchError(ValueError):
    """A body is larger than whoever reads it has room for."""


class Unpacker:
    """Takes a body's pieces, packed or not, and counts what they hold."""

    def __init__(self, headers: Mapping[str, str], *, most_bytes: int) -> None:
        """Read from an answer's headers whether it is packed.

        Raises:
            ValueError: It is packed in a way that nobody asked for.
        """
        coding = headers.get("content-encoding", "identity").lower()
        if coding not in ("identity", "gzip"):
            raise ValueError(f"expected gzip, got the content-encoding {coding[:40]!r}")
        self._gzip = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16) if coding == "gzip" else None
        self._most_bytes, self._left = most_bytes, most_bytes

    def take(self, piece: bytes) -> bytes:
        """Return what a piece holds.

        Raises:
            TooMuchError: All in all it is more than there is room for.
            ValueError: It is no gzip.
        """
        if self._gzip is not None:
            if self._gzip.eof:
                raise ValueError("expected the end of the packed body, got more")
            try:  # never more than one byte too many is unpacked, whatever the piece would make
                piece = self._gzip.decompress(piece, self._left + 1)
            except zlib.error as error:
                raise ValueError(f"expected gzip, got {error}") from error
        self._left -= len(piece)
        if self._left < 0:
            raise TooMuchError(f"a body of more than {self._most_bytes >> 20} MiB")
        return piece

    def end(self) -> None:
        """Check that nothing is missing.

        Raises:
            ValueError: The packed body was cut.
        """
        if self._gzip is not None and not self._gzip.eof:
            raise ValueError("a packed body that was cut")
