"""Changes bytes at random, in ways that keep much of a form: one way for all fuzz tests."""

from __future__ import annotations

import random
from collections.abc import Sequence

ODD = [
    b"9" * 400,
    b"1e999",
    b"NaN",
    b"-1",
    b"[" * 3000,
    b'{"a":' * 3000,
    b"\x00",
    b"\xff\xfe",
    b"\x1b]0;x\x07",
    b"\r\n",
    b"\n",
    b"\\ud800",
    b'"',
    b"'",
    b"{{",
    b"}}",
    b"null",
    b"true",
    b"..",
    b"/",
    b"../../x",
    b"\xe2\x80\xae",
    b": ",
    b"- ",
    b"&a ",
    b"*a",
    b"!!python/object/apply:os.system ",
    b"<<: *a\n",
    b"\t",
    b"%",
    b"$(x)",
    b"#",
    b"|",
    b">",
]


def mutate(data: bytes, rng: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """Return `data` with one to six changes; of `others` pieces are taken over."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        at = rng.randrange(len(changed) + 1)
        end = min(len(changed), at + rng.choice((1, 1, 2, 5, 20, 100)))
        match rng.randrange(7):
            case 0:
                changed[at:end] = rng.randbytes(end - at)
            case 1:
                del changed[at:end]
            case 2:
                changed[at:at] = changed[at:end] * rng.choice((1, 2, 40))
            case 3 | 4:
                changed[at:at] = rng.choice(ODD)
            case 5 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case _ if others:
                other = rng.choice(others)
                begin = rng.randrange(len(other) + 1)
                changed[at:end] = other[begin : begin + rng.choice((3, 30, 300))]
    return bytes(changed)
