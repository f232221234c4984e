"""Reads YAML as PaddleClas does, keeping the place of every value.

PyYAML's YAML 1.1 resolution, then PaddleClas's literal pass: a string that is the direct value of a mapping
becomes the Python literal that it spells (`'1e-3'` -> 0.001), strings inside lists stay strings
(PaddleClas d178931, ppcls/utils/config.py). Unlike there, a duplicate key is an error.

A file may come from anybody, so that all of it is bounded, and what goes beyond is refused at its place: the
bytes; the depth, by the parser's events before a tree is made, because PyYAML makes trees by recursion; the
number of values, with what aliases stand for counted each time and what merges (`<<`) bring counted before
they are made; the length of numbers, which Python computes in the square of it; and whole numbers, to 64
bits.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from trainer.config.problems import ConfigError, KeyPath, Problem, format_path, show

VERBATIM_SECTIONS = frozenset({"Launch"})
"""Sections that PaddleClas does not know: their quoted text stays text."""

_FAST: Any = getattr(yaml, "CSafeLoader", None)
"""libyaml, ten times as fast; PyYAML's own parser says more about mistakes. Both read YAML 1.1."""

_PLAIN_TAGS = ("tag:yaml.org,2002:seq", "tag:yaml.org,2002:map")
_MERGE = "tag:yaml.org,2002:merge"
_NUMBER_TAGS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
_NO_VALUE = (ValueError, LookupError, AttributeError)
"""What PyYAML 6.0 raises for a date such as 2026-02-30, `!!bool maybe`, `!!int ''` and `!!timestamp 5`."""

MAX_BYTES = 1 << 20
"""What a ConfigMap holds, by which a config reaches its pods."""
MAX_DEPTH = 64
"""Levels of mappings and lists, to which our own code recurses; PaddleClas's deepest config has 10."""
MAX_VALUES = 100_000
"""Scalars, lists and mappings; 180 times those of PaddleClas's longest config, which has 547."""
_MAX_NUMBER = 100
"""Characters of a number, as Python reads decimals in the square of their length."""
_MAX_LITERAL = 4096
"""Characters of a text that is looked at as a literal; PaddleClas has no longer one."""
_MAX_TO_EXPLAIN = 1 << 16
"""Bytes up to which PyYAML's own parser may tell of a mistake: it reads some 100 KB a second."""
_INT64 = 1 << 63


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
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
    locations: Mapping[KeyPath, Location] = field(default_factory=dict)

    def problem(self, path: KeyPath, message: str, *, warning: bool = False) -> Problem:
        """Make a problem at the value of `path`, or at its nearest parent that has a place."""
        found: Location | None = None
        for length in range(len(path), -1, -1):
            found = self.locations.get(path[:length])
            if found is not None:
                break
        if found is None:
            return Problem(file=self.name, path=path, message=message, warning=warning)
        if found.source is not None:
            return Problem(file=found.source, path=path, message=message, warning=warning)
        return Problem(
            file=self.name, line=found.line, column=found.column, path=path, message=message, warning=warning
        )


def parse_document(
    content: bytes, *, name: str, max_bytes: int = MAX_BYTES, max_values: int = MAX_VALUES
) -> Document:
    """Parse a config.

    Args:
        content: The file's bytes, UTF-8.
        name: What messages call the file.
        max_bytes: Of the file.
        max_values: In it, with what aliases and merges stand for.

    Raises:
        ConfigError: It is not UTF-8, not YAML, not a mapping of text keys, too large in one of the ways that
            stand above, or repeats a key. All repeated keys are reported at once.
    """
    if len(content) > max_bytes:
        message = f"expected a config of at most {max_bytes >> 20} MiB, got {len(content):,} bytes or more"
        raise ConfigError([Problem(file=name, message=message)])
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            [Problem(file=name, line=line, message="expected UTF-8 text; save the file as UTF-8")]
        ) from error
    values, locations, problems = _build(text, name, max_values)
    if not isinstance(values, dict):
        message = f"expected a mapping of sections, got {show(values)}"
        problems = [*problems, Problem(file=name, line=1, column=1, message=message)]
    if problems or not isinstance(values, dict):
        raise ConfigError(problems)
    return Document(name=name, values=values, locations=locations)


