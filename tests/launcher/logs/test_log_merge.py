from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from launcher.logs.merge import HOLD_S, Merger, Stream
from launcher.times import format_stamp

PODS = st.lists(st.lists(st.integers(0, 50), max_size=12), min_size=1, max_size=5)


def item(instant_ns: int, node: int, number: int = 0) -> bytes:
    return format_stamp(instant_ns) + b"%d %d %d" % (node, number, instant_ns)


def items_of(pods: list[list[int]]) -> list[list[bytes]]:
    return [
        [item(instant_ns, node, number) for number, instant_ns in enumerate(instants)]
        for node, instants in enumerate(pods)
    ]


@given(PODS, st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4), st.floats(0, 1)), max_size=20))
def test_every_line_comes_once_and_in_its_pods_order_however_it_is_dealt(pods, looks):
    """Clocks may go back and lines come late; `looks` are (pod, lines read, seconds that pass)."""
    merger, out, now_s = Merger(), [], 0.0
    lanes = [merger.open_stream() for _ in pods]
    left = [list(lines) for lines in items_of(pods)]
    for node, count, seconds in looks:
        now_s += seconds
        if node < len(left):
            lanes[node].is_open = True
            merger.add(lanes[node], left[node][:count], now_s=now_s)
            del left[node][:count]
        out += merger.take_ripe(now_s=now_s)
    for stream, lines in zip(lanes, left, strict=True):
        merger.add(stream, lines, now_s=now_s)
    out += merger.take_all()
    for node, lines in enumerate(items_of(pods)):
        mine = [found for found in out if found.startswith(b"%d " % node)]
        assert mine == [line[30:] for line in lines]
    assert merger.waiting_bytes == 0
    assert {stream.waiting_bytes for stream in lanes} == {0}


@given(PODS)
def test_lines_that_are_all_there_come_by_time(pods):
    merger = Merger()
    for lines in items_of([sorted(instants) for instants in pods]):
        merger.add(merger.open_stream(), lines, now_s=0.0)
    instants = [int(found.split()[2]) for found in merger.take_all()]
    assert instants == sorted(instants)


def opened(merger: Merger, *, now_s: float = 0.0) -> Stream:
    stream = merger.open_stream()
    stream.is_open, stream.heard_s = True, now_s
    return stream


def test_a_line_waits_for_pods_that_are_behind_it_and_not_for_silent_ones():
    merger = Merger()
    ahead, behind = opened(merger), opened(merger)
    merger.add(behind, [item(1, 1)], now_s=0.0)
    merger.add(ahead, [item(1, 0), item(3, 0)], now_s=0.0)
    assert len(merger.take_ripe(now_s=0.0)) == 2
    merger.add(behind, [item(2, 1)], now_s=0.1)
    assert merger.take_ripe(now_s=0.1) == [b"1 0 2"]
    assert merger.take_ripe(now_s=0.1 + HOLD_S) == [b"0 0 3"]


def test_a_pod_whose_clock_is_ahead_is_held_no_longer():
    merger = Merger()
    ahead, right = opened(merger), opened(merger)
    merger.add(ahead, [item(10**12, 0)], now_s=0.0)
    merger.add(right, [item(1, 1)], now_s=0.0)
    assert merger.take_ripe(now_s=0.0) == [b"1 0 1"]
    merger.add(right, [item(2, 1)], now_s=HOLD_S)
    assert merger.take_ripe(now_s=HOLD_S) == [b"1 0 2", b"0 0 1000000000000"]


def test_lines_of_one_pod_and_one_time_keep_their_order_whatever_their_texts():
    merger = Merger()
    first, second = merger.open_stream(), merger.open_stream()
    stamp, later = format_stamp(5), format_stamp(6)
    merger.add(first, [stamp + b"d", stamp + b"c"], now_s=0.0)
    merger.add(first, [stamp + b"b", later + b"a"], now_s=0.0)
    merger.add(second, [stamp + b"x", later + b"w"], now_s=0.0)
    found = merger.take_all()
    assert [text for text in found if text in (b"a", b"b", b"c", b"d")] == [b"d", b"c", b"b", b"a"]
    assert [text for text in found if text in (b"x", b"w")] == [b"x", b"w"]
    assert set(found[:4]) == {b"b", b"c", b"d", b"x"}


def test_many_lines_come_in_pieces_that_a_terminal_can_be_given_one_by_one():
    merger = Merger()
    stream = merger.open_stream()
    merger.add(stream, [item(number, 0) for number in range(10_000)], now_s=0.0)
    pieces = list(merger.take_pieces(now_s=HOLD_S))
    assert max(map(len, pieces)) <= 2048
    assert [text for piece in pieces for text in piece] == [b"0 0 %d" % number for number in range(10_000)]
