"""What callers pass, made into what use cases take: one text for several, and keywords as options."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

_Options = TypeVar("_Options")


def as_texts(value: Iterable[str] | str) -> tuple[str, ...]:
    """Return one text, or several, as several: a text is a sequence of its letters, which nobody means."""
    return (value,) if isinstance(value, str) else tuple(map(str, value))


def make_options(kind: type[_Options], **given: Any) -> _Options:
    """Make the options of a use case from keywords, which `ftlaunch.boundary` has seen to be known ones."""
    return kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in given.items()})
