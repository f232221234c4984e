"""What a kept job has on disk: where things lie, what was asked for, and how the job stands.

`state.json` has one writer, the keeper; everybody else reads it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TypeVar

from launcher.backends.states import JobState, PodState
from launcher.backends.supervised.identity import ProcessId
from launcher.plan.handle import BackendKind
from trainer.protocol.codec import (
    LAST_TIME_S,
    MAX_COUNT,
    FormatError,
    decode_object,
    need,
    need_object,
    need_objects,
    need_or_none,
    need_texts,
)
from trainer.protocol.safe_files import replace_file

SCHEMA = 1
_MAX_STARTS = 10**6  # of a pod: whoever looks for a log counts down from it
_MAX_PID = 2**31 - 1
S = TypeVar("S", JobState, PodState)


@dataclass(frozen=True, slots=True)
class JobLayout:
    """Paths of one job; all but the manifest lie in the backend's own folder of the run folder."""

    run_folder: Path
    kind: BackendKind

    @property
    def manifest(self) -> Path:
        """What is to run; the submitter puts it there."""
        return self.run_folder / "manifest.yaml"

    @property
    def folder(self) -> Path:
        """All that this backend makes."""
        return self.run_folder / self.kind

    @property
    def request(self) -> Path:
        """What the keeper is told beside the manifest."""
        return self.folder / "request.json"

    @property
    def state(self) -> Path:
        """How the job stands."""
        return self.folder / "state.json"

    @property
    def keeper_lock(self) -> Path:
        """Held by the keeper while it lives, so that there is never a second one."""
        return self.folder / "keeper.lock"

    @property
    def keeper_log(self) -> Path:
        """What the keeper itself has to say; empty unless something is wrong."""
        return self.folder / "keeper.log"

    def pod(self, name: str) -> Path:
        """Folder of a pod."""
        return self.folder / "pods" / name

    def log(self, name: str, incarnation: int) -> Path:
        """Log of one start of a pod, in the kubelet's form."""
        return self.pod(name) / f"{incarnation}.log"

    def termination(self, name: str) -> Path:
        """Last words of a pod's present incarnation."""
        return self.pod(name) / "termination"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a submitter asks of the keeper.

    Attributes:
        host_folders: Mount path in the pod -> absolute folder or file of this machine.
        workdir: Stands for the pods' working directory.
        devices: GPUs that the job may use, as `CUDA_VISIBLE_DEVICES` names them.
        engine: Docker: `program` and the variables that say where it is.
        user: Docker: `uid:gid` of the containers.
        generation: Which keeper in a row is asked for, from 0: a resumed job gets another one.
    """

    run_id: str
    host_folders: Mapping[str, str]
    workdir: str
    devices: tuple[str, ...] = ()
    engine: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    generation: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class PodRecord:
    """A pod.

    Attributes:
        uid: Of the present incarnation, empty before the first.
        incarnation: Its number, from 0; also how often the pod was made again.
        process: What runs in it, or None.
        exit_code: Of the last end, 128 + n for signal n; None while it runs.
    """

    name: str
    node: int
    uid: str = ""
    state: PodState = PodState.PENDING
    incarnation: int = 0
    process: ProcessId | None = None
    exit_code: int | None = None
    reason: str = ""
    started_s: float | None = None
    ended_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRecord:
    """A job.

    Attributes:
        scratch: Folder of the pods' empty volumes; gone when the keeper has ended in order.
        generation: Of its keeper, see `Request`.
    """

    job: str
    run_id: str
    keeper: ProcessId
    created_s: float
    scratch: str
    pods: tuple[PodRecord, ...] = field(default=())
    state: JobState = JobState.SUBMITTED
    reason: str = ""
    ended_s: float | None = None
    generation: int = 0


def save_record(path: Path, record: Request | JobRecord) -> None:
    """Replace a file atomically and durably: a reader, and the next boot, see one of both whole.

    Raises:
        OSError: The folder cannot be written.
    """
    document = {"schema": SCHEMA, **dataclasses.asdict(record)}
    writer = f"{os.getpid()}-{threading.get_native_id()}"  # two submitters may write one request
    partial = path.with_name(f"{path.name}.{writer}.tmp")
    text = json.dumps(document, indent=2, ensure_ascii=False, default=_plain)
    replace_file(path, text.encode("utf-8", "replace") + b"\n", partial=partial)


def load_request(path: Path) -> Request:
    """Read a request.

    Raises:
        FormatError: It is broken or of another schema.
        OSError: It cannot be read.
    """
    document = _decode(path.read_bytes(), what=str(path))
    engine = document.get("engine")
    folders = need_object(document, "host_folders", what=str(path))
    return Request(
        run_id=need(document, "run_id", str, what=str(path)),
        host_folders={str(mount): str(folder) for mount, folder in folders.items()},
        workdir=need(document, "workdir", str, what=str(path)),
        devices=need_texts(document, "devices", what=str(path)),
        engine={str(name): str(value) for name, value in engine.items()} if isinstance(engine, dict) else {},
        user=need_or_none(document, "user", str, what=str(path)) or "",
        generation=need_or_none(document, "generation", int, what=str(path), least=0, most=MAX_COUNT) or 0,
    )


def load_job_record(path: Path) -> JobRecord | None:
    """Read how a job stands; None where no keeper has taken it over.

    Raises:
        FormatError: It is broken or of another schema.
        OSError: It cannot be read.
    """
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    what = str(path)
    document = _decode(text, what=what)
    pods = need_objects(document, "pods", what=what)
    keeper = _process(document.get("keeper"), what=what)
    if keeper is None:
        raise FormatError(f"{what}: keeper: expected a process, got null")
    return JobRecord(
        job=need(document, "job", str, what=what),
        run_id=need(document, "run_id", str, what=what),
        keeper=keeper,
        created_s=need(document, "created_s", float, what=what, least=0, most=LAST_TIME_S),
        scratch=need(document, "scratch", str, what=what),
        pods=tuple(_pod(pod, what=what) for pod in pods),
        state=_state(JobState, document, what=what),
        reason=need(document, "reason", str, what=what),
        ended_s=need_or_none(document, "ended_s", float, what=what, least=0, most=LAST_TIME_S),
        generation=need_or_none(document, "generation", int, what=what, least=0, most=MAX_COUNT) or 0,
    )


def _pod(document: Mapping[str, object], *, what: str) -> PodRecord:
    return PodRecord(
        name=need(document, "name", str, what=what),
        node=need(document, "node", int, what=what, least=0, most=MAX_COUNT),
        uid=need(document, "uid", str, what=what),
        state=_state(PodState, document, what=what),
        incarnation=need(document, "incarnation", int, what=what, least=0, most=_MAX_STARTS),
        process=_process(document.get("process"), what=what),
        exit_code=need_or_none(document, "exit_code", int, what=what, least=-255, most=255),
        reason=need(document, "reason", str, what=what),
        started_s=need_or_none(document, "started_s", float, what=what, least=0, most=LAST_TIME_S),
        ended_s=need_or_none(document, "ended_s", float, what=what, least=0, most=LAST_TIME_S),
    )


def _process(value: object, *, what: str) -> ProcessId | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise FormatError(f"{what}: expected a process, got {value!r}")
    return ProcessId(
        pid=need(value, "pid", int, what=what, least=1, most=_MAX_PID),
        start_ticks=need(value, "start_ticks", int, what=what, least=0, most=MAX_COUNT),
        boot_id=need(value, "boot_id", str, what=what),
    )


def _state(kind: type[S], document: Mapping[str, object], *, what: str) -> S:
    text = need(document, "state", str, what=what)
    try:
        return kind(text)
    except ValueError as error:
        known = [item.value for item in kind]
        raise FormatError(f"{what}: state: expected one of {known}, got {text!r}") from error


def _decode(text: bytes, *, what: str) -> Mapping[str, object]:
    document = decode_object(text, what=what)
    if need(document, "schema", int, what=what) != SCHEMA:
        raise FormatError(f"{what}: schema: expected {SCHEMA}, got {document['schema']!r}")
    return document


def _plain(value: object) -> object:
    if isinstance(value, Enum):
        return value.value
    raise TypeError(f"expected a plain value, got {value!r}")
