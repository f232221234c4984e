"""Logs of this machine as a source gives them: where an answer begins in a file, and when it is over."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.backends.supervised.podlog import MAX_PART, PodLog
from launcher.logs import file_response
from launcher.logs.file_response import FileResponse, find_tail, find_time
from launcher.logs.source import Container, End, FailureKind, LogRequest
from launcher.times import format_stamp
from tests.contract.harness import Collector

BASE_S = 1_790_000_000
CONTAINER = Container(node=0, pod="w-0", uid="r", restarts=0)


def write(path: Path, lines: list[tuple[int, bytes]]) -> None:
    """Write lines with their times, in seconds after `BASE_S`."""
    now = [0]
    log = PodLog(path, clock_ns=lambda: (BASE_S + now[0]) * 1_000_000_000)
    for second, text in lines:
        now[0] = second
        log.take(text + b"\n")
    log.close()


def read(path: Path, **options: object) -> list[bytes]:
    """Return the texts that an answer brings."""
    heard = Collector()

    async def ask() -> None:
        request = LogRequest(container=CONTAINER, **options)  # type: ignore[arg-type]
        FileResponse(path, request, heard, is_over=lambda: True)
        while heard.result is None:
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(ask(), 20))
    assert heard.result == End()
    return [line.partition(b" ")[2] for line in heard.data.split(b"\n")[:-1]]


LINES = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from([b"", b"x", b"y" * 100, b"z" * (MAX_PART + 5)])), max_size=40
)


@given(steps=LINES, since=st.integers(-5, 130), near=st.sampled_from([64, 5000, 64 * 1024]))
def test_an_answer_from_a_time_on_has_every_line_from_then_and_none_before_by_much(
    tmp_path_factory, steps, since, near
):
    path = tmp_path_factory.mktemp("log") / "0.log"
    second, lines = 0, []
    for number, (step, text) in enumerate(steps):
        second += step
        lines.append((second, b"%d %s" % (number, text)))
    write(path, lines)
    data = path.read_bytes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file_response, "_CLOSE_BYTES", near)
        stamp = format_stamp((BASE_S + since) * 1_000_000_000)
        begin = find_time(io.BytesIO(data), len(data), stamp)
    assert begin == 0 or data[:begin].rpartition(b" F ")[2].endswith(b"\n")  # after a whole line
    first = next((at for at in starts(data) if data[at : at + 30] >= stamp), len(data))
    assert begin <= first
    assert first - begin <= near + 3 * (MAX_PART + 100)


def starts(data: bytes) -> list[int]:
    """Return where each line of a log, or part of one, begins."""
    found, at = [], 0
    for line in data.splitlines(keepends=True):
        found.append(at)
        at += len(line)
    return found


@given(steps=LINES, count=st.integers(0, 50))
def test_the_end_of_a_log_has_so_many_whole_lines(tmp_path_factory, steps, count):
    path = tmp_path_factory.mktemp("log") / "0.log"
    write(path, [(number, text) for number, (_, text) in enumerate(steps)])
    with path.open("rb") as file:
        file.seek(find_tail(file, path.stat().st_size, count))
        kept = file.read()
    wanted = min(count, len(steps))
    assert sum(line.split(b" ", 3)[2] == b"F" for line in kept.splitlines()) == wanted
    assert kept == b"" or kept.split(b" ")[0] == format_stamp((BASE_S + len(steps) - wanted) * 1_000_000_000)


def test_parts_of_a_long_line_come_as_one_line(tmp_path):
    write(tmp_path / "0.log", [(0, b"a" * 40_000), (1, b"b")])
    assert (tmp_path / "0.log").read_bytes().count(b"\n") == 4
    assert [len(text) for text in read(tmp_path / "0.log")] == [40_000, 1]
    assert read(tmp_path / "0.log", tail_lines=1) == [b"b"]


def test_reading_on_from_the_last_line_of_a_large_log_reads_little_of_it(tmp_path):
    path = tmp_path / "0.log"
    write(path, [(number, b"line %d " % number + b"x" * 90) for number in range(20_000)])
    texts = read(path, since_s=BASE_S + 19_990)
    assert texts[-10:] == [b"line %d " % number + b"x" * 90 for number in range(19_990, 20_000)]
    assert len(texts) < 700  # of 64 KiB


def test_a_log_that_was_never_begun_is_empty(tmp_path):
    assert read(tmp_path / "none.log") == []


def test_a_line_that_is_torn_by_a_full_disk_is_left_out(tmp_path):
    write(tmp_path / "0.log", [(0, b"whole")])
    with (tmp_path / "0.log").open("ab") as file:
        file.write(b"2026-09-21T00:00:00.000000000Z stdout F tor")
    assert read(tmp_path / "0.log") == [b"whole"]


def test_what_was_written_before_the_end_is_read_though_the_end_is_known_first(tmp_path):
    path, heard, looks = tmp_path / "0.log", Collector(), []
    write(path, [(0, b"one")])

    def is_over() -> bool:
        looks.append(len(looks))
        if len(looks) == 2:
            write(path, [(1, b"last")])  # between the look and the reading
        return len(looks) >= 2

    async def follow() -> None:
        FileResponse(path, LogRequest(container=CONTAINER, follow=True), heard, is_over=is_over)
        while heard.result is None:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(follow(), 20))
    assert [line.rpartition(b" ")[2] for line in heard.data.splitlines()] == [b"one", b"last"]


def test_a_log_that_may_not_be_read_is_named(tmp_path):
    heard = Collector()
    (tmp_path / "0.log").mkdir()

    async def ask() -> None:
        FileResponse(tmp_path / "0.log", LogRequest(container=CONTAINER), heard, is_over=lambda: True)
        while heard.result is None:
            await asyncio.sleep(0)

    asyncio.run(asyncio.wait_for(ask(), 20))
    assert heard.result.failure is FailureKind.NEVER
    assert (
        str(heard.result.error)
        == f"{tmp_path / '0.log'}: expected a log that can be read, got Is a directory"
    )


def test_times_of_a_supervisor_that_goes_on_with_a_log_do_not_go_back(tmp_path):
    write(tmp_path / "0.log", [(100, b"one")])
    write(tmp_path / "0.log", [(50, b"two")])
    first, second = (tmp_path / "0.log").read_bytes().splitlines()
    assert first.split(b" ")[0] == second.split(b" ")[0]
