"""A data report made where the images are: in a pod beside a claim, in a container, or here.

The images stay where they are; what comes is the page, the numbers and the cleaned lists. What was found of
each file is kept on this machine, and brought along the next time: a report that was interrupted goes on
where it was, and the next one reads only what is new.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from launcher.errors import CliExit, LaunchError, UsageError
from launcher.jobs.data import ClaimTarget, open_claim
from launcher.jobs.notes import Note, Notes, ignore
from launcher.jobs.settings import current_layers
from launcher.plan.capabilities import CAPABILITIES
from launcher.plan.handle import BackendKind
from launcher.runs.paths import cache_dir
from launcher.volumes import agent, transfer
from launcher.volumes.place import SCRATCH, Channel, Folder, Place, Scratch, VolumeError
from launcher.volumes.transfer import File
from trainer.protocol.codec import FormatError
from trainer.protocol.environment import PATH_MAP
from trainer.protocol.python_command import python_command
from trainer.protocol.safe_files import read_file
from trainer.protocol.untrusted import parse_object

if TYPE_CHECKING:  # pydantic: `--help` does without
    from launcher.config.load import RunConfig

FailOn = Literal["problems", "anything", "never"]
Counting = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""From what is done, and how many parts that has, to what is told how many are done."""

_PAGE, _DOCUMENT = "report.html", "report.json"
_FILE = re.compile(r"[^/\\\0]{1,200}\.clean\.txt")
_MAX_DOCUMENT = 64 << 20
_CACHE, _COPY = "cache/ftlaunch/images/images.sqlite3", "known.sqlite3"
_NO_TRAINER = 97
# Runs beside the volume. -I: what lies in the folder of images is imported by nobody.
_START = f"""\
import importlib.util, json, os, runpy, sys
request = json.loads(sys.argv.pop(1))
if importlib.util.find_spec("trainer") is None:
    sys.stderr.write("expected an image with the trainer, got one without")
    sys.exit({_NO_TRAINER})
os.chdir(request["folder"])
scratch = request["scratch"]
os.environ.update(request["environ"], HOME=scratch, TMPDIR=scratch, XDG_CACHE_HOME=scratch + "/cache")
kept = scratch + "/{PurePosixPath(_CACHE).parent}"
os.makedirs(kept, exist_ok=True)
os.chmod(kept, 0o700)
sys.argv[0] = "trainer"
runpy.run_module("trainer", run_name="__main__", alter_sys=True)
"""
# The program beside it may have been stopped in the middle of a write: SQLite copies what is whole.
_SAVE = f"""\
import os, sqlite3, sys
os.chdir(sys.argv[1])
with sqlite3.connect("file:{_CACHE}?mode=ro", uri=True) as old, sqlite3.connect("{_COPY}") as new:
    old.backup(new)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class DataQuestion:
    """Of what a report is, and how.

    Attributes:
        targets: `CLAIM[:FOLDER]`; or a folder or list files of this machine. Empty where a config names them.
        on: Where it is made; None for here where the targets are here, else beside the claim.
        claim: How a claim is reached; its name is not read.
        scratch: What the program beside a claim may take.
        lists: Names of the lists in the folder; empty for those that `trainer make-lists` writes.
        config: Names the lists instead, or says how they are read.
        fail_on: What makes the exit code 7.
        runtime: Container engine; None for the first of docker and podman.
    """

    targets: tuple[str, ...]
    on: BackendKind | None = None
    claim: ClaimTarget = field(default_factory=lambda: ClaimTarget(name=""))
    scratch: Scratch = field(default_factory=lambda: Scratch(cpu="2", memory="2Gi"))
    lists: tuple[str, ...] = ()
    config: Path | None = None
    fail_on: FailOn = "problems"
    runtime: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class DataReport:
    """A report that is here now.

    Attributes:
        folder: Where its files are.
        page: For people.
        document: What report.json says (docs/data-report.md).
        cleaned: Lists without what should be left out.
        failed: Something of what was asked to fail on was found.
    """

    folder: Path
    page: Path
    document: Mapping[str, object]
    cleaned: tuple[Path, ...]
    failed: bool


def _untold(count: int) -> None:
    del count


@contextmanager
def _uncounted(doing: str, total: int) -> Iterator[Callable[[int], None]]:
    del doing, total
    yield _untold


def report_data(
    question: DataQuestion, *, to: Path, notes: Notes = ignore, counting: Counting = _uncounted
) -> DataReport:
    """Have every image of a data set read where it is, and fetch what was found.

    Args:
        question: Of what, and where.
        to: Folder for the files, made where it is missing.
        notes: Told where it runs and what cannot be kept.
        counting: Told of every image.

    Raises:
        UsageError: What is asked for cannot be.
        VolumeError: The report cannot be made or fetched; with the trainer's own words.
    """
    on = question.on or _choose(question)
    if CAPABILITIES[on].is_cluster:
        return _beside_claim(question, to, notes, counting)
    arguments = ["--fail-on", question.fail_on, "--output", "jsonl"]
    if CAPABILITIES[on].has_containers:
        return _in_container(question, to, arguments, notes, counting)
    if importlib.util.find_spec("cv2") is None:
        raise UsageError(
            where="data report", expected="OpenCV and the trainer in this environment", got="none",
            fix="make it in a container with --on docker, or install `ftlaunch[trainer]`",
        )  # fmt: skip
    where = list(question.targets)
    if question.lists:
        where = [str(Path(where[0] if where else ".", name)) for name in question.lists]
    if question.config is not None:
        where += ["-c", str(question.config)]
    argv = python_command("trainer", ["data-report", *where, "-O", str(to), *arguments])
    with Folder(Path.cwd()).start(argv) as channel:
        files, failed = _follow(channel, "", counting, notes)
    return _collect(to, files, failed=failed)


def _choose(question: DataQuestion) -> BackendKind:
    """Say where a report is made: here, unless its one target is a claim's name."""
    targets = question.targets
    if not targets and question.config is None:
        raise UsageError(
            where="data report",
            expected="CLAIM[:FOLDER], a folder or list files, or -c FILE",
            got="none of them",
        )
    if len(targets) == 1 and not Path(targets[0]).exists() and "/" not in targets[0].partition(":")[0]:
        return "kubernetes"
    missing = [target for target in targets if not Path(target).exists()]
    if missing:
        raise UsageError(
            where=missing[0], expected="a folder or a list file of this machine, or one claim", got="none"
        )
    return "local"


