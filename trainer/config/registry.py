"""What a place of the config may name: specs, one frozen model a name, in registries.

PaddleClas names things in two ways: `- RandCropImage: {size: 224}` (the key of a one-key mapping) and
`{name: Momentum, momentum: 0.9}` (a key beside the parameters). `keyed` and `named` make the type of a place
out of its registry; a value of the config becomes the spec of the name that stands there.

To add an architecture, an operation, a loss or the like, three places are touched:

1. Its spec, here: a subclass of the section's base (`BaseArch`, `ImageOp`, `BaseLoss` …) in the module of
   its section or family, with a field a parameter, the text below it, and what must hold between parameters
   as validators. It is all that `submit`, `validate`, the JSON Schema and the trainer know of the parameters,
   and imports neither paddle nor numpy, because the launcher reads it.
2. Its name, here: one line in the section's table. The class itself stands there where its module is imported
   anyway, else a `lazy` line with its module: one word, or for an architecture the class with all its names.
3. Its implementation: one module, or one function in the module of its family, that takes the spec. It is
   found by the spec's class, not by its name, in one line of the table of its room in `trainer`.

| a new           | spec in       | name in                 | implementation in          | page          |
| --------------- | ------------- | ----------------------- | -------------------------- | ------------- |
| architecture    | `archs_*`     | `archs.SINGLE_ARCHS`    | `models/registry.py`       | models.md     |
| operation       | `ops*`        | `ops.OPS`               | `data/ops`, by `@register` | transforms.md |
| batch operation | `batch_ops`   | `data.BATCH_OPS`        | `data/batch_ops.py`        | data.md       |
| loss            | `losses*`     | `losses.LOSSES`         | `losses/build.py`          | losses.md     |
| metric          | `metrics`     | `metrics.METRICS`       | `metrics/build.py`         | losses.md     |
| optimizer       | `optimizers`  | `optimizers.OPTIMIZERS` | `optim/optimizer.py`       | losses.md     |
| schedule        | `schedules`   | `schedules.SCHEDULES`   | `optim/schedules.py`       | losses.md     |
| post-processing | `postprocess` | `infer.POST_PROCESSES`  | `postprocess/build.py`     | predict.md    |

Tests of `tests/trainer/config/test_registries.py` and of each room hold both tables and the page against each
other, so that neither a spec without an implementation nor the contrary passes.

What two sections must agree on is in `checks`; what PaddleClas has and this trainer has not in `unsupported`.

Why tables, and modules that are imported late: making the class of a spec takes pydantic about half a
millisecond, and there are 150 of them; importing all of them would cost every command 70 ms or more. A config
names a dozen.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from itertools import pairwise
from typing import Annotated, Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, SchemaValidator, core_schema


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


EXTRA = "*extra"
"""Tag of the member of a union that takes names of the user's own; no name of a config."""
EXPECTING = "expects_extra"
"""Key of the validation context: names that nobody registered are taken, because a module will bring them."""
NAMED = "x-named"
"""Marks a schema whose `of` holds the parameters of names that stand beside them, until it is resolved.

Its `default` is the name that may be left out; not there, where none may.
"""
STRICT = ConfigDict(
    frozen=True, strict=True, populate_by_name=True, allow_inf_nan=False,
    defer_build=True,  # of all names, a config has few
)  # fmt: skip


class Spec(Documented):
    """Parameters of one name. An unknown parameter is refused, as PaddleClas raises TypeError there."""

    model_config = ConfigDict(**STRICT, extra="forbid")

    names: ClassVar[tuple[str, ...]] = ()
    """Names under which it is known; empty means the name of the class."""

    is_extra: ClassVar[bool] = False
    """It stands for a name that a module of the user brings."""
    forwards_unknown: ClassVar[bool] = False
    """Parameters that it does not know go to what it stands for; elsewhere they have no effect."""

    @classmethod
    def known_names(cls) -> tuple[str, ...]:
        """All names that lead to this spec."""
        return cls.names or (cls.__name__,)

    @property
    def label(self) -> str:
        """What messages and results call it."""
        return type(self).__name__


class Section(Documented):
    """Keys of a section. An unknown key is kept in `model_extra` and warned of, as PaddleClas ignores it."""

    model_config = ConfigDict(**STRICT, extra="allow")


class Lazy(NamedTuple):
    """A spec whose module is imported when one of its names is first met.

    Attributes:
        class_name: Name of the spec in it.
        names: As its `known_names()`; none of one that takes all other names.
    """

    module: str
    class_name: str
    names: tuple[str, ...] = ()

    def known_names(self) -> tuple[str, ...]:
        """All names that lead to the spec."""
        return self.names

    def load(self) -> type[Spec]:
        """Import it."""
        found: type[Spec] = getattr(import_module(self.module), self.class_name)
        return found


def lazy(module: str, specs: Mapping[str, tuple[str, ...]] | str) -> tuple[Lazy, ...]:
    """Put specs of a module into a registry without importing it.

    Args:
        module: Where they are.
        specs: The names that lead to each class; or, in one text, classes that are called as they are.
    """
    if isinstance(specs, str):
        specs = {name: (name,) for name in specs.split()}
    return tuple(Lazy(module, class_name, names) for class_name, names in specs.items())


