"""What a container writes, on its way from a pipe into its log."""

from __future__ import annotations

import os
import select
import time
from pathlib import Path

from launcher.backends.supervised.podlog import PodLog

_READ_BYTES = 1 << 16


class Output:
    """The reading end of a pipe, and the log that its bytes go to.

    Attributes:
        pipe: Readable where there is something to read, and at its end.
        taken_bytes: Bytes that came out of the container so far, those in the log before included.
    """

    def __init__(self, pipe: int, *, log: Path, known_bytes: int = 0) -> None:
        """`known_bytes` are in the log already, from an earlier reader of the same container."""
        os.set_blocking(pipe, False)
        self.pipe = pipe
        self.taken_bytes = known_bytes
        self._skip_bytes = 0
        self._log = PodLog(log)

    @property
    def lost_bytes(self) -> int:
        """Bytes of the log that could not be written."""
        return self._log.lost_bytes

    def begin_again(self) -> None:
        """Be told that all output comes once more from its beginning; what was taken is passed over."""
        while select.select([self.pipe], [], [], 0)[0] and self.read():
            pass
        self._skip_bytes = self.taken_bytes

    def read(self) -> bool:
        """Move what is there to the log; False at the pipe's end."""
        try:
            data = os.read(self.pipe, _READ_BYTES)
        except BlockingIOError:
            return True
        fresh = data[self._skip_bytes :]
        self._skip_bytes -= len(data) - len(fresh)
        self.taken_bytes += len(fresh)
        self._log.take(fresh)
        return bool(data)

    def drain(self, *, within_s: float) -> None:
        """Move what is left to the log: up to the pipe's end, for at most `within_s`."""
        until_s = time.monotonic() + within_s
        while (left_s := until_s - time.monotonic()) > 0:
            ready, _, _ = select.select([self.pipe], [], [], left_s)
            if not ready or not self.read():
                break

    def close(self) -> None:
        """Close pipe and log."""
        os.close(self.pipe)
        self._log.close()
