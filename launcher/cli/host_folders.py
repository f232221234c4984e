"""What stands on this machine for the mounts and secrets of a job on docker or local."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.backends.base import Backend
from launcher.cli.prepare import Prepared
from launcher.errors import Issue, UsageError
from trainer.config.problems import ConfigError, KeyPath, Problem

if TYPE_CHECKING:  # pydantic: `--help` does without
    from launcher.plan.jobplan import JobPlan, Mount, SecretFile


def host_folders(prepared: Prepared, backend: Backend, *, make: bool = True) -> Mapping[str, Path]:
    """Return what stands for each mount and secret on this machine.

    With `make`, folders to write to are made; as root for docker, for the user of the containers.

    Raises:
        ConfigError: The config names a folder that no container is given because of that.
        UsageError: Something is missing here; names all of it.
    """
    job = prepared.job
    if refused := _find_sensitive(prepared, backend):
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
    if make:
        written = [mounts[mount.path] for mount in job.mounts if mount.path in mounts and not mount.read_only]
        _make(written, prepared, backend)
    return mounts | secrets


def _or_go(mount: Mount) -> str:
    """Say the other cure: who stands in another folder has the data, elsewhere."""
    local = Path(mount.local or "").expanduser()
    return "" if local.is_absolute() else f", or call from the folder that holds {mount.local!r}"


def _folder_of(mount: Mount) -> Path:
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


def _make(folders: Sequence[Path], prepared: Prepared, backend: Backend) -> None:
    problems = []
    for folder in folders:
        try:
            if todo := backend.make_host_folder(folder, manifest=prepared.manifest):
                problems.append(Issue(where=f"{str(folder)!r} (`local:`)", message=todo))
        except OSError as error:
            raise UsageError(
                where=f"{str(folder)!r} (`local:`)", expected="a folder to write to", said=error
            ) from error
    if problems:
        raise UsageError(problems=problems)


def _find_sensitive(prepared: Prepared, backend: Backend) -> list[Problem]:
    """Find folders that a config may not hand to a container; whoever types `--volume` has said so."""
    config, problems = prepared.config, []
    job: JobPlan = prepared.job
    volumes = len(config.job.launch.volumes)
    for index, mount in enumerate(job.mounts):
        key: KeyPath = ("Launch", "volumes", index) if index < volumes else ("Launch", "weights")
        place = config.document.locations.get(key)
        if mount.local is None or (place is not None and place.source == "--volume"):
            continue
        folder = _folder_of(mount)
        if backend.is_sensitive(folder, home=Path.home().resolve()):
            message = (
                f"expected a folder of data, got {str(folder)!r}, which holds keys or parts of the system; "
                f"where a container is to have it, type it yourself: --volume {mount.path}=:{mount.local}"
            )
            problems.append(config.document.problem((*key, "local"), message))
    return problems
