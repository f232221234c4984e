"""Decodes JSON that somebody else wrote, so that nothing but `FormatError` can come of it.

A line of a pod, an answer of a server or a file of a volume may be anything. Python's decoder is safe but not
tame: what nests deeper than the interpreter's stack raises RecursionError, in the decoder or later in whoever
walks, compares or writes the value; a number of 400 digits decodes, and raises OverflowError where it becomes
a float; `NaN` and `1e999` decode to numbers that no arithmetic expects; of two equal keys the second wins
without a word; half of a surrogate pair decodes to text that cannot be printed. All of that is met here, so
that `codec` finds ordinary values.

Must not: know a document. The formats are in the modules beside this one.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence

from trainer.protocol.errors import TrainerError
from trainer.protocol.exits import Exit

MAX_BYTES = 16 * 1024 * 1024
"""Of a document whose format sets no limit of its own."""
MAX_DEPTH = 64
"""Of lists and objects in one another. Kubernetes' own stay below 20; `json` itself breaks at 1,000."""
_MAX_DIGITS = 20  # of a 64-bit number with its sign
_SHOWN = 80
# A pair of escapes is a character and stays; half of one is none. `\\.` passes over `\\ud800`, which is text.
_SURROGATES = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.",
    re.DOTALL,
)
_RAW_SURROGATES = re.compile("[\ud800-\udfff]")


class FormatError(TrainerError, ValueError):
    """A document is not what its format says: `where` names document and field."""

    exit_code = Exit.CONFIG


def parse_json(
    data: bytes | str, *, where: str, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH,
    nan_as_none: bool = False,
) -> object:  # fmt: skip
    """Decode one JSON document.

    Args:
        data: UTF-8 where it is bytes.
        where: Names the document in errors.
        max_bytes: More is refused before it is decoded; characters, where `data` is text. The decoded value
            may take some twenty times as much.
        max_depth: Of lists and objects in one another, the outermost counted.
        nan_as_none: Take `NaN` and `Infinity`, which Python writes and JSON does not have, for null.

    Returns:
        None, bool, str, int below 2**64, finite float, list, or dict with one value a key. Half a surrogate
        pair has become U+FFFD.

    Raises:
        FormatError: It is none, too long, too deep, repeats a key, or has a number that is none of these.
    """
    if len(data) > max_bytes:
        raise FormatError(where=where, expected=f"at most {max_bytes} bytes", got=str(len(data)))
    try:
        text = _clean(data if isinstance(data, str) else data.decode("utf-8"))
        value = json.loads(
            text, parse_int=_whole, parse_float=_finite, object_pairs_hook=_unique,
            parse_constant=_none if nan_as_none else _refuse,
        )  # fmt: skip
    except FormatError as error:
        raise FormatError(where=where, expected=error.expected, got=error.got) from error
    except RecursionError:  # its traceback is a thousand frames of no interest
        raise FormatError(where=where, expected=f"at most {max_depth} levels", got="more") from None
    except ValueError as error:
        raise FormatError(where=where, expected="JSON", got=shown(data)) from error
    if _is_deeper(value, max_depth):
        raise FormatError(where=where, expected=f"at most {max_depth} levels", got="more")
    return value


def parse_object(
    data: bytes | str, *, where: str, max_bytes: int = MAX_BYTES, nan_as_none: bool = False
) -> dict[str, object]:
    """Decode a JSON object; otherwise as `parse_json`."""
    value = parse_json(data, where=where, max_bytes=max_bytes, nan_as_none=nan_as_none)
    if not isinstance(value, dict):
        raise FormatError(where=where, expected="a JSON object", got=shown(data))
    return value


def shown(value: object) -> str:
    """Write any value in at most some 80 characters, without walking more of it than that shows."""
    if isinstance(value, bytes | str):
        return repr(value[:_SHOWN]) + ("…" if len(value) > _SHOWN else "")
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 256:
        return f"a number of {value.bit_length()} bits"  # `repr` refuses more than 4,300 digits
    if isinstance(value, Mapping):
        return f"an object of {len(value)} keys" if value else "{}"
    if isinstance(value, Sequence):
        return f"a list of {len(value)}" if value else "[]"
    return repr(value)[:_SHOWN]


def _clean(text: str) -> str:
    if not text.isascii():
        text = _RAW_SURROGATES.sub("\ufffd", text)
    if "\\ud" not in text and "\\uD" not in text:
        return text
    return _SURROGATES.sub(lambda match: "\\ufffd" if match[1] else match[0], text)


def _whole(text: str) -> int:
    number = int(text) if len(text) <= _MAX_DIGITS else 2**64
    if not -(2**63) <= number < 2**64:
        raise FormatError(expected="whole numbers of 64 bits", got=f"one of {len(text)} digits")
    return number


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise FormatError(expected="finite numbers", got=shown(text))
    return number


def _none(text: str) -> None:
    del text


def _refuse(text: str) -> object:
    raise FormatError(expected="finite numbers", got=text)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise FormatError(expected="each key once", got=f"{shown(twice)} twice")
    return found


def _is_deeper(value: object, most: int) -> bool:
    # Level by level, because a walk that calls itself is what deep nesting breaks.
    level, depth = [value] if isinstance(value, dict | list) else [], 0
    while level:
        depth += 1
        if depth > most:
            return True
        level = [
            item
            for holder in level
            for item in (holder.values() if isinstance(holder, dict) else holder)
            if isinstance(item, dict | list)
        ]
    return False
