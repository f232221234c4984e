"""From a file to a manifest, in three steps: `load`, `plan_job`, `render_job`. Nothing is sent.

What a config says is known after the first step, and with it where the job goes. Only then can a cluster be
asked which kind of job object it serves, and only with that kind can a job be planned. So a submit asks
between the first and the second step, and each step is done once; `prepare` does all three for who asks no
cluster.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.backends.devices import list_gpus
from launcher.errors import UsageError
from launcher.jobs.notes import Note, Notes, ignore
from launcher.jobs.options import SubmitOptions
from launcher.jobs.resolve import find_parent_run
from launcher.jobs.settings import choose_backend, current_layers
from launcher.names import KindName, is_run_id, new_run_id, new_secret
from launcher.plan.capabilities import CAPABILITIES, Capabilities
from launcher.plan.handle import BackendKind
from launcher.render.manifest import Manifest
from launcher.runs.gitstate import describe_git, read_git_state
from launcher.runs.paths import TEMPLATES_FOLDER, cache_dir, is_ours, project_of

if TYPE_CHECKING:  # pydantic: `--help` does without
    from launcher.config.load import RunConfig
    from launcher.jobs.code import Code
    from launcher.plan.explain import Row
    from launcher.plan.jobplan import JobPlan
    from launcher.plan.parent_run import ParentRun
    from launcher.render.crds import Fault
    from trainer.config.problems import Problem

_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"
_MAX_USER = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """A config that is read and checked, for a job whose kind is not chosen yet.

    Attributes:
        on: Where the job is to run, and what says so.
        run_id: 32 hexadecimal digits.
        secret: What only the job's pods are to know, or None.
        parent: The run that the job goes on from, or None.
        template_dirs: The user's folders of templates, those that win first.
        code: The user's own, packed, or None.
    """

    options: SubmitOptions
    config: RunConfig
    on: tuple[BackendKind, str]
    run_id: str
    secret: str | None
    parent: ParentRun | None
    template_dirs: tuple[Path, ...]
    code: Code | None = None

    @property
    def capabilities(self) -> Capabilities:
        """Of the place where it is to run."""
        return CAPABILITIES[self.on[0]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A job that is ready to be sent or printed.

    Attributes:
        templates: The user's, taken instead of ours.
        on: Where it is to run, and what says so.
        code: The user's own, packed, or None.
        weakened: What protects the pods less than usual, each at its key, for people.
    """

    config: RunConfig
    job: JobPlan
    manifest: Manifest
    templates: tuple[Path, ...]
    on: tuple[BackendKind, str]
    code: Code | None = None
    weakened: tuple[str, ...] = ()

    @property
    def capabilities(self) -> Capabilities:
        """Of the place where it is to run."""
        return CAPABILITIES[self.on[0]]


def prepare(path: Path, options: SubmitOptions, *, notes: Notes = ignore) -> Prepared:
    """Load, plan and render a job in the kind that the config says, without asking any cluster.

    Raises:
        ConfigError: The config is refused.
        LaunchError: What is asked for cannot be.
    """
    draft = load(path, options, notes=notes)
    return render_job(draft, plan_job(draft))


def load(path: Path, options: SubmitOptions, *, notes: Notes = ignore) -> Draft:
    """Read and check a config and all that belongs to it on this machine.

    Args:
        path: The config.
        options: What is asked for.
        notes: Told of templates that are passed over.

    Raises:
        ConfigError: The config is refused.
        NotFoundError: The parent run is not known here.
        UsageError: Options contradict each other.
    """
    with _without_plugins():
        return _load(path, options, notes)


def _load(path: Path, options: SubmitOptions, notes: Notes) -> Draft:
    from launcher.config.load import load_run_config

    if options.run_id is not None and not is_run_id(options.run_id):
        raise UsageError(where="--run-id", expected="32 hexadecimal digits", got=f"{options.run_id!r}")
    if options.parent is not None and options.overwrite:
        raise UsageError(
            where="--continue", expected="no --overwrite beside it, which throws away what it goes on from"
        )
    parent = None if options.parent is None else find_parent_run(options.parent)
    layers = current_layers()
    on, said_by = choose_backend(options.on, layers)
    if options.gpu_ids is not None and CAPABILITIES[on].is_cluster:
        raise UsageError(
            where="--gpus",
            expected=f"a number on {on}, which chooses the GPUs",
            got=",".join(options.gpu_ids),
        )
    config = load_run_config(
        path, overrides=options.overrides, flags=options.flags, strict=options.strict, layers=layers
    )
    if not CAPABILITIES[on].has_containers:
        _require_networks(config)
    return Draft(
        options=options,
        config=config,
        on=(on, said_by),
        run_id=options.run_id or new_run_id(),
        secret=None if options.without_secret else new_secret(),
        parent=parent,
        template_dirs=(*options.template_dirs, *projects_templates(Path.cwd(), notes=notes)),
        code=_collect_code(config),
    )


