"""Bodies that came packed, unpacked piece by piece up to a limit: a thousand bytes can hold a megabyte."""

from __future__ import annotations

import zlib
from collections.abc import Mapping


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
