"""Where each value of a config comes from: a line of the file, an override, or a default."""

from __future__ import annotations

from collections.abc import Container, Iterator

from pydantic import BaseModel

from trainer.config.document import Document
from trainer.config.problems import KeyPath, format_path
from trainer.config.registry import Section
from trainer.config.root import TrainConfig
from trainer.protocol.reportfile import ConfigValue

_LEFT_OUT = frozenset({"Launch"})
"""The launcher's, which may name what concerns nobody who reads a report."""
_MAX_TEXT = 300
DEFAULT = "default"


def describe_values(
    config: TrainConfig, document: Document, *, left_out: Container[object] = _LEFT_OUT
) -> tuple[ConfigValue, ...]:
    """Return each value that was written, in the order of the file, and the defaults of plain sections.

    Args:
        config: Checked.
        document: What it was made of.
        left_out: Sections of the file that are passed over.
    """
    written = describe_written(document, left_out=left_out)
    known = {value.key for value in written}
    defaults = [
        ConfigValue(key=format_path(path), value=_show(value), origin=DEFAULT)
        for path, value in _defaults(config)
        if format_path(path) not in known
    ]
    return (*written, *defaults)


def describe_written(document: Document, *, left_out: Container[object] = ()) -> tuple[ConfigValue, ...]:
    """Return each value that was written, in the order of the file, checked or not."""
    return tuple(
        ConfigValue(key=format_path(path), value=_show(value), origin=_origin(document, path))
        for path, value in _walk(document.values)
        if path[0] not in left_out
    )


def _walk(value: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, object]]:
    if isinstance(value, dict) and value:
        for key, item in value.items():
            yield from _walk(item, (*path, key))
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for index, item in enumerate(value):
            yield from _walk(item, (*path, index))
    elif path:
        yield path, value


def _defaults(config: TrainConfig) -> Iterator[tuple[KeyPath, object]]:
    for name, field in type(config).model_fields.items():
        section = getattr(config, name)
        if isinstance(section, Section):
            for key, inner in type(section).model_fields.items():
                value = getattr(section, key)
                if key not in section.model_fields_set and not isinstance(value, BaseModel):
                    yield (field.alias or name, inner.alias or key), value


def _origin(document: Document, path: KeyPath) -> str:
    for length in range(len(path), 0, -1):
        found = document.locations.get(path[:length])
        if found is not None:
            return found.source or f"{document.name}:{found.line}"
    return document.name


def _show(value: object) -> str:
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= _MAX_TEXT else text[: _MAX_TEXT - 1] + "…"
