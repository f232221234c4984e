"""What stands for keys of `Launch` besides the config: the environment, and settings files.

    flag > -o > FTLAUNCH_* > cfg.yaml > .ftlaunch.yaml > user file > default

A key of a higher place replaces the whole key of a lower one.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, cast

from launcher.config.launch import LaunchSection
from trainer.config.document import Document, Location, parse_document
from trainer.config.load import read_content
from trainer.config.overrides import read_value
from trainer.config.problems import ConfigError, KeyPath, Problem, format_path, suggest

SECTION = "Launch"
BACKEND = "backend"  # not `on`, which YAML 1.1 reads as true
PREFIX = "FTLAUNCH_"
_OTHER_VARIABLES = frozenset(
    {"STATE", "DEBUG", "LOG", "ON", "CONTAINER_RUNTIME", "OFFLINE"}
)  # the last is the trainer's
# What may stand in the settings of a folder that somebody else has made: how much, how long, in which queue.
# All else waits for the user's word, new keys too.
_PLAIN = frozenset({
    "name", "nodes", "gpus", "procs_per_node", "resources", "queue", "namespace", "context", "api",
    "image_pull_policy", "priority_class", "node_selector", "tolerations", "topology_key", "gpu_resource",
    "labels", "annotations", "max_restarts", "deadline", "keep_finished", "grace_period", "hang_timeout",
})  # fmt: skip
_DECIDING = frozenset(LaunchSection.model_fields) - _PLAIN
_PLACES = ("kubernetes", "docker", "local")
On = Literal["kubernetes", "docker", "local"]
DEFAULT_BACKEND: On = "kubernetes"
"""Where a job runs of which nobody has said it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Layers:
    """Settings around a config.

    Attributes:
        below: `Launch` values of the settings files, with their places; the config wins over them.
        above: Those of the environment, which win over the config.
        on: Where jobs run if no flag says so, and what said it; None where nothing does.
        warnings: Names that have no effect, and files that were not read.
    """

    below: Document = field(default_factory=lambda: Document(name="", values={}))
    above: Document = field(default_factory=lambda: Document(name="", values={}))
    on: tuple[On, str] | None = None
    warnings: tuple[Problem, ...] = ()

    def put_below(self, document: Document) -> Document:
        """Return a config with what the settings files say of keys that it does not have."""
        return _overlay(self.below, document, keep=document)

    def put_above(self, document: Document) -> Document:
        """Return a config with the environment's values."""
        return _overlay(document, self.above, keep=document)

    def text_of(self, key: str) -> str | None:
        """Return what they say of a key of `Launch` that is a text, for commands that read no config."""
        for document in (self.above, self.below):
            section = document.values.get(SECTION)
            value = section.get(key) if isinstance(section, dict) else None
            if isinstance(value, str):
                return value
        return None


def read_layers(
    *, environ: Mapping[str, str], files: tuple[Path, ...], ignored: tuple[Path, ...] = (),
    trusts: Callable[[Path, bytes], bool] = lambda *_: True,
) -> Layers:  # fmt: skip
    """Read the environment and settings files.

    Args:
        environ: Of this process.
        files: Settings files that exist, the strongest first.
        ignored: Such files of another user, and what is no plain file, to be warned of.
        trusts: Says of a file with its content whether the user trusts it; of others only plain values count.

    Raises:
        ConfigError: A file is no mapping of `backend` and `Launch`; holds every problem found.
    """
    problems = [
        Problem(
            file=str(path),
            message="belongs to another user, or is no plain file, and is not read",
            warning=True,
        )
        for path in ignored
    ]
    above, on = _read_environment(environ, problems)
    below = Document(name="", values={})
    for path in files:
        content = read_content(path)
        document = parse_document(content, name=str(path))
        problems += _check_file(document)
        if deciding := _find_deciding(document):
            problems += [] if trusts(path, content) else [_refuse(document, path, deciding)]
        below = _overlay(_with_sources(document), below, keep=below)
        said = document.values.get(BACKEND)
        if on is None and isinstance(said, str) and said in _PLACES:
            on = cast(On, said), _source(document, (BACKEND,))
    refused = [problem for problem in problems if not problem.warning]
    if refused:
        raise ConfigError(problems)
    return Layers(below=below, above=above, on=on, warnings=tuple(problems))


