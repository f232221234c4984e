"""The published schemas of what commands print, without room for keys of later releases."""

from __future__ import annotations

from typing import Any

import jsonschema

from launcher.documents import load_schema


def strict(node: Any) -> Any:
    """Return a schema without room for keys that it does not name."""
    if isinstance(node, list):
        return [strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {"additionalProperties": False} if "properties" in node else {}
    return {**{key: strict(value) for key, value in node.items()}, **closed}


def check_document(document: dict[str, Any]) -> str:
    """Hold a document against the schema of its kind, and return the kind."""
    assert list(document)[:2] == ["schema", "kind"]
    kind = str(document["kind"])
    checker = jsonschema.Draft202012Validator.FORMAT_CHECKER
    jsonschema.Draft202012Validator(strict(load_schema(kind)), format_checker=checker).validate(document)
    return kind
