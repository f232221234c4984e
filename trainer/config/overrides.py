"""`-o a.b.2.c=value`: changes single values of a config from the command line."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from trainer.config.document import Document, Place, read_literal
from trainer.config.problems import ConfigError, KeyPath, Problem, format_path, show
from trainer.config.suggest import suggest

_WORDS: dict[str, object] = {"null": None, "~": None, "true": True, "false": False}
_OUTPUT_FORMATS = ("json", "yaml", "wide", "name")


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


def parse_override(text: str) -> Override:
    """Read `a.b.2.c=value`. The value is a Python literal, else null, true or false, else text.

    Raises:
        ConfigError: There is no `=` or an empty key.
    """
    key, separator, value = text.partition("=")
    forced = key.startswith("+")
    parts = key.removeprefix("+").split(".")
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
    places = dict(document.places)
    problems: list[Problem] = []
    for text in texts:
        try:
            override = parse_override(text)
            path = _set(values, override, is_known)
        except ConfigError as error:
            problems += error.problems
        else:
            for stale in [known for known in places if known[: len(path)] == path]:
                del places[stale]
            places[path] = Place(line=1, column=1, text=text.partition("=")[2], source=f"-o {text}")
    if problems:
        raise ConfigError(problems)
    return Document(name=document.name, values=values, places=places)


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
            f"expected a key that the config or PaddleClas knows{suggest(last, map(str, here))}; "
            f"write -o +{override.text} to set it all the same",
        )
    here[last] = override.value  # type: ignore[index]  # as above
    return path


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
