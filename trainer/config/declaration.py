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

EXTRA = "*extra"
"""Tag of the member of a union that takes names of the user's own; no name of a config."""
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

    is_extra: ClassVar[bool] = False
    """It stands for a name that a module of the user brings."""

    @classmethod
    def known_names(cls) -> tuple[str, ...]:
        """All names that lead to this declaration."""
        return cls.names or (cls.__name__,)

    @property
    def label(self) -> str:
        """What messages and results call it."""
        return type(self).__name__


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


class _Unpublished:
    """Keeps names of the user's own out of the JSON Schema, which cannot know them."""

    def __get_pydantic_json_schema__(
        self, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        del core_schema, handler
        return {"not": {}}


def _extras(extra: type[Declaration] | None) -> list[Any]:  # an Annotated type
    return [] if extra is None else [Annotated[extra, _Unpublished(), Tag(EXTRA)]]


def keyed(  # an Annotated union made at run time
    declarations: Sequence[type[Declaration]], *, extra: type[Declaration] | None = None
) -> Any:
    """Make the type of `{Name: parameters}` for these declarations; `extra` takes all other names."""
    known = set(all_names(declarations))

    def choose(item: Any) -> str | None:  # whatever YAML gave
        name = _only_key(item)
        return EXTRA if extra is not None and name is not None and name not in known else name

    def parameters(item: Any) -> Any:  # whatever YAML gave
        value = next(iter(item.values())) if isinstance(item, dict) else item
        return {} if value is None else value

    members = [
        Annotated[
            declaration, BeforeValidator(parameters), _Shape(declaration.known_names(), keyed=True), Tag(name)
        ]
        for declaration in declarations
        for name in declaration.known_names()
    ] + _extras(extra)
    return Annotated[
        Union[tuple(members)],  # noqa: UP007  # a union of a list has no other spelling
        Discriminator(
            choose,
            custom_error_type="name_unknown",
            custom_error_message="expected one of the known names",
        ),
    ]


def named(  # as above
    declarations: Sequence[type[Declaration]],
    *,
    default: str | None = None,
    extra: type[Declaration] | None = None,
) -> Any:
    """Make the type of `{name: Name, parameters…}`; `default` is the name where none is written.

    A declaration with a field `name` keeps it: one model then serves a family, such as all ResNets.
    `extra` takes all other names.
    """
    known = set(all_names(declarations))

    def without_name(item: Any) -> Any:  # whatever YAML gave
        if not isinstance(item, dict):
            return item
        return {key: value for key, value in item.items() if key != "name"}

    def with_name(item: Any) -> Any:  # whatever YAML gave
        return item

    def choose(item: Any) -> str | None:  # whatever YAML gave
        if isinstance(item, Declaration):
            return EXTRA if item.is_extra else item.known_names()[0]
        name = item.get("name", default) if isinstance(item, dict) else None
        if not isinstance(name, str):
            return None
        return EXTRA if extra is not None and name not in known else name

    members = [
        Annotated[
            declaration,
            BeforeValidator(with_name if "name" in declaration.model_fields else without_name),
            _Shape(declaration.known_names(), keyed=False),
            Tag(name),
        ]
        for declaration in declarations
        for name in declaration.known_names()
    ] + _extras(extra)
    return Annotated[
        Union[tuple(members)],  # noqa: UP007  # as above
        Discriminator(
            choose, custom_error_type="name_unknown", custom_error_message="expected one of the known names"
        ),
    ]


def _only_key(item: Any) -> str | None:  # whatever YAML gave
    if isinstance(item, Declaration):
        return EXTRA if item.is_extra else item.known_names()[0]
    if not isinstance(item, dict) or len(item) != 1:
        return None
    key = next(iter(item))
    return key if isinstance(key, str) else None


def all_names(declarations: Sequence[type[Declaration]]) -> list[str]:
    """Names that a config may write for these declarations."""
    return [name for declaration in declarations for name in declaration.known_names()]