def _read_environment(
    environ: Mapping[str, str], problems: list[Problem]
) -> tuple[Document, tuple[On, str] | None]:
    values: dict[str, object] = {}
    locations: dict[KeyPath, Location] = {}
    known = {*(name.upper() for name in LaunchSection.model_fields), *_OTHER_VARIABLES}
    for variable in sorted(environ):
        name = variable.removeprefix(PREFIX)
        if name == variable:
            continue
        if name not in known:
            hint = suggest(variable, [PREFIX + other for other in known])
            message = f"expected a variable that ftlaunch knows, got one without effect{hint}"
            problems.append(Problem(file=variable, message=message, warning=True))
        elif name not in _OTHER_VARIABLES:
            key = name.lower()
            if name == "WEIGHTS" and not isinstance(read_value(environ[variable]), dict | None):
                continue  # a folder, which the trainer reads; `Launch.weights` is a mapping
            values[key] = _value_for(key, environ[variable])
            locations[SECTION, key] = Location(line=1, column=1, text=environ[variable], source=variable)
    said = environ.get(PREFIX + "ON")
    if said is not None and said not in _PLACES:
        message = f"expected one of {', '.join(_PLACES)}, got {said!r}{suggest(said, _PLACES)}"
        problems.append(Problem(file=PREFIX + "ON", message=message))
    document = Document(name="", values={SECTION: values} if values else {}, locations=locations)
    return document, (cast(On, said), PREFIX + "ON") if said in _PLACES else None


def _value_for(key: str, text: str) -> object:
    """Read a variable as `-o` reads a value; where text is wanted, digits stay text."""
    wants_text = "str" in str(LaunchSection.model_fields[key].annotation)
    plain = wants_text and text.lower() != "null" and re.fullmatch(r"[\w.-]+", text)
    return text if plain else read_value(text)


def _find_deciding(document: Document) -> list[KeyPath]:
    """Return what of a settings file decides what runs, where, and with which files of this machine."""
    found: list[KeyPath] = []
    if document.values.get(BACKEND, DEFAULT_BACKEND) != DEFAULT_BACKEND:
        found.append((BACKEND,))
    section = document.values.get(SECTION)
    names = section if isinstance(section, dict) else {}
    return found + [(SECTION, name) for name in names if name in _DECIDING]


def _refuse(document: Document, path: Path, keys: list[KeyPath]) -> Problem:
    named = ", ".join(map(format_path, keys))
    return document.problem(
        keys[0],
        f"expected settings that you have said to trust, got {named} of this folder, which decide what runs; "
        f"look at the file, then type `ftlaunch trust {shlex.quote(str(path.parent))}`",
    )


def _check_file(document: Document) -> list[Problem]:
    problems = []
    for key, value in document.values.items():
        if key == BACKEND and value not in _PLACES:
            message = f"expected one of {', '.join(_PLACES)}, got {value!r}{suggest(value, _PLACES)}"
            problems.append(document.problem((key,), message))
        elif key == SECTION and not isinstance(value, dict | None):
            problems.append(document.problem((key,), f"expected a mapping, got {value!r}"))
        elif key not in (BACKEND, SECTION):
            hint = suggest(key, [BACKEND, SECTION])
            message = f"expected {BACKEND} or {SECTION}, got a key without effect{hint}"
            problems.append(document.problem((key,), message, warning=True))
    return problems


def _with_sources(document: Document) -> Document:
    locations = {
        path: replace(place, source=_source(document, path)) for path, place in document.locations.items()
    }
    return replace(document, locations=locations)


def _source(document: Document, path: KeyPath) -> str:
    place = document.locations[path]
    return f"{document.name}:{place.line}:{place.column}"


def _overlay(low: Document, high: Document, *, keep: Document) -> Document:
    """Return `keep` with a `Launch` section of both, where keys of `high` win."""
    lower, higher = low.values.get(SECTION), high.values.get(SECTION)
    if not isinstance(lower, dict | None) or not isinstance(higher, dict | None):
        return keep  # refused with its place by the check
    lower, higher = lower or {}, higher or {}
    if not lower and not higher:
        return keep
    locations = {
        path: place for path, place in keep.locations.items() if path[:1] != (SECTION,) or path == (SECTION,)
    }
    for document, section in ((low, lower), (high, higher)):
        for path, place in document.locations.items():
            if len(path) < 2 or path[0] != SECTION or path[1] not in section:
                continue
            if document is high or path[1] not in higher:
                locations[path] = place
    return Document(name=keep.name, values={**keep.values, SECTION: {**lower, **higher}}, locations=locations)
