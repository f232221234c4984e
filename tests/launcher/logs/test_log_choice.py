from __future__ import annotations

import re

import pytest

from launcher.logs.lines import LogLine
from launcher.logs.log_filter import LogFilter, parse_numbers
from trainer.protocol.progress import MARK
from trainer.protocol.tags import Tag


def line(*, node: int = 0, rank: int | None = None, attempt: int = 1, text: bytes = b"loss 1.5") -> LogLine:
    tag = Tag(attempt=attempt, rank=rank) if rank is not None else Tag(attempt=attempt, node=node)
    return LogLine(instant_ns=0, node=node, tag=tag, text=text)


UNTAGGED = LogLine(instant_ns=0, node=1, tag=None, text=b"import error")


@pytest.mark.parametrize(
    ("wanted", "found", "taken"),
    [
        (LogFilter(), line(rank=3), True),
        (LogFilter(), UNTAGGED, True),
        (LogFilter(), line(text=MARK + b"{}"), False),
        (LogFilter(ranks=frozenset({3})), line(rank=3), True),
        (LogFilter(ranks=frozenset({3})), line(rank=2), False),
        (LogFilter(ranks=frozenset({0})), line(node=0), False),
        (LogFilter(ranks=frozenset({1})), UNTAGGED, False),
        (LogFilter(nodes=frozenset({1})), line(node=1, rank=3), True),
        (LogFilter(nodes=frozenset({1})), UNTAGGED, True),
        (LogFilter(nodes=frozenset({1})), line(node=0), False),
        (LogFilter(attempt=2), line(rank=0, attempt=2), True),
        (LogFilter(attempt=2), line(rank=0, attempt=1), False),
        (LogFilter(attempt=2), UNTAGGED, False),
        (LogFilter(pattern=re.compile("loss")), line(rank=0), True),
        (LogFilter(pattern=re.compile("^1")), line(rank=0), False),
        (
            LogFilter(pattern=re.compile("ü")),
            line(rank=0, text="ü\udcff".encode("utf-8", "surrogateescape")),
            True,
        ),
    ],
)
def test_only_what_is_asked_for_is_taken(wanted, found, taken):
    assert wanted.takes(found) is taken


@pytest.mark.parametrize(("text", "numbers"), [("0", {0}), ("0,3-5", {0, 3, 4, 5}), (" 7 , 7", {7})])
def test_numbers_are_lists_and_ranges(text, numbers):
    assert parse_numbers(text) == numbers


@pytest.mark.parametrize("text", ["", "a", "1-", "-1", "5-3", "1,,2", "٣", "1-2-3", "99999999"])
def test_other_numbers_are_refused(text):
    with pytest.raises(ValueError, match=r"such as 0,3-5"):
        parse_numbers(text)
