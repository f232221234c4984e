"""What stands on this machine for the mounts of a job of docker or local, and where its output lies here."""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.backends.base import Backend
from launcher.errors import Issue, UsageError
from launcher.jobs.notes import Note, Notes
from launcher.render.manifest import Manifest
from trainer.config.paths import find_lists
from trainer.config.problems import ConfigError, KeyPath, Problem
from trainer.protocol.codec import FormatError
from trainer.protocol.environment import WORKSPACE
from trainer.protocol.lastrun import JOB_MARK, point_latest
from trainer.protocol.pathmap import PathMap
from trainer.protocol.runfile import OutputTakenError, refuse_taken

if TYPE_CHECKING:  # pydantic: `--help` does without
    from launcher.config.load import RunConfig
    from launcher.jobs.prepare import Draft, Prepared
    from launcher.plan.jobplan import JobPlan, PlannedVolume, SecretFile


def find_host_folders(config: RunConfig, job: JobPlan, backend: Backend) -> Mapping[str, Path]:
    """Return what stands for each mount and secret on this machine. Makes nothing.

    Raises:
        ConfigError: The config names a folder that no container is given because of that.
        UsageError: Something is missing here; names all of it.
    """
    if refused := _find_sensitive(config, job, backend):
        raise ConfigError(refused)
    mounts = {mount.path: _folder_of(mount) for mount in job.mounts if mount.local is not None}
    secrets, problems = _find_secrets(job.secrets)
    problems += [
        Issue(
            where=mount.path,
            expected=f"the folder {str(mounts[mount.path])!r} (`local:`)",
            got="none",
            fix=f"make it{_or_go(mount)}",
        )
        for mount in job.mounts
        if mount.path in mounts and mount.read_only and not mounts[mount.path].is_dir()
    ]
    if problems:
        raise UsageError(problems=problems)
    return mounts | secrets


def find_missing_lists(config: RunConfig, folders: Mapping[str, Path]) -> list[Problem]:
    """Find list files that a training would look for on this machine, and that are not there.

    Args:
        config: Names them.
        folders: What stands for its job's mounts, by `find_host_folders`.
    """
    here = PathMap({WORKSPACE: str(Path.cwd()), **{mount: str(folder) for mount, folder in folders.items()}})
    problems = []
    for key, path in find_lists(config.document.values):
        file = Path(here.apply(path))
        if not file.is_file():
            message = (
                f"expected a list file, got none at {str(file)!r}; "
                f"`trainer make-lists {shlex.quote(str(file.parent))}` writes lists of the images there"
            )
            problems.append(config.document.problem(key, message))
    return problems


def hash_lists(values: object, folders: Mapping[str, Path], *, workdir: Path) -> dict[str, str]:
    """Return the SHA-256 of a config's lists by their paths in it: of those that lie on this machine.

    Args:
        values: Of the config.
        folders: What stands for its job's mounts; without any, nothing is known to be here.
        workdir: Where the config's relative paths lead.
    """
    from launcher.runs.origin import hash_file

    mounts = {mount: str(folder) for mount, folder in folders.items()}
    here = PathMap({WORKSPACE: str(workdir), **mounts}, counts_relative=True)
    lists: dict[str, str] = {}
    for _, path in find_lists(values) if folders else ():
        digest = hash_file(Path(here.apply(path)))
        lists |= {path: digest} if digest is not None else {}
    return lists


def make_host_folders(
    job: JobPlan, folders: Mapping[str, Path], *, manifest: Manifest, backend: Backend
) -> None:
    """Make the folders that a job's pods write to.

    Raises:
        UsageError: One cannot be made, or the pods could not write to it; names all of those.
    """
    problems = []
    for mount in job.mounts:
        if mount.path not in folders or mount.read_only:
            continue
        folder = folders[mount.path]
        try:
            if todo := backend.make_host_folder(folder, manifest=manifest):
                problems.append(Issue(where=f"{str(folder)!r} (`local:`)", message=todo))
        except OSError as error:
            raise UsageError(
                where=f"{str(folder)!r} (`local:`)", expected="a folder to write to", said=error
            ) from error
    if problems:
        raise UsageError(problems=problems)


