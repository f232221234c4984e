"""The record of a study on this machine: what was asked for, once; and whether it is to go on.

A study is a folder of `$FTLAUNCH_STATE/sweeps`:

    study.json     what was asked for; `--trials` of a resume is the one thing that changes
    cfg.yaml       the config as it was then: what is edited later concerns no trial of this study
    journal.log    optuna's journal: the trials, their values, and what they came to
    halted.json    there while no driver is to go on: cancelled, or stopped because everything fails
    drivers/       a file for each driver, held while it runs
    remote.json    how the driver was last seen, where a pod of a cluster is it
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal

from launcher.errors import NotFoundError, TakenError, UsageError
from launcher.jobs.options import SubmitOptions
from launcher.names import is_dns_label
from launcher.plan.handle import BackendKind
from launcher.runs.paths import state_dir
from launcher.sweep.space import Space, parse_space
from trainer.protocol.codec import Count, UnixTime, UnlessNone, Within, decode, encode
from trainer.protocol.file_locks import hold_new, try_hold
from trainer.protocol.safe_files import read_file, replace_file
from trainer.protocol.untrusted import FormatError, parse_object

SCHEMA = 1
STUDY, CONFIG, JOURNAL, HALTED, DRIVERS = "study.json", "cfg.yaml", "journal.log", "halted.json", "drivers"
DRIVER_LOG, WINNER, PAGE, REMOTE = "driver.log", "winner.yaml", "sweep.html", "remote.json"
MAX_PREFIX = 30
"""Of a study's name: `-abcde-t0001-f5s2` follows in the names of its jobs."""
_MAX_BYTES = 4 * 1024 * 1024
MOST_TRIALS, MOST_PARALLEL, MOST_PER_GPU = 100_000, 10_000, 64
SamplerName = Literal["tpe", "random", "grid"]
PrunerName = Literal["asha", "median", "none"]
Goal = Literal["max", "min"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Baseline:
    """A run that a study's best is held against, as it stood when the study was asked for.

    Attributes:
        name: Of the job or the study.
        values: Best value of the metric of its job; of each job, where it is a study with seeds.
        epochs: That it was measured for; None where that is not known.
        is_best_epoch: `epochs` is that of its best value, since how far it went is not known here.
        trial: From 0: the best one, where it is a study.
    """

    name: str
    values: tuple[float, ...]
    epochs: Count | None = None
    is_best_epoch: bool = False
    trial: Count | None = None

    @property
    def value(self) -> float:
        """Mean of its jobs."""
        return sum(self.values) / len(self.values)


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What a study was asked for.

    Attributes:
        name: A DNS label; its jobs' names begin with it.
        study_id: 32 hexadecimal digits; the jobs' run ids are made of it.
        config: The file that was named, as an absolute path; `cfg.yaml` is what it held.
        workdir: The folder in which it was asked for, where the config's relative paths lead.
        over: What is varied, as typed.
        overrides: `-o` of every trial, as typed.
        options: What else `submit` was asked for, by names of `SubmitOptions`.
        metric: Name of the evaluations' value that is compared.
        goal: Whether more or less of it is better.
        trials: How many.
        parallel: Jobs at once.
        epochs: Of a trial that is not pruned.
        interval: Epochs between two evaluations.
        seed: Of what is drawn.
        per_gpu: Jobs that share a GPU of this machine.
        first: Values that the config itself has of what is drawn; the first trial has them, so that the
            others are held against what was there. Empty where it has none among them.
        baseline: What the best is held against instead of the first trial; None for that.
        driver_namespace: Of the cluster where a pod is the study's driver; empty where this machine is.
        driver_context: Of the kubeconfig that leads there; empty for its current one.
    """

    name: str
    study_id: str
    config: str
    workdir: str
    command: tuple[str, ...] = ()
    created_s: UnixTime
    over: tuple[str, ...]
    overrides: tuple[str, ...] = ()
    on: BackendKind
    options: Mapping[str, object]
    sampler: SamplerName
    prune: PrunerName
    metric: str
    goal: Goal
    trials: Annotated[int, Within(1, MOST_TRIALS)]
    parallel: Annotated[int, Within(1, MOST_PARALLEL)]
    epochs: Annotated[int, Within(1)]
    interval: Annotated[int, Within(1)] = 1
    seed: Count = 0
    per_gpu: Annotated[int, Within(1, MOST_PER_GPU)] = 1
    first: Mapping[str, object] = field(default_factory=dict)
    baseline: Annotated[Baseline | None, UnlessNone()] = None
    driver_namespace: str = ""
    driver_context: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Halted:
    """Why no driver goes on with a study.

    Attributes:
        cancelled: Somebody asked for it; else all trials failed.
        reason: A sentence; empty for a cancel.
    """

    cancelled: bool
    reason: Annotated[str | None, UnlessNone()] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Study:
    """A study of this machine.

    Attributes:
        folder: Its own.
    """

    folder: Path
    settings: Settings
    space: Space

    @property
    def name(self) -> str:
        """The study's name."""
        return self.settings.name

    @property
    def config(self) -> Path:
        """The config of its trials."""
        return self.folder / CONFIG

    @property
    def is_remote(self) -> bool:
        """Whether a pod of a cluster is its driver; what lies here is then a copy of what that last told."""
        return bool(self.settings.driver_namespace)

    def with_numbers(self, *, trials: int | None = None, parallel: int | None = None) -> Study:
        """Change how many trials there are to be, and how many at once; None leaves a number as it is."""
        from dataclasses import replace

        settings = replace(
            self.settings, trials=trials or self.settings.trials, parallel=parallel or self.settings.parallel
        )
        changed = replace(self, settings=settings)
        _save(changed)
        return changed

    def halt(self, halted: Halted) -> None:
        """Have no driver go on."""
        replace_file(self.folder / HALTED, (json.dumps(encode(halted, schema=SCHEMA)) + "\n").encode())

    def release(self) -> None:
        """Let drivers go on."""
        (self.folder / HALTED).unlink(missing_ok=True)

    def read_halted(self) -> Halted | None:
        """Return why no driver is to go on; None where one may."""
        try:
            data = read_file(self.folder / HALTED, max_bytes=_MAX_BYTES)
            return decode(Halted, data, where=HALTED, schema=SCHEMA)
        except FileNotFoundError:
            return None
        except (OSError, FormatError):  # it is there, and that counts
            return Halted(cancelled=True)

    def drivers(self) -> list[int]:
        """Return the process ids of the drivers that run."""
        found = []
        for path in sorted((self.folder / DRIVERS).glob("*.lock")):
            held = try_hold(path)
            if held is None:
                found.append(int(path.stem) if path.stem.isdecimal() else 0)
            else:
                held.close(remove=True)  # of one that was killed
        return found

    @property
    def is_driven(self) -> bool:
        """Whether a driver goes on with it; of one in a cluster as was last seen."""
        if not self.is_remote:
            return bool(self.drivers())
        return self.read_remote().get("state") in ("Running", "Waiting")

    def read_remote(self) -> Mapping[str, str]:
        """Return `state` and `reason` of a driver in a cluster as they were last seen; empty before that."""
        try:
            found = parse_object(
                read_file(self.folder / REMOTE, max_bytes=_MAX_BYTES), where=REMOTE, max_bytes=_MAX_BYTES
            )
        except (OSError, FormatError):
            return {}
        return {name: str(value) for name, value in found.items()}

    def note_remote(self, *, state: str, reason: str) -> None:
        """Keep how a driver in a cluster was seen."""
        text = json.dumps({"state": state, "reason": reason}) + "\n"
        replace_file(self.folder / REMOTE, text.encode())

    @contextmanager
    def driving(self) -> Iterator[None]:
        """Be known as a driver while the context lasts, however it ends."""
        folder = self.folder / DRIVERS
        folder.mkdir(mode=0o700, exist_ok=True)
        with hold_new(folder / f"{os.getpid()}.lock"):
            yield


def sweeps_dir() -> Path:
    """Return the folder of studies, in the state folder."""
    return state_dir() / "sweeps"


def begin_study(settings: Settings, content: bytes) -> Study:
    """Make the folder of a new study.

    Raises:
        TakenError: There is one of this name.
    """
    folder = sweeps_dir() / settings.name
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError as error:
        raise _taken(settings.name) from error
    (folder / CONFIG).write_bytes(content)
    study = Study(folder=folder, settings=settings, space=parse_space(settings.over))
    _save(study)  # last: a folder without it is no study
    return study


def refuse_taken(name: str) -> None:
    """Refuse the name of a study that is there.

    Raises:
        TakenError: It is.
    """
    if is_dns_label(name) and (sweeps_dir() / name).exists():
        raise _taken(name)


def _taken(name: str) -> TakenError:
    folder = sweeps_dir() / name
    is_study = (folder / STUDY).is_file()
    return TakenError(
        where=name, expected="a free name", got="that of an earlier study",
        fix="choose another, or "
        + (f"`ftlaunch delete {name}`" if is_study else f"delete {folder}, which is what is left of it"),
    )  # fmt: skip


def _save(study: Study) -> None:
    replace_file(study.folder / STUDY, format_settings(study.settings).encode())


def format_settings(settings: Settings) -> str:
    """Write study.json."""
    return json.dumps(encode(settings, schema=SCHEMA), indent=2) + "\n"


def parse_settings(data: bytes, *, where: str) -> Settings:
    """Read study.json.

    Raises:
        FormatError: It is broken, or of another release.
    """
    return decode(Settings, data, where=where, schema=SCHEMA)


def load_study(name: str) -> Study | None:
    """Return a study of this machine by its name; None where there is none.

    Raises:
        NotFoundError: Its record is broken.
    """
    if not is_dns_label(name):
        return None
    path = sweeps_dir() / name / STUDY
    try:
        settings = parse_settings(read_file(path, max_bytes=_MAX_BYTES), where=str(path))
        return Study(folder=path.parent, settings=settings, space=parse_space(settings.over))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, FormatError, UsageError) as error:
        raise NotFoundError(
            where=path, expected="a study's record", said=error,
            fix=f"delete {path.parent}; its jobs are in `ftlaunch list`, as any are",
        ) from error  # fmt: skip