def _follow(channel: Channel, title: str, counting: Counting, notes: Notes) -> tuple[tuple[str, ...], bool]:
    """Tell of the trainer's progress until its end; return the names of its files, and whether it failed.

    Raises:
        VolumeError: It ended without a report.
    """
    where = title or None
    written: Mapping[str, object] | None = None
    with contextlib.ExitStack() as shown:
        tell: Callable[[int], None] = _untold
        doing, seen = "", 0
        for line in channel.stdout:
            try:
                said = parse_object(line, where=title)
            except FormatError:  # a sentence of a library
                notes(Note(line.decode("utf-8", "replace").rstrip(), "note"))
                continue
            if said.get("event") == "written":
                written = said
            elif said.get("event") == "progress":
                label, done, total = str(said.get("doing")), _count(said, "done"), _count(said, "total")
                if label != doing:
                    shown.close()
                    tell, doing, seen = shown.enter_context(counting(label, total)), label, 0
                tell(max(0, done - seen))
                seen = max(seen, done)
    code, said_last = channel.finish()
    words = said_last.strip()
    if written is None or code not in (0, CliExit.DIFFERS):
        if code == _NO_TRAINER:
            raise VolumeError(words, where=where, fix="name the trainer's image with --image")
        said_why = words.removeprefix("trainer: ").splitlines()
        raise VolumeError("\n".join(said_why) or f"the report ended with exit code {code}", where=where)
    for line_of in words.splitlines():
        notes(Note(line_of))
    names = written.get("files")
    listed = [str(name) for name in names] if isinstance(names, list) else []
    files = tuple(name for name in listed if name in (_PAGE, _DOCUMENT) or _FILE.fullmatch(name))
    return files, code == CliExit.DIFFERS


def _count(said: Mapping[str, object], key: str) -> int:
    found = said.get(key)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 10**12 else 0


