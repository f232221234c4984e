"""Changes values in the text of a YAML file, and leaves all else as it stands, comments included.

A value is replaced between the marks that PyYAML's composer gives its node; a key that is missing is
written behind the first key of its mapping, as far in. Writing the whole file anew from its values would be
shorter, and lose every comment, anchor and merge that somebody made. An alias stands for the node of its
anchor, so that a value that several places share is changed at its anchor, once, and all of them have it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import yaml

from trainer.config.problems import KeyPath

_PLAIN = re.compile(r"(\.{0,2}/)?[A-Za-z_][A-Za-z0-9_./{}-]*")
_WORDS = frozenset({"yes", "no", "on", "off", "true", "false", "null", "y", "n", "none"})
_ANCHOR = re.compile(r"(&\S+\s+|!\S+\s+)*")


class Edits:
    """The text of a YAML file, and what is to be changed in it.

    Values are written as JSON, which YAML reads, but True, False and plain words, which are written as
    PaddleClas's configs write them.
    """

    def __init__(self, text: str) -> None:
        """`text` must be one YAML document, whose top is a mapping."""
        self._text = text
        self._root = yaml.compose(text, Loader=yaml.SafeLoader)
        self._changes: dict[int, tuple[int, str]] = {}

    def paths(self, key: str) -> Iterator[KeyPath]:
        """Yield where a key stands, at any depth."""
        yield from _paths(self._root, key, ())

    def set(self, path: KeyPath, value: object) -> bool:
        """Give a place a value; tells whether it could: its mapping is there, and not written in one line."""
        node = self._find(path)
        if node is not None:
            start, end = node.start_mark.index, node.end_mark.index
            kept = _ANCHOR.match(self._text, start)
            start = kept.end() if kept else start
            if isinstance(node, yaml.CollectionNode) and not node.flow_style:
                end = start + len(self._text[start:end].rstrip())
                return False  # a block has comments of its own
            self._changes[start] = (end, _write(value))
            return True
        parent = self._find(path[:-1])
        if not isinstance(parent, yaml.MappingNode) or parent.flow_style or not parent.value:
            return False
        first_key, first = parent.value[0]
        if not isinstance(first, yaml.ScalarNode):
            return False
        indent = " " * first_key.start_mark.column
        at = self._text.find("\n", first.end_mark.index)
        at = len(self._text) if at < 0 else at
        before = self._changes.get(at, (at, ""))[1]
        self._changes[at] = (at, f"{before}\n{indent}{path[-1]}: {_write(value)}")
        return True

    def apply(self) -> str:
        """Return the changed text."""
        text = self._text
        for start, (end, value) in sorted(self._changes.items(), reverse=True):
            text = text[:start] + value + text[end:]
        return text

    def _find(self, path: KeyPath) -> yaml.Node | None:
        node: yaml.Node | None = self._root
        for part in path:
            if isinstance(node, yaml.MappingNode):
                node = next((value for key, value in node.value if key.value == part), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(part, int):
                node = node.value[part] if part < len(node.value) else None
            else:
                return None
        return node


def _paths(node: yaml.Node | None, key: str, path: KeyPath) -> Iterator[KeyPath]:
    if isinstance(node, yaml.MappingNode):
        for key_node, value in node.value:
            if key_node.value == key:
                yield (*path, key)
            yield from _paths(value, key, (*path, key_node.value))
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _paths(item, key, (*path, index))


def _write(value: object) -> str:
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    return json.dumps(value, ensure_ascii=False)
