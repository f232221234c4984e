"""How names are declared: one frozen model a name, chosen by the name that stands in the config.

PaddleClas names things in two ways: `- RandCropImage: {size: 224}` (the key of a one-key mapping) and
`{name: Momentum, momentum: 0.9}` (a key beside the parameters). Both become the model of that name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Union

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    GetJsonSchemaHandler,
    Tag,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

NAMED = "x-named"
"""Marks a schema whose `of` holds the parameters of names that stand beside them, until it is resolved."""

STRICT = ConfigDict(
    frozen=True, strict=True, use_attribute_docstrings=True, populate_by_name=True, allow_inf_nan=False
)


class Declaration(BaseModel):
    """Parameters of one name. An unknown parameter is refused, as PaddleClas raises TypeError there."""

    model_config = ConfigDict(**STRICT, extra="forbid")

    names: ClassVar[tuple[str, ...]] = ()
    """Names under which it is known; empty means the name of the class."""

    @classmethod
    def known_names(cls) -> tuple[str, ...]:
        """All names that lead to this declaration."""
        return cls.names or (cls.__name__,)


class Section(BaseModel):
    """Keys of a section. An unknown key is kept in `model_extra` and warned of, as PaddleClas ignores it."""

    model_config = ConfigDict(**STRICT, extra="allow")


class _Shape:
    """Tells JSON Schema how the name and the parameters stand in the file."""

    def __init__(self, names: Sequence[str], *, keyed: bool) -> None:
        self._names, self._keyed = list(names), keyed

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        inner = handler(core_schema)
        if self._keyed:
            properties = {name: {"anyOf": [inner, {"type": "null"}]} for name in self._names}
            return {
                "type": "object", "properties": properties, "minProperties": 1, "maxProperties": 1,
                "additionalProperties": False,
            }  # fmt: skip
        return {NAMED: self._names, "of": inner}  # `schema.json_schema` puts the name beside the parameters


def keyed(declarations: Sequence[type[Declaration]]) -> Any:  # an Annotated union made at run time
    """Make the type of `{Name: parameters}` for these declarations."""

    def parameters(item: Any) -> Any:  # whatever YAML gave
        value = next(iter(item.values())) if isinstance(item, dict) else item
        return {} if value is None else value

    members = [
        Annotated[
            declaration, BeforeValidator(parameters), _Shape(declaration.known_names(), keyed=True), Tag(name)
        ]
        for declaration in declarations
        for name in declaration.known_names()
    ]
    return Annotated[
        Union[tuple(members)],  # noqa: UP007  # a union of a list has no other spelling
        Discriminator(
            _only_key,
            custom_error_type="name_unknown",
            custom_error_message="expected one of the known names",
        ),
    ]


def named(declarations: Sequence[type[Declaration]], *, default: str | None = None) -> Any:  # as above
    """Make the type of `{name: Name, parameters…}`; `default` is the name where none is written.

    A declaration with a field `name` keeps it: one model then serves a family, such as all ResNets.
    """

    def without_name(item: Any) -> Any:  # whatever YAML gave
        if not isinstance(item, dict):
            return item
        return {key: value for key, value in item.items() if key != "name"}

    def with_name(item: Any) -> Any:  # whatever YAML gave
        return item

    def choose(item: Any) -> str | None:  # whatever YAML gave
        if isinstance(item, Declaration):
            return item.known_names()[0]
        name = item.get("name", default) if isinstance(item, dict) else None
        return name if isinstance(name, str) else None

    members = [
        Annotated[
            declaration,
            BeforeValidator(with_name if "name" in declaration.model_fields else without_name),
            _Shape(declaration.known_names(), keyed=False),
            Tag(name),
        ]
        for declaration in declarations
        for name in declaration.known_names()
    ]
    return Annotated[
        Union[tuple(members)],  # noqa: UP007  # as above
        Discriminator(
            choose, custom_error_type="name_unknown", custom_error_message="expected one of the known names"
        ),
    ]


def _only_key(item: Any) -> str | None:  # whatever YAML gave
    if isinstance(item, Declaration):
        return item.known_names()[0]
    if not isinstance(item, dict) or len(item) != 1:
        return None
    key = next(iter(item))
    return key if isinstance(key, str) else None


def all_names(declarations: Sequence[type[Declaration]]) -> list[str]:
    """Names that a config may write for these declarations."""
    return [name for declaration in declarations for name in declaration.known_names()]
