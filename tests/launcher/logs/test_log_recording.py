from __future__ import annotations

import asyncio
import resource
from pathlib import Path

from launcher.logs.lines import to_kubelet_form
from launcher.logs.recording import Recording
from launcher.times import format_stamp
from tests.fakes.log_server import JOB, FakeLogServer
from tests.fakes.virtual_time import VirtualTimeLoop
from tests.launcher.logs.schedules import Viewer, misfit


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


def test_a_long_record_is_shown_again_a_piece_at_a_time(loop, tmp_path: Path):
    """Nothing is read ahead of a slow terminal, however much was recorded."""
    count = 5000
    for node in (0, 1):
        lines = [b"%s [a1 r%d] %06d" % (format_stamp(number), node, number) for number in range(count)]
        (tmp_path / f"{node}.1.{JOB}-worker-{node}.uid.0.log").write_bytes(to_kubelet_form(lines))
    server = FakeLogServer(nodes=0, seed=5)
    server.is_over = True
    viewer = Viewer(server, seed=1, folder=tmp_path, follow=False)
    waiting, add = [], viewer.follower.add

    def spy(stream, items):
        add(stream, items)
        waiting.append(stream.waiting_bytes)

    viewer.follower.add = spy
    server.given = {0: [], 1: []}
    assert read(loop, viewer) == viewer.of(1) == [b"%06d" % number for number in range(count)]
    assert max(waiting) < 96 * 1024


def test_a_disk_that_takes_nothing_is_told_once_and_the_showing_goes_on(loop, tmp_path: Path):
    server = FakeLogServer(nodes=2, seed=6)
    for node in (0, 1):
        act(loop, server.write, node, 50)
    viewer = Viewer(server, seed=1, folder=tmp_path, follow=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        task = loop.create_task(viewer.follower.run())
        loop.pass_time(5.0)
        task.cancel()
        loop.run_until_complete(asyncio.wait({task}))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert len(viewer.of(0)) == len(viewer.of(1)) == 50
    assert len(viewer.said) == 1
    assert "expected to keep what is shown, got File too large" in viewer.said[0]


def test_what_was_torn_is_not_shown(tmp_path: Path):
    path = tmp_path / "0.1.flowers-worker-0.uid.0.log"
    path.write_bytes(
        b"1970-01-01T00:00:01.000000000Z stdout F [a1 r0] whole\n1970-01-01T00:00:02.000000000Z stdo"
    )
    recording = Recording(tmp_path)
    (container,) = recording.containers()
    found = [line for lines in recording.read(container) for line in lines]
    assert found == [b"1970-01-01T00:00:01.000000000Z [a1 r0] whole"]