def _collect_code(config: RunConfig) -> Code | None:
    if config.job.launch.code is None:
        return None
    from launcher.jobs.code import collect_code  # most submits do without

    return collect_code(config)


def plan_job(draft: Draft, *, api: KindName | None = None, output_dir: str | None = None) -> JobPlan:
    """Decide everything that the manifest says.

    Args:
        draft: What was loaded.
        api: Kind of job object that is served where it goes; None for what the config says.
        output_dir: Where the job writes instead of Global.output_dir, `{job}` in it being its name.

    Raises:
        ConfigError: The config asks for what cannot be there; holds every problem.
        UsageError: An option does.
    """
    with _without_plugins():
        return _plan_job(draft, api, output_dir)


def _track_facts(draft: Draft) -> dict[str, str]:
    """Return what trackers are told of this folder; nothing where a rendering is to be the same each time."""
    if not draft.config.job.launch.track or draft.secret is None:
        return {}
    return describe_git(read_git_state(Path.cwd()))


def _plan_job(draft: Draft, api: KindName | None, output_dir: str | None) -> JobPlan:
    from launcher.plan.plan import plan

    options, parent = draft.options, draft.parent
    if parent is not None:
        # it goes on where its parent wrote, also where that was a folder of its own below the config's
        output_dir = parent.output_below(draft.config.job.run.output_dir)
    job = plan(
        draft.config,
        run_id=draft.run_id,
        secret=draft.secret,
        on=draft.on[0],
        exact_name=options.name,
        gpus_here=None if draft.capabilities.is_cluster else len(_usable_gpus(options.gpu_ids)),
        gpu_ids=options.gpu_ids,
        overwrite=options.overwrite,
        parent=parent,
        api=api,
        version=metadata.version("ftlaunch"),
        output_dir=output_dir,
        code=draft.code.planned if draft.code is not None else None,
        track_facts=_track_facts(draft),
        study=options.study or "",
        # what is rendered for git is to be the same for everybody
        submitted_by=_local_user() if draft.capabilities.is_cluster and draft.secret is not None else "",
    )
    if parent is not None:
        parent.require_same_output(job.node_file.output_dir)
    if job.gpus_missing and options.require_gpu:
        raise UsageError(
            where="--require-gpu",
            expected=f"{job.gpus_missing * job.nodes} GPUs on this machine",
            got="fewer",
            fix="ask for fewer with --gpus, or leave --require-gpu out to run as CPU ranks",
        )
    return job


def _local_user() -> str:
    """Return what this machine calls its user, for those who see the job; empty where it has no name.

    The API server's own name for us would take a request, and is often a service account or a certificate's.
    Not by `getpass`, which a submit does without.
    """
    name = next(filter(None, map(os.environ.get, ("LOGNAME", "USER", "USERNAME"))), "")
    if not name:
        with suppress(ImportError, KeyError):
            import pwd

            name = pwd.getpwuid(os.getuid()).pw_name
    return "".join(sign for sign in name if sign.isprintable())[:_MAX_USER]


def render_job(draft: Draft, job: JobPlan) -> Prepared:
    """Write a planned job's manifest, and hold it against what its pods are protected by.

    Raises:
        ConfigError: A patch cannot be applied, or the pods are less protected than is required.
    """
    from launcher.render.render import users_templates

    with _without_plugins():
        manifest = _render(draft.config, job, draft.template_dirs)
        return Prepared(
            config=draft.config,
            job=job,
            manifest=manifest,
            weakened=_find_weakened(draft, manifest),
            templates=tuple(users_templates(draft.template_dirs)),
            on=draft.on,
            code=draft.code,
        )


def plan_notes(prepared: Prepared) -> Iterator[Note]:
    """Give what a person should know of a job before it runs; its name and size last."""
    job = prepared.job
    for problem in prepared.config.warnings:
        yield Note(str(problem), "problem")
    for text in (*(prepared.code.notes if prepared.code else ()), *job.notes, *prepared.weakened):
        yield Note(text, "note")
    own = [*map(str, prepared.templates), *(["Launch.pod_patch"] if job.pod_patch else [])]
    if own:
        yield Note(
            f"{', '.join(own)}: the job is held against its API's schema; that no value changes its "
            "structure is promised of ftlaunch's templates",
            "note",
        )
    yield Note(f"{job.job}: {job.describe()}")


def explain_values(prepared: Prepared) -> list[Row]:
    """Return every value that a job is made of, with what it comes from."""
    from launcher.backends.replicas import expand
    from launcher.plan.explain import Row, explain

    job, (on, said_by) = prepared.job, prepared.on
    operator: dict[str, str] = {}
    if job.pod_patch is None and not prepared.templates:
        pods = expand(prepared.manifest, pod_ip="(its address)")
        own = {"FTL_NODE", "HOME", "TMPDIR", *job.env}
        operator = {name: value for name, value in pods[0].env.items() if name not in own}
    rows = explain(prepared.config, job, operator=operator)
    return [Row(kind="on", name="on", value=on, source=said_by), *rows]


