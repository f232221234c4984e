from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.logs.lines import LineCutter, LineReader, to_kubelet_form
from launcher.times import format_stamp, parse_instant
from trainer.protocol.tags import MAX_LINE_BYTES

S1 = b"1970-01-01T00:00:01.000000000Z"
LINES = st.lists(st.binary(max_size=40).map(lambda text: text.replace(b"\n", b"")), max_size=6)


@pytest.mark.parametrize(
    ("text", "instant_ns"),
    [
        (b"1970-01-01T00:00:00Z", 0),
        (b"1970-01-01T00:00:01.5Z", 1_500_000_000),
        (b"1970-01-01T00:00:00.000000001Z", 1),
        (b"1970-01-01T02:00:00+02:00", 0),
        (b"1969-12-31T19:30:00-04:30", 0),
        (b"2026-02-29T00:00:00", None),
        (b"2026-13-01T00:00:00Z", None),
        (b"2026-01-00T00:00:00Z", None),
        (b"2026-01-01T24:00:00Z", None),
        (b"2026-01-01T00:60:00Z", None),
        (b"0001-01-01T00:00:00+14:00", None),
        (b"9999-12-31T23:59:59-14:00", None),
        (b"yesterday", None),
    ],
)
def test_instants_of_any_zone_are_nanoseconds(text, instant_ns):
    assert parse_instant(text) == instant_ns


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_instants_are_read_as_they_were_written(instant_ns):
    assert parse_instant(format_stamp(instant_ns)) == instant_ns


@given(LINES, st.lists(st.integers(1, 50), max_size=20))
def test_lines_are_the_same_wherever_the_answer_was_cut(texts, sizes):
    whole = [b"%s %s" % (S1, text) for text in texts]
    data = b"".join(line + b"\n" for line in whole)
    cutter, found = LineCutter(), []
    for size in sizes:
        found += cutter.take(data[:size])
        data = data[size:]
    assert found + cutter.take(data) == whole
    assert cutter.finish() == []


@pytest.mark.parametrize(
    "line", [b"1970-01-01T00:00:01Z x", b"1970-01-01T00:00:01.0Z x", b"1970-01-01T02:00:01+02:00 x"]
)
def test_times_of_any_form_become_one_form(line):
    assert LineCutter().take(line + b"\n") == [S1 + b" x"]


def test_the_kubelets_own_words_are_left_out_and_last_words_need_no_newline():
    cutter = LineCutter()
    assert cutter.take(b"unable to retrieve container logs\n\n" + S1 + b" last") == []
    assert cutter.finish() == [S1 + b" last"]


def test_a_line_without_end_is_cut_and_takes_no_more_memory():
    cutter, count = LineCutter(), 3 * MAX_LINE_BYTES
    cutter.take(S1 + b" ")
    for _ in range(3):
        assert cutter.take(b"x" * MAX_LINE_BYTES) == []
        assert cutter.kept_bytes < MAX_LINE_BYTES + 200
    (line,) = cutter.take(b"\n")
    assert line.endswith(f" …[{count - MAX_LINE_BYTES} bytes cut]".encode())


def test_parts_are_joined_across_reads_and_keep_the_time_of_the_first():
    reader = LineReader()
    assert reader.take(b"1970-01-01T00:00:01Z stdout P [a2 r3] on\n") == []
    assert reader.take(b"1970-01-01T00:00:02Z stdout F e line\n") == [S1 + b" [a2 r3] one line"]


@given(LINES)
def test_what_is_kept_in_the_kubelets_form_is_read_as_it_was(texts):
    lines = [b"%s %s" % (S1, text) for text in texts]
    assert LineReader().take(to_kubelet_form(lines)) == lines


def test_what_is_not_in_the_kubelets_form_is_left_out():
    assert LineReader().take(b"unable to retrieve container logs\n\nx stdout F y\n") == []


def test_a_node_of_another_zone_is_read_as_one_in_utc():
    lines = [b"1970-01-01T08:00:01.%09d+08:00 %d" % (number, number) for number in range(3)]
    expected = [b"1970-01-01T00:00:01.%09dZ %d" % (number, number) for number in range(3)]
    assert LineCutter().take(b"\n".join(lines) + b"\n") == expected


def test_a_line_that_only_ends_like_a_time_is_not_taken_for_one():
    assert LineCutter().take(b"unable to retrieve logs of XYZ [a1 r0] x\n" + S1 + b" y\n") == [S1 + b" y"]


def test_a_record_with_one_strange_line_is_read_like_one_without():
    reader = LineReader()
    data = S1 + b" stdout F one\n1970-01-01T00:00:01Z stderr F two\nnonsense\n" + S1 + b" stdout F \n"
    assert reader.take(data) == [S1 + b" one", S1 + b" two", S1 + b" "]
