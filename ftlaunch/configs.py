"""Configs: a first one for a folder of images, checking one, and the manifest that a submit would act on."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ftlaunch.arguments import make_options
from ftlaunch.boundary import api
from ftlaunch.job import known_backend, log_note
from launcher.errors import Issue
from launcher.jobs.notes import Note
from launcher.jobs.options import SubmitOptions
from launcher.plan.explain import Row as ExplainedValue
from launcher.plan.handle import BackendKind
from trainer.config.overrides import Overrides, spell_overrides
from trainer.config.problems import Problem

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ftlaunch.keywords import InitKeywords, SubmitKeywords

__all__ = ["ConfigText", "ExplainedValue", "Problem", "Rendered", "init", "render", "schema", "validate"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rendered:
    """What a submit would act on.

    Attributes:
        manifest: The text, byte for byte.
        values: Where every value comes from.
        checked: What was checked where it would run, a sentence each; empty where nothing was asked.
    """

    manifest: str
    values: tuple[ExplainedValue, ...]
    checked: tuple[str, ...] = ()


class ConfigText(str):
    """The text of a config that was made, and what was chosen for it.

    Attributes:
        notes: What the command would say: which network, size and length, and why.
    """

    notes: tuple[Note, ...]

    def __new__(cls, text: str, notes: Iterable[Note] = ()) -> ConfigText:
        """Make it of a text."""
        made = super().__new__(cls, text)
        made.notes = tuple(notes)
        return made


@api
def init(
    path: str | Path | None = None,
    *,
    data: str | Path | None = None,
    source: str | Path | None = None,
    overwrite: bool = False,
    measure: bool = False,
    notes: Callable[[Note], None] = log_note,
    **wanted: Unpack[InitKeywords],
) -> ConfigText:
    """Return the text of a first config for a folder of images, or for one of PaddleClas's configs, or both.

    Its `notes` are what was chosen, and why.

    Args:
        path: Written, with the JSON Schema that editors find by its first line; None writes nothing.
        data: Folder of images; lists are made where it has none.
        source: A PaddleClas config to begin with.
        overwrite: Replace what is at `path`.
        measure: Also try how long and how much memory training takes here; imports Paddle, half a minute.
        notes: Told each note when it is made; the logger `ftlaunch` by default.
        wanted: As of the command: arch, image_size, epochs, gpus, nodes, image, name, preset.

    Raises:
        UsageError: Neither is given, what is given does not go together, or `path` is there already.
        ConfigError: What was asked for is refused, such as an architecture that is not known.
    """
    from launcher.errors import UsageError
    from launcher.jobs.new_config import NewConfig, make_config, save_config

    asked = make_options(NewConfig, data=_path(data), source=_path(source), measure=measure, **wanted)
    said: list[Note] = []

    def tell(note: Note) -> None:
        said.append(note)
        notes(note)

    target = _path(path)
    if target is not None and target.exists() and not overwrite:
        raise UsageError(where=target, expected="no such file yet", fix="pass overwrite=True to replace it")
    text = make_config(asked, path=target or Path("cfg.yaml"), notes=tell)
    if target is not None:
        save_config(target, text)
    return ConfigText(text, said)


@api
def validate(
    config: str | Path, *, on: BackendKind | None = None, set: Overrides = (), strict: bool = False
) -> tuple[Problem | Issue, ...]:
    """Return every problem of a config; one of a file has line and column, one with `warning` stops nothing.

    Args:
        config: The file.
        on: Where it is to run; None checks the config alone.
        set: Changes of it.
        strict: Unknown keys are errors.

    Raises:
        UsageError: There is no such kind of backend.
    """
    from launcher.jobs.validate import validate as find_problems

    return find_problems(Path(config), overrides=spell_overrides(set), on=known_backend(on), strict=strict)


@api
def render(
    config: str | Path,
    *,
    on: BackendKind | None = None,
    set: Overrides = (),
    on_server: bool = False,
    **options: Unpack[SubmitKeywords],
) -> Rendered:
    """Return the manifest that `submit` would act on, and where its values come from.

    Args:
        config: The file.
        on: Where the job is to run.
        set: Changes of it.
        on_server: Have it checked where it would run, as `submit --dry-run server` does.
        options: Other fields of `launcher.jobs.options.SubmitOptions`.

    Raises:
        ConfigError: The config is refused.
        UsageError: What is asked for cannot be; with `on_server` also what a submit would be refused for.
    """
    from launcher.jobs.prepare import explain_values
    from launcher.jobs.submit import dry_run

    asked = make_options(SubmitOptions, on=known_backend(on), overrides=spell_overrides(set), **options)
    found = dry_run(Path(config), asked, on_server=on_server, notes=log_note)
    return Rendered(
        manifest=found.prepared.manifest.text,
        values=tuple(explain_values(found.prepared)),
        checked=found.checked,
    )


@api
def schema(kind: str = "config") -> dict[str, object]:
    """Return the JSON Schema of a config, or of what a command prints with `--output json`.

    Args:
        kind: `config`; or a command, its words joined by a dash, such as `status` or `ckpt-ls`.

    Raises:
        UsageError: There is no such kind.
    """
    from launcher.documents import LOG_LINE, VERSIONS, load_schema
    from launcher.errors import UsageError
    from launcher.jobs.new_config import schema_document

    kinds = ("config", *sorted([*VERSIONS, LOG_LINE]))
    if kind not in kinds:
        raise UsageError(where="kind", expected=f"one of {', '.join(kinds)}", got=repr(kind))
    return schema_document() if kind == "config" else load_schema(kind)


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
