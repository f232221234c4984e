"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from trainer.cli.printing import echo
from trainer.protocol.pathmap import PathMap
from trainer.ranks import read_ranks, read_weights_places

if TYPE_CHECKING:  # pydantic: `--help` does without
    from trainer.config.document import Document
    from trainer.config.load import Loaded
    from trainer.config.mounts import MountsHere
    from trainer.config.root import BaseConfig, InferConfig, TrainConfig
    from trainer.models.weights_store import WeightsStore

F = TypeVar("F", bound=Callable[..., Any])
ConfigT = TypeVar("ConfigT", bound="BaseConfig")


extra_module_option = click.option(
    "--extra-module", "extra_modules", multiple=True, metavar="FILE|FOLDER|NAME",
    help="Import this first, instead of what Launch.extra_modules names; may be repeated.",
)  # fmt: skip
"""Python that registers names of the user's own."""


def config_options(command: F) -> F:
    """Add `-c FILE`, `-o KEY=VALUE`, `--extra-module` and `--strict`."""
    for option in (*_SETTINGS, _config_option(required=True)):
        command = option(command)
    return command


def run_options(command: F) -> F:
    """Add what says which run is meant: JOB or `-c FILE`; and `-o`, `--extra-module`, `--strict`."""
    job = click.argument("job", metavar="[JOB]", required=False)
    for option in (*_SETTINGS, _config_option(required=False), job):
        command = option(command)
    return command


def _config_option(*, required: bool) -> Callable[[F], F]:
    return click.option(
        "-c", "--config", "path", required=required, type=click.Path(path_type=Path),
        help="A PaddleClas config.",
    )  # fmt: skip


_SETTINGS: tuple[Callable[[Any], Any], ...] = (
    extra_module_option,
    click.option("--strict", is_flag=True, help="Refuse unknown keys instead of warning of them."),
    click.option(
        "-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE",
        help="Change a value, such as -o Global.epochs=3; list items by index; may be repeated.",
    ),
)  # fmt: skip


def refuse_two(job: str | None, path: Path | None) -> None:
    """Refuse where a run is named twice, or not at all.

    Raises:
        UsageError: It is.
    """
    if job is None and path is None:
        raise click.UsageError("expected a job's name or -c FILE, got neither; `ftlaunch list` shows jobs")
    if job is not None and path is not None:
        raise click.UsageError(
            f"expected a job's name or -c FILE, got both; {job!r} has its config, so leave -c out, or name "
            "its weights beside another config: -c FILE --weights FILE"
        )


weights_dir_option = click.option(
    "--weights-dir", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Where pretrained weights are kept, besides ~/.paddleclas/weights; also FTL_WEIGHTS.",
)  # fmt: skip
"""Where files of weights are looked for."""


def weights_options(command: F) -> F:
    """Add `--weights-dir` and `--offline`."""
    for option in (
        click.option("--offline", is_flag=True, help="Download no weights; also FTL_OFFLINE=1."),
        weights_dir_option,
    ):  # fmt: skip
        command = option(command)
    return command


def make_store(weights_dir: Path | None, *, offline: bool) -> WeightsStore:
    """Make the store that options and environment mean.

    Raises:
        FormatError: A variable is not what it should be.
    """
    from trainer.models.weights_store import WeightsStore

    places = read_weights_places()
    folder = weights_dir or places.folder
    return WeightsStore(
        folders=() if folder is None else (folder,),
        offline=offline or places.offline,
        user_home=places.user_home,
        home_is_lost=places.home_is_lost,
    )


def load_run(
    job: str | None, path: Path | None, overrides: tuple[str, ...], *, strict: bool,
    extra_modules: tuple[str, ...] = (), weights: Path | None = None, answering: bool = False,
    quiet: bool = False,
) -> Loaded[TrainConfig] | Loaded[InferConfig]:  # fmt: skip
    """Load the config of a job, or of a file, to do something with its weights.

    Args:
        job: Its name, as typed; None where `path` is given.
        path: The config.
        overrides: As typed after `-o`; over those of the job.
        strict: Unknown keys are errors.
        extra_modules: Instead of those of the job or the config.
        weights: That were named, in the place of the run's own.
        answering: A config without the sections that only training needs will do.
        quiet: Print nothing: another rank does.

    Raises:
        ConfigError: It is refused; or there is no such job, or it has no checkpoint here.
        TrainerError: As `load`.
    """
    if job is None:
        assert path is not None
        if answering:
            return load_answering(path, overrides, strict=strict, extra_modules=extra_modules)
        ranks = read_ranks()
        return load(
            path, overrides, strict=strict, extra_modules=extra_modules, path_map=ranks.path_map, quiet=quiet
        )
    from trainer.cli.jobs import find_job, require_output

    found = find_job(job)
    loaded = load(
        found.config, (*found.file.overrides, *overrides), strict=strict,
        path_map=found.path_map if found.is_here else None, base=Path(found.file.workdir),
        extra_modules=extra_modules or found.file.extra_modules, quiet=quiet,
    )  # fmt: skip
    if weights is None and not loaded.config.run.pretrained_model:
        note = require_output(found, Path(loaded.config.run.output_dir))
        if note and not quiet:
            _tell(note)
    return loaded


