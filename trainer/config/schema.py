"""Questions about the grammar itself, answered from its JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from trainer.config.problems import KeyPath

Node = Mapping[str, Any]


@cache
def json_schema(root: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a config type, by the names that stand in the file."""
    return root.model_json_schema(by_alias=True)


def is_known(root: type[BaseModel], path: KeyPath) -> bool:
    """Tell whether the grammar has this key path; list indices lead into any item."""
    *parents, last = path
    return str(last) in known_keys(root, tuple(parents)) if path else True


def known_keys(root: type[BaseModel], path: KeyPath) -> list[str]:
    """List the keys that may stand below a path, over all alternatives."""
    return sorted({key for node in _reach(root, path) for key in node.get("properties", {})})


def expected_names(root: type[BaseModel], path: KeyPath) -> list[str]:
    """List the names that may stand at a path, for both ways of naming things."""
    names: list[str] = []
    for node in _reach(root, path):
        properties = node.get("properties", {})
        if "name" in properties and "enum" in properties["name"]:
            names += properties["name"]["enum"]
        elif node.get("maxProperties") == 1:
            names += properties
    return list(dict.fromkeys(names))


def _reach(root: type[BaseModel], path: KeyPath) -> list[Node]:
    schema = json_schema(root)
    nodes = list(_alternatives(schema, schema))
    for part in path:
        nodes = [
            found
            for node in nodes
            for child in _children(node, part)
            for found in _alternatives(child, schema)
        ]
    return nodes


def _children(node: Node, part: str | int) -> Iterator[Node]:
    if isinstance(part, int):
        items = node.get("items")
        if isinstance(items, dict):
            yield items
        return
    child = node.get("properties", {}).get(part)
    if isinstance(child, dict):
        yield child


def _alternatives(node: Node, schema: Node) -> Iterator[Node]:
    if "$ref" in node:
        yield from _alternatives(schema["$defs"][node["$ref"].rsplit("/", 1)[-1]], schema)
    for branch in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _alternatives(branch, schema)
    yield node
