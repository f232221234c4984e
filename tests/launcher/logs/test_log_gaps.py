"""What a node has rotated away, or a pod has taken with it, is filled in from what the node process kept."""

from __future__ import annotations

import asyncio

import pytest

from launcher.logs.gaps import Filling, LogGap, choose_filling
from launcher.logs.source import Container
from tests.launcher.logs.schedules import KeepingServer, KeptLines, Viewer

ONE = Container(node=0, pod="w-0", uid="u", restarts=0)


def stamped(*texts: str, ns: int = 0) -> tuple[bytes, ...]:
    """Lines of a second each; their number is the text's first word, or its place."""
    return tuple(
        f"2026-09-21T16:00:{number:02d}.{ns:09d}Z {text}".encode() for number, text in enumerate(texts)
    )


def chosen(kept, **gap) -> tuple[list[str], bool]:
    found = choose_filling(kept, LogGap(container=ONE, began_ns=0, **gap), is_from_start=True)
    return [line.partition(b" ")[2].decode() for line in found.lines], found.is_whole


KEPT = stamped("a", "b", "c", "d", "e", "f")
THEIRS = stamped("a", "b", "c", "d", "e", "f", ns=3_000_000)


def test_lines_between_what_was_read_and_what_comes_are_chosen_by_their_text():
    assert chosen(KEPT, after=THEIRS[:2], before=THEIRS[4:]) == (["c", "d"], True)
    assert chosen(KEPT, before=THEIRS[3:]) == (["a", "b", "c"], True)
    assert chosen(KEPT, after=THEIRS[:4]) == (["e", "f"], True)
    assert chosen(KEPT, after=THEIRS[:2], before=THEIRS[2:]) == ([], True)


def test_of_equal_lines_those_count_that_are_where_the_gap_is():
    kept, theirs = (stamped("x", "a", "x", "b", "x", "c", "x", ns=ns) for ns in (0, 3_000_000))
    assert chosen(kept, after=theirs[:3], before=theirs[5:]) == (["b", "x"], True)


def test_a_clock_that_was_set_back_is_no_reason_to_show_lines_twice_or_not_at_all():
    back = tuple(line.replace(b"16:00", b"15:59") for line in THEIRS)
    assert chosen(KEPT, after=THEIRS[:2], before=back[4:]) == (["c", "d"], True)


def test_what_was_not_kept_at_either_side_is_no_whole_filling():
    assert chosen(KEPT[3:], after=THEIRS[:2], before=THEIRS[5:]) == (["d", "e"], False)
    assert chosen(KEPT[:4], after=THEIRS[:2], before=THEIRS[5:]) == (["c", "d"], False)


def following(seed: int, *, keeps: bool, follow: bool = True) -> tuple[KeepingServer, Viewer]:
    server = KeepingServer(nodes=1, seed=seed)
    return server, Viewer(server, seed=seed, filler=KeptLines(server) if keeps else None, follow=follow)


def in_loop(loop, change, *arguments, **options) -> None:
    async def act() -> None:
        change(*arguments, **options)

    loop.run_until_complete(act())


def texts(server: KeepingServer) -> list[bytes]:
    return [text for text, _ in server.truth[0]]


@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "not kept"])
def test_a_log_that_was_rotated_before_it_was_read_is_whole_where_it_was_kept(loop, keeps):
    server, viewer = following(1, keeps=keeps, follow=False)
    loop.pass_time(5.0)
    in_loop(loop, server.write, 0, 20)
    in_loop(loop, server.rotate, 0, is_noticed=True)
    loop.pass_time(5.0)
    in_loop(loop, server.write, 0, 5)
    loop.run_until_complete(asyncio.wait_for(viewer.follower.run(), 60))
    assert viewer.of(0) == (texts(server) if keeps else texts(server)[20:])
    assert viewer.said == []


@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "not kept"])
def test_lines_that_are_rotated_away_under_a_dead_connection_are_filled_in_or_said_to_be_missing(loop, keeps):
    server, viewer = following(2, keeps=keeps)
    task = loop.create_task(viewer.follower.run())
    in_loop(loop, server.write, 0, 5)
    loop.pass_time(3.0)
    server.silence()
    in_loop(loop, server.write, 0, 30)
    loop.pass_time(0.1)
    in_loop(loop, server.rotate, 0, is_noticed=False)
    loop.pass_time(1.0)
    in_loop(loop, server.write, 0, 4)
    loop.pass_time(100.0)
    in_loop(loop, server.end_container, 0)
    server.is_over = True
    loop.run_until_complete(asyncio.wait_for(task, 600))
    assert viewer.of(0) == (texts(server) if keeps else texts(server)[:5] + texts(server)[35:])
    expected = [] if keeps else ["flowers-worker-0: lines are missing that its node had rotated away"]
    assert viewer.said == expected


@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "not kept"])
def test_the_last_lines_of_a_pod_that_is_gone_are_filled_in_or_said_to_be_missing(loop, keeps):
    server, viewer = following(3, keeps=keeps)
    task = loop.create_task(viewer.follower.run())
    in_loop(loop, server.write, 0, 5)
    loop.pass_time(3.0)
    in_loop(loop, server.cut, error=None)
    in_loop(loop, server.write, 0, 30)
    in_loop(loop, server.recreate, 0)
    loop.pass_time(30.0)
    in_loop(loop, server.write, 0, 4)
    loop.pass_time(3.0)
    in_loop(loop, server.end_container, 0)
    server.is_over = True
    loop.run_until_complete(asyncio.wait_for(task, 600))
    if keeps:
        assert (viewer.of(0), viewer.said) == (texts(server), [])
    else:
        assert viewer.of(0) == texts(server)[:5] + texts(server)[35:]
        assert [text for text in viewer.said if "its last lines may be missing" in text]


def test_what_is_missing_for_good_is_said_in_the_fillers_words(loop):
    server, viewer = following(4, keeps=True, follow=False)

    class Partly(KeptLines):
        async def fill(self, gap: LogGap) -> Filling:
            return Filling(
                lines=(await super().fill(gap)).lines[10:], problem="lines before noon are missing"
            )

    viewer.follower.filler = Partly(server)
    loop.pass_time(5.0)
    in_loop(loop, server.write, 0, 20)
    in_loop(loop, server.rotate, 0, is_noticed=True)
    loop.pass_time(1.0)
    in_loop(loop, server.write, 0, 5)
    loop.run_until_complete(asyncio.wait_for(viewer.follower.run(), 60))
    assert viewer.of(0) == texts(server)[10:]
    assert viewer.said == ["flowers-worker-0: lines before noon are missing"]
