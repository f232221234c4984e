"""How names are declared: one frozen model a name, chosen by the name that stands in the config.

PaddleClas names things in two ways: `- RandCropImage: {size: 224}` (the key of a one-key mapping) and
`{name: Momentum, momentum: 0.9}` (a key beside the parameters). Both become the model of that name.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, SchemaValidator, core_schema

from trainer.config.documented import Documented

EXTRA = "*extra"
"""Tag of the member of a union that takes names of the user's own; no name of a config."""
NAMED = "x-named"
"""Marks a schema whose `of` holds the parameters of names that stand beside them, until it is resolved.

Its `default` is the name that may be left out; not there, where none may.
"""

STRICT = ConfigDict(
    frozen=True, strict=True, populate_by_name=True, allow_inf_nan=False,
    defer_build=True,  # of all names, a config has few
)  # fmt: skip


class Declaration(Documented):
    """Parameters of one name. An unknown parameter is refused, as PaddleClas raises TypeError there."""

    model_config = ConfigDict(**STRICT, extra="forbid")

    names: ClassVar[tuple[str, ...]] = ()
    """Names under which it is known; empty means the name of the class."""

    is_extra: ClassVar[bool] = False
    """It stands for a name that a module of the user brings."""
    hands_on: ClassVar[bool] = False
    """Parameters that it does not know go to what it stands for; elsewhere they have no effect."""

    @classmethod
    def known_names(cls) -> tuple[str, ...]:
        """All names that lead to this declaration."""
        return cls.names or (cls.__name__,)

    @property
    def label(self) -> str:
        """What messages and results call it."""
        return type(self).__name__


class Section(Documented):
    """Keys of a section. An unknown key is kept in `model_extra` and warned of, as PaddleClas ignores it."""

    model_config = ConfigDict(**STRICT, extra="allow")


class Later(NamedTuple):
    """A declaration whose module is imported when one of its names is first met.

    Attributes:
        declared: Name of the class.
        names: As its `known_names()`; none of one that takes all other names.
    """

    module: str
    declared: str
    names: tuple[str, ...] = ()

    def known_names(self) -> tuple[str, ...]:
        """All names that lead to the declaration."""
        return self.names

    def load(self) -> type[Declaration]:
        """Import it."""
        found: type[Declaration] = getattr(import_module(self.module), self.declared)
        return found


def later(module: str, declarations: Mapping[str, tuple[str, ...]] | str) -> tuple[Later, ...]:
    """Put declarations of a module into a catalogue without importing it.

    Args:
        module: Where they are.
        declarations: The names that lead to each class; or, in one text, classes that are called as they are.
    """
    if isinstance(declarations, str):
        declarations = {name: (name,) for name in declarations.split()}
    return tuple(Later(module, declared, names) for declared, names in declarations.items())


