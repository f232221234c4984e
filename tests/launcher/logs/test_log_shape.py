from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.logs.log_filter import LogFilter, parse_since
from launcher.logs.log_format import Formatter, LogFormat
from launcher.times import format_stamp

STAMP = b"2026-01-01T00:00:01.234567891Z"


def format_lines(
    *texts: bytes, log_filter: LogFilter | None = None, form: LogFormat | None = None
) -> list[bytes]:
    formatter = Formatter(node=1, log_filter=log_filter or LogFilter(), form=form or LogFormat())
    shown = []
    for _ in range(2):  # the second time prefixes are known
        shown = formatter.format_lines([STAMP + b" " + text for text in texts])
    assert all(line.startswith(STAMP) for line in shown)
    return [line[30:] for line in shown]


def test_the_short_way_shows_what_the_long_way_shows():
    texts = [b"[a1 r0] one", b"[a2 r12] [x] two", b"[a1 n1] three", b"plain [a] four", b"[a1 r0] ", b""]
    for form in (
        LogFormat(), LogFormat(timestamps=True), LogFormat(prefix=False), LogFormat(colour=True),
        LogFormat(attempts=True),
    ):  # fmt: skip
        together = format_lines(*texts, form=form)
        long_way = [
            line
            for text in texts
            for line in format_lines(text, form=form, log_filter=LogFilter(pattern=re.compile("")))
        ]
        assert together == long_way


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b"[a1 r3] 1%\r99%", b"[rank 3] 99%"),
        (b"[a1 r3] \x1b[31mred", b"[rank 3] red"),
        (b"[a1 r3] \xff", "[rank 3] \ufffd".encode()),
        ("[a1 r3] Größe".encode(), "[rank 3] Größe".encode()),
    ],
)  # fmt: skip
def test_what_is_not_plain_is_made_harmless_beside_plain_lines(text, shown):
    assert format_lines(b"[a1 r3] plain", text) == [b"[rank 3] plain", shown]


def test_only_what_is_wanted_is_shown():
    texts = [
        b"[a1 r0] old",
        b"[a2 r0] new",
        b"[a2 r1] other",
        b"[a2 n1] ftlaunch-progress {}",
        b"[a0 n1] joins",
    ]
    assert format_lines(*texts, log_filter=LogFilter(from_attempt=2)) == [
        b"[rank 0] new", b"[rank 1] other", b"[node 1] joins"
    ]  # fmt: skip
    assert format_lines(*texts, log_filter=LogFilter(ranks=frozenset({1}))) == [b"[rank 1] other"]
    assert (
        format_lines(*texts, log_filter=LogFilter(since_ns=parse_since("2026-01-01T00:00:02Z", now_s=0)))
        == []
    )
    since = LogFilter(since_ns=parse_since("2026-01-01T00:00:01Z", now_s=0))
    assert format_lines(*texts, log_filter=since) == format_lines(*texts)


SECOND = 1_790_000_000
LINES = st.lists(
    st.builds(
        lambda second, head, text: format_stamp((SECOND + second) * 10**9) + b" " + head + text,
        st.integers(0, 3),
        st.sampled_from([b"[a1 r0] ", b"[a1 r12] ", b"[a2 r0] ", b"[a1 n1] ", b"[a0 n1] ", b"", b"[x] "]),
        st.sampled_from(
            [b"loss 1", b"", b"\tx", b"1%\r9%", b"\xff", "Größe".encode(), b"ftlaunch-progress {}"]
        ),
    ),
    max_size=12,
)
WANTED = st.builds(
    LogFilter,
    ranks=st.sampled_from([None, frozenset({0}), frozenset({12, 5})]),
    nodes=st.sampled_from([None, frozenset({1}), frozenset({0})]),
    attempt=st.sampled_from([None, 1, 2]),
    from_attempt=st.integers(0, 2),
    since_ns=st.sampled_from([0, SECOND * 10**9, (SECOND + 2) * 10**9]),
)
FORMS = st.builds(
    LogFormat, colour=st.booleans(), timestamps=st.booleans(), prefix=st.booleans(), attempts=st.booleans()
)


@given(st.lists(LINES, max_size=4), WANTED, FORMS)
def test_whatever_is_wanted_the_short_way_shows_what_the_long_way_shows_line_by_line(pieces, wanted, form):
    short = Formatter(node=1, log_filter=wanted, form=form)
    shown = [line for piece in pieces for line in short.format_lines(piece)]
    slow = replace(wanted, pattern=re.compile(""))
    assert shown == [
        line
        for piece in pieces
        for raw in piece
        for line in Formatter(node=1, log_filter=slow, form=form).format_lines([raw])
    ]


def test_durations_and_times_say_since_when():
    assert parse_since("5m", now_s=1000) == 700 * 10**9
    assert parse_since("1970-01-01T00:00:01Z", now_s=0) == 10**9
    with pytest.raises(ValueError, match="such as 5m"):
        parse_since("soon", now_s=0)


def test_ranks_of_one_pod_are_told_apart_whatever_the_length_of_their_numbers():
    texts = [b"[a1 r%d] of %d" % (rank, rank) for rank in (8, 9, 10, 11, 9, 100)]
    expected = [b"[rank %d] of %d" % (rank, rank) for rank in (8, 9, 10, 11, 9, 100)]
    assert format_lines(*texts) == expected
    assert format_lines(*texts[:2]) == expected[:2]
    wanted = LogFilter(ranks=frozenset({9}))
    assert format_lines(*texts, log_filter=wanted) == [b"[rank 9] of 9", b"[rank 9] of 9"]
    assert format_lines(*texts[:2], log_filter=wanted) == [b"[rank 9] of 9"]


def test_a_tag_within_a_text_stays():
    assert format_lines(b"[a1 r1] it said [a1 r1] twice") == [b"[rank 1] it said [a1 r1] twice"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("[a1 r3] 训练 é".encode(), "[rank 3] 训练 é".encode()),
        ("[a1 r3] \x9b31mred\x85".encode(), b"[rank 3] 31mred"),
        (b"[a1 r3] ftlaunch-progress is what it prints", b"[rank 3] ftlaunch-progress is what it prints"),
    ],
)
def test_words_of_any_script_are_shown_and_control_characters_beyond_ascii_are_not(text, shown):
    assert format_lines(text) == [shown]
    assert format_lines(b"[a1 r3] plain", text) == [b"[rank 3] plain", shown]
