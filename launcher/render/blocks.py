"""Values into YAML that people can read, in block style; every scalar is JSON, so none changes its type."""

from __future__ import annotations

import re
from typing import Any

from launcher.render.filters import to_json

_PLAIN_KEY = re.compile(r"[a-z][A-Za-z]{2,}")
_WORDS = frozenset({"null", "true", "false", "yes", "off"})


def to_yaml(value: Any, indent: int = 0) -> str:  # any value that JSON has
    """Write a mapping or a list as YAML, ending in a line break."""
    pad = " " * indent
    if isinstance(value, dict):
        return "".join(f"{pad}{_key(key)}:{_below(item, indent)}" for key, item in value.items())
    lines = []
    for item in value:
        text = to_yaml(item, indent + 2) if isinstance(item, dict | list) and item else f"{to_json(item)}\n"
        lines.append(f"{pad}- {text.lstrip(' ')}")
    return "".join(lines)


def _key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) and key not in _WORDS else to_json(key)


def _below(item: Any, indent: int) -> str:
    if isinstance(item, dict | list) and item:
        return f"\n{to_yaml(item, indent + 2)}"
    return f" {to_json(item)}\n"
