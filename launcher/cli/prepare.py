"""From a file to a manifest: the way that `render` and `submit` share."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.backends.devices import list_gpus
from launcher.cli.options import Asked
from launcher.cli.printing import echo
from launcher.errors import UsageError
from launcher.names import is_run_id, new_run_id, new_secret
from launcher.plan.capabilities import CAPABILITIES
from launcher.plan.handle import BackendKind, JobApi
from launcher.render.manifest import Manifest
from launcher.runs.paths import TEMPLATES_FOLDER, cache_dir, is_ours, project_of

_PLUGINS = "PYDANTIC_DISABLE_PLUGINS"

if TYPE_CHECKING:  # pydantic: `--help` does without
    from launcher.config.layers import Layers
    from launcher.config.load import RunConfig
    from launcher.plan.jobplan import JobPlan
    from launcher.render.crds import Fault
    from trainer.config.problems import Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepared:
    """A job that is ready to be sent or printed.

    Attributes:
        templates: The user's, taken instead of ours.
        on: Where it is to run, and what says so.
        weakened: What protects the pods less than usual, each at its key, for standard error.
    """

    config: RunConfig
    job: JobPlan
    manifest: Manifest
    templates: tuple[Path, ...]
    on: tuple[BackendKind, str]
    weakened: tuple[str, ...] = ()

    @property
    def is_on_cluster(self) -> bool:
        """Whether it is to run on a cluster, and not on this machine."""
        return CAPABILITIES[self.on[0]].is_cluster


def prepare(asked: Asked, *, api: JobApi | None = None, output_dir: str | None = None) -> Prepared:
    """Load, plan and render, without any side effect.

    Args:
        asked: What was asked for.
        api: Kind of job that the cluster serves; None where none was asked.
        output_dir: Where the job writes instead of Global.output_dir; `{job}` is its name.

    Raises:
        ConfigError: The config is refused.
        LaunchError: What is asked for cannot be.
    """
    with _without_plugins():
        return _prepare(asked, api=api, output_dir=output_dir)


def _prepare(asked: Asked, *, api: JobApi | None, output_dir: str | None) -> Prepared:
    from launcher.config.layers import DEFAULT_BACKEND
    from launcher.config.load import load_run_config
    from launcher.plan.plan import plan
    from launcher.render.render import users_templates

    if asked.run_id is not None and not is_run_id(asked.run_id):
        raise UsageError(where="--run-id", expected="32 hexadecimal digits", got=f"{asked.run_id!r}")
    if asked.continues is not None and asked.overwrite:
        raise UsageError(
            where="--continue", expected="no --overwrite beside it, which throws away what it goes on from"
        )
    ancestor = None
    if asked.continues is not None:
        from launcher.cli.ancestor import find_ancestor

        ancestor = find_ancestor(asked.continues)
    layers = current_layers()
    on, said_by = (asked.on, "--on") if asked.on else layers.on or (DEFAULT_BACKEND, "default")
    gpu_ids = asked.flags.gpu_ids
    if gpu_ids is not None and CAPABILITIES[on].is_cluster:
        raise UsageError(
            where="--gpus", expected="a number on kubernetes, which chooses the GPUs", got=",".join(gpu_ids)
        )
    config = load_run_config(
        asked.path, overrides=asked.overrides, flags=asked.flags, strict=asked.strict, layers=layers
    )
    if not CAPABILITIES[on].has_containers:
        _require_networks(config)
    job = plan(
        config,
        run_id=asked.run_id or new_run_id(),
        secret=None if asked.without_secret else new_secret(),
        on=on,
        exact_name=asked.name,
        gpus_here=None if CAPABILITIES[on].is_cluster else len(_usable_gpus(gpu_ids)),
        gpu_ids=gpu_ids,
        overwrite=asked.overwrite,
        continues=ancestor.continued if ancestor else None,
        api=api,
        version=metadata.version("ftlaunch"),
        output_dir=ancestor.output_below(config.job.run.output_dir) if ancestor else output_dir,
    )
    if ancestor is not None:
        ancestor.require_same_output(job.node_file.output_dir)
    if job.gpus_missing and asked.require_gpu:
        raise UsageError(
            where="--require-gpu",
            expected=f"{job.gpus_missing * job.nodes} GPUs on this machine",
            got="fewer",
            fix="ask for fewer with --gpus, or leave --require-gpu out to run as CPU ranks",
        )
    template_dirs = (*asked.template_dirs, *projects_templates(Path.cwd()))
    manifest = _render(config, job, template_dirs)
    return Prepared(
        config=config,
        job=job,
        manifest=manifest,
        weakened=_look_at_protection(config, manifest, on=on, require=asked.require_restricted),
        templates=tuple(users_templates(template_dirs)),
        on=(on, said_by),
    )


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


def _look_at_protection(
    config: RunConfig, manifest: Manifest, *, on: BackendKind, require: bool
) -> tuple[str, ...]:
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

    if not CAPABILITIES[on].has_containers:
        if require:
            raise UsageError(
                where="--require-restricted",
                expected="kubernetes or docker",
                got="local, which has no containers",
            )
        names = [item["name"] for item in manifest.pod_spec["containers"][0].get("env") or ()]
        loading = find_code_variables(name for name in names if name not in ("HOME", "TMPDIR"))
        if loading:
            raise ConfigError(_refuse_code(config, loading))
        return ()
    template = ".".join(manifest.kind.pods_path)
    notes, refused = [], []
    for item in find_weakenings(manifest.pod_template, trainer=manifest.kind.container):
        field = format_fields(item.path)
        key = find_key(f"{template}.{field}", manifest.job, config)
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
        os.environ.pop(_PLUGINS)
        if before is not None:
            os.environ[_PLUGINS] = before


def _usable_gpus(chosen: tuple[str, ...] | None) -> tuple[str, ...]:
    here = list_gpus()
    return here if chosen is None else tuple(name for name in chosen if name in here)


def current_layers() -> Layers:
    """Read what the environment and the settings files around the current folder say.

    Raises:
        ConfigError: One of them is refused.
    """
    from launcher.config.layers import read_layers
    from launcher.runs.settings import find_settings, user_file
    from launcher.runs.trusted import TrustedFiles

    files, trusted = find_settings(Path.cwd()), TrustedFiles()
    return read_layers(
        environ=os.environ, files=files.read, ignored=files.ignored,
        trusts=lambda path, content: path == user_file() or trusted.knows(path, content),
    )  # fmt: skip


def projects_templates(folder: Path) -> tuple[Path, ...]:
    """Return a project's own templates, unless they are another user's.

    Raises:
        UsageError: The user has not said to trust them as they are.
    """
    found = project_of(folder) / TEMPLATES_FOLDER
    if not found.is_dir():
        return ()
    if not is_ours(found):
        echo(f"warning: {found} is another user's, so its templates are not used", err=True)
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


def narrate(prepared: Prepared) -> None:
    """Say on stderr what a person should know before the job runs."""
    config, job = prepared.config, prepared.job
    for warning in config.warnings:
        echo(str(warning), err=True)
    for note in job.notes:
        echo(f"note: {note}", err=True)
    for note in prepared.weakened:
        echo(f"note: {note}", err=True)
    own = ", ".join(str(path) for path in prepared.templates)
    own = ", ".join(filter(None, (own, "Launch.pod_patch" if job.pod_patch else "")))
    if own:
        echo(
            f"note: {own}: the job is held against the schema of its API only; that no value changes its "
            "structure is promised for ftlaunch's own templates",
            err=True,
        )
    echo(f"{job.job}: {job.describe()}", err=True)
