"""Turns pydantic's errors into sentences: expected X, got Y; what to do."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from trainer.config.document import VERBATIM_SECTIONS, Document, read_literal
from trainer.config.problems import KeyPath, show, suggest
from trainer.config.registry import EXTRA
from trainer.config.schema import expected_names, known_keys

_OWN_IMAGES = "write its images out as files, and `trainer make-lists FOLDER` lists them for ImageNetDataset"
_IDENTITIES = "it serves metric learning, which this trainer does not do; classify with {}"
_BY_IDENTITY = _IDENTITIES.format("DistributedBatchSampler")
_OF_IDENTITIES = _IDENTITIES.format("ImageNetDataset")
_OF_RETRIEVAL = "it serves metric learning, which this trainer does not do; take TopkAcc"
REPLACEMENTS: Mapping[str, str] = {
    "AFDLoss": "it has parameters of its own; take DistillationDistanceLoss of the same features",
    "RecModel": "it serves metric learning, which this trainer does not do; name the backbone as Arch.name",
    "AttentionModel": "it serves AFDLoss, which this trainer does not have; name its network by itself",
    "TripletLossV2": "it serves metric learning, which this trainer does not do; take CELoss",
    "mAP": _OF_RETRIEVAL,
    "mINP": _OF_RETRIEVAL,
    "Recallk": _OF_RETRIEVAL,
    "Precisionk": _OF_RETRIEVAL,
    "Cifar10": _OWN_IMAGES,
    "Cifar100": _OWN_IMAGES,
    "MixDataset": "join its lists into one for ImageNetDataset",
    "MixSampler": "join its lists into one, and use DistributedBatchSampler",
    "PKSampler": _BY_IDENTITY,
    "DistributedRandomIdentitySampler": _BY_IDENTITY,
    "DistributedGivenIterationSampler": _BY_IDENTITY,
    "LogoDataset": _OF_IDENTITIES,
    "VeriWild": _OF_IDENTITIES,
    "Market1501": _OF_IDENTITIES,
    "MSMT17": _OF_IDENTITIES,
    "ICartoonDataset": _OF_IDENTITIES,
    "PersonReIdDataset": _OF_IDENTITIES,
    "DukeMTMC": _OF_IDENTITIES,
    "AdaFaceDataset": _OF_IDENTITIES,
    "FiveValidationDataset": _OF_IDENTITIES,
}
_EXPECTED = {
    "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "float_parsing": "a number", "finite_number": "a finite number",
    "bool_type": "true or false", "bool_parsing": "true or false", "string_type": "text",
    "tuple_type": "a list", "list_type": "a list", "dict_type": "a mapping", "model_type": "a mapping",
    "model_attributes_type": "a mapping", "none_required": "nothing (null)",
}  # fmt: skip
_BOUNDS = {"greater_than": ("gt", "above"), "greater_than_equal": ("ge", "of at least"),
           "less_than": ("lt", "below"), "less_than_equal": ("le", "of at most")}  # fmt: skip
_MAX_LISTED = 8
_OF_KEYS = frozenset({"missing", "extra_forbidden"})
"""Kinds of error that are of a key that the file does not have, or that nothing reads."""
Said = tuple[KeyPath, str]


def say_all(errors: Sequence[ErrorDetails], document: Document, root: type[BaseModel]) -> list[Said]:
    """Write a sentence for each thing that is wrong.

    Pydantic has an error for every type that a place may have. Those of one place become one sentence; where
    one of the types was the right one, and only its content is not, that alone is spoken of.
    """
    found: dict[KeyPath, list[ErrorDetails]] = {}
    for error in errors:
        path = find_path(document.values, error["loc"], absent=error["type"] in _OF_KEYS)
        found.setdefault(path, []).append(error)
    return [
        (path, sentence)
        for path, group in found.items()
        for sentence in _say_group(group, document, path, root)
        if not (_is_of_type(group) and any(other[: len(path)] == path for other in found if other != path))
    ]


def _is_of_type(group: Sequence[ErrorDetails]) -> bool:
    return all(error["type"] in _EXPECTED for error in group)


def _say_group(
    group: Sequence[ErrorDetails], document: Document, path: KeyPath, root: type[BaseModel]
) -> list[str]:
    of_content = [error for error in group if error["type"] not in _EXPECTED]
    if of_content or len(group) == 1:
        sentences = [say(error, document, path, root) for error in (of_content or group)]
        return list(dict.fromkeys(sentences))
    wanted = list(dict.fromkeys(_EXPECTED[error["type"]] for error in group))
    hint = _hint(group[0]["input"], document, path) if "text" in wanted else ""
    return [f"expected {', '.join(wanted[:-1])} or {wanted[-1]}, got {show(group[0]['input'])}{hint}"]


def find_path(values: object, loc: tuple[int | str, ...], *, absent: bool = True) -> KeyPath:
    """Turn pydantic's location into a key path of the file: names of union members are not keys there.

    `absent` tells that its end may be a key that the file does not have.
    """
    path: list[str | int] = []
    here = values
    for index, part in enumerate(loc):
        last = index == len(loc) - 1 and absent
        if part == EXTRA:
            continue
        if isinstance(here, dict) and isinstance(part, str) and (part in here or last):
            path.append(part)
            here = here.get(part)
        elif isinstance(here, list) and isinstance(part, int) and part < len(here):
            path.append(part)
            here = here[part]
    return tuple(path)


def say(error: ErrorDetails, document: Document, path: KeyPath, root: type[BaseModel]) -> str:
    """Write the sentence for one of pydantic's errors."""
    kind, value = error["type"], error["input"]
    context: Mapping[str, Any] = error.get("ctx", {})
    if kind == "missing":
        return "expected a value, got nothing; add it"
    if kind == "extra_forbidden":
        hint = suggest(path[-1], known_keys(root, path[:-1]))
        return f"expected a parameter that exists here, got {path[-1]!r}{hint}"
    if kind == "name_unknown":
        names = [*expected_names(root, path), *context.get("registered", ())]
        return _unknown_name(value, names, beside="name" in known_keys(root, path))
    if kind == "value_error":
        return re.sub(r"^Value error, ", "", error["msg"])
    place = document.locations.get(path)
    choices = context.get("expected", "")
    quote = kind == "string_type" or (
        kind == "literal_error" and place is not None and place.text and f"'{place.text}'" in choices
    )
    return f"expected {_expected(kind, error['msg'], context)}, got {show(value)}" + (
        _hint(value, document, path) if quote else ""
    )


