"""`Launch.code`: the user's own Python, from a file or folder of this machine to an archive for the pods.

Which files: all of a folder but what is never code (version control, caches, environments), what looks like
a key, and what `.ftlaunchignore` says, or where there is none the folder's `.gitignore`. Nothing else is left
out in silence: links, special files and files of data are refused by name. A config decides only about
files of the project that `submit` is called from; whoever types `--code` has said which folder it is.
"""

from __future__ import annotations

import base64
import os
import stat
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from launcher.plan.jobplan import JobPlan, PlannedCode
from launcher.runs.paths import project_of
from launcher.volumes import transfer
from launcher.volumes.place import Folder
from trainer.config.problems import ConfigError
from trainer.protocol.code_archive import MAX_BYTES, MAX_FILES, CodeArchive, pack
from trainer.protocol.environment import CODE_FILE, CODE_FOLDER, CONFIG_MOUNT

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import pathspec

    from launcher.backends.base import Backend
    from launcher.config.load import RunConfig
    from launcher.volumes.place import Place

_KEY = ("Launch", "code")
_IGNORE_FILES = (".ftlaunchignore", ".gitignore")
_NEVER = (
    ".git", ".hg/", ".svn/", "__pycache__/", "*.py[cod]", ".venv/", "venv/", "node_modules/", "*.egg-info/",
    ".mypy_cache/", ".pytest_cache/", ".ruff_cache/", ".ipynb_checkpoints/", ".ftlaunch/", ".DS_Store",
    *_IGNORE_FILES,
)  # fmt: skip
_KEYS = (
    ".env", ".env.*", ".netrc", ".pypirc", "*.pem", "*.key", "id_rsa*", "id_ed25519*", "id_ecdsa*", ".ssh/",
    ".aws/", ".azure/", ".docker/", ".gnupg/", ".kube/", "kubeconfig*",
)  # fmt: skip
_FILE_BYTES = 8 << 20
_CONFIG_MAP_BYTES = 900 * 1024  # of config and code; a ConfigMap holds 1 MiB, node.json and metadata included
_TAKEN = frozenset({"trainer", "launcher", "ftlaunch", "paddle", "paddleclas", "numpy", "cv2", "PIL"})
_SHOWN = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """What was found of `Launch.code`.

    Attributes:
        archive: For the pods.
        planned: What a manifest says of it.
        notes: What is sent and what is left out, a sentence each.
    """

    archive: CodeArchive
    planned: PlannedCode
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Found:
    """Files by their names in the archive, and what stays here."""

    files: dict[str, Path] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    ignore_file: str = ""


def collect_code(config: RunConfig) -> Code | None:
    """Read and pack what `Launch.code` names; None where it names nothing. Changes nothing.

    Raises:
        ConfigError: It cannot be sent; holds every problem found.
    """
    launch = config.job.launch
    if launch.code is None:
        return None
    problems: list[str] = []
    source = (Path.cwd() / Path(launch.code).expanduser()).resolve()
    location = config.document.locations.get(_KEY)
    is_typed = location is not None and (location.source or "").startswith("-")
    project = project_of(Path.cwd())
    found = _Found()
    if not is_typed and (not source.is_relative_to(project) or source == Path.home().resolve()):
        problems.append(
            f"expected a file or folder of this project, {project}, got {str(source)!r}; where its files are "
            f"to be sent, type it yourself: --code {launch.code}"
        )
    elif not source.exists():
        problems.append(f"expected a file or folder, got {str(source)!r}, which is not there")
    else:
        found = _find_files(source, problems)
    if not problems:
        try:
            archive = pack(found.files)
            planned = _plan(config, archive, problems)
        except OSError as error:
            problems.append(f"expected files that can be read, got an error: {error}")
    if problems:
        if len(problems) > _SHOWN:
            problems[_SHOWN:] = [f"expected code, got {len(problems) - _SHOWN} more files like these"]
        raise ConfigError([config.document.problem(_KEY, text) for text in problems])
    return Code(archive=archive, planned=planned, notes=tuple(_notes(config, found, archive)))


def _find_files(source: Path, problems: list[str]) -> _Found:
    """Find what is sent. A package, with `__init__.py`, keeps its name; other folders only hold files."""
    found = _Found()
    if not source.is_dir():
        _take(source, source.name, found, problems)
    else:
        import pathspec  # most submits do without

        base = source.parent if (source / "__init__.py").is_file() else source
        name = next((name for name in _IGNORE_FILES if (source / name).is_file()), "")
        rules: list[str] = []
        if name:
            found.ignore_file = name
            rules = (source / name).read_text(encoding="utf-8", errors="replace").splitlines()
        never, keys, own = (pathspec.GitIgnoreSpec.from_lines(lines) for lines in (_NEVER, _KEYS, rules))
        for path in _walk(source, (never, keys, own), found):
            _take(path, path.relative_to(base).as_posix(), found, problems)
    size = sum(path.stat().st_size for path in found.files.values())
    if len(found.files) > MAX_FILES or size > MAX_BYTES:
        problems.append(
            f"expected code, at most {MAX_FILES:,} files of {MAX_BYTES >> 20} MiB together, got "
            f"{len(found.files):,} of {size / (1 << 20):.0f} MiB; name what is not code in .ftlaunchignore"
        )
    elif not problems and not any(name.endswith(".py") for name in found.files):
        problems.append(f"expected Python, got no file that ends in .py: {source}")
    return found


