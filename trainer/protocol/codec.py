"""Reads and writes frozen dataclasses as JSON, by their type hints: a format is declared once, as a class.

How it works: `read` asks `typing.get_type_hints` for the hints of a class and makes of each a small function
from a decoded value to one that is checked; `_reader_of` keeps them, so that a hint is looked at once a
process, and reading is then one call a field. A class needs nothing for that but hints:

    bool, int, float, str      exactly these; an int is taken where a float is wanted, a bool nowhere else
    Annotated[int, Within(…)]  with limits; of a text, its characters count (`Count`, `UnixTime` … below)
    X | None                   null, or no such key, is None
    Literal[…], an Enum        one of its values
    tuple[X, ...]              a list
    Mapping[str, X]            an object with any keys
    a dataclass                an object with its keys
    object                     whatever is there

Formats only ever gain keys. So a key that the class does not know is passed over (a newer writer), and a
field with a default may be missing (an older one); any other must be there. `Key` is for a key that is no
good name for a field, `Text` for a value that has a text of its own, `UnlessNone` for one that is left out
where it is None, `Unwritten` for a field that is in no document at all.

A wrong value is a `FormatError` with its place (`run.json: attempts`, `progress: ranks[3].step`), what was
expected and what is there. Numbers are finite, and lie where whoever computes with them can take them.

Why not pydantic, which the launcher has: the node process and the programs in pods have the standard library
alone, and a message a rank and half-minute does not need more. Why not the class's own `__init__`: these are
values for our own code too, which need not be checked each time that they are made.

Must not: know a format.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import (
    Annotated,
    Any,
    Literal,
    TypeAlias,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from trainer.protocol.untrusted import MAX_BYTES, FormatError, parse_object, shown

__all__ = [
    "LAST_TIME_S", "MAX_COUNT", "Count", "ExitCode", "FormatError", "Key", "Text", "UnixTime", "UnlessNone",
    "Unwritten", "Within", "decode", "encode", "read",
]  # fmt: skip

T = TypeVar("T")
_Reader: TypeAlias = Callable[[Any], Any]

LAST_TIME_S = 253_402_300_799.0
"""Of the year 9999, the last Unix time that `datetime` can write."""
MAX_COUNT = 2**53 - 1
"""The largest whole number that every JSON reader keeps (RFC 8259, section 6)."""


@dataclass(frozen=True, slots=True)
class Within:
    """Limits of a number, or of the characters of a text.

    Attributes:
        least: Smallest that is taken, or None.
        most: Largest that is taken, or None.
    """

    least: float | None = None
    most: float | None = None


@dataclass(frozen=True, slots=True)
class Key:
    """The key of a field whose name is another."""

    name: str


@dataclass(frozen=True, slots=True)
class UnlessNone:
    """The key is not written where the value is None."""


@dataclass(frozen=True, slots=True)
class Text:
    """The value is written as text, by `str`.

    Attributes:
        parse: Reads it; its errors are the caller's.
    """

    parse: Callable[[str], object]


@dataclass(frozen=True, slots=True)
class Unwritten:
    """The field, which has a default, is neither written nor read: our own code works it out."""


Count: TypeAlias = Annotated[int, Within(0, MAX_COUNT)]
"""How many, or which one, from 0."""
UnixTime: TypeAlias = Annotated[float, Within(0, LAST_TIME_S)]
"""Seconds since 1970, or a number of seconds."""
ExitCode: TypeAlias = Annotated[int, Within(-255, 255)]
"""Of a process; negative for a signal."""


def decode(
    kind: type[T], data: bytes | str, *, where: str, schema: int | None = None, max_bytes: int = MAX_BYTES,
    nan_as_none: bool = False, fix: str = "",
) -> T:  # fmt: skip
    """Read a JSON document as a dataclass.

    Args:
        kind: The dataclass.
        data: See `untrusted.parse_json`, as for `max_bytes` and `nan_as_none`.
        where: Names the document in errors.
        schema: What its key `schema` must be; None where the format has no versions.
        max_bytes: More is refused before it is decoded.
        nan_as_none: Take `NaN` for null.
        fix: What to do where it has another schema.

    Raises:
        FormatError: It is not JSON, of another schema, or a value is missing or wrong.
    """
    document = parse_object(data, where=where, max_bytes=max_bytes, nan_as_none=nan_as_none)
    if schema is not None:
        found = document.get("schema")
        if found != schema or isinstance(found, bool):
            raise FormatError(where=f"{where}: schema", expected=str(schema), got=shown(found), fix=fix)
    return read(kind, document, where=where)


def read(kind: type[T], value: object, *, where: str) -> T:
    """Read a decoded value as a dataclass, or as any hint of the table above.

    Raises:
        FormatError: It is another.
    """
    try:
        return cast("T", _reader_of(cast("Any", kind))(value))
    except _WrongError as wrong:
        place = "".join(reversed(wrong.path)).lstrip(".")
        raise FormatError(
            where=f"{where}: {place}" if place else where, expected=wrong.expected, got=wrong.got
        ) from None  # the traceback of a reader is of no interest


def encode(value: object, *, schema: int | None = None) -> dict[str, object]:
    """Return a dataclass as what `json.dumps` takes, its keys in the order of the fields.

    Args:
        value: The dataclass; what is in it may be all that `read` takes.
        schema: Written before all keys.
    """
    plain = cast("dict[str, object]", _plain(value))
    return plain if schema is None else {"schema": schema, **plain}


class _WrongError(Exception):
    """A value is not what its hint says. `path` is filled from the inside out."""

    def __init__(self, expected: str, value: object) -> None:
        self.expected, self.got, self.path = expected, shown(value), list[str]()


@dataclass(frozen=True, slots=True)
class _Field:
    name: str
    key: str
    hint: object
    is_text: bool
    may_be_missing: bool  # for its default; read as null, a missing key is None or refused
    unless_none: bool


@cache
def _fields_of(kind: type) -> tuple[_Field, ...]:
    hints = get_type_hints(kind, include_extras=True)
    found = []
    for field in dataclasses.fields(kind):
        hint = hints[field.name]
        marks = get_args(hint)[1:] if get_origin(hint) is Annotated else ()
        if any(isinstance(mark, Unwritten) for mark in marks):
            continue
        has_default = (
            field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        )
        found.append(
            _Field(
                name=field.name,
                key=next((mark.name for mark in marks if isinstance(mark, Key)), field.name),
                hint=hint,
                is_text=any(isinstance(mark, Text) for mark in marks),
                may_be_missing=has_default,
                unless_none=any(isinstance(mark, UnlessNone) for mark in marks),
            )
        )
    return tuple(found)


# From hints to functions that check.


@cache
def _reader_of(hint: Any) -> _Reader:
    origin, arguments = get_origin(hint), get_args(hint)
    reader: _Reader | None = None
    if origin is Annotated:
        reader = _annotated(arguments[0], arguments[1:])
    elif hint in _PLAIN:
        reader = _PLAIN[hint]
    elif origin in (Union, types.UnionType):
        inner = [item for item in arguments if item is not types.NoneType]
        reader = _optional(_reader_of(inner[0])) if len(inner) == 1 < len(arguments) else None
    elif origin is Literal:
        reader = _choice({item: item for item in arguments})
    elif origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis:
        reader = _sequence(_reader_of(arguments[0]))
    elif origin in (Mapping, dict) and arguments[0] is str:
        reader = _mapping(_reader_of(arguments[1]))
    elif isinstance(hint, type) and issubclass(hint, Enum):
        reader = _choice({item.value: item for item in hint})
    elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
        reader = _object(hint)
    if reader is None:
        raise TypeError(f"expected a hint that the table of {__name__} has, got {hint!r}")
    return reader


def _read_int(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _WrongError("int", value)
    return value


def _read_float(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _WrongError("float", value)
    try:
        number = float(value)
    except OverflowError:
        raise _WrongError("float", value) from None
    if not math.isfinite(number):
        raise _WrongError("a finite number", value)
    return number


def _read_str(value: Any) -> str:
    if not isinstance(value, str):
        raise _WrongError("str", value)
    return value


def _read_bool(value: Any) -> bool:
    if not isinstance(value, bool):
        raise _WrongError("bool", value)
    return value


_PLAIN: dict[object, _Reader] = {
    int: _read_int, float: _read_float, str: _read_str, bool: _read_bool, object: lambda value: value,
    Any: lambda value: value,
}  # fmt: skip


def _annotated(hint: Any, marks: tuple[object, ...]) -> _Reader:
    text = next((mark for mark in marks if isinstance(mark, Text)), None)
    if text is not None:
        return lambda value: text.parse(_read_str(value))
    inner = _reader_of(hint)
    limits = next((mark for mark in marks if isinstance(mark, Within)), None)
    if limits is None:
        return inner
    # Infinities, so that reading is one comparison without a question for None.
    least = -math.inf if limits.least is None else limits.least
    most = math.inf if limits.most is None else limits.most
    told = (("at least", limits.least), ("at most", limits.most))
    expected = " and ".join(f"{word} {limit}" for word, limit in told if limit is not None)

    def read_within(value: Any) -> Any:
        found = inner(value)
        is_text = isinstance(found, str)
        if not least <= (len(found) if is_text else found) <= most:
            raise _WrongError(f"{expected} characters" if is_text else expected, value)
        return found

    return read_within


def _optional(inner: _Reader) -> _Reader:
    return lambda value: None if value is None else inner(value)


def _choice(known: Mapping[object, object]) -> _Reader:
    expected = "one of " + ", ".join(map(repr, known))

    def read_choice(value: Any) -> object:
        # Of the same type too: True is 1, and a list cannot be looked up.
        for item, found in known.items():
            if type(item) is type(value) and item == value:
                return found
        raise _WrongError(expected, value)

    return read_choice


def _sequence(inner: _Reader) -> _Reader:
    def read_list(value: Any) -> tuple[object, ...]:
        if not isinstance(value, list):
            raise _WrongError("a list", value)
        found = []
        try:
            for item in value:
                found.append(inner(item))
        except _WrongError as wrong:
            wrong.path.append(f"[{len(found)}]")
            raise
        return tuple(found)

    return read_list


def _mapping(inner: _Reader) -> _Reader:
    def read_mapping(value: Any) -> dict[str, object]:
        if not isinstance(value, dict):
            raise _WrongError("an object", value)
        found: dict[str, object] = {}
        for key, item in value.items():
            try:
                found[key] = inner(item)
            except _WrongError as wrong:
                wrong.path.append(f".{key[:80]}")
                raise
        return found

    return read_mapping


def _object(kind: type) -> _Reader:
    # In a list, because a class may refer to itself, and its reader is not known while it is made.
    fields: list[tuple[_Field, _Reader]] = []

    def read_object(value: Any) -> object:
        if not isinstance(value, dict):
            raise _WrongError("an object", value)
        if not fields:
            fields.extend((field, _reader_of(field.hint)) for field in _fields_of(kind))
        found: dict[str, object] = {}
        for field, inner in fields:
            if field.may_be_missing and field.key not in value:
                continue
            try:
                found[field.name] = inner(value.get(field.key))
            except _WrongError as wrong:
                wrong.path.append(f".{field.key}")
                raise
        return kind(**found)

    return read_object


def _plain(value: object) -> object:
    # By what a value is and not by its hint: what our own code made needs no check.
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found: dict[str, object] = {}
        for field in _fields_of(type(value)):
            item = getattr(value, field.name)
            if item is not None or not field.unless_none:
                found[field.key] = str(item) if field.is_text else _plain(item)
        return found
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return value
