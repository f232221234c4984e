"""From what was asked for to a study: everything is checked here, before anything is made."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast, get_args

from launcher.backends.devices import list_gpus
from launcher.errors import Issue, UsageError
from launcher.jobs.notes import Note, Notes, ignore
from launcher.jobs.options import SubmitOptions
from launcher.jobs.prepare import Draft, load, plan_job
from launcher.names import is_dns_label, job_name, new_run_id, to_dns_label
from launcher.plan.handle import BACKENDS, BackendKind
from launcher.sweep.against import choose_baseline
from launcher.sweep.machine import Sharing, share_cluster, share_machine
from launcher.sweep.results import describe_baseline, short_keys
from launcher.sweep.space import (
    IMAGE_SIZE,
    Dimension,
    Repeat,
    Space,
    overrides_of,
    parse_space,
    resize_overrides,
)
from launcher.sweep.study import (
    MAX_PREFIX,
    MOST_PARALLEL,
    MOST_PER_GPU,
    MOST_TRIALS,
    Goal,
    PrunerName,
    SamplerName,
    Settings,
    Study,
    begin_study,
    options_from_json,
    options_to_json,
    refuse_taken,
)
from launcher.sweep.trial_jobs import has_folder_a_job
from launcher.sweep.trials import require_optuna
from trainer.config.document import Document, parse_document
from trainer.config.load import read_content
from trainer.config.overrides import spell_overrides
from trainer.config.problems import ConfigError, Problem, show, suggest
from trainer.protocol.codec import MAX_COUNT

if TYPE_CHECKING:
    from launcher.config.load import RunConfig

SECTION = "Sweep"
SAMPLERS: tuple[SamplerName, ...] = get_args(SamplerName)
PRUNERS: tuple[PrunerName, ...] = get_args(PrunerName)
_PLAIN = SubmitOptions()
_TRIALS = 12
_CHECKED = 12
"""Values of a choice that are held against the config before the study begins; a trial refuses the others."""
_MAX_NAME = 40
_FOLDER_A_JOB = (
    'the volume of Global.output_dir has a folder for each job (sub_path: "{job}"), which the driver\'s pod '
    "does not see: it reads what trials measure from their logs"
)
_KEYS = (
    "config",
    "over",
    "trials",
    "parallel",
    "metric",
    "goal",
    "sampler",
    "prune",
    "on",
    "seed",
    "per_gpu",
    "name",
    "against",
    "set",
)


@dataclass(frozen=True, kw_only=True, slots=True)
class SweepRequest:
    """What a study is asked for; what is None is chosen.

    Attributes:
        config: The file.
        over: `KEY=VALUES` each.
        options: As of `submit`, for every trial.
        name: Of the study; None for one made of the config's.
        seed: Of what is drawn.
        per_gpu: Jobs that share a GPU of this machine.
        against: Of a job or a study: what the best is held against; None for the first trial.
        in_pod: A pod of the cluster is the driver.
        driver_image: Its image; None for the one that goes with the trainer's.
    """

    config: Path
    over: tuple[str, ...]
    options: SubmitOptions = _PLAIN
    name: str | None = None
    sampler: SamplerName | None = None
    prune: PrunerName | None = None
    trials: int | None = None
    parallel: int | None = None
    metric: str | None = None
    goal: Goal | None = None
    seed: int | None = None
    per_gpu: int | None = None
    against: str | None = None
    command: tuple[str, ...] = ()
    in_pod: bool = False
    driver_image: str | None = None


def read_request(path: Path, typed: SweepRequest) -> SweepRequest:
    """Return what a file with a `Sweep` section asks for, where it is one; what was typed wins.

    Args:
        path: A config, or a file with nothing but such a section.
        typed: Whose `config` is `path`.

    Raises:
        ConfigError: The section is refused; holds every problem.
    """
    content = read_content(path)
    document = parse_document(content, name=str(path))
    section = document.values.get(SECTION)
    if SECTION not in document.values:
        return typed
    problems = list(_find_problems(document, section))
    if problems or not isinstance(section, dict):
        raise ConfigError(problems)
    given = {key: value for key, value in section.items() if value is not None}
    over = tuple(_spell(key, value) for key, value in given.pop("over").items())
    config = (path.parent / str(given.pop("config"))) if "config" in given else path
    found = replace(
        typed,
        config=config,
        over=_and_typed(over, typed.over),
    )
    changes = spell_overrides(cast(Mapping[str, object], given.pop("set", {})))
    options = replace(found.options, overrides=_and_typed(changes, found.options.overrides))
    found = replace(found, options=options)
    on = given.pop("on", None)
    if on is not None and found.options.on is None:
        found = replace(found, options=replace(found.options, on=cast(BackendKind, on)))
    unsaid = {key: value for key, value in given.items() if getattr(found, key) is None}
    return replace(found, **unsaid)


def _and_typed(read: Iterable[str], typed: tuple[str, ...]) -> tuple[str, ...]:
    """Return `KEY=VALUE` texts of a file and those that were typed, which take the place of the same keys."""
    keys = {text.partition("=")[0] for text in typed}
    return (*(text for text in read if text.partition("=")[0] not in keys), *typed)


def _spell(key: str, value: object) -> str:
    return f"{key}={value}" if isinstance(value, str) else f"{key}={value!r}"


def _find_problems(document: Document, section: object) -> Iterator[Problem]:
    if not isinstance(section, dict):
        yield document.problem((SECTION,), f"expected a mapping with config and over, got {show(section)}")
        return
    others = sorted(set(document.values) - {SECTION})
    if "config" in section and others:
        yield document.problem(
            (others[0],),
            f"expected nothing beside {SECTION} in a file that names its config, got {others[0]!r}",
        )
    if "config" not in section and not others:
        yield document.problem((SECTION,), "expected config: the file that is trained with, got none")
    kinds: Mapping[str, tuple[type, ...]] = {
        "trials": (int,), "parallel": (int,), "seed": (int,), "per_gpu": (int,), "over": (dict,),
        "set": (dict,),
    }  # fmt: skip
    choices: Mapping[str, Sequence[str]] = {
        "sampler": SAMPLERS, "prune": PRUNERS, "on": BACKENDS, "goal": ("max", "min"),
    }  # fmt: skip
    for key, value in section.items():
        place = (SECTION, key)
        if key not in _KEYS:
            yield document.problem(
                place, f"expected one of {', '.join(_KEYS)}, got {show(key)}{suggest(key, _KEYS)}"
            )
        elif key in choices and value not in (*choices[key], None):
            yield document.problem(place, f"expected one of {', '.join(choices[key])}, got {show(value)}")
        elif key not in choices and value is not None:
            wanted = kinds.get(key, (str,))
            if not isinstance(value, wanted) or isinstance(value, bool):
                word = {int: "a whole number", dict: "a mapping of keys to values", str: "text"}[wanted[0]]
                yield document.problem(place, f"expected {word}, got {show(value)}")
    if not section.get("over"):
        yield document.problem(
            (SECTION,), "expected over: what is varied, such as {image_size: [192, 224]}, got none"
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """A study that was checked, and how its jobs share what runs them."""

    settings: Settings
    content: bytes
    sharing: Sharing
    driver_image: str | None = None

    def begin(self) -> Study:
        """Make it.

        Raises:
            TakenError: There is one of its name.
        """
        return begin_study(self.settings, self.content)


def plan_study(request: SweepRequest, *, notes: Notes = ignore) -> Planned:
    """Check all of a request, and choose what it leaves open.

    Raises:
        ConfigError: The config, or one of the values for it, is refused; holds every problem.
        UsageError: What is asked for cannot be.
        TakenError: There is a study of its name.
    """
    require_optuna()
    space = parse_space(request.over)
    if request.name is not None:
        refuse_taken(request.name)
    draft = load(request.config, request.options, notes=notes)
    _check_values(request, space, draft)
    problems = list(_find_contradictions(request, space, draft.config))
    if problems:
        raise UsageError(problems=problems)
    sampler, trials = _choose(request, space)
    metric, goal = _choose_metric(request, draft.config)
    study_id = new_run_id()
    run = draft.config.job.run
    name = request.name or _name(draft, study_id)
    sharing = share(draft, asked=request.parallel, per_gpu=request.per_gpu or 1)
    settings = Settings(
        name=name,
        study_id=study_id,
        config=str(request.config.resolve()),
        workdir=str(Path.cwd()),
        command=request.command,
        created_s=time.time(),
        over=space.texts,
        overrides=request.options.overrides,
        on=draft.on[0],
        options=options_to_json(request.options),
        sampler=sampler,
        prune=request.prune or "none",
        metric=metric,
        goal=goal,
        first=_values_of_config(space, draft),
        baseline=choose_baseline(request.against, space, draft, metric=metric, goal=goal, notes=notes),
        trials=trials,
        parallel=len(sharing.places),
        epochs=run.epochs,
        interval=run.eval_interval,
        seed=request.seed or 0,
        per_gpu=request.per_gpu or 1,
    )
    if request.in_pod:
        settings = _have_driven_by_pod(settings, draft, request)
        if has_folder_a_job(settings, draft.config.content):
            notes(Note(_FOLDER_A_JOB))
    return Planned(
        settings=settings, content=draft.config.content, sharing=sharing, driver_image=request.driver_image
    )


def _have_driven_by_pod(settings: Settings, draft: Draft, request: SweepRequest) -> Settings:
    """Say in what was asked for that a pod is the driver, once all is checked that one needs.

    Raises:
        UsageError: A pod cannot be it.
        UnreachableError: No cluster is configured.
    """
    from launcher.backends.factory import open_backend
    from launcher.runs.paths import runs_dir
    from launcher.sweep.remote import plan_driver, with_driver_in

    launch = draft.config.job.launch
    backend = open_backend(
        draft.on[0], runs_folder=runs_dir(), namespace=launch.namespace, context=launch.context
    )
    changed = with_driver_in(
        settings, draft, namespace=launch.namespace or backend.namespace,
        context=backend.context or launch.context or "",
    )  # fmt: skip
    plan_driver(changed, draft.config.content, image=request.driver_image)
    return changed


def share(draft: Draft, *, asked: int | None, per_gpu: int) -> Sharing:
    """Return how the jobs of a config share the place where they run."""
    launch = draft.config.job.launch
    if draft.capabilities.is_cluster:
        return share_cluster(asked)
    present = draft.options.gpu_ids or list_gpus()
    procs = launch.procs_per_node if launch.procs_per_node != "auto" else max(launch.gpus, 1)
    return share_machine(
        asked, ranks=procs * launch.max_nodes, nodes=launch.max_nodes, gpus=launch.gpus, present=present,
        cores=_cores(), per_gpu=per_gpu,
    )  # fmt: skip


def share_again(study: Study, *, parallel: int | None = None) -> Sharing:
    """Return how a study's jobs share the place where they run, as it is now."""
    settings = study.settings
    options = SubmitOptions(
        **options_from_json(settings.options), on=settings.on, overrides=settings.overrides
    )
    draft = load(study.config, options)
    return share(draft, asked=parallel or settings.parallel, per_gpu=settings.per_gpu)


