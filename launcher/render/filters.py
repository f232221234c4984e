"""Values into YAML text. Everything goes through a filter that emits JSON, which is YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import jinja2

from launcher.render.references import escape_references

# What PyYAML and go-yaml take for line breaks or refuse unescaped; JSON leaves them as they are.
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")
_BLOCK_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")

_WORD = re.compile(r"[a-z][A-Za-z]{2,}")
_WORDS = frozenset({"null", "true", "false", "yes", "off"})  # which YAML 1.1 reads as something else


class Emitted(str):
    """Text that a filter made; the environment refuses to print anything else."""

    __slots__ = ()


def to_json(value: Any) -> Emitted:  # any value that JSON has
    """Write a value as JSON that YAML reads as the same value."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    if isinstance(value, float) and "." not in text:  # 1e-05 is text in YAML 1.1, 1.0e-05 a number
        text = text.replace("e", ".0e")
    return Emitted(_ESCAPED.sub(lambda match: f"\\u{ord(match[0]):04x}", text))


def to_block(value: str, indent: int) -> Emitted:
    """Write a text of several lines as a literal block, which people can read, where that is safe."""
    lines = value.split("\n")
    readable = (
        value.endswith("\n") and not value.endswith("\n\n") and not _BLOCK_UNSAFE.search(value)
        and not lines[0].startswith((" ", "\t")) and lines[0] != ""
    )  # fmt: skip
    if not readable:
        return to_json(value)
    pad = " " * indent
    return Emitted("|\n" + "\n".join(pad + line if line else "" for line in lines[:-1]))


def to_word(value: str) -> Emitted:
    """Write a name of our own as it is, which people read more easily; anything else as JSON."""
    return Emitted(value) if _WORD.fullmatch(value) and value not in _WORDS else to_json(value)


def to_yaml(value: Any, indent: int = 0) -> str:  # any value that JSON has
    """Write a mapping or a list as YAML in block style, ending in a line break; every scalar is JSON."""
    pad = " " * indent
    if isinstance(value, dict):
        return "".join(f"{pad}{to_word(key)}:{_below(item, indent)}" for key, item in value.items())
    lines = []
    for item in value:
        text = to_yaml(item, indent + 2) if isinstance(item, dict | list) and item else f"{to_json(item)}\n"
        lines.append(f"{pad}- {text.lstrip(' ')}")
    return "".join(lines)


def _below(item: Any, indent: int) -> str:
    if isinstance(item, dict | list) and item:
        return f"\n{to_yaml(item, indent + 2)}"
    return f" {to_json(item)}\n"


class Recorder:
    """Filters that note every value, and can put stand-ins in their place.

    Two renderings of one plan call the filters in the same order. The second one, with stand-ins, shows the
    structure that is meant whatever the values hold.
    """

    def __init__(self, *, stand_in: bool) -> None:
        self.values: list[Any] = []
        self._stand_in = stand_in

    @property
    def filters(self) -> dict[str, Callable[..., Emitted]]:
        """Jinja filters by name."""
        return {"json": self._json, "block": self._block, "literal": self._literal, "word": self._word}

    def _json(self, value: Any) -> Emitted:  # any value that JSON has
        return self._note(value, to_json)

    def _literal(self, value: str) -> Emitted:
        return self._json(escape_references(value))

    def _word(self, value: str) -> Emitted:
        return self._note(value, to_word)

    def _block(self, value: str, indent: int) -> Emitted:
        return self._note(value, lambda text: to_block(text, indent))

    def _note(self, value: Any, emit: Callable[[Any], Emitted]) -> Emitted:
        if isinstance(value, jinja2.Undefined):
            str(value)  # StrictUndefined says its name
        self.values.append(value)
        return Emitted(stand_in(len(self.values) - 1)) if self._stand_in else emit(value)


def stand_in(number: int) -> str:
    """Return the stand-in of the value that is emitted as the n-th, from 0: a plain YAML text."""
    return f"stand-in-{number}-"
