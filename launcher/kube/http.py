"""One HTTP/1.1 answer from bytes: status, headers, and a body that is chunked, counted or ends with the line.

Pure; raises ValueError for what is no HTTP.
"""

from __future__ import annotations


class ResponseParser:
    """Takes an answer's bytes, cut anywhere.

    Attributes:
        status: HTTP status, 0 before the head is complete.
        headers: By lower-case name.
        is_done: The answer is complete.
    """

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.is_done = False
        self._rest = b""
        self._left: int | None = None  # of the counted body, or of the chunk that is being read
        self._is_chunked = False

    def take(self, data: bytes) -> bytes:
        """Return what of the body the data brings."""
        data = self._rest + data if self._rest else data
        self._rest = b""
        if not self.status:
            head, mark, data = data.partition(b"\r\n\r\n")
            if not mark:
                if len(head) > 65536:
                    raise ValueError("a head of more than 64 KiB")
                self._rest = head
                return b""
            self._read_head(head)
        if self._is_chunked:
            return self._take_chunks(data)
        if self._left is None:
            return data
        body, self._left = data[: self._left], max(0, self._left - len(data))
        self.is_done = self._left == 0
        return body

    def end(self) -> bool:
        """The connection has ended: say whether the answer is complete."""
        if self.status and not self._is_chunked and self._left is None:
            self.is_done = True
        return self.is_done

    def _read_head(self, head: bytes) -> None:
        first, *lines = head.decode("latin-1").split("\r\n")
        version, _, rest = first.partition(" ")
        if not version.startswith("HTTP/1."):
            raise ValueError(f"{first[:40]!r}")
        self.status = int(rest[:3])
        for line in lines:
            name, _, value = line.partition(":")
            self.headers[name.strip().lower()] = value.strip()
        self._is_chunked = "chunked" in self.headers.get("transfer-encoding", "").lower()
        if not self._is_chunked and "content-length" in self.headers:
            self._left = int(self.headers["content-length"])
            self.is_done = self._left == 0

    def _take_chunks(self, data: bytes) -> bytes:
        body, at, end = [], 0, len(data)
        left = self._left or 0
        while at < end and not self.is_done:
            if left > 2:  # of a chunk and its end of line
                piece = data[at : at + left - 2]
                body.append(piece)
                at += len(piece)
                left -= len(piece)
            elif left:
                skipped = min(left, end - at)
                at += skipped
                left -= skipped
            else:
                mark = data.find(b"\r\n", at)
                if mark < 0:
                    self._rest = data[at:]
                    break
                size = int(data[at:mark].partition(b";")[0], 16)
                at = mark + 2
                self.is_done = size == 0
                left = size + 2 if size else 0
        self._left = left
        return b"".join(body) if len(body) != 1 else body[0]