def find_study(name: str | None) -> Study:
    """Return the study that is meant.

    Args:
        name: Its name; None for the one that was begun last.

    Raises:
        NotFoundError: There is none.
    """
    found = load_study(name) if name is not None else next(iter(list_studies()), None)
    if found is None:
        where = name if name is not None else "sweep"
        raise NotFoundError(
            where=where, expected="a study of this machine", got="none", fix="`ftlaunch list` shows them"
        )
    return found


def list_studies() -> list[Study]:
    """Return all studies of this machine, the newest first; those with a broken record are left out."""
    found = []
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(sweeps_dir()):
            with contextlib.suppress(NotFoundError):
                if (study := load_study(entry.name)) is not None:
                    found.append(study)
    return sorted(found, key=lambda study: -study.settings.created_s)


def remove_study(study: Study) -> None:
    """Delete a study's folder, its record first, so that a delete that is cut off leaves no study."""
    (study.folder / STUDY).unlink(missing_ok=True)
    shutil.rmtree(study.folder, ignore_errors=True)


_KEPT = (
    "image",
    "nodes",
    "gpus",
    "gpu_ids",
    "procs_per_node",
    "volumes",
    "code",
    "namespace",
    "context",
    "api",
    "runtime",
    "strict",
    "require_gpu",
    "require_restricted",
    "preflight",
    "template_dirs",
)


def options_to_json(options: SubmitOptions) -> dict[str, object]:
    """Return those options that every trial has, and that differ from what they are by default."""
    default = SubmitOptions()
    given = {
        name: getattr(options, name) for name in _KEPT if getattr(options, name) != getattr(default, name)
    }
    if "template_dirs" in given:
        given["template_dirs"] = [str(path.resolve()) for path in options.template_dirs]
    if "volumes" in given:
        given["volumes"] = [dict(volume) for volume in options.volumes]
    return {name: list(value) if isinstance(value, tuple) else value for name, value in given.items()}


def options_from_json(given: Mapping[str, object]) -> dict[str, Any]:
    """Return the keyword arguments of `SubmitOptions` that a study keeps."""
    known = {item.name for item in fields(SubmitOptions)} & {*_KEPT}
    options: dict[str, Any] = {name: value for name, value in given.items() if name in known}
    for name in ("volumes", "gpu_ids"):
        if name in options:
            options[name] = tuple(options[name])
    if "template_dirs" in options:
        options["template_dirs"] = tuple(Path(text) for text in options["template_dirs"])
    return options
