"""Reads fields of a decoded JSON object with their type checked."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TypeVar

T = TypeVar("T", int, float, str, bool)


class FormatError(ValueError):
    """A protocol document is not what its format says."""


def decode_object(text: str | bytes, *, what: str) -> Mapping[str, object]:
    """Decode a JSON object.

    Raises:
        FormatError: `text` is not JSON or not an object; `what` names the document.
    """
    try:
        value = json.loads(text)
    except ValueError as error:
        raise FormatError(f"{what}: expected JSON, got {str(text)[:80]!r}") from error
    if not isinstance(value, dict):
        raise FormatError(f"{what}: expected a JSON object, got {str(text)[:80]!r}")
    return value


def need(document: Mapping[str, object], key: str, kind: type[T], *, what: str) -> T:
    """Return `document[key]`, which must be of `kind`; an int is taken where a float is wanted.

    Raises:
        FormatError: The key is missing or its value has another type.
    """
    value = document.get(key)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise FormatError(f"{what}: {key}: expected {kind.__name__}, got {value!r}")
    return value


def need_or_none(document: Mapping[str, object], key: str, kind: type[T], *, what: str) -> T | None:
    """Like `need`, but a missing key or null gives None."""
    return None if document.get(key) is None else need(document, key, kind, what=what)
