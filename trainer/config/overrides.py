"""`-o a.b.2.c=value`: changes single values of a config from the command line."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from trainer.config.document import MAX_DEPTH, Document, Location, read_literal
from trainer.config.problems import ConfigError, KeyPath, Problem, format_path, get_near, show, suggest

_WORDS: dict[str, object] = {"null": None, "~": None, "true": True, "false": False}
_SECTIONS = ("Global", "Arch", "Optimizer", "AMP", "EMA", "Infer", "Launch")
"""Where a key is looked for that was typed without its section."""
_SHOWN = 3
_OUTPUT_FORMATS = ("json", "yaml", "wide", "name")

Overrides: TypeAlias = "Mapping[str, object] | Sequence[str]"
"""Values by dotted key, such as `{"Global.epochs": 3}`; or texts as after `-o`, such as `Global.epochs=3`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Override:
    """One `-o`.

    Attributes:
        path: Keys and list indices, as text: which of them it is, the config decides.
        value: What it is set to.
        forced: Written with a leading `+`: set it even where nobody knows the key.
        text: As typed.
    """

    path: tuple[str, ...]
    value: object
    forced: bool
    text: str


def spell_overrides(changes: Overrides) -> tuple[str, ...]:
    """Write changes as after `-o`, so that each is read as the same value: text is put in quotes."""
    if not isinstance(changes, Mapping):
        return tuple(changes)
    plain = {key: str(value) if isinstance(value, Path) else value for key, value in changes.items()}
    return tuple(f"{key}={value!r}" for key, value in plain.items())


def parse_override(text: str) -> Override:
    """Read `a.b.2.c=value`. The value is a Python literal, else null, true or false, else text.

    Raises:
        ConfigError: There is no `=` or an empty key.
    """
    key, separator, value = text.partition("=")
    forced = key.startswith("+")
    parts = key.removeprefix("+").split(".")
    if len(parts) > MAX_DEPTH:
        message = f"expected at most {MAX_DEPTH} keys, got {len(parts):,} in {show(text)}"
        raise ConfigError([Problem(file="-o", message=message)])
    if not separator or not all(parts):
        hint = f"; did you mean --output {text}?" if text in _OUTPUT_FORMATS else ""
        message = f"expected KEY.KEY=VALUE, such as Global.epochs=3, got {show(text)}{hint}"
        raise ConfigError([Problem(file="-o", message=message)])
    return Override(
        path=tuple(parts),
        value=read_value(value),
        forced=forced,
        text=text,
    )


def read_value(text: str) -> object:
    """Return the Python literal that a text spells, else null, true or false, else the text."""
    return _WORDS[text.lower()] if text.lower() in _WORDS else read_literal(text)


def apply_overrides(
    document: Document, texts: Iterable[str], *, is_known: Callable[[KeyPath], bool]
) -> Document:
    """Return the document with all overrides set, in their order.

    Args:
        document: Left as it is.
        texts: As typed after `-o`.
        is_known: Tells whether the schema has a key path; a path that neither it nor the file has is
            refused unless it is forced with `+`.

    Raises:
        ConfigError: Any of them cannot be set; all are reported.
    """
    values = copy.deepcopy(document.values)
    locations = dict(document.locations)
    problems: list[Problem] = []
    for text in texts:
        try:
            override = parse_override(text)
            path = _set(values, override, is_known)
        except ConfigError as error:
            problems += error.problems
        else:
            for stale in [known for known in locations if known[: len(path)] == path]:
                del locations[stale]
            locations[path] = Location(line=1, column=1, text=text.partition("=")[2], source=f"-o {text}")
    if problems:
        raise ConfigError(problems)
    return Document(name=document.name, values=values, locations=locations)


def _set(root: dict[str, object], override: Override, is_known: Callable[[KeyPath], bool]) -> KeyPath:
    here: object = root
    done: list[str | int] = []
    for part in override.path[:-1]:
        step = _step(here, part, override, done)
        done.append(step)
        if isinstance(here, dict) and (step not in here or here[step] is None):
            here[step] = {}  # `- ToCHWImage:` has no parameters, and a missing section is made
        here = here[step]  # type: ignore[index]  # _step refused everything but dict and list
    last = _step(here, override.path[-1], override, done)
    path = (*done, last)
    if isinstance(here, dict) and last not in here and not override.forced and not is_known(path):
        raise _refusal(
            override,
            path,
            f"expected a key that the config or PaddleClas knows{_lead_on(root, override, is_known, here)}; "
            f"write -o +{override.text} to set it all the same",
        )
    here[last] = override.value  # type: ignore[index]  # as above
    return path


def _lead_on(
    root: Mapping[str, object],
    override: Override,
    is_known: Callable[[KeyPath], bool],
    here: Mapping[str, object],
) -> str:
    """Say what was probably meant: the same key of another place, such as `epochs` of `Global.epochs`.

    Looked for are paths of the config that end as the typed one does, and keys of the sections of the grammar
    that the config does not set; then the nearest spelling.
    """
    typed = tuple(part.lower() for part in override.path)
    written = [path for path in _paths(root) if path != override.path]
    ending = [path for path in written if tuple(map(str.lower, path[-len(typed) :])) == typed]
    ending += [
        (section, *override.path)
        for section in _SECTIONS
        if (section, *override.path) not in ending and is_known((section, *override.path))
    ]
    if not ending:
        near = suggest(override.path[-1], map(str, here))
        if near:
            return near
        leaf = get_near(override.path[-1], {path[-1] for path in written if not path[-1].isdecimal()})
        ending = [path for path in written if path[-1] == leaf]
    if not ending:
        return ""
    value = override.text.partition("=")[2]
    shown = " or ".join(f"-o {'.'.join(path)}={value}" for path in sorted(set(ending), key=len)[:_SHOWN])
    return f"; did you mean {shown}?"


def _paths(node: object, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield the paths of all keys of mappings, as they are typed."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        path = (*above, str(key))
        if isinstance(node, dict):
            yield path
        yield from _paths(value, path)


def _step(here: object, part: str, override: Override, done: list[str | int]) -> str | int:
    if isinstance(here, dict):
        return part
    if not isinstance(here, list):
        raise _refusal(override, tuple(done), f"expected a mapping or a list, got {show(here)}")
    if not re.fullmatch("[0-9]{1,9}", part) or int(part) >= len(here):
        raise _refusal(override, tuple(done), f"expected a list index below {len(here)}, got {show(part)}")
    return int(part)


def _refusal(override: Override, path: KeyPath, message: str) -> ConfigError:
    return ConfigError([Problem(file=f"-o {override.text}", path=path, message=message)])


__all__ = ["Override", "apply_overrides", "format_path", "parse_override", "read_value"]