def _require_networks(config: RunConfig) -> None:
    """Refuse what this environment, in which the ranks would run, cannot build.

    Raises:
        ConfigError: A network is the package's, and that is not here.
    """
    from trainer.config.problems import ConfigError
    from trainer.config.zoo import find_foreign, is_installed, lacks_package

    foreign = [] if is_installed() else list(find_foreign(config.job.arch))
    if foreign:
        raise ConfigError(config.document.problem(place, lacks_package(name)) for place, name in foreign)


def _render(config: RunConfig, job: JobPlan, template_dirs: tuple[Path, ...]) -> Manifest:
    """Render a job, with what is wrong of a patch said at its place in the config."""
    from launcher.render.patch import PatchError
    from launcher.render.render import render
    from trainer.config.problems import ConfigError

    try:
        return render(job, template_dirs=template_dirs, cache=cache_dir())
    except PatchError as error:
        raise ConfigError(place_faults(config, error.faults)) from error


def _find_weakened(draft: Draft, manifest: Manifest) -> tuple[str, ...]:
    """Say what protects the pods less than usual.

    Raises:
        ConfigError: It is more than the pod security level allows that is required, or it loads code into
            processes of this machine.
    """
    from launcher.plan.code_variables import find_code_variables
    from launcher.plan.error_source import find_key, to_problem
    from launcher.render.crds import format_fields
    from launcher.render.protection import find_weakenings
    from trainer.config.problems import ConfigError, format_path

    config, require = draft.config, draft.options.require_restricted
    if not draft.capabilities.has_containers:
        if require:
            raise UsageError(
                where="--require-restricted",
                expected="kubernetes or docker",
                got=f"{draft.on[0]}, which has no containers",
            )
        names = [item["name"] for item in manifest.pod_spec["containers"][0].get("env") or ()]
        loading = find_code_variables(name for name in names if name not in ("HOME", "TMPDIR"))
        if loading:
            raise ConfigError(_refuse_code(config, loading))
        return ()
    template = manifest.kind.pods_field
    notes, refused = [], []
    for item in find_weakenings(manifest.pod_template, trainer=manifest.kind.container):
        field = format_fields(item.path)
        key = find_key(f"{template}.{field}", manifest.job, config, beside=manifest.companions)
        notes.append(f"{format_path(key) if key else field}: {item.sentence}")
        if require and item.level != "ours":
            message = f"expected what --require-restricted allows: {item.sentence}"
            refused.append(to_problem("", message, key=key or ("Launch",), config=config))
    if refused:
        raise ConfigError(refused)
    return tuple(dict.fromkeys(notes))


def _refuse_code(config: RunConfig, names: Sequence[str]) -> list[Problem]:
    launch = config.job.launch
    return [
        config.document.problem(
            ("Launch", "env", name) if name in launch.env else ("Launch", "pod_patch"),
            f"expected no variable that decides which code runs on this machine, got {name}; "
            "run the job with --on docker, where it is the container's",
        )
        for name in names
    ]


def place_faults(config: RunConfig, faults: Sequence[Fault]) -> list[Problem]:
    """Return faults of `Launch.pod_patch` as problems of the config."""
    return [config.document.problem(("Launch", "pod_patch", *path), message) for path, message in faults]


@contextmanager
def _without_plugins() -> Iterator[None]:
    """Have pydantic not look through all packages for plugins, which no model here has a use for.

    pydantic 2, pydantic/plugin/_loader.py: the variable is read whenever a model is made ready.
    """
    before = os.environ.get(_PLUGINS)
    os.environ[_PLUGINS] = "__all__"
    try:
        yield
    finally:
        os.environ.pop(_PLUGINS, None)  # another thread may have been here
        if before is not None:
            os.environ[_PLUGINS] = before


def _usable_gpus(chosen: tuple[str, ...] | None) -> tuple[str, ...]:
    here = list_gpus()
    return here if chosen is None else tuple(name for name in chosen if name in here)


def projects_templates(folder: Path, *, notes: Notes = ignore) -> tuple[Path, ...]:
    """Return a project's own templates, unless they are another user's.

    Raises:
        UsageError: The user has not said to trust them as they are.
    """
    found = project_of(folder) / TEMPLATES_FOLDER
    if not found.is_dir():
        return ()
    if not is_ours(found):
        notes(Note(f"{found} is another user's, so its templates are not used", "warning"))
        return ()
    from launcher.runs.trusted import TrustedFiles, describe, read_templates

    trusted = TrustedFiles()
    unknown = [path for path, content in read_templates(found).items() if not trusted.knows(path, content)]
    if unknown:
        raise UsageError(
            where=found,
            expected="templates that you have said to trust",
            got=f"{describe(unknown, found)} of this folder",
            fix=f"look at them, then type `ftlaunch trust {shlex.quote(str(project_of(folder)))}`",
        )
    return (found,)