def _expected(kind: str, message: str, context: Mapping[str, Any]) -> str:
    if kind in _BOUNDS:
        key, word = _BOUNDS[kind]
        return f"a number {word} {context[key]:g}"
    if kind == "literal_error":
        return str(context["expected"])
    if kind == "too_short":
        return f"at least {context['min_length']} items"
    if kind == "too_long":
        return f"at most {context['max_length']} items"
    return _EXPECTED.get(kind, f"another value ({message.lower()})")


def _unknown_name(value: object, names: list[str], *, beside: bool) -> str:
    """`beside` tells that the name stands beside its parameters, not before them."""
    if beside and (not isinstance(value, dict) or value.get("name") is None):
        return f"expected a mapping with `name`, got {show(value)}"
    written: object = None
    if isinstance(value, dict):
        written = value["name"] if beside else next(iter(value), None) if len(value) == 1 else None
    if not isinstance(written, str):
        return f"expected a name with its parameters, got {show(value)}"
    listed = ", ".join(names[:_MAX_LISTED]) + (", …" if len(names) > _MAX_LISTED else "")
    hint = f"; {REPLACEMENTS[written]}" if written in REPLACEMENTS else suggest(written, names)
    return f"expected one of {listed}, got {written!r}{hint}"


def _hint(value: object, document: Document, path: KeyPath) -> str:
    """Explain YAML 1.1, where `no` is false and `1.10` is 1.1.

    In PaddleClas's sections, a quoted text that spells a literal becomes that: it takes quotes of its own.
    """
    place = document.locations.get(path)
    if place is None or place.text is None or isinstance(value, str | None):
        return ""
    kept = (path[:1] and path[0] in VERBATIM_SECTIONS) or not isinstance(path[-1], str)
    if place.source is not None:
        key, _, _ = place.source.partition("=")
        return f"; to set it as text, write {key}=\"'{place.text}'\""
    if not kept and not isinstance(read_literal(place.text), str):
        return f" (YAML reads {place.text!r} so); quote it twice: \"'{place.text}'\""
    return f" (YAML reads {place.text!r} so); quote it"