def _collect(to: Path, files: Sequence[str], *, failed: bool) -> DataReport:
    try:
        content = read_file(to / _DOCUMENT, max_bytes=_MAX_DOCUMENT)
        document = parse_object(content, where=_DOCUMENT, max_bytes=_MAX_DOCUMENT)
    except (OSError, FormatError) as error:
        raise VolumeError(str(error), where=to) from error
    cleaned = tuple(to / name for name in files if name not in (_PAGE, _DOCUMENT))
    return DataReport(folder=to, page=to / _PAGE, document=document, cleaned=cleaned, failed=failed)


# In a container


def _in_container(
    question: DataQuestion, to: Path, arguments: Sequence[str], notes: Notes, counting: Counting
) -> DataReport:
    from launcher.backends.docker.engine import EngineError, find_engine

    folder = Path(question.targets[0]) if len(question.targets) == 1 else Path()
    if not question.targets or not folder.is_dir() or question.config is not None:
        raise UsageError(
            where="--on docker", expected="one folder with lists in it, and no -c", fix="or leave --on out"
        )
    engine = find_engine(question.runtime)
    kept = _kept("docker", str(folder.resolve()))
    (kept / "cache").mkdir(parents=True, exist_ok=True)
    to.mkdir(parents=True, exist_ok=True)
    name = f"ftlaunch-data-report-{secrets.token_hex(4)}"
    who = ["--user", f"{os.getuid()}:{os.getgid()}"] if hasattr(os, "getuid") else []
    mounts = {folder: "/volume:ro", to: f"{SCRATCH}/report", kept / "cache": f"{SCRATCH}/cache"}
    argv = [
        engine.program, "run", "--rm", "--name", name, *who, "--network", "none", "--read-only",
        *(["--userns", "keep-id"] if engine.is_podman and os.getuid() else []),
        "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--tmpfs", "/tmp",  # noqa: S108 - in it
        *(part for source, target in mounts.items() for part in ("-v", f"{source.resolve()}:{target}")),
        "--entrypoint", "python3", _image(question),
        "-I", "-c", _START, _ask("/volume"), "data-report", *_targets(question),
        "-O", f"{SCRATCH}/report", *arguments,
    ]  # fmt: skip
    notes(Note(f"in a container of {_image(question)}"))
    try:
        with Folder(Path.cwd()).start(argv) as channel:
            files, failed = _follow(channel, str(folder), counting, notes)
    finally:
        with contextlib.suppress(EngineError, LaunchError):  # mostly it has ended, and is gone
            engine.run("kill", name)
    return _collect(to, files, failed=failed)


def _targets(question: DataQuestion) -> tuple[str, ...]:
    return question.lists or (".",)


def _image(question: DataQuestion) -> str:
    said = question.claim.image or current_layers().text_of("image")
    return said or f"ftlaunch-trainer:{metadata.version('ftlaunch')}-cpu"


# Beside a claim


def _beside_claim(question: DataQuestion, to: Path, notes: Notes, counting: Counting) -> DataReport:
    config = None
    if question.config is not None:
        from launcher.config.load import load_run_config

        config = load_run_config(question.config, layers=current_layers())
    named = question.targets or ((_claim_of(config),) if config is not None else ())
    if len(named) != 1:
        raise UsageError(where="data report", expected="one CLAIM[:FOLDER]", got=f"{len(named)}")
    name = named[0]
    target = ClaimTarget(
        name=name, namespace=question.claim.namespace, context=question.claim.context,
        image=question.claim.image, user=question.claim.user, group=question.claim.group,
    )  # fmt: skip
    with open_claim(target, read_only=True, scratch=question.scratch) as place:
        scratch = place.at(place.scratch, title=f"the pod beside {name}")
        kept = _kept(target.context or "", target.namespace or "", place.title)
        _bring_known(scratch, kept, notes)
        where, environ = _targets(question), {}
        if config is not None:
            where = _bring_config(config, scratch)
            environ = {PATH_MAP: json.dumps(_mounts(config, name, place.root))}
        argv = (
            place.python, "-I", "-c", _START, _ask(place.root, place.scratch, environ), "data-report", *where,
            "-O", f"{place.scratch}/report", "--fail-on", question.fail_on, "--output", "jsonl",
        )  # fmt: skip
        try:
            with place.start(argv) as channel:
                files, failed = _follow(channel, name, counting, notes)
        finally:
            _keep_known(scratch, kept, notes)
        _fetch(scratch, files, to)
    return _collect(to, files, failed=failed)


