"""Holds a job against the schema of its CustomResourceDefinition, as strict validation of a server does.

The schemas lie in `k8s/crds`, in a wheel in `launcher/crds`. Only the keywords that they use are known.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias, cast

import launcher
from launcher.errors import LaunchError
from launcher.objects import KubeObject
from trainer.config.problems import suggest

_PACKAGE = Path(launcher.__file__).parent
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,), "integer": (int,),
    "number": (int, float),
}  # fmt: skip
MAX_SHOWN = 20
DIRECTIVE = "$patch"
_OF_OTHERS = {"TrainingRuntime": "training-runtime.json"}
"""Schemas of kinds that share an API version with a kind of job."""
FieldPath: TypeAlias = tuple[str | int, ...]
Fault: TypeAlias = tuple[FieldPath, str]
"""Where in an object, and `expected X, got Y`."""


class SchemaError(LaunchError):
    """The schemas that belong to this release are not where they should be."""


def find_faults(job: KubeObject) -> list[str]:
    """Return what of an object its API server would refuse, as `field: expected X, got Y`; at most 20."""
    version = str(job.get("apiVersion"))
    name = _OF_OTHERS.get(str(job.get("kind"))) or f"{version.replace('/', '-')}.json"
    if not any(path.name == name for path in _folder().glob("*.json")):
        return [f"apiVersion: expected one of {', '.join(known_versions())}, got {version!r}"]
    faults = islice(_walk(job, load_schema(name), ()), MAX_SHOWN)
    return [f"{format_fields(path) or 'job'}: {message}" for path, message in faults]


def find_template_faults(template: KubeObject, *, partial: bool = False) -> list[Fault]:
    """Return what of a pod template an API server would refuse; at most 20.

    With `partial` it is a patch over one: what lacks stands below it, null and directives remove.
    """
    faults = _walk(template, load_schema("pod-template.json"), (), partial=partial)
    return list(islice(faults, MAX_SHOWN))


def format_fields(path: FieldPath) -> str:
    """Write a path as Kubernetes does, such as `spec.containers[0].name`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")


def known_versions() -> list[str]:
    """List the API versions whose schema is here."""
    names = sorted(path.stem for path in _folder().glob("*.json"))
    others = {"pod-template", *(Path(name).stem for name in _OF_OTHERS.values())}
    return ["/".join(name.rsplit("-", 1)) for name in names if name not in others]


@cache
def load_schema(name: str) -> dict[str, Any]:
    """Read one of the schemas."""
    return cast("dict[str, Any]", json.loads((_folder() / name).read_text(encoding="utf-8")))


@cache
def _folder() -> Path:
    for folder in (_PACKAGE / "crds", _PACKAGE.parent / "k8s" / "crds"):
        if folder.is_dir():
            return folder
    raise SchemaError(where=_PACKAGE / "crds", expected="the schemas of this release", fix="install it again")


def _walk(value: Any, schema: dict[str, Any], at: FieldPath, *, partial: bool = False) -> Iterator[Fault]:
    if "$ref" in schema:
        schema = load_schema(schema["$ref"])
    if partial and value is None:
        return
    if schema.get("x-kubernetes-int-or-string"):
        if isinstance(value, bool) or not isinstance(value, int | str):
            yield at, f"expected a number or text, got {value!r:.80}"
        elif isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
            yield at, f"expected a quantity, got {value!r:.80}"
        return
    kind = schema.get("type")
    if kind and (not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind != "boolean")):
        yield at, f"expected {kind}, got {value!r:.80}"
        return
    if "enum" in schema and value not in schema["enum"]:
        yield at, f"expected one of {', '.join(map(str, schema['enum']))}, got {value!r:.80}"
    if isinstance(value, dict):
        yield from _walk_object(value, schema, at, partial=partial)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, schema.get("items", {}), (*at, index), partial=partial)


def _walk_object(
    value: dict[str, Any], schema: dict[str, Any], at: FieldPath, *, partial: bool
) -> Iterator[Fault]:
    properties, others = schema.get("properties", {}), schema.get("additionalProperties")
    free = others is None and (not properties or schema.get("x-kubernetes-preserve-unknown-fields"))
    for key in () if partial else schema.get("required", ()):
        if key not in value:
            yield (*at, key), "expected a value, got nothing"
    for key, item in value.items():
        below = properties.get(key, others if isinstance(others, dict) else None)
        if below is not None:
            yield from _walk(item, below, (*at, key), partial=partial)
        elif not free and not (partial and key == DIRECTIVE):
            hint = suggest(key, properties)
            yield (*at, key), f"expected a field that exists, got {item!r:.80}{hint}"
