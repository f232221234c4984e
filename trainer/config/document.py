"""Reads YAML as PaddleClas does, keeping the place of every value.

PyYAML's YAML 1.1 resolution, then PaddleClas's literal pass: a string that is the direct value of a mapping
becomes the Python literal that it spells (`'1e-3'` -> 0.001), strings inside lists stay strings
(PaddleClas d178931, ppcls/utils/config.py). Unlike there, a duplicate key is an error.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import yaml

from trainer.config.problems import ConfigError, KeyPath, Problem, format_path, show

VERBATIM_SECTIONS = frozenset({"Launch"})
"""Sections that PaddleClas does not know: their quoted text stays text."""

_FAST: Any = getattr(yaml, "CSafeLoader", None)
"""libyaml, ten times as fast; PyYAML's own parser says more about mistakes. Both read YAML 1.1."""

_PLAIN_TAGS = ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map")


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a value stands: line and column from 1, and the scalar as it was written."""

    line: int
    column: int
    text: str | None = None
    source: str | None = None
    """What set the value where it was not the file, such as `-o Global.epochs=3`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """A parsed config: plain values, and the place of each by key path."""

    name: str
    values: dict[str, object]
    places: Mapping[KeyPath, Place] = field(default_factory=dict)

    def problem(self, path: KeyPath, message: str, *, warning: bool = False) -> Problem:
        """Make a problem at the value of `path`, or at its nearest parent that has a place."""
        found: Place | None = None
        for length in range(len(path), -1, -1):
            found = self.places.get(path[:length])
            if found is not None:
                break
        if found is None:
            return Problem(file=self.name, path=path, message=message, warning=warning)
        if found.source is not None:
            return Problem(file=found.source, path=path, message=message, warning=warning)
        return Problem(
            file=self.name, line=found.line, column=found.column, path=path, message=message, warning=warning
        )


def parse_document(content: bytes, *, name: str) -> Document:
    """Parse a config.

    Args:
        content: The file's bytes, UTF-8.
        name: What messages call the file.

    Raises:
        ConfigError: It is not UTF-8, not YAML, not a mapping of text keys, or repeats a key. All repeated
            keys are reported at once.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            [Problem(file=name, line=line, message="expected UTF-8 text; save the file as UTF-8")]
        ) from error
    values, places, problems = _build(text, name)
    if not isinstance(values, dict):
        message = f"expected a mapping of sections, got {show(values)}"
        problems = [*problems, Problem(file=name, line=1, column=1, message=message)]
    if problems or not isinstance(values, dict):
        raise ConfigError(problems)
    return Document(name=name, values=values, places=places)


def _build(text: str, name: str) -> tuple[object, dict[KeyPath, Place], list[Problem]]:
    if _FAST is not None:
        with suppress(yaml.YAMLError, RecursionError):  # told below, in words that say more
            return _build_with(_FAST(text), name)
    try:
        loader = yaml.SafeLoader(text)
    except yaml.YAMLError as error:  # an unprintable character has a position of its own kind
        raise ConfigError([Problem(file=name, message=f"expected YAML, got {show(str(error))}")]) from error
    try:
        return _build_with(loader, name)
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_yaml_problem(name, error)]) from error


def _build_with(loader: Any, name: str) -> tuple[object, dict[KeyPath, Place], list[Problem]]:
    try:
        node = loader.get_single_node()
        builder = _Builder(name=name, loader=loader)
        values = builder.build(node, ()) if node is not None else {}
    finally:
        loader.dispose()
    return values, builder.places, builder.problems


def read_literal(text: str) -> object:
    """Return the Python literal that `text` spells, or `text`. Nothing is evaluated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # '\d' in a text is no business of the user's
        try:
            return ast.literal_eval(text)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return text


class _Builder:
    def __init__(self, *, name: str, loader: yaml.SafeLoader) -> None:
        self.name = name
        self.places: dict[KeyPath, Place] = {}
        self.problems: list[Problem] = []
        self._loader = loader
        self._open: set[int] = set()

    def build(self, node: yaml.Node, path: KeyPath) -> object:
        mark = node.start_mark
        scalar = isinstance(node, yaml.ScalarNode)
        self.places[path] = Place(
            line=mark.line + 1, column=mark.column + 1, text=node.value if scalar else None
        )
        if scalar:
            try:
                value = self._loader.construct_object(node)
            except ValueError:  # a date such as 2026-02-30
                self._report(node, path, f"expected a value, got {show(node.value)}; quote it")
                return None
            literal = path and isinstance(path[-1], str) and path[0] not in VERBATIM_SECTIONS
            return read_literal(value) if literal and isinstance(value, str) else value
        if id(node) in self._open:
            self._report(node, path, "expected a tree, got an alias that contains itself")
            return None
        if node.tag not in _PLAIN_TAGS:
            self._report(node, path, f"expected a plain value, got the tag {show(node.tag)}; remove it")
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
            assert isinstance(node, yaml.MappingNode)
            return self._mapping(node, path)
        finally:
            self._open.discard(id(node))

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        self._refuse_repeated(node, path)
        self._loader.flatten_mapping(node)
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = self._loader.construct_object(key_node, deep=True)
            if isinstance(key, str):
                values[key] = self.build(value_node, (*path, key))
            else:
                self._report(key_node, path, f"expected text as a key, got {show(key)}; quote it")
        return values

    def _refuse_repeated(self, node: yaml.MappingNode, path: KeyPath) -> None:
        first: dict[str, int] = {}
        for key_node, _ in node.value:
            key = key_node.value
            if not isinstance(key, str) or key == "<<":
                continue
            line = key_node.start_mark.line + 1
            if key in first:
                self._report(
                    key_node,
                    (*path, key),
                    f"expected each key once, got it again (first on line {first[key]})",
                )
            first.setdefault(key, line)

    def _report(self, node: yaml.Node, path: KeyPath, message: str) -> None:
        mark = node.start_mark
        self.problems.append(
            Problem(file=self.name, line=mark.line + 1, column=mark.column + 1, path=path, message=message)
        )


def _yaml_problem(name: str, error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    reason = " ".join(part for part in (error.context, error.problem) if part)
    hint = ""
    if "'\\t'" in reason:
        reason, hint = "expected spaces, got a tab", "; YAML is indented with spaces only"
    else:
        reason = f"expected YAML: {reason}"
    if mark is None:
        return Problem(file=name, message=reason + hint)
    return Problem(file=name, line=mark.line + 1, column=mark.column + 1, message=reason + hint)


__all__ = ["Document", "Place", "format_path", "parse_document", "read_literal"]