def _build(text: str, name: str, max_values: int) -> tuple[object, dict[KeyPath, Location], list[Problem]]:
    try:
        _refuse_deep(text, name, max_values)
        if _FAST is not None:
            return _build_with(_FAST(text), name, max_values)
    except yaml.MarkedYAMLError as error:
        # libyaml knows a depth of its own, at which PyYAML's parser would end otherwise
        if len(text) > _MAX_TO_EXPLAIN or "nesting" in str(error):
            raise ConfigError([_yaml_problem(name, error)]) from error
    except yaml.YAMLError:  # told below, in words that say more
        pass
    try:
        loader = yaml.SafeLoader(text)
    except yaml.YAMLError as error:  # an unprintable character has a position of its own kind
        raise ConfigError([Problem(file=name, message=f"expected YAML, got {show(str(error))}")]) from error
    try:
        return _build_with(loader, name, max_values)
    except yaml.MarkedYAMLError as error:
        raise ConfigError([_yaml_problem(name, error)]) from error
    except (ValueError, OverflowError) as error:  # "\\U00110000", which PyYAML hands to chr() as it is
        message = "expected YAML, got an escape such as \\U that names no character"
        raise ConfigError([Problem(file=name, line=loader.line + 1, message=message)]) from error


def _refuse_deep(text: str, name: str, max_values: int) -> None:
    """Count depth and values before anything recurses.

    Raises:
        ConfigError: There is more of them than a config has.
        YAMLError: It is no YAML.
    """
    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=_FAST or yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH or count > 2 * max_values:
            wanted = f"{MAX_DEPTH} levels" if depth > MAX_DEPTH else f"{max_values:,} values"
            line = None if event.start_mark is None else event.start_mark.line + 1
            message = f"expected a config of at most {wanted}, got more"
            raise ConfigError([Problem(file=name, line=line, message=message)])


def _build_with(
    loader: Any, name: str, max_values: int
) -> tuple[object, dict[KeyPath, Location], list[Problem]]:
    try:
        node = loader.get_single_node()
        builder = _Builder(name=name, loader=loader, max_values=max_values)
        values = builder.build(node, ()) if node is not None else {}
    finally:
        loader.dispose()
    return values, builder.locations, builder.problems


def read_literal(text: str) -> object:
    """Return the Python literal that `text` spells, or `text`. Nothing is evaluated.

    What is longer than 4,096 characters, nested deeper than a config may be, or holds whole numbers of more
    than 64 bits stays text.
    """
    if len(text) > _MAX_LITERAL or sum(map(text.count, "[({")) > _MAX_LITERAL // 4:
        return text
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SyntaxWarning)  # '\d' in a text is no business of the user's
        try:
            found: object = ast.literal_eval(text)
            return found if _is_bounded(found, MAX_DEPTH) else text
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            return text


def _is_bounded(value: object, depth: int) -> bool:
    if isinstance(value, int):
        return abs(value) < _INT64
    if isinstance(value, dict):
        return depth > 0 and all(_is_bounded(item, depth - 1) for pair in value.items() for item in pair)
    if isinstance(value, list | tuple | set):
        return depth > 0 and all(_is_bounded(item, depth - 1) for item in value)
    return True


