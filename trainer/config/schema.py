"""Questions about the grammar itself, answered from its JSON Schema."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from pydantic import BaseModel

from trainer.config.problems import KeyPath
from trainer.config.registry import NAMED

Node = Mapping[str, Any]


@cache
def json_schema(root: type[BaseModel]) -> dict[str, Any]:
    """Return the JSON Schema of a config type, by the names that stand in the file."""
    schema = root.model_json_schema(by_alias=True)
    resolved = _put_names(schema, schema)
    assert isinstance(resolved, dict)
    return resolved


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


def _put_names(node: Any, schema: Node) -> Any:  # any part of a JSON Schema
    """Copy parameters and put the name beside them, wherever a name stands in the same mapping.

    Not while pydantic makes the schema: the definitions that it refers to are renamed at the end.
    """
    if isinstance(node, list):
        return [_put_names(item, schema) for item in node]
    if not isinstance(node, dict):
        return node
    if NAMED not in node:
        return {key: _put_names(value, schema) for key, value in node.items()}
    inner = node["of"]
    if len(inner.get("oneOf", ())) == 1:  # a choice of one
        inner = inner["oneOf"][0]
    if "$ref" in inner:
        inner = schema["$defs"][inner["$ref"].rsplit("/", 1)[-1]]
    body = {key: _put_names(value, schema) for key, value in inner.items()}
    default = {"default": node["default"]} if "default" in node else {}
    body["properties"] = {**body.get("properties", {}), "name": {"enum": node[NAMED], **default}}
    required = {*body.get("required", []), *(() if default else ("name",))}
    body.pop("required", None)
    if required:
        body["required"] = sorted(required)
    return body


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
    for child in (node.get("properties", {}).get(part), node.get("additionalProperties")):
        if isinstance(child, dict):
            yield child
            return


def _alternatives(node: Node, schema: Node) -> Iterator[Node]:
    if "$ref" in node:
        yield from _alternatives(schema["$defs"][node["$ref"].rsplit("/", 1)[-1]], schema)
    for branch in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _alternatives(branch, schema)
    yield node
