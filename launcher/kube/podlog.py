"""A pod's log as the API gives it -> the kubelet's own form, `RFC3339Nano stdout F text`. Pure."""

from __future__ import annotations

import re

# the kubelet prints times as RFC 3339 with nanoseconds, trailing zeros dropped, in its own zone
_STAMPED = re.compile(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d) ")


def to_kubelet_form(log: bytes, *, complete: bool) -> bytes:
    """Rewrite a log that was read with timestamps.

    The API merges stdout and stderr, so every line is said to come from stdout, and joins the parts of
    long lines, so every line is full (`F`). Lines without a time are the kubelet's own words, such as
    `unable to retrieve container logs`, and are left out.

    Args:
        log: What the API gave.
        complete: The container had ended when it was read. Otherwise a last line without its newline is
            still being written, and waits for the next reading.
    """
    lines = log.split(b"\n")
    last = lines.pop()
    out = bytearray()
    for line in lines:
        out += _rewrite(line, end=b"\n")
    if complete and last:
        out += _rewrite(last, end=b"")
    return bytes(out)


def _rewrite(line: bytes, *, end: bytes) -> bytes:
    match = _STAMPED.match(line)
    return b"" if match is None else match[0] + b"stdout F " + line[match.end() :] + end