class Registry:
    """What a place of the config may name. Whoever goes through it imports all; `find` imports one module."""

    def __init__(self, *items: type[Spec] | Lazy) -> None:
        self.items = items
        """What it was made of; goes into another registry."""
        self._by_name = {name: item for item in items for name in item.known_names()}

    def __iter__(self) -> Iterator[type[Spec]]:
        return map(_load, self.items)

    def __len__(self) -> int:
        return len(self.items)

    def __contains__(self, name: object) -> bool:
        """Tell whether it has a name; imports nothing."""
        return name in self._by_name

    def names(self) -> list[str]:
        """List all names; imports nothing."""
        return [name for item in self.items for name in item.known_names()]

    def find(self, name: str | None) -> type[Spec] | None:
        """Return the spec of a name, or None where there is none."""
        item = None if name is None else self._by_name.get(name)
        return None if item is None else _load(item)


def _load(item: type[Spec] | Lazy) -> type[Spec]:
    return item.load() if isinstance(item, Lazy) else item


Choose = Callable[[Any], str | None]
"""From whatever YAML gave to the name that it has."""
Shape = Callable[[type[Spec], JsonSchemaValue], JsonSchemaValue]
"""Tells JSON Schema how the name and the parameters stand in the file."""


class _Choice:
    """A type that is one of many specs, by name; builds what checks one when its name is first met.

    A union of pydantic's would build them all, for each of their names, before it can check anything. So to
    pydantic this is a plain function (`_validate`), which finds the spec of the name in the value, has
    pydantic build the validator of that one spec, and keeps it. Only the JSON Schema goes through all.
    """

    def __init__(
        self,
        registry: Registry,
        extra: Lazy | None,
        *,
        name_of: Choose,
        parameters_of: Callable[[type[Spec], Any], Any],
        shape: Shape,
    ) -> None:
        self._registry, self._extra = registry, extra
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
        items = list(self._registry)
        wrapped = [core_schema.definitions_schema(_schema_of(item), []) for item in items]
        shapes = map(self._shape, items, map(handler, wrapped))
        return {"oneOf": list(shapes)}

    def _choose(self, item: Any) -> str | None:  # whatever YAML gave
        if isinstance(item, Spec):
            return EXTRA if item.is_extra else item.known_names()[0]
        name = self._name_of(item)
        known = name is None or name in self._registry
        return EXTRA if self._extra is not None and not known else name

    def _validate(self, item: Any, info: ValidationInfo) -> Any:  # a spec
        name = self._choose(item)
        extra = self._extra if name == EXTRA else None
        spec = extra.load() if extra else self._registry.find(name)
        if name is None or spec is None:
            raise PydanticCustomError("name_unknown", "expected one of the known names")
        if name not in self._validators:
            self._validators[name] = self._make_validator(name, spec)
        return self._validators[name].validate_python(item, context=info.context)

    def _make_validator(self, name: str, spec: type[Spec]) -> SchemaValidator:
        """Make a union of one, for its errors to have the name in their places."""
        checked = _schema_of(spec)
        if not spec.is_extra:
            checked = core_schema.no_info_before_validator_function(
                lambda item: self._parameters_of(spec, item), checked
            )
        return SchemaValidator(core_schema.tagged_union_schema({name: checked}, self._choose))


def _schema_of(spec: type[Spec]) -> CoreSchema:
    spec.model_rebuild()  # does nothing the second time
    return spec.__pydantic_core_schema__


def keyed(registry: Registry, *, extra: Lazy | None = None) -> Any:  # made at run time
    """Make the type of `{Name: parameters}` for the specs of a registry; `extra` takes all other names."""

    def parameters(spec: type[Spec], item: Any) -> Any:  # whatever YAML gave
        del spec
        value = next(iter(item.values())) if isinstance(item, dict) else item
        return {} if value is None else value

    def shape(spec: type[Spec], inner: JsonSchemaValue) -> JsonSchemaValue:
        names = spec.known_names()
        return {
            "type": "object", "properties": {name: {"anyOf": [inner, {"type": "null"}]} for name in names},
            "minProperties": 1, "maxProperties": 1, "additionalProperties": False,
        }  # fmt: skip

    choice = _Choice(registry, extra, name_of=_only_key, parameters_of=parameters, shape=shape)
    return Annotated[Any, choice]


def named(  # as above
    registry: Registry, *, default: str | None = None, extra: Lazy | None = None
) -> Any:
    """Make the type of `{name: Name, parameters…}`; `default` is the name where none is written.

    A spec with a field `name` keeps it: one class then serves a family, such as all ResNets.
    `extra` takes all other names.
    """

    def parameters(spec: type[Spec], item: Any) -> Any:  # whatever YAML gave
        if not isinstance(item, dict) or "name" in spec.model_fields:
            return item
        return {key: value for key, value in item.items() if key != "name"}

    def name_of(item: Any) -> str | None:  # whatever YAML gave
        name = item.get("name", default) if isinstance(item, dict) else None
        return name if isinstance(name, str) else None

    def shape(spec: type[Spec], inner: JsonSchemaValue) -> JsonSchemaValue:
        # `schema.json_schema` puts the name beside the parameters
        names = list(spec.known_names())
        return {NAMED: names, "of": inner} | ({"default": default} if default in names else {})

    choice = _Choice(registry, extra, name_of=name_of, parameters_of=parameters, shape=shape)
    return Annotated[Any, choice]


def _only_key(item: Any) -> str | None:  # whatever YAML gave
    if not isinstance(item, dict) or len(item) != 1:
        return None
    key = next(iter(item))
    return key if isinstance(key, str) else None
