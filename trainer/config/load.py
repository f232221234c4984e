"""One way in: a file and its overrides become a checked, frozen config.

The order is: parse the text (`document`), put overrides over it (`overrides`), map paths (`paths`), have
pydantic build the sections (`root`), and then ask what no section can know by itself: what sections must
agree on (`checks`), what is not done here or has no effect (`unsupported`), and keys that nothing reads. All
that is found is said at once; what a section refuses is said without the later questions, which need a whole
config.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from trainer.config.checks import find_disagreements
from trainer.config.document import MAX_BYTES, Document, parse_document
from trainer.config.messages import say_all
from trainer.config.overrides import apply_overrides
from trainer.config.paths import map_paths, map_weights
from trainer.config.problems import ConfigError, KeyPath, Problem, suggest
from trainer.config.registry import EXPECTING, Section, Spec
from trainer.config.root import BaseConfig, InferConfig, TrainConfig
from trainer.config.schema import expected_names, is_known, known_keys
from trainer.config.unsupported import find_slim, find_unsupported
from trainer.protocol.pathmap import PathMap

MAX_PROBLEMS = 100
"""Of a kind, that are told of one config; looking for what each may mean takes milliseconds."""
RootT = TypeVar("RootT", bound=BaseModel)
_OTHER_SECTIONS = frozenset({"Launch", "Profiler", "Slim", "DataLoader"})
"""Known without being specified here: the launcher's, and what `unsupported` speaks of."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Loaded(Generic[RootT]):
    """A config that passed.

    Attributes:
        config: Typed and frozen.
        document: The values that it was made of, with their places.
        warnings: What a person should know and may leave as it is.
        path_map: That its paths went through.
    """

    config: RootT
    document: Document
    warnings: tuple[Problem, ...]
    path_map: PathMap = dataclasses.field(default_factory=PathMap)


def load_config(
    path: Path | Document,
    overrides: Sequence[str] = (),
    *,
    path_map: PathMap | Callable[[Document], PathMap] | None = None,
    strict: bool = False,
    before_check: Callable[[Document, PathMap], None] | None = None,
) -> Loaded[TrainConfig]:
    """Load a PaddleClas config.

    Args:
        path: The YAML file, or what was read of one.
        overrides: As typed after `-o`, applied in order.
        path_map: Applied to the values of path-typed keys; or a function that finds it, given the config.
        strict: Unknown keys, and what has no effect, are errors, not warnings.
        before_check: Called with the mapped values and the map before they are checked, such as to import
            modules of the user.

    Raises:
        ConfigError: The file cannot be read or is refused; holds every problem found.
    """
    document, found = _read_overridden(path, overrides, path_map, before_check)
    return replace(check(document, TrainConfig, strict=strict), path_map=found)


def load_prediction_config(
    path: Path | Document,
    overrides: Sequence[str] = (),
    *,
    path_map: PathMap | Callable[[Document], PathMap] | None = None,
    strict: bool = False,
    before_check: Callable[[Document, PathMap], None] | None = None,
) -> Loaded[TrainConfig] | Loaded[InferConfig]:
    """Load a config to predict with: as `load_config`, or without the sections that only training needs."""
    document, found = _read_overridden(path, overrides, path_map, before_check)
    if all(document.values.get(section) is not None for section in ("Loss", "Optimizer", "DataLoader")):
        return replace(check(document, TrainConfig, strict=strict), path_map=found)
    return replace(check(document, InferConfig, strict=strict), path_map=found)


def _read_overridden(
    path: Path | Document,
    overrides: Sequence[str],
    path_map: PathMap | Callable[[Document], PathMap] | None,
    before_check: Callable[[Document, PathMap], None] | None,
) -> tuple[Document, PathMap]:
    document = apply_overrides(
        path if isinstance(path, Document) else read_document(path),
        overrides,
        is_known=lambda key_path: is_known(TrainConfig, key_path),
    )
    found = path_map(document) if callable(path_map) else path_map or PathMap()
    if found.prefixes:
        values = map_weights(map_paths(document.values, found.apply), found.apply)
        document = replace(document, values=values)
    if before_check is not None:
        before_check(document, found)
    return document, found


def read_document(path: Path) -> Document:
    """Read and parse a YAML file.

    Raises:
        ConfigError: It cannot be read or parsed.
    """
    return parse_document(read_content(path), name=str(path))


