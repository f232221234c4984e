from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from launcher.logs.lines import LogLine
from launcher.logs.merge import Merger

PODS = st.lists(st.lists(st.integers(0, 50), max_size=12), min_size=1, max_size=5)


def line(instant_ns: int, node: int, number: int = 0) -> LogLine:
    return LogLine(instant_ns=instant_ns, node=node, tag=None, text=b"%d" % number)


def lines_of(pods: list[list[int]]) -> list[list[LogLine]]:
    return [
        [line(instant_ns, node, number) for number, instant_ns in enumerate(instants)]
        for node, instants in enumerate(pods)
    ]


@given(PODS, st.lists(st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(0, 60)), max_size=20))
def test_every_line_comes_once_and_in_its_pods_order_however_it_is_dealt(pods, looks):
    """Clocks may go back and lines come late; `looks` are (pod, lines read, taken until)."""
    merger, out = Merger(), []
    left = [list(lines) for lines in lines_of(pods)]
    for node, count, until_ns in looks:
        if node < len(left):
            merger.add(left[node][:count])
            del left[node][:count]
        out += merger.take(until_ns=until_ns)
    for lines in left:
        merger.add(lines)
    out += merger.take(until_ns=None)
    for node, lines in enumerate(lines_of(pods)):
        assert [found for found in out if found.node == node] == lines
    assert len(out) == sum(map(len, pods))


@given(PODS)
def test_lines_that_are_all_there_come_by_time(pods):
    merger = Merger()
    for lines in lines_of([sorted(instants) for instants in pods]):
        merger.add(lines)
    instants = [found.instant_ns for found in merger.take(until_ns=None)]
    assert instants == sorted(instants)


def test_lines_after_the_instant_wait():
    merger = Merger()
    merger.add([line(1, 0), line(3, 0)])
    assert [found.instant_ns for found in merger.take(until_ns=2)] == [1]
    merger.add([line(2, 1)])
    assert [found.instant_ns for found in merger.take(until_ns=None)] == [2, 3]


def test_the_newest_instant_is_known():
    merger = Merger()
    assert merger.newest_ns == 0
    merger.add([line(7, 0), line(3, 1)])
    assert merger.newest_ns == 7
