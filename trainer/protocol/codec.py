"""Reads fields of a decoded JSON object with their type and size checked.

What is read of a document that somebody else wrote is read by these: a wrong type is an error with its
place, and a number lies where whoever computes with it can take it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeVar

from trainer.protocol.untrusted import MAX_BYTES, FormatError, parse_object, shown

__all__ = [
    "LAST_TIME_S", "MAX_COUNT", "FormatError", "decode_object", "need", "need_list", "need_object",
    "need_objects", "need_or_none", "need_texts",
]  # fmt: skip

T = TypeVar("T", int, float, str, bool)

LAST_TIME_S = 253_402_300_799.0
"""Of the year 9999, the last Unix time that `datetime` can write."""
MAX_COUNT = 2**53 - 1
"""The largest whole number that every JSON reader keeps (RFC 8259, section 6)."""


def decode_object(text: str | bytes, *, what: str, max_bytes: int = MAX_BYTES) -> Mapping[str, object]:
    """Decode a JSON object.

    Raises:
        FormatError: `text` is not JSON, not an object, or beyond the limits of `untrusted`; `what` names the
            document.
    """
    return parse_object(text, where=what, max_bytes=max_bytes)


def need(
    document: Mapping[str, object], key: str, kind: type[T], *, what: str, least: float | None = None,
    most: float | None = None,
) -> T:  # fmt: skip
    """Return `document[key]`, which must be of `kind`; an int is taken where a float is wanted.

    Args:
        document: Decoded by `parse_json`, or as good.
        key: Its field.
        kind: bool is no int here.
        what: Names the document in errors.
        least: Smallest number, or None.
        most: Largest number, or for text its most characters, or None.

    Raises:
        FormatError: The key is missing, or its value has another type or lies outside.
    """
    value = document.get(key)
    where = f"{what}: {key}"
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        try:
            value = float(value)
        except OverflowError:
            raise FormatError(where=where, expected="float", got=shown(value)) from None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise FormatError(where=where, expected=kind.__name__, got=shown(value))
    _check_size(value, least=least, most=most, where=where)
    return value


def need_or_none(
    document: Mapping[str, object], key: str, kind: type[T], *, what: str, least: float | None = None,
    most: float | None = None,
) -> T | None:  # fmt: skip
    """Like `need`, but a missing key or null gives None."""
    if document.get(key) is None:
        return None
    return need(document, key, kind, what=what, least=least, most=most)


def need_object(document: Mapping[str, object], key: str, *, what: str) -> dict[str, object]:
    """Return `document[key]`, which must be an object.

    Raises:
        FormatError: It is none.
    """
    value = document.get(key)
    if not isinstance(value, dict):
        raise FormatError(where=f"{what}: {key}", expected="an object", got=shown(value))
    return value


def need_list(document: Mapping[str, object], key: str, *, what: str) -> list[object]:
    """Return `document[key]`, which must be a list.

    Raises:
        FormatError: It is none.
    """
    value = document.get(key)
    if not isinstance(value, list):
        raise FormatError(where=f"{what}: {key}", expected="a list", got=shown(value))
    return value


def need_texts(document: Mapping[str, object], key: str, *, what: str) -> tuple[str, ...]:
    """Return `document[key]`, which must be a list of texts.

    Raises:
        FormatError: It is none.
    """
    return tuple(need({key: item}, key, str, what=what) for item in need_list(document, key, what=what))


def need_objects(document: Mapping[str, object], key: str, *, what: str) -> tuple[dict[str, object], ...]:
    """Return `document[key]`, which must be a list of objects.

    Raises:
        FormatError: It is none.
    """
    items = need_list(document, key, what=what)
    objects = tuple(item for item in items if isinstance(item, dict))
    if len(objects) < len(items):
        raise FormatError(where=f"{what}: {key}", expected="a list of objects", got=shown(items))
    return objects


def _check_size(value: object, *, least: float | None, most: float | None, where: str) -> None:
    size = len(value) if isinstance(value, str) else value
    if not isinstance(size, int | float) or not (isinstance(size, int) or math.isfinite(size)):
        raise FormatError(where=where, expected="a finite number", got=shown(value))
    if (least is not None and size < least) or (most is not None and size > most):
        told = (("at least", least), ("at most", most))
        limits = [f"{word} {limit:.15g}" for word, limit in told if limit is not None]
        unit = " characters" if isinstance(value, str) else ""
        raise FormatError(where=where, expected=" and ".join(limits) + unit, got=shown(value))