def read_content(path: Path) -> bytes:
    """Read a config file.

    Raises:
        ConfigError: It cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)  # the parser refuses what is longer
    except FileNotFoundError as error:
        raise ConfigError(
            [Problem(file=str(path), message="expected a config file, got no such file; check the path")]
        ) from error
    except IsADirectoryError as error:
        raise ConfigError(
            [Problem(file=str(path), message="expected a config file, got a folder")]
        ) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(
            [Problem(file=str(path), message=f"expected a readable file: {reason.lower()}")]
        ) from error


def check(
    document: Document, root: type[RootT], *, strict: bool = False, expects_extra: bool = False
) -> Loaded[RootT]:
    """Validate a document against a config type.

    Args:
        document: The values.
        root: The type.
        strict: Unknown keys, and what has no effect, are errors, not warnings.
        expects_extra: Unknown names are warnings, because modules that are not imported here bring them.

    Raises:
        ConfigError: It is refused; holds every problem found, unknown keys included.
    """
    problems: list[Problem] = []
    config: RootT | None = None
    try:
        config = root.model_validate(document.values, context={EXPECTING: expects_extra})
    except ValidationError as failure:
        errors = [
            error
            for error in failure.errors(include_url=False)
            # where its items were refused, each has its own sentence
            if error["type"] != "too_short" or len(error["input"]) < error["ctx"]["min_length"]
        ]
        problems += [
            document.problem(path, sentence)
            for path, sentence in say_all(errors[:MAX_PROBLEMS], document, root)
        ]
        problems += _left_out(document, len(errors))
        if issubclass(root, TrainConfig):
            problems += [document.problem(path, message) for path, message in find_slim(document.values)]
    ignored = _unknown_paths(document.values, root) if config is None else _ignored_paths(config)
    effects: list[Problem] = []
    if config is not None:
        if expects_extra:
            effects += [
                document.problem(at, _expected(at, name, root), warning=True)
                for at, name in _find_expected(config)
            ]
        ignored += _swallowed_paths(config)
        effects += [
            document.problem(
                item.path, item.message, warning=item.warning and not (strict and item.no_effect)
            )
            for item in (find_unsupported(config, document.values) if isinstance(config, TrainConfig) else ())
        ]
        if isinstance(config, TrainConfig):
            effects += [document.problem(path, message) for path, message in find_disagreements(config)]
    unknown = [
        document.problem(path, _unknown(path, root), warning=not strict) for path in ignored[:MAX_PROBLEMS]
    ]
    unknown += _left_out(document, len(ignored), warning=not strict)
    refused = config is None or (strict and unknown) or any(not problem.warning for problem in effects)
    if config is None or refused:
        raise ConfigError([*problems, *unknown, *effects])
    return Loaded(config=config, document=document, warnings=(*unknown, *effects))


def _find_expected(node: object, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Yield the place and the name of everything in a config that is the user's own."""
    if isinstance(node, Spec) and node.is_extra:
        yield path, node.label
    elif isinstance(node, BaseModel):
        for name, field in type(node).model_fields.items():
            yield from _find_expected(getattr(node, name), (*path, field.alias or name))
    elif isinstance(node, tuple | dict):
        for key, item in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _find_expected(item, (*path, key))


def _left_out(document: Document, count: int, *, warning: bool = False) -> list[Problem]:
    left = count - MAX_PROBLEMS
    message = f"{left:,} more like the last ones; mend those first"
    return [Problem(file=document.name, message=message, warning=warning)] if left > 0 else []


def _expected(path: KeyPath, name: str, root: type[BaseModel]) -> str:
    hint = suggest(name, expected_names(root, path))
    return f"{name!r} is expected from Launch.extra_modules; its parameters are checked there{hint}"


def _unknown(path: KeyPath, root: type[BaseModel]) -> str:
    hint = suggest(path[-1], known_keys(root, path[:-1]))
    return f"expected a key that exists here, got {path[-1]!r}, which has no effect{hint}"


def _unknown_paths(values: dict[str, object], root: type[BaseModel], path: KeyPath = ()) -> list[KeyPath]:
    """Find keys of sections that the grammar does not have. Parameters of names are pydantic's to refuse."""
    known = known_keys(root, path)
    found: list[KeyPath] = []
    for key, value in values.items():
        here = (*path, key)
        if path == () and key in _known_elsewhere(root) - set(known):
            continue
        if key not in known:
            found.append(here)
        elif isinstance(value, dict) and known_keys(root, here) and "name" not in value:
            found += _unknown_paths(value, root, here)
    return found


def _known_elsewhere(root: type[BaseModel]) -> frozenset[str]:
    """Return sections that are no mistake, though `root` does not read them."""
    if not issubclass(root, InferConfig):
        return _OTHER_SECTIONS
    return _OTHER_SECTIONS | {field.alias or name for name, field in TrainConfig.model_fields.items()}


def _ignored_paths(config: BaseModel) -> list[KeyPath]:
    """Find what `_unknown_paths` would, in a config that has passed: in microseconds, without the schema."""
    found: list[KeyPath] = []
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if isinstance(value, Section):
            found += [(field.alias or name, *path) for path in _ignored_paths(value)]
    aside = _known_elsewhere(type(config)) if isinstance(config, BaseConfig) else ()
    return found + [(key,) for key in config.model_extra or () if key not in aside]


def _swallowed_paths(node: BaseModel, path: KeyPath = ()) -> list[KeyPath]:
    """Find parameters of names that PaddleClas takes and forgets, by what the specs kept aside."""
    found: list[KeyPath] = []
    if isinstance(node, Spec) and not node.forwards_unknown:
        found += [(*path, key) for key in node.model_extra or ()]
    for name, field in type(node).model_fields.items():
        value = getattr(node, name)
        if isinstance(value, BaseModel):
            found += _swallowed_paths(value, (*path, field.alias or name))
    if isinstance(node, TrainConfig) and isinstance(node.optimizer, tuple):
        for place, item in node.optimizers:
            found += _swallowed_paths(item, place)
    return found
