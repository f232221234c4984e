"""Where ranks wait for each other before they begin something together, for as long as it takes.

gloo gives up an exchange in which a peer is late by 30 s, and all ranks abort with signal 6 (kTimeoutDefault
in gloo/context.cc; Paddle 3.3.1 offers no way to set another). Weights that rank 0 downloads, a slow volume
or a busy machine cost more. So ranks meet at Paddle's store, which has no such limit; who hangs is the node
process' business.

How it works: the store holds one number. Each rank adds one when it comes, and goes on once the number is the
ranks times how often it has been here, so that nothing needs to be reset, and no rank can pass two meetings
while another one passes none. Ranks ask again after pauses that grow from 0.2 ms to 20 ms.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from trainer.errors import PeersLostError

_KEY = "ftlaunch/barrier"
_FIRST_PAUSE_S, _PAUSE_GROWTH, _MAX_PAUSE_S = 0.0002, 1.3, 0.02
_GRACE_S = 5.0  # a node process ends the peers of a dead rank within this, and says which one it was


class Store(Protocol):
    """What is used of `paddle.distributed.TCPStore`, a client of the store that node 0's process serves."""

    def add(self, key: str, value: int) -> int:
        """Add to a number that begins at 0 and return it."""
        ...


class Barrier:
    """One rank's part; all ranks meet equally often."""

    def __init__(self, store: Store, *, world_size: int, sleep: Callable[[float], None] = time.sleep) -> None:
        self._store = store
        self._world_size = world_size
        self._sleep = sleep
        self._come = 0

    def wait(self) -> None:
        """Return once all ranks have come.

        Raises:
            PeersLostError: Rank 0, which keeps the count, is gone.
        """
        self._come += self._world_size
        pause_s = _FIRST_PAUSE_S
        try:
            arrived = self._store.add(_KEY, 1)
            while arrived < self._come:
                self._sleep(pause_s)
                pause_s = min(pause_s * _PAUSE_GROWTH, _MAX_PAUSE_S)
                arrived = self._store.add(_KEY, 0)
        except (
            OSError,
            RuntimeError,
            ValueError,
        ) as error:  # which of them differs by what of the store failed
            self._sleep(_GRACE_S)
            raise PeersLostError("rank 0 is gone, where ranks meet") from error


def send_at_once() -> None:
    """Switch off, on all TCP connections of this process, the waiting for more to send (Nagle's algorithm).

    Paddle's store client sends each request in three pieces and does not do that by itself
    (paddle/phi/core/distributed/store/tcp_utils.cc, 3.3.1): a request would take 40 ms, as long as the other
    side delays its acknowledgement of the first piece.
    """
    for path in Path("/proc/self/fd").iterdir():
        descriptor = int(path.name)
        with contextlib.suppress(OSError):  # closed meanwhile, or no TCP
            if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
                continue
            with socket.socket(fileno=os.dup(descriptor)) as connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
