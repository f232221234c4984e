"""What callers pass, made into what use cases take: one text for several, and options by name."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

_Options = TypeVar("_Options")


def as_texts(value: Iterable[str] | str) -> tuple[str, ...]:
    """Return one text, or several, as several: a text is a sequence of its letters, which nobody means."""
    return (value,) if isinstance(value, str) else tuple(map(str, value))


def make_options(function: Callable[..., object], kind: type[_Options], **given: Any) -> _Options:
    """Make the options of a function from its keywords.

    Raises:
        TypeError: There is no such keyword; names the function, as Python does, and the nearest keyword.
    """
    fields = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for name in given:
        if name not in fields:
            near = difflib.get_close_matches(name, fields, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            said = f"{function.__name__}() got an unexpected keyword argument {name!r}{hint}"
            raise TypeError(said)
    return kind(**given)