class _Builder:
    def __init__(self, *, name: str, loader: yaml.SafeLoader, max_values: int) -> None:
        self.name = name
        self.locations: dict[KeyPath, Location] = {}
        self.problems: list[Problem] = []
        self._loader = loader
        self._open: set[int] = set()
        self._count, self._max_values = 0, max_values
        self._sizes: dict[int, int] = {}

    def build(self, node: yaml.Node, path: KeyPath) -> object:
        mark = node.start_mark
        self._count += 1
        if self._count > self._max_values:
            self._stop(node, path)
        if isinstance(node, yaml.ScalarNode):
            self.locations[path] = Location(line=mark.line + 1, column=mark.column + 1, text=node.value)
            return self._scalar(node, path)
        self.locations[path] = Location(line=mark.line + 1, column=mark.column + 1)
        problem = ""
        if id(node) in self._open:
            problem = "expected a tree, got an alias that contains itself"
        elif node.tag not in _PLAIN_TAGS:
            problem = f"expected a plain value, got the tag {show(node.tag)}; remove it"
        elif len(path) > MAX_DEPTH:  # by way of aliases
            problem = f"expected at most {MAX_DEPTH} levels, got more"
        if problem:
            self._report(node, path, problem)
            return None
        self._open.add(id(node))
        try:
            if isinstance(node, yaml.SequenceNode):
                return [self.build(item, (*path, index)) for index, item in enumerate(node.value)]
            assert isinstance(node, yaml.MappingNode)
            return self._mapping(node, path)
        finally:
            self._open.discard(id(node))

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> object:
        if node.tag in _NUMBER_TAGS and len(node.value) > _MAX_NUMBER:
            found = f"{len(node.value):,} of them, {show(node.value)}"
            self._report(node, path, f"expected a number of at most {_MAX_NUMBER} characters, got {found}")
            return None
        try:
            value = self._loader.construct_object(node)
        except _NO_VALUE:
            self._report(node, path, f"expected a value, got {show(node.value)}; quote it")
            return None
        if isinstance(value, int) and abs(value) >= _INT64:
            self._report(node, path, f"expected a whole number of 64 bits, got {show(node.value)}")
            return None
        literal = path and isinstance(path[-1], str) and path[0] not in VERBATIM_SECTIONS
        return read_literal(value) if literal and isinstance(value, str) else value

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        self._refuse_repeated(node, path)
        if not self._may_merge(node, path):
            return {}
        self._loader.flatten_mapping(node)
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            long = key_node.tag in _NUMBER_TAGS and len(key_node.value) > _MAX_NUMBER
            if long or not isinstance(key_node, yaml.ScalarNode):
                kind = "a long number" if long else "a list or a mapping"
                self._report(key_node, path, f"expected text as a key, got {kind}")
                continue
            try:
                key = self._loader.construct_object(key_node)
            except _NO_VALUE:
                self._report(key_node, path, f"expected text as a key, got {show(key_node.value)}; quote it")
                continue
            if key is True and key_node.value == "on":  # a key of Launch.notify, in YAML 1.1 a boolean
                key = key_node.value
            if isinstance(key, str):
                values[key] = self.build(value_node, (*path, key))
            else:
                self._report(key_node, path, f"expected text as a key, got {show(key)}; quote it")
        return values

    def _may_merge(self, node: yaml.MappingNode, path: KeyPath) -> bool:
        """Tell whether merges (`<<`) of what merges again end, and are no more than a config may hold.

        PyYAML would put them in by copying pairs, from the innermost on, into memory without bound.
        """
        if id(node) in self._sizes or all(key.tag != _MERGE for key, _ in node.value):
            return True
        if self._merged_size(node, set()) is None:
            self._report(node, path, "expected a tree, got a merge of what contains itself")
            return False
        if self._sizes[id(node)] > self._max_values:
            self._stop(node, path)
        return True

    def _merged_size(self, node: yaml.Node, above: set[int]) -> int | None:
        """Count the pairs of a mapping with those that it merges; None where it merges itself.

        A chain of merges that is longer than a config is deep counts as too large: PyYAML follows it by
        recursion.
        """
        if id(node) in self._sizes:
            return self._sizes[id(node)]
        if id(node) in above:
            return None
        if len(above) > MAX_DEPTH:
            return self._max_values + 1
        total = 0
        parts = node.value if isinstance(node, yaml.SequenceNode) else []
        if isinstance(node, yaml.MappingNode):
            total = len(node.value)
            parts = [value for key, value in node.value if key.tag == _MERGE]
        for part in parts:
            size = self._merged_size(part, above | {id(node)})
            if size is None:
                return None
            total += size
        self._sizes[id(node)] = total
        return total

    def _stop(self, node: yaml.Node, path: KeyPath) -> NoReturn:
        self._report(
            node,
            path,
            f"expected at most {self._max_values:,} values, aliases counted by what they stand for, got more",
        )
        raise ConfigError(self.problems)

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


__all__ = ["Document", "Location", "format_path", "parse_document", "read_literal"]
