from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from trainer.engine.barrier import Barrier, send_at_once
from trainer.errors import PeersLostError


class FakeStore:
    """Counts as Paddle's store does; `broken` is what it then raises."""

    def __init__(self, broken: Exception | None = None) -> None:
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()
        self._broken = broken

    def add(self, key: str, value: int) -> int:
        if self._broken is not None:
            raise self._broken
        with self._lock:
            self._numbers[key] = self._numbers.get(key, 0) + value
            return self._numbers[key]


def test_nobody_leaves_a_meeting_before_all_have_come():
    store, log, lock = FakeStore(), [], threading.Lock()

    def attend(rank: int) -> None:
        barrier = Barrier(store, world_size=3, sleep=threading.Event().wait)
        for number in range(40):
            with lock:
                log.append((number, "come"))
            barrier.wait()
            with lock:
                log.append((number, "left"))

    ranks = [threading.Thread(target=attend, args=(rank,)) for rank in range(3)]
    for rank in ranks:
        rank.start()
    for rank in ranks:
        rank.join()
    for number in range(40):
        first_left = log.index((number, "left"))
        assert log[:first_left].count((number, "come")) == 3


@pytest.mark.parametrize(
    "error", [RuntimeError("reset"), ValueError("TCP receive error"), OSError(32, "pipe")]
)
def test_where_rank_0_is_gone_a_rank_ends_after_a_grace_in_which_it_may_be_killed(error):
    slept = []
    barrier = Barrier(FakeStore(error), world_size=2, sleep=slept.append)
    with pytest.raises(PeersLostError, match="rank 0 is gone"):
        barrier.wait()
    assert slept == [5.0]


def test_what_is_sent_leaves_at_once_and_nothing_else_is_touched(tmp_path):
    with (
        (tmp_path / "file").open("w") as file,
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
    ):
        before = sorted(Path("/proc/self/fd").iterdir())
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
        send_at_once()
        assert client.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        client.sendall(b"still open")
        file.write("as well")
        assert sorted(Path("/proc/self/fd").iterdir()) == before