def _cores() -> int:
    """Count the cores that this process may use, which a container or `taskset` may have made fewer."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def _name(draft: Draft, study_id: str) -> str:
    prefix = to_dns_label(draft.config.job.launch.name or draft.config.path.stem)
    return job_name(prefix[:MAX_PREFIX].rstrip("-"), run_id=study_id)


def _choose(request: SweepRequest, space: Space) -> tuple[SamplerName, int]:
    """Return the sampler and how many trials: a grid is tried out where that was not asked otherwise."""
    size = space.grid_size
    if not space.dimensions:
        return "grid", 1
    if request.sampler == "grid" or (
        request.sampler is None and size is not None and size <= (request.trials or size)
    ):
        assert size is not None  # else it was refused
        return "grid", min(request.trials or size, size)
    return request.sampler or "tpe", request.trials or _TRIALS


def _check_values(request: SweepRequest, space: Space, draft: Draft) -> None:
    """Hold each value against the config, by itself.

    Raises:
        ConfigError: Any of them is refused; holds every problem.
        UsageError: The config has no lists for folds.
    """
    problems: dict[str, Problem] = {}
    content, name = draft.config.content, str(request.config)
    tries: list[tuple[Mapping[str, object], Repeat]] = [
        ({dimension.key: value}, Repeat())
        for dimension in space.dimensions
        for value in dimension.ends[:_CHECKED]
    ]
    tries += [({}, space.repeats[0])]
    for params, repeat in tries:
        try:
            varied = overrides_of(params, repeat, content=content, name=name)
            options = replace(request.options, overrides=(*request.options.overrides, *varied))
            plan_job(load(request.config, options))
        except ConfigError as error:
            problems |= {str(problem): problem for problem in error.problems}
    if problems:
        raise ConfigError(problems.values())


def _find_contradictions(request: SweepRequest, space: Space, config: RunConfig) -> Iterator[Issue]:
    run = config.job.run
    if not run.eval_during_train:
        yield Issue(
            where="Global.eval_during_train",
            expected="True: trials are compared by their evaluations",
            got="False",
        )
    loaders = config.document.values.get("DataLoader")
    measures = (isinstance(loaders, dict) and loaders.get("Eval")) or config.job.metric.of("Eval")
    if run.eval_during_train and not measures:
        yield Issue(
            where="DataLoader.Eval", expected="images to measure on: trials are compared by it", got="none"
        )
    if run.eval_interval > run.epochs:
        yield Issue(
            where="Global.eval_interval",
            expected=f"at most Global.epochs, {run.epochs}",
            got=str(run.eval_interval),
        )
    if request.sampler == "grid" and space.grid_size is None:
        ranges = ", ".join(d.key for d in space.dimensions if d.kind == "float")
        yield Issue(
            where=f"--sampler grid: {ranges}",
            expected="values, as [a,b,c] or log(a,b,POINTS)",
            got="a range",
            fix="or leave the sampler out",
        )
    for name, value, least, most in (
        ("trials", request.trials, 1, MOST_TRIALS),
        ("parallel", request.parallel, 1, MOST_PARALLEL),
        ("per-gpu", request.per_gpu, 1, MOST_PER_GPU),
        ("sweep-seed", request.seed, 0, MAX_COUNT),
    ):
        if value is not None and not least <= value <= most:
            yield Issue(where=f"--{name}", expected=f"a number from {least} to {most}", got=str(value))
    if request.name is not None and (not is_dns_label(request.name) or len(request.name) > _MAX_NAME):
        yield Issue(
            where="--name",
            expected=f"at most {_MAX_NAME} lower-case letters, digits and '-', a letter first",
            got=repr(request.name),
            fix=f"such as {to_dns_label(request.name)!r}",
        )
    taken = {"Global.output_dir": "each trial has its own"} | (
        {"Global.epochs": "trials of different lengths cannot be compared on the way"}
        if request.prune not in (None, "none") else {}
    )  # fmt: skip
    for dimension in space.dimensions:
        if dimension.key in taken:
            yield Issue(where=f"--over {dimension.key}", expected="another key", got=taken[dimension.key])
    if any(repeat.seed is not None for repeat in space.repeats) and _has(space, "Global.seed"):
        yield Issue(where="--over Global.seed", expected="seed alone, which repeats a trial", got="both")


def _has(space: Space, key: str) -> bool:
    return any(dimension.key == key for dimension in space.dimensions)


def _values_of_config(space: Space, draft: Draft) -> dict[str, object]:
    """Return what the config has of the keys that are varied, where that could be drawn, too."""
    found: dict[str, object] = {}
    for dimension in space.dimensions:
        here: object = draft.config.document.values
        for part in dimension.key.split("."):
            if isinstance(here, dict):
                here = here.get(part)
            else:
                is_there = isinstance(here, list) and part.isdecimal() and int(part) < len(here)
                here = here[int(part)] if is_there and isinstance(here, list) else None
        if dimension.key == IMAGE_SIZE:
            here = _own_size(dimension, draft)
        if dimension.has(here):
            found[dimension.key] = here
    return found


def _own_size(dimension: Dimension, draft: Draft) -> int | None:
    """Return that one of several sizes of images that would change nothing in a config."""
    sizes = [int(str(size)) for size in dimension.values]
    name = str(draft.config.path)
    return next((size for size in sizes if not resize_overrides(draft.config.content, size, name=name)), None)


def describe_first(settings: Settings) -> str:
    """Say whether a study's first trial is the config as it is; empty where nothing is varied but repeats."""
    if settings.baseline is not None:
        held = describe_baseline(settings.baseline, settings.metric or "the metric")
        return f"the best is held against {held}"
    space = parse_space(settings.over)
    lacking = [dimension.key for dimension in space.dimensions if dimension.key not in settings.first]
    if not space.dimensions:
        return ""
    if not lacking:
        return "trial 1 has the config's own values, and the others are held against it"
    names = short_keys([dimension.key for dimension in space.dimensions])
    missing = " and ".join(names[key] for key in lacking)
    return f"no trial is the config as it is: its own {missing} is not among the values of --over"


def _choose_metric(request: SweepRequest, config: RunConfig) -> tuple[str, Goal]:
    """Return the name of the value that trials are compared by, and whether more of it is better.

    The name is empty where only an evaluation can tell it: of a metric of the user's own.

    Raises:
        UsageError: No evaluation has what was asked for.
    """
    metrics = config.job.metric.of("Eval")
    goals: dict[str, Goal] = {
        name: "min" if metric.less_is_better else "max" for metric in metrics for name in metric.values
    }
    name = request.metric or next(iter(goals), "")
    is_open = any(not metric.values for metric in metrics) or not metrics
    if request.metric and request.metric not in goals and not is_open and not _is_loss(request.metric):
        raise UsageError(
            where="--metric", expected=f"one of {', '.join([*goals, 'loss'])}", got=repr(request.metric)
        )
    first: Goal = "min" if metrics and metrics[0].less_is_better else "max"
    return name, request.goal or goals.get(name, "min" if _is_loss(name) else first)


def _is_loss(name: str) -> bool:
    return name.lower().endswith("loss")