def load_answering(
    path: Path, overrides: tuple[str, ...], *, strict: bool, path_map: PathMap | None = None,
    extra_modules: tuple[str, ...] = (),
) -> Loaded[TrainConfig] | Loaded[InferConfig]:  # fmt: skip
    """Do the same as `load` with a config to predict with, which may lack what only training needs."""
    from trainer.cli.extras import import_modules
    from trainer.config.load import load_prediction_config

    finder = _MountFinder(path_map)
    loaded = load_prediction_config(
        finder.apply(path), overrides, path_map=finder.find, strict=strict,
        before_check=lambda document, found: import_modules(document, named=extra_modules, path_map=found),
    )  # fmt: skip
    _tell(*finder.notes, *loaded.warnings)
    return _settle(loaded)  # type: ignore[misc]  # either of both, and the same comes back


def load(
    path: Path, overrides: tuple[str, ...], *, strict: bool, path_map: PathMap | None = None,
    extra_modules: tuple[str, ...] = (), quiet: bool = False, computes: bool = True,
    new_run: Callable[[Document], str] | None = None, here: list[MountsHere] | None = None,
    base: Path | None = None,
) -> Loaded[TrainConfig]:  # fmt: skip
    """Import the user's modules, load a config and print its warnings.

    Outside of a job, what `local` of `Launch` names stands for mounts that are not there; that is said once.

    Args:
        path: The config.
        overrides: As typed after `-o`.
        strict: Unknown keys are errors.
        path_map: What stands for the paths of a job; None or an empty one outside of a job.
        extra_modules: Instead of what `Launch.extra_modules` names.
        quiet: Print nothing: another rank does.
        computes: The command runs the network: have the CPU where the config asks for a GPU and none is here.
        new_run: Names the run that begins, for a volume that has a folder a run; None for a command that
            reads, which means the newest run.
        here: Given what was found to stand for mounts, last.
        base: What `local` and paths of the config are relative to; None for the working directory.

    Raises:
        ConfigError: It is refused.
        TrainerError: The GPU that it names, or that its job was promised, is not here.
    """
    from trainer.cli.extras import import_modules
    from trainer.config.load import load_config

    finder = _MountFinder(path_map, new_run, base)
    loaded = load_config(
        path if base is not None else finder.apply(path), overrides, path_map=finder.find, strict=strict,
        before_check=lambda document, found: import_modules(document, named=extra_modules, path_map=found),
    )  # fmt: skip
    if here is not None:
        here.extend(finder.found)
    if not quiet:
        _tell(*finder.notes, *loaded.warnings)
    return _settle(loaded, quiet=quiet) if computes else loaded


class _MountFinder:
    """Finds what stands for the paths of a config: as its job was told, else by `local` of `Launch`."""

    def __init__(
        self,
        path_map: PathMap | None,
        new_run: Callable[[Document], str] | None = None,
        base: Path | None = None,
    ) -> None:
        self._path_map = path_map or PathMap()
        self._new_run = new_run
        self._base = base
        self.found: list[MountsHere] = []

    def apply(self, path: Path) -> Path:
        return Path(self._path_map.apply(str(path)))

    def find(self, document: Document) -> PathMap:
        from trainer.config.mounts import find_mounts_here

        if self._path_map.prefixes or read_ranks().in_a_job:
            return self._path_map
        run = self._new_run(document) if self._new_run is not None else None
        self.found.append(find_mounts_here(document, new_run=run, base=self._base))
        return self.found[0].path_map

    @property
    def notes(self) -> tuple[str, ...]:
        return self.found[0].notes if self.found else ()


def _settle(loaded: Loaded[ConfigT], *, quiet: bool = False) -> Loaded[ConfigT]:
    """Have the device that is here."""
    from trainer.engine.device import settle_device

    config, said = settle_device(loaded.config, read_ranks())
    if said and not quiet:
        _tell(said)
    return replace(loaded, config=config)


def _tell(*lines: object) -> None:
    for line in lines:
        echo(line, err=True)
