from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.backends.kept.podlog import format_instant
from launcher.logs.lines import LineReader, parse_instant
from trainer.protocol.tags import Tag


@pytest.mark.parametrize(
    ("text", "instant_ns"),
    [
        (b"1970-01-01T00:00:00Z", 0),
        (b"1970-01-01T00:00:01.5Z", 1_500_000_000),
        (b"1970-01-01T00:00:00.000000001Z", 1),
        (b"1970-01-01T02:00:00+02:00", 0),
        (b"1969-12-31T19:30:00-04:30", 0),
        (b"2026-02-29T00:00:00", None),
        (b"yesterday", None),
    ],
)
def test_instants_of_any_zone_are_nanoseconds(text, instant_ns):
    assert parse_instant(text) == instant_ns


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_instants_are_read_as_they_were_written(instant_ns):
    assert parse_instant(format_instant(instant_ns)) == instant_ns


def test_parts_are_joined_across_reads_and_keep_the_time_of_the_first():
    reader = LineReader(node=1)
    assert reader.take(b"1970-01-01T00:00:01Z stdout P [a2 r3] on\n") == []
    (line,) = reader.take(b"1970-01-01T00:00:02Z stdout F e line\n")
    assert (line.instant_ns, line.node, line.text) == (1_000_000_000, 1, b"one line")
    assert line.tag == Tag(attempt=2, rank=3)


def test_untagged_and_empty_lines_are_lines():
    lines = LineReader(node=0).take(
        b"1970-01-01T00:00:00Z stderr F plain \xff\r50%\n1970-01-01T00:00:00Z stdout F \n"
    )
    assert [(line.tag, line.text) for line in lines] == [(None, b"plain \xff\r50%"), (None, b"")]


def test_what_is_not_in_the_kubelets_form_is_left_out():
    assert LineReader(node=0).take(b"unable to retrieve container logs\n\nx stdout F y\n") == []
