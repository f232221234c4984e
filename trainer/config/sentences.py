"""Turns pydantic's errors into sentences: expected X, got Y; what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from trainer.config.declaration import EXTRA
from trainer.config.document import Document
from trainer.config.instead import INSTEAD
from trainer.config.problems import KeyPath, show
from trainer.config.schema import expected_names, known_keys
from trainer.config.suggest import suggest

_EXPECTED = {
    "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "float_parsing": "a number", "finite_number": "a finite number",
    "bool_type": "true or false", "bool_parsing": "true or false", "string_type": "text",
    "tuple_type": "a list", "list_type": "a list", "dict_type": "a mapping", "model_type": "a mapping",
    "model_attributes_type": "a mapping", "none_required": "nothing (null)",
}  # fmt: skip
_BOUNDS = {"greater_than": ("gt", "above"), "greater_than_equal": ("ge", "of at least"),
           "less_than": ("lt", "below"), "less_than_equal": ("le", "of at most")}  # fmt: skip
_MAX_LISTED = 8


def find_path(values: object, loc: tuple[int | str, ...]) -> KeyPath:
    """Turn pydantic's location into a key path of the file: names of union members are not keys there."""
    path: list[str | int] = []
    here = values
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if part == EXTRA:
            continue
        if isinstance(here, dict) and isinstance(part, str) and (part in here or last):
            path.append(part)
            here = here.get(part)
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            path.append(part)
            here = here[part]
    return tuple(path)


def say(error: ErrorDetails, document: Document, path: KeyPath, root: type[BaseModel]) -> str:
    """Write the sentence for one of pydantic's errors."""
    kind, value = error["type"], error["input"]
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == "missing":
        return "expected a value, got nothing; add it"
    if kind == "extra_forbidden":
        hint = suggest(path[-1], known_keys(root, path[:-1]))
        return f"expected a parameter that exists here, got {path[-1]!r}{hint}"
    if kind == "name_unknown":
        names = [*expected_names(root, path), *context.get("registered", ())]
        return _unknown_name(value, names, beside="name" in known_keys(root, path))
    if kind == "value_error":
        return re.sub(r"^Value error, ", "", error["msg"])
    quote = kind in ("string_type", "literal_error")
    return f"expected {_expected(kind, error['msg'], context)}, got {show(value)}" + (
        _hint(value, document, path) if quote else ""
    )


def _expected(kind: str, message: str, context: Mapping[str, Any]) -> str:
    if kind in _BOUNDS:
        key, word = _BOUNDS[kind]
        return f"a number {word} {context[key]:g}"
    if kind == "literal_error":
        return str(context["expected"])
    if kind == "too_short":
        return f"at least {context['min_length']} items"
    if kind == "too_long":
        return f"at most {context['max_length']} items"
    return _EXPECTED.get(kind, f"another value ({message.lower()})")


def _unknown_name(value: object, names: list[str], *, beside: bool) -> str:
    """`beside` tells that the name stands beside its parameters, not before them."""
    if beside and (not isinstance(value, dict) or value.get("name") is None):
        return f"expected a mapping with `name`, got {show(value)}"
    written: object = None
    if isinstance(value, dict):
        written = value["name"] if beside else next(iter(value), None) if len(value) == 1 else None
    if not isinstance(written, str):
        return f"expected a name with its parameters, got {show(value)}"
    listed = ", ".join(names[:_MAX_LISTED]) + (", …" if len(names) > _MAX_LISTED else "")
    hint = f"; {INSTEAD[written]}" if written in INSTEAD else suggest(written, names)
    return f"expected one of {listed}, got {written!r}{hint}"


def _hint(value: object, document: Document, path: KeyPath) -> str:
    """Explain YAML 1.1, where `no` is false and `1.10` is 1.1."""
    place = document.places.get(path)
    if place is None or place.text is None or isinstance(value, str | None):
        return ""
    return f" (YAML reads {place.text!r} so); quote it"