def _walk(
    source: Path, rules: tuple[pathspec.GitIgnoreSpec, pathspec.GitIgnoreSpec, pathspec.GitIgnoreSpec],
    found: _Found,
) -> Iterator[Path]:  # fmt: skip
    never, keys, own = rules
    for folder, folders, names in os.walk(source):
        here = Path(folder).relative_to(source)
        kept = []
        for name in sorted([*folders, *names]):
            is_folder = name in folders
            path = (here / name).as_posix() + ("/" if is_folder else "")
            if never.match_file(path):
                continue
            if keys.match_file(path):
                found.keys.append(path)
            elif own.match_file(path):
                found.left_out.append(path)
            elif is_folder and not (Path(folder) / name).is_symlink():
                kept.append(name)
            else:
                yield Path(folder) / name
        folders[:] = kept


def _take(path: Path, name: str, found: _Found, problems: list[str]) -> None:
    about = path.lstat()
    if not stat.S_ISREG(about.st_mode):
        what = "a symbolic link" if stat.S_ISLNK(about.st_mode) else "something else"
        problems.append(f"expected files and folders, got {what}: {name}; name it in .ftlaunchignore")
    elif about.st_size > _FILE_BYTES:
        problems.append(
            f"expected code, files of at most {_FILE_BYTES >> 20} MiB, got {about.st_size / (1 << 20):.0f} "
            f"MiB: {name}; bring data by a volume, and name it in .ftlaunchignore"
        )
    elif not name.isprintable() or "\\" in name:
        problems.append(f"expected names that every system has, got {name!r}; rename it")
    else:
        found.files[name] = path


def _plan(config: RunConfig, archive: CodeArchive, problems: list[str]) -> PlannedCode:
    """Decide how the archive travels: with the config where a ConfigMap holds both, else by a volume."""
    launch = config.job.launch
    room = _CONFIG_MAP_BYTES - len(config.content)
    path, text = f"{CONFIG_MOUNT}/{CODE_FILE}", base64.b64encode(archive.data).decode("ascii")
    if len(archive.data) > room:
        text = ""
        path = f"{launch.code_volume}/{CODE_FOLDER}/{archive.sha256}.tar.gz"
        if launch.code_volume is None:
            problems.append(
                f"expected at most {max(0, room):,} bytes of compressed code beside the config, got "
                f"{len(archive.data):,}; name files that are not needed in .ftlaunchignore, or the mount of "
                "a volume in Launch.code_volume, to which it is then uploaded"
            )
    return PlannedCode(
        sha256=archive.sha256, path=path, archive=text, mount=None if text else launch.code_volume
    )


def _notes(config: RunConfig, found: _Found, archive: CodeArchive) -> Iterator[str]:
    launch = config.job.launch
    files = "1 file" if archive.files == 1 else f"{archive.files:,} files"
    yield f"code: {files}, {archive.size_bytes:,} bytes, SHA-256 {archive.sha256[:12]}"
    if found.left_out:
        yield f"code: left out by {found.ignore_file}: {_some(found.left_out)}"
    if found.keys:
        yield f"code: left out, because keys are called so: {_some(found.keys)}"
    tops = {name.partition("/")[0].removesuffix(".py") for name in found.files}
    hidden = sorted(tops & (_TAKEN | sys.stdlib_module_names))
    if hidden:
        yield f"code: never imported, because Python or the image has modules of these names: {_some(hidden)}"
    if not launch.extra_modules:
        yield "code: nothing imports it: name its modules in Launch.extra_modules, such as [my_parts]"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def bring_code(code: Code, plan: JobPlan, backend: Backend, *, folders: Mapping[str, Path]) -> None:
    """Bring an archive that no ConfigMap holds to its volume, where it is not there yet.

    Its name is its content's hash, so that it serves every job that has the same code, and stays. It is
    brought before the job is made: a job without its code would only fail.

    Args:
        code: What is brought.
        plan: Says which volume.
        backend: Reaches claims.
        folders: Mount -> folder of this machine, for jobs that run here.

    Raises:
        LaunchError: It cannot be brought.
    """
    mount = next(item for item in plan.mounts if item.path == code.planned.mount)
    with tempfile.TemporaryDirectory(prefix="ftlaunch-code-") as scratch:
        file = Path(scratch, CODE_FOLDER, f"{code.archive.sha256}.tar.gz")
        file.parent.mkdir()
        file.write_bytes(code.archive.data)
        opened: AbstractContextManager[Place]
        if mount.path in folders:
            opened = nullcontext(Folder(folders[mount.path]))
        else:
            run_as = {"user": plan.run_as.user, "group": plan.run_as.group, "fs_group": plan.run_as.fs_group}
            opened = backend.open_claim(
                mount.claim or "", mount.sub_path or "", image=plan.image, run_as=run_as, read_only=False
            )
        with opened as place:
            transfer.push(place, Path(scratch), transfer.describe(Path(scratch)))
