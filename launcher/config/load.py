"""A config file, `-o` and flags become a RunConfig."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field

from launcher.config.confidential import find_secrets, find_secrets_in_bytes, find_typed_secrets, hide_secrets
from launcher.config.flags import Flags
from launcher.config.launch import LaunchSection
from launcher.config.layers import Layers
from trainer.config.document import Document, Location, parse_document
from trainer.config.load import Loaded, check, read_content
from trainer.config.overrides import apply_overrides, parse_override
from trainer.config.problems import ConfigError, KeyPath, Problem
from trainer.config.root import TrainConfig
from trainer.config.schema import is_known
from trainer.config.zoo import find_foreign, wants_package

_SECTION = "Launch"
_NO_MODULES = "Launch.extra_modules=[]"
_OWN_KEYS = ("annotations", "env", "labels", "node_selector", "pod_patch")


class JobConfig(TrainConfig):
    """A PaddleClas config with its `Launch` section."""

    launch: Annotated[LaunchSection, BeforeValidator(lambda value: {} if value is None else value)] = Field(
        alias="Launch", default_factory=LaunchSection
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class RunConfig:
    """What the user wrote and typed.

    Attributes:
        path: The file, as it was named.
        content: Its bytes, which travel unchanged.
        job: Typed and checked, with `-o` and flags applied.
        overrides: The `-o` that are the trainer's, as typed, and one that empties the list of extra modules
            where the file has some that are not wanted: the trainer reads the file as it is.
        document: Values with their places.
        warnings: What may be left as it is.
    """

    path: Path
    content: bytes
    job: JobConfig
    overrides: tuple[str, ...]
    document: Document
    warnings: tuple[Problem, ...]


def load_run_config(
    path: Path,
    *,
    overrides: Sequence[str] = (),
    flags: Flags | None = None,
    strict: bool = False,
    content: bytes | None = None,
    layers: Layers | None = None,
) -> RunConfig:
    """Load and check everything at once.

    Args:
        path: A PaddleClas config, with or without a `Launch` section.
        overrides: As typed after `-o`; those of `Launch` do not travel to the trainer.
        flags: Win over both.
        strict: Unknown keys of PaddleClas's sections are errors.
        content: Instead of the file's, which is then not read.
        layers: What the environment and settings files say; None for nothing.

    Raises:
        ConfigError: The file cannot be read or is refused; holds every problem found.
    """
    content = read_content(path) if content is None else content
    written = document = parse_document(content, name=str(path))
    refused = _refuse_unprintable(overrides)
    if refused:
        raise ConfigError(refused)
    has_modules = _has_extra_modules(document)
    layers = layers or Layers()
    document = layers.put_above(layers.put_below(document))
    document = apply_overrides(document, overrides, is_known=_is_known)
    document = _apply_flags(document, flags or Flags())
    problems = _find_secrets(content, written, document, overrides)
    try:
        loaded = check(document, JobConfig, strict=strict, expects_extra=_has_extra_modules(document))
    except ConfigError as error:
        refusals = [*_once(error.problems), *problems]
        raise ConfigError(map(hide_secrets, refusals) if problems else refusals) from error
    if problems:
        raise ConfigError(map(hide_secrets, (*loaded.warnings, *problems)))
    return RunConfig(
        path=path,
        content=content,
        job=loaded.config,
        overrides=(
            *(text for text in overrides if parse_override(text).path[0] != _SECTION),
            *((_NO_MODULES,) if has_modules and not loaded.config.launch.extra_modules else ()),
        ),
        document=loaded.document,
        warnings=(*layers.warnings, *loaded.warnings, *_foreign(loaded)),
    )


def _find_secrets(
    content: bytes, written: Document, document: Document, overrides: Sequence[str]
) -> list[Problem]:
    """Find secrets in all that is sent: the file as it is, and what has been put over it."""
    section = document.values.get(_SECTION)
    named = section.get("not_secret") if isinstance(section, dict) else None
    harmless = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    found = find_secrets(document, not_secret=harmless)
    found += [item for item in find_secrets(written, not_secret=harmless) if item not in found]
    found += find_secrets_in_bytes(content, name=str(written.name), found=found)
    said = {item.file for item in found}
    return found + [item for item in find_typed_secrets(overrides) if item.file not in said]


def _foreign(loaded: Loaded[JobConfig]) -> list[Problem]:
    """Say which networks need a package that an image may lack, unless its name says that it has it."""
    image = loaded.config.launch.image
    if image is not None and names_zoo(image):
        return []
    return [
        loaded.document.problem(place, wants_package(name), warning=True)
        for place, name in find_foreign(loaded.config.arch)
    ]


def names_zoo(image: str) -> bool:
    """Tell whether an image's tag is that of the variant that holds the package of networks."""
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    return tag == "zoo" or tag.endswith("-zoo")


def _has_extra_modules(document: Document) -> bool:
    section = document.values.get(_SECTION)
    return isinstance(section, dict) and bool(section.get("extra_modules"))


def _is_known(path: KeyPath) -> bool:
    """Tell whether a key may be set; the keys of some mappings of `Launch` are the user's own."""
    return is_known(JobConfig, path) or (
        len(path) >= 3
        and path[0] == _SECTION
        and path[1] in _OWN_KEYS
        and (len(path) == 3 or path[1] == "pod_patch")
    )


def _once(problems: Sequence[Problem]) -> list[Problem]:
    """Leave out what is said twice: an unknown key of `Launch` is refused, and has no effect."""
    seen: set[KeyPath] = set()
    kept = []
    for problem in problems:
        if problem.path[:1] == (_SECTION,) and not _is_known(problem.path):
            if problem.path in seen:
                continue
            seen.add(problem.path)
        kept.append(problem)
    return kept


def _refuse_unprintable(overrides: Sequence[str]) -> list[Problem]:
    """Refuse what is not UTF-8: Python hands such bytes of the command line on as half surrogate pairs."""
    return [
        Problem(file=f"-o {text!a}", message="expected UTF-8 text; set the terminal to UTF-8")
        for text in overrides
        if any("\ud800" <= character <= "\udfff" for character in text)
    ]


def _apply_flags(document: Document, flags: Flags) -> Document:
    given = {
        field.name: value
        for field in dataclasses.fields(flags)
        if field.name not in ("volumes", "gpu_ids") and (value := getattr(flags, field.name)) is not None
    }
    if not given and not flags.volumes:
        return document
    section = document.values.get(_SECTION)
    if section is not None and not isinstance(section, dict):
        return document  # refused with its place by the check
    launch = {**(section or {}), **given}
    locations = dict(document.locations)
    for key, value in given.items():
        locations[_SECTION, key] = Location(
            line=1, column=1, text=str(value), source=f"--{key.replace('_', '-')}"
        )
    if flags.volumes:
        mounts = {volume["mount"] for volume in flags.volumes}
        written = launch.get("volumes")
        kept = [
            item
            for item in (written if isinstance(written, list) else [])
            if not isinstance(item, dict) or item.get("mount") not in mounts
        ]
        launch["volumes"] = [*kept, *flags.volumes]
        for index in range(len(kept), len(launch["volumes"])):
            locations[_SECTION, "volumes", index] = Location(line=1, column=1, source="--volume")
    return Document(name=document.name, values={**document.values, _SECTION: launch}, locations=locations)
