"""The termination message: why a node process ended, in at most 4 KiB of JSON.

4096 bytes is what the kubelet keeps of a termination message (kubernetes.io, "Determine the Reason for Pod
Failure").
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Annotated

from trainer.protocol.codec import Count, ExitCode, Within, decode, encode

SCHEMA = 1
MAX_BYTES = 4096
_WHAT = "termination message"


@dataclass(frozen=True, kw_only=True, slots=True)
class Termination:
    """The end of a node process.

    Attributes:
        exit: Its exit code.
        rank: Rank that decided it, or None.
        rank_exit: That rank's exit code; negative for a signal.
        attempt: Attempt in which it ended, from 1; 0 before the first.
        step: Steps completed, or None where unknown.
        reason: A sentence for people.
        checkpoint: Last checkpoint that is whole, as a container path, or None.
    """

    exit: Annotated[int, Within(0, 255)]
    rank: Count | None = None
    rank_exit: ExitCode | None = None
    attempt: Count
    step: Count | None = None
    reason: str
    checkpoint: str | None = None


def format_termination(message: Termination) -> bytes:
    """Write the message; a reason that would not fit loses its middle."""
    encoded = _encode(message)
    if len(encoded) <= MAX_BYTES:
        return encoded
    reason = message.reason
    keep = len(reason)
    # Step by step, because a character takes one to six bytes as JSON. The middle says least: the beginning
    # has the place, and the end the cause.
    while len(encoded) > MAX_BYTES and keep > 2:
        keep = keep * 9 // 10
        short = reason[: keep // 2] + " … " + reason[len(reason) - keep // 2 :]
        encoded = _encode(replace(message, reason=short))
    return encoded


def parse_termination(text: str | bytes) -> Termination:
    """Read a message.

    Raises:
        FormatError: It is not one (a container that never ran ours leaves its own text there).
    """
    return decode(Termination, text, where=_WHAT, max_bytes=MAX_BYTES)


def _encode(message: Termination) -> bytes:
    return json.dumps(encode(message, schema=SCHEMA), ensure_ascii=False).encode("utf-8", "replace")