def _kept(*parts: str) -> Path:
    """Return the folder of this machine where what was found of a volume's images is kept."""
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
    return cache_dir() / "data-reports" / digest[:32]


def _bring_known(scratch: Place, kept: Path, notes: Notes) -> None:
    if not (kept / _CACHE).is_file():
        return
    file = File(path=_CACHE, size=(kept / _CACHE).stat().st_size, sha256=agent.hash_file(kept / _CACHE))
    try:
        transfer.push(scratch, kept, [file])
    except LaunchError as error:
        notes(Note(f"every image is read anew: {error}", "note"))


def _keep_known(scratch: Place, kept: Path, notes: Notes) -> None:
    """Fetch what was found of each file, also where the report was interrupted."""
    try:
        with scratch.start((scratch.python, "-I", "-c", _SAVE, scratch.root)) as channel:
            code, _ = channel.finish()
        if code:
            return
        found = list(scratch.lines("stat", {"files": [_COPY], "hashes": True}))
        files = [
            File(path=_COPY, size=line["size"], sha256=line["sha256"]) for line in found if "size" in line
        ]
        with_copy = kept / "new"
        transfer.pull(scratch, files, within="", to=with_copy)
        (kept / _CACHE).parent.mkdir(parents=True, exist_ok=True)
        (with_copy / _COPY).replace(kept / _CACHE)
        shutil.rmtree(with_copy, ignore_errors=True)
    except (LaunchError, OSError) as error:
        notes(Note(f"what was found is not kept: {error}; the next report reads every image again", "note"))


def _ask(folder: str, scratch: str = SCRATCH, environ: Mapping[str, str] | None = None) -> str:
    """Return what `_START` is to do: where to go, where to write, what the environment is to have."""
    return json.dumps({"folder": folder, "scratch": scratch, "environ": dict(environ or {})})


def _claim_of(config: RunConfig) -> str:
    """Return the claim that a config's training list lies on.

    Raises:
        UsageError: It lies on none.
    """
    from trainer.config.data import listed_by

    path, _ = listed_by(config.job.data.Train.dataset)
    there = [
        volume
        for volume in config.job.launch.volumes
        if volume.claim and PurePosixPath(path).is_relative_to(volume.mount)
    ]
    if not there:
        raise UsageError(
            where=path, expected="a volume of Launch with a claim above it", got="none", fix="name the claim"
        )
    return str(max(there, key=lambda volume: len(volume.mount)).claim)


def _mounts(config: RunConfig, name: str, root: str) -> dict[str, str]:
    """Return where the config's mounts of a claim are in the pod beside it; `root` is the folder named."""
    claim, _, folder = name.partition(":")
    top = root.removesuffix("/".join(["", *(part for part in folder.split("/") if part not in ("", "."))]))
    return {
        volume.mount: f"{top}/{volume.sub_path}" if volume.sub_path else top
        for volume in config.job.launch.volumes
        if volume.claim == claim
    }


def _bring_config(config: RunConfig, scratch: Place) -> tuple[str, ...]:
    """Bring the config into the pod; return the arguments that name it."""
    with tempfile.TemporaryDirectory(prefix="ftlaunch-config-") as folder:
        Path(folder, "cfg.yaml").write_bytes(config.content)
        transfer.push(scratch, Path(folder), transfer.describe(Path(folder)))
    return "-c", f"{scratch.root}/cfg.yaml"


def _fetch(scratch: Place, files: Sequence[str], to: Path) -> None:
    within = [f"report/{name}" for name in files]
    found = scratch.lines("stat", {"files": within, "hashes": True})
    there = [
        File(path=line["path"].removeprefix("report/"), size=line["size"], sha256=line["sha256"])
        for line in found
        if "size" in line and line["path"] in within
    ]
    if len(there) < len(files):
        raise VolumeError(where=scratch.title, expected=", ".join(files), got="fewer files")
    transfer.pull(scratch, there, within="report", to=to)