class Catalogue:
    """What a place of the config may name. Whoever goes through it imports all; `find` imports one module."""

    def __init__(self, *items: type[Declaration] | Later) -> None:
        self.items = items
        """What it was made of; goes into another catalogue."""
        self._by_name = {name: item for item in items for name in item.known_names()}

    def __iter__(self) -> Iterator[type[Declaration]]:
        return map(_load, self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __contains__(self, name: object) -> bool:
        """Tell whether it has a name; imports nothing."""
        return name in self._by_name

    def names(self) -> list[str]:
        """List all names; imports nothing."""
        return [name for item in self.items for name in item.known_names()]

    def find(self, name: str | None) -> type[Declaration] | None:
        """Return the declaration of a name, or None where there is none."""
        item = None if name is None else self._by_name.get(name)
        return None if item is None else _load(item)


def _load(item: type[Declaration] | Later) -> type[Declaration]:
    return item.load() if isinstance(item, Later) else item


Choose = Callable[[Any], str | None]
"""From whatever YAML gave to the name that it has."""
Shape = Callable[[type[Declaration], JsonSchemaValue], JsonSchemaValue]
"""Tells JSON Schema how the name and the parameters stand in the file."""


class _Choice:
    """A type that is one of many declarations, by name; builds what checks one when its name is first met.

    A union of pydantic's would build them all, for each of their names, before it can check anything.
    """

    def __init__(
        self,
        declarations: Catalogue,
        extra: Later | None,
        *,
        name_of: Choose,
        parameters_of: Callable[[type[Declaration], Any], Any],
        shape: Shape,
    ) -> None:
        self._declarations, self._extra = declarations, extra
        self._name_of, self._parameters_of, self._shape = name_of, parameters_of, shape
        self._validators: dict[str, SchemaValidator] = {}

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        return core_schema.with_info_plain_validator_function(self._validate)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        del schema
        # a handler looks for what it may refer to one level down only
        items = list(self._declarations)
        wrapped = [core_schema.definitions_schema(_schema_of(item), []) for item in items]
        shapes = map(self._shape, items, map(handler, wrapped))
        return {"oneOf": list(shapes)}

    def _choose(self, item: Any) -> str | None:  # whatever YAML gave
        if isinstance(item, Declaration):
            return EXTRA if item.is_extra else item.known_names()[0]
        name = self._name_of(item)
        known = name is None or name in self._declarations
        return EXTRA if self._extra is not None and not known else name

    def _validate(self, item: Any, info: ValidationInfo) -> Any:  # a declaration
        name = self._choose(item)
        extra = self._extra if name == EXTRA else None
        declaration = extra.load() if extra else self._declarations.find(name)
        if name is None or declaration is None:
            raise PydanticCustomError("name_unknown", "expected one of the known names")
        if name not in self._validators:
            self._validators[name] = self._make_validator(name, declaration)
        return self._validators[name].validate_python(item, context=info.context)

    def _make_validator(self, name: str, declaration: type[Declaration]) -> SchemaValidator:
        """Make a union of one, for its errors to have the name in their places."""
        checked = _schema_of(declaration)
        if not declaration.is_extra:
            checked = core_schema.no_info_before_validator_function(
                lambda item: self._parameters_of(declaration, item), checked
            )
        return SchemaValidator(core_schema.tagged_union_schema({name: checked}, self._choose))


def _schema_of(declaration: type[Declaration]) -> CoreSchema:
    declaration.model_rebuild()  # does nothing the second time
    return declaration.__pydantic_core_schema__


def keyed(declarations: Catalogue, *, extra: Later | None = None) -> Any:  # made at run time
    """Make the type of `{Name: parameters}` for these declarations; `extra` takes all other names."""

    def parameters(declaration: type[Declaration], item: Any) -> Any:  # whatever YAML gave
        del declaration
        value = next(iter(item.values())) if isinstance(item, dict) else item
        return {} if value is None else value

    def shape(declaration: type[Declaration], inner: JsonSchemaValue) -> JsonSchemaValue:
        names = declaration.known_names()
        return {
            "type": "object", "properties": {name: {"anyOf": [inner, {"type": "null"}]} for name in names},
            "minProperties": 1, "maxProperties": 1, "additionalProperties": False,
        }  # fmt: skip

    choice = _Choice(declarations, extra, name_of=_only_key, parameters_of=parameters, shape=shape)
    return Annotated[Any, choice]


def named(  # as above
    declarations: Catalogue, *, default: str | None = None, extra: Later | None = None
) -> Any:
    """Make the type of `{name: Name, parameters…}`; `default` is the name where none is written.

    A declaration with a field `name` keeps it: one model then serves a family, such as all ResNets.
    `extra` takes all other names.
    """

    def parameters(declaration: type[Declaration], item: Any) -> Any:  # whatever YAML gave
        if not isinstance(item, dict) or "name" in declaration.model_fields:
            return item
        return {key: value for key, value in item.items() if key != "name"}

    def name_of(item: Any) -> str | None:  # whatever YAML gave
        name = item.get("name", default) if isinstance(item, dict) else None
        return name if isinstance(name, str) else None

    def shape(declaration: type[Declaration], inner: JsonSchemaValue) -> JsonSchemaValue:
        # `schema.json_schema` puts the name beside the parameters
        names = list(declaration.known_names())
        return {NAMED: names, "of": inner} | ({"default": default} if default in names else {})

    choice = _Choice(declarations, extra, name_of=name_of, parameters_of=parameters, shape=shape)
    return Annotated[Any, choice]


def _only_key(item: Any) -> str | None:  # whatever YAML gave
    if not isinstance(item, dict) or len(item) != 1:
        return None
    key = next(iter(item))
    return key if isinstance(key, str) else None