def find_free_output(draft: Draft, job: JobPlan, backend: Backend, *, notes: Notes) -> str | None:
    """Return another output folder where a run has filled Global.output_dir already; None where it is free.

    On a cluster the folder cannot be seen from here; `sub_path: '{job}'` of its volume does the same there.

    Raises:
        ConfigError: See `find_host_folders`.
        UsageError: See there; or the folder was named by an override, so that no other one can be meant.
    """
    from trainer.config.overrides import parse_override

    output = output_here(job, find_host_folders(draft.config, job, backend))
    try:
        refuse_taken(output)
    except OutputTakenError as error:
        overrides = draft.options.overrides
        if any(parse_override(text).path == ("Global", "output_dir") for text in overrides):
            raise UsageError.of(error) from error
    except (FormatError, OSError):  # the trainer says what is wrong of it
        return None
    else:
        return None
    text = f"{output} holds another run, so this job writes to {output / job.job}; with --overwrite it takes "
    notes(Note(f"{text}the folder itself", "note"))
    return posixpath.join(draft.config.job.run.output_dir, JOB_MARK)


def output_here(job: JobPlan, folders: Mapping[str, Path]) -> Path:
    """Return the folder of this machine that a job writes to."""
    here = {mount: str(folder) for mount, folder in folders.items()}
    return Path(PathMap({WORKSPACE: str(Path.cwd()), **here}).apply(job.node_file.output_dir))


def link_latest(prepared: Prepared, folders: Mapping[str, Path], *, notes: Notes) -> None:
    """Have `latest` lead to the job's folder on this machine, where each job has its own."""
    if prepared.capabilities.is_cluster:
        return
    for volume in prepared.config.job.launch.volumes:
        if not volume.sub_path or JOB_MARK not in volume.sub_path or volume.mount not in folders:
            continue
        if problem := point_latest(folders[volume.mount], volume.sub_path):
            notes(Note(problem, "note"))
    job = prepared.job
    has_own = posixpath.basename(job.node_file.output_dir) == job.job
    if has_own and (problem := point_latest(output_here(job, folders))):
        notes(Note(problem, "note"))


def _or_go(mount: PlannedVolume) -> str:
    """Say what else helps: who stands in another folder has the data, elsewhere."""
    local = Path(mount.local or "").expanduser()
    return "" if local.is_absolute() else f", or call from the folder that holds {mount.local!r}"


def _folder_of(mount: PlannedVolume) -> Path:
    folder = (Path.cwd() / Path(mount.local or "").expanduser()).resolve()
    return folder / mount.sub_path if mount.sub_path else folder


def _find_secrets(secrets: Sequence[SecretFile]) -> tuple[dict[str, Path], list[Issue]]:
    found: dict[str, Path] = {}
    problems = []
    for secret in secrets:
        if secret.local is None:
            expected = "`local:` with a file of this machine"
            problems.append(Issue(where=secret.path, expected=expected, fix="add it to secrets"))
            continue
        file = (Path.cwd() / Path(secret.local).expanduser()).resolve()
        if not file.is_file():
            expected = f"the file {str(file)!r} (`local:`)"
            problems.append(Issue(where=secret.path, expected=expected, got="none"))
        found[secret.path] = file
    return found, problems


def _find_sensitive(config: RunConfig, job: JobPlan, backend: Backend) -> list[Problem]:
    """Find folders that a config may not hand to a container; whoever types `--volume` has said so."""
    problems = []
    volumes = len(config.job.launch.volumes)
    for index, mount in enumerate(job.mounts):
        key: KeyPath = ("Launch", "volumes", index) if index < volumes else ("Launch", "weights")
        location = config.document.locations.get(key)
        if mount.local is None or (location is not None and location.source == "--volume"):
            continue
        folder = _folder_of(mount)
        if backend.is_sensitive(folder, home=Path.home().resolve()):
            message = (
                f"expected a folder of data, got {str(folder)!r}, which holds keys or parts of the system; "
                f"where a container is to have it, type it yourself: --volume {mount.path}=:{mount.local}"
            )
            problems.append(config.document.problem((*key, "local"), message))
    return problems
