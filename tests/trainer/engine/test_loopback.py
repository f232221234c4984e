"""A store that listens on all interfaces answers this machine alone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from trainer.engine.loopback import find_listening, guard, keep_to_this_machine


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("0.0.0.0", 0)) as server:  # as Paddle's store does
        yield server


def own_address() -> str:
    """An address of this machine that is not loopback; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        try:
            asking.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no other address than loopback")
        return str(asking.getsockname()[0])


def test_a_filter_lets_in_loopback_and_drops_everything_else(listening):
    port, elsewhere = listening.getsockname()[1], own_address()
    socket.create_connection((elsewhere, port), timeout=2).close()  # so that the test can fail
    keep_to_this_machine(listening)
    for host in ("127.0.0.1", "127.0.0.2"):
        socket.create_connection((host, port), timeout=2).close()
    with pytest.raises(TimeoutError):
        socket.create_connection((elsewhere, port), timeout=0.5)


def test_the_socket_is_found_by_its_port_and_no_other(listening):
    port = listening.getsockname()[1]
    found = find_listening(port)
    assert found is not None
    with found:
        assert found.getsockname() == listening.getsockname()
    with socket.create_server(("127.0.0.1", 0)) as loopback:
        assert find_listening(loopback.getsockname()[1]) is None
    listening.close()
    assert find_listening(port) is None


def test_a_store_that_opens_later_is_guarded_once_it_listens():
    with socket.create_server(("0.0.0.0", 0)) as free:
        port = free.getsockname()[1]
    thread = guard(f"127.0.0.1:{port}")
    assert isinstance(thread, threading.Thread)
    with socket.create_server(("0.0.0.0", port)):
        thread.join(timeout=10)
        assert not thread.is_alive()
        socket.create_connection(("127.0.0.1", port), timeout=2).close()
        with pytest.raises(TimeoutError):
            socket.create_connection((own_address(), port), timeout=0.5)


@pytest.mark.parametrize("master", ["flowers-worker-0:36543", "10.0.0.7:36543", "", "127.0.0.1:x"])
def test_the_store_of_a_job_of_several_machines_is_left_alone(master):
    assert guard(master) is None
