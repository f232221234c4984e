"""From what a caller names (a file, a mapping, a job) to a checked config that fits this machine.

Four things are put together here that each know nothing of the others: the user's modules are imported before
names are checked; outside of a job, what `local` of `Launch` names stands for mounts that are not there; the
grammar checks; and where the config asks for a GPU and none is here, the CPU takes its place, said once.

Must not: print, read the environment (`trainer.ranks` does), or import paddle before it is needed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from trainer.config.document import Document
from trainer.config.load import Loaded, load_config, load_prediction_config
from trainer.config.mounts import MountsHere, find_mounts_here
from trainer.config.root import BaseConfig, InferConfig, TrainConfig
from trainer.extra_modules import find_code, import_modules
from trainer.jobs import find_best_of_study, find_job, require_output, unpack_code
from trainer.protocol.pathmap import PathMap
from trainer.ranks import Ranks

Say: TypeAlias = Callable[[str], None]
"""Takes a line for people."""
ConfigSource: TypeAlias = "str | Path | Mapping[str, object] | Loaded[TrainConfig] | Document"
"""A YAML file, the values of one, or one that was loaded before."""
ConfigT = TypeVar("ConfigT", bound=BaseConfig)
ConfigT_co = TypeVar("ConfigT_co", bound=BaseConfig, covariant=True)


@dataclass(frozen=True, kw_only=True)
class LoadedRun(Generic[ConfigT_co]):
    """A config that can be worked with here.

    Attributes:
        config: Typed and frozen; its paths are those of this machine, and its device is here.
        document: The values that it was made of, with their places.
        mounts: What stands for mounts on this machine; None inside a job.
        path_map: What the paths of the config went through.
    """

    config: ConfigT_co
    document: Document
    mounts: MountsHere | None = None
    path_map: PathMap = field(default_factory=PathMap)

    def find(self, typed: Path | None) -> Path | None:
        """Return a file that was typed as it is called in a pod by its place here; others as they are."""
        if typed is None or typed.exists() or not typed.is_absolute():
            return typed
        return Path(self.path_map.apply(str(typed)))


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadOptions:
    """How a config is loaded.

    Attributes:
        overrides: `KEY=VALUE` texts, applied in order.
        strict: Unknown keys are errors.
        extra_modules: Imported instead of what `Launch.extra_modules` names.
        computes: The network will run: have the CPU where the config asks for a GPU and none is here.
        new_run: Names the run that begins, for a volume that has a folder a run; None for work that reads,
            which means the newest run.
        base: What `local` and paths of the config are relative to; None for the working directory.
        path_map: What stands for the paths of a job; None for what this process was told.
        code: Folder of the user's own code; None for what the node process, or else `Launch.code`, says.
    """

    overrides: Sequence[str] = ()
    strict: bool = False
    extra_modules: tuple[str, ...] = ()
    computes: bool = True
    new_run: Callable[[Document], str] | None = None
    base: Path | None = None
    path_map: PathMap | None = None
    code: Path | None = None


def load(source: ConfigSource, options: LoadOptions, ranks: Ranks, *, warn: Say) -> LoadedRun[TrainConfig]:
    """Import the user's modules and load a config to train or evaluate with.

    Args:
        source: The config.
        options: How.
        ranks: This process.
        warn: Told of what a person should know and may leave as it is, line by line.

    Raises:
        ConfigError: It is refused; holds all problems.
        DeviceError: The GPU that it names, or that its job was promised, is not here.
    """
    finder = _MountFinder(options, ranks)
    loaded = load_config(
        finder.locate(source), options.overrides, path_map=finder.find, strict=options.strict,
        before_check=_importer(options, ranks),
    )  # fmt: skip
    return _finish(loaded, finder, options, ranks, warn=warn)


def load_for_prediction(
    source: ConfigSource, options: LoadOptions, ranks: Ranks, *, warn: Say
) -> LoadedRun[TrainConfig] | LoadedRun[InferConfig]:
    """Do the same with a config to predict with, which may lack what only training needs."""
    finder = _MountFinder(options, ranks)
    loaded = load_prediction_config(
        finder.locate(source), options.overrides, path_map=finder.find, strict=options.strict,
        before_check=_importer(options, ranks),
    )  # fmt: skip
    return _finish(loaded, finder, options, ranks, warn=warn)  # type: ignore[misc]  # either of both comes back


def load_job(
    job: str, options: LoadOptions, ranks: Ranks, *, weights: Path | None, warn: Say
) -> LoadedRun[TrainConfig]:
    """Load the config of a job that was submitted from this machine.

    Args:
        job: Its name; or that of a study, whose best job is meant.
        options: Overrides go over those of the job.
        ranks: This process.
        weights: That were named in the place of the run's own; None asks for a checkpoint of the job here.
        warn: As for `load`.

    Raises:
        ConfigError: It is refused; or there is no such job, or it has no checkpoint here.
        DeviceError: As `load`.
    """
    best = find_best_of_study(job)
    if best is not None:
        warn(f"note: {job} is a study, of which this is {best}, its best job")
    found = find_job(best or job)
    run = load(
        found.config,
        replace(
            options,
            overrides=(*found.file.overrides, *options.overrides),
            extra_modules=options.extra_modules or tuple(found.file.extra_modules),
            path_map=found.path_map if found.is_here else PathMap(),
            base=Path(found.file.workdir),
            code=unpack_code(found),
        ),
        ranks,
        warn=warn,
    )
    if weights is None and not run.config.run.pretrained_model:
        note = require_output(found, Path(run.config.run.output_dir))
        if note:
            warn(note)
    return run


def _importer(options: LoadOptions, ranks: Ranks) -> Callable[[Document, PathMap], None]:
    def import_them(document: Document, found: PathMap) -> None:
        code = ranks.code or options.code
        if code is None and not ranks.in_a_job:  # a job has what its node process has unpacked, or nothing
            code = find_code(document, options.base or Path())
        import_modules(document, named=options.extra_modules, path_map=found, code=code)

    return import_them


def _finish(
    loaded: Loaded[ConfigT], finder: _MountFinder, options: LoadOptions, ranks: Ranks, *, warn: Say
) -> LoadedRun[ConfigT]:
    for note in (*finder.notes, *map(str, loaded.warnings)):
        warn(note)
    config = loaded.config
    if options.computes:
        from trainer.engine.device import settle_device  # imports paddle

        config, said = settle_device(config, ranks)
        if said and not _asks_for_cpus(loaded.document):
            warn(said)
    return LoadedRun(config=config, document=loaded.document, mounts=finder.found, path_map=loaded.path_map)


def _asks_for_cpus(document: Document) -> bool:
    """Say whether `Launch.gpus` is 0: then `Global.device` is for a day with GPUs, as `init` writes it."""
    launch = document.values.get("Launch")
    return isinstance(launch, dict) and launch.get("gpus") == 0 and launch["gpus"] is not False


class _MountFinder:
    """Finds what stands for the paths of a config: as its job was told, else by `local` of `Launch`."""

    def __init__(self, options: LoadOptions, ranks: Ranks) -> None:
        self._options = options
        self._path_map = options.path_map if options.path_map is not None else ranks.path_map
        self._in_a_job = ranks.in_a_job
        self.found: MountsHere | None = None

    def locate(self, source: ConfigSource) -> Path | Document:
        if isinstance(source, Document):
            return source
        if isinstance(source, Loaded):
            return source.document
        if isinstance(source, Mapping):
            values = _plain(source)
            assert isinstance(values, dict)
            return Document(name="config", values=values)
        # A job's own config is named by its place on this machine already.
        return Path(source if self._options.base is not None else self._path_map.apply(str(source)))

    def find(self, document: Document) -> PathMap:
        if self._path_map.prefixes or self._in_a_job:
            return self._path_map
        run = self._options.new_run(document) if self._options.new_run is not None else None
        self.found = find_mounts_here(document, new_run=run, base=self._options.base)
        return self.found.path_map

    @property
    def notes(self) -> tuple[str, ...]:
        return self.found.notes if self.found is not None else ()


def _plain(value: object) -> object:
    """Copy what Python code writes as a config into what YAML would have given."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else copy.copy(value)
