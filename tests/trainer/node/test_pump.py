from __future__ import annotations

import asyncio
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.node.console import Console
from trainer.node.pump import LineSplitter, Pump
from trainer.protocol.tags import MAX_LINE_BYTES, parse_line

pieces = st.lists(st.binary(max_size=40) | st.sampled_from([b"\n", b"\r", "ü".encode(), b"\r\n"]))


def split(*chunks: bytes) -> list[tuple[bytes, int]]:
    taken: list[tuple[bytes, int]] = []
    lines = LineSplitter(lambda text, dropped: taken.append((text, dropped)))
    for chunk in chunks:
        lines.feed(chunk)
    lines.flush()
    return taken


@given(pieces)
def test_lines_are_the_same_however_the_stream_is_cut(chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    expected = whole.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert split(*chunks) == [(line, 0) for line in expected]


@pytest.mark.parametrize("extra", [1, 2, 1000, 3 * MAX_LINE_BYTES])
@pytest.mark.parametrize("chunk_bytes", [1 << 20, 4096])
def test_a_long_line_is_cut_and_says_how_many_bytes_went(extra: int, chunk_bytes: int) -> None:
    stream = b"x" * (MAX_LINE_BYTES + extra) + b"\nnext"
    written: list[bytes] = []
    console = Console(node=0, write=written.append)
    for text, dropped in split(*(stream[at : at + chunk_bytes] for at in range(0, len(stream), chunk_bytes))):
        console.pass_on(attempt=2, rank=3, text=text, dropped=dropped)
    cut = "x" * MAX_LINE_BYTES + f" …[{extra} bytes cut]"
    assert written == [f"[a2 r3] {cut}\n".encode(), b"[a2 r3] next\n"]


def test_a_line_of_the_node_itself_is_one_line() -> None:
    written: list[bytes] = []
    console = Console(node=1, write=written.append)
    console.attempt = 2
    console.say("first\nsecond \udcff")
    (line,) = written
    assert parse_line(line.rstrip(b"\n")).text == b"first second \\udcff"
    assert line.startswith(b"[a2 n1] ")
    assert line.count(b"\n") == 1


async def carry(hold_open: bool) -> list[bytes]:
    reading, writing = os.pipe()
    taken: list[bytes] = []
    pump = Pump(reading, lambda text, _: taken.append(text))
    os.write(writing, b"one\rtwo\nthr")
    while not taken:
        await asyncio.sleep(0)
    os.write(writing, b"ee")
    if not hold_open:
        os.close(writing)
        while not pump.ended:
            await asyncio.sleep(0)
    pump.close()
    if hold_open:
        os.close(writing)
    return taken


@pytest.mark.parametrize("hold_open", [False, True], ids=["ended", "held open by a grandchild"])
def test_the_last_line_needs_no_newline(hold_open: bool) -> None:
    assert asyncio.run(carry(hold_open)) == [b"one\rtwo", b"three"]
