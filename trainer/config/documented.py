"""Models whose fields are described by the text below them, read from the source when a JSON Schema is made.

pydantic's `use_attribute_docstrings` does the same, but reads and parses the source of every class on import,
which takes longer than everything else that a command does with a config.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from pydantic import BaseModel, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Documented(BaseModel):
    """A model that puts the texts below its fields into its JSON Schema."""

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Add a `description` to each property that has a text and none yet."""
        schema = handler(core_schema)
        properties = handler.resolve_ref_schema(schema).get("properties", {})
        texts = _texts(cls)
        for name, field in cls.model_fields.items():
            key = field.alias or name
            if name in texts and key in properties:
                properties[key] = {"description": texts[name], **properties[key]}
        return schema


@cache
def _texts(model: type[BaseModel]) -> dict[str, str]:
    """Return the texts below the fields of a model and of those that it derives from."""
    texts: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, Documented) and base is not Documented:
            texts |= _below_fields(base)
    return texts


def _below_fields(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    tree = _parse(inspect.getsourcefile(model) or "")
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name == model.__name__:
            for field, text in pairwise(node.body):
                if (
                    isinstance(field, ast.AnnAssign)
                    and isinstance(field.target, ast.Name)
                    and isinstance(text, ast.Expr)
                    and isinstance(text.value, ast.Constant)
                    and isinstance(text.value.value, str)
                ):
                    yield field.target.id, inspect.cleandoc(text.value.value)


@cache
def _parse(file: str) -> ast.Module:
    with open(file, encoding="utf-8") as source:  # noqa: PTH123
        return ast.parse(source.read())
