from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from launcher.logs.recording import Recording
from tests.fakes.log_server import FakeLogServer
from tests.fakes.virtual_time import VirtualTimeLoop
from tests.launcher.logs.schedules import Viewer, misfit


@pytest.fixture
def loop():
    loop = VirtualTimeLoop()
    asyncio.set_event_loop(loop)
    yield loop
    loop.close()
    asyncio.set_event_loop(None)


def read(loop: VirtualTimeLoop, viewer: Viewer) -> list[bytes]:
    loop.run_until_complete(asyncio.wait_for(viewer.follower.run(), 100.0))
    viewer.follower.recording.close()
    return viewer.of(0)


def act(loop: VirtualTimeLoop, change, *arguments) -> None:
    async def within_the_loop() -> None:
        change(*arguments)

    loop.run_until_complete(within_the_loop())


def test_what_was_read_is_shown_again_when_the_pods_are_gone(loop, tmp_path: Path):
    server = FakeLogServer(nodes=1, seed=1)
    act(loop, server.write, 0, 30)
    first = read(loop, Viewer(server, seed=1, folder=tmp_path, follow=False))
    act(loop, server.restart, 0)
    act(loop, server.write, 0, 5)
    second = read(loop, Viewer(server, seed=1, folder=tmp_path, follow=False))
    server.pods.clear()
    server.is_over = True
    third = read(loop, Viewer(server, seed=1, folder=tmp_path, follow=False))
    assert len(first) == 30
    assert second[:30] == first
    assert third == second
    assert misfit(server, 0, third) == ""
    assert Recording(tmp_path).last_attempt() == 1


def test_what_is_recorded_is_not_lost_to_rotation(loop, tmp_path: Path):
    server = FakeLogServer(nodes=1, seed=2)
    act(loop, server.write, 0, 20)
    first = read(loop, Viewer(server, seed=1, folder=tmp_path, follow=False))
    act(loop, lambda: server.rotate(0, is_noticed=True))
    act(loop, server.write, 0, 5)
    assert read(loop, Viewer(server, seed=1, folder=tmp_path, follow=False))[:20] == first
    assert misfit(server, 0, Viewer(server, seed=1).of(0)) != ""


def test_only_one_process_records_at_a_time(loop, tmp_path: Path):
    server = FakeLogServer(nodes=1, seed=3)
    act(loop, server.write, 0, 3)
    one = Viewer(server, seed=1, folder=tmp_path, follow=False)
    loop.run_until_complete(asyncio.wait_for(one.follower.run(), 100.0))
    other = Viewer(server, seed=1, folder=tmp_path, follow=False)
    loop.run_until_complete(asyncio.wait_for(other.follower.run(), 100.0))
    other.follower.recording.close()
    one.follower.recording.close()
    assert one.of(0) == other.of(0)
    (path,) = tmp_path.glob("*.log")
    assert path.read_bytes().count(b"\n") == 3
