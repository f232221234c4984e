"""What a supervised job has on disk: where things lie, what was asked for, and how the job stands.

`state.json` has one writer, the supervisor; everybody else reads it.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from launcher.backends.states import JobState, PodState
from launcher.backends.supervised.identity import ProcessId
from launcher.plan.handle import BackendKind
from trainer.protocol.codec import Count, ExitCode, Key, UnixTime, Within, decode, encode
from trainer.protocol.safe_files import replace_file

SCHEMA = 1
_MAX_STARTS = 10**6  # of a pod: whoever looks for a log counts down from it


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
        """What the supervisor is told beside the manifest."""
        return self.folder / "request.json"

    @property
    def state(self) -> Path:
        """How the job stands."""
        return self.folder / "state.json"

    @property
    def supervisor_lock(self) -> Path:
        """Held by the supervisor while it lives, so that there is never a second one."""
        return self.folder / "supervisor.lock"

    @property
    def supervisor_log(self) -> Path:
        """What the supervisor itself has to say; empty unless something is wrong."""
        return self.folder / "supervisor.log"

    def pod(self, name: str) -> Path:
        """Folder of a pod."""
        return self.folder / "pods" / name

    def log(self, name: str, restart: int) -> Path:
        """Log of one start of a pod, in the kubelet's form."""
        return self.pod(name) / f"{restart}.log"

    def termination(self, name: str) -> Path:
        """Last words of a pod's present restart."""
        return self.pod(name) / "termination"


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """What a submitter asks of the supervisor.

    Attributes:
        host_folders: Mount path in the pod -> absolute folder or file of this machine.
        workdir: Stands for the pods' working directory.
        devices: GPUs that the job may use, as `CUDA_VISIBLE_DEVICES` names them.
        engine: Docker: `program` and the variables that say where it is.
        user: Docker: `uid:gid` of the containers.
        generation: Which supervisor in a row is asked for, from 0: a resumed job gets another one.
    """

    run_id: str
    host_folders: Mapping[str, str]
    workdir: str
    devices: tuple[str, ...] = ()
    engine: Mapping[str, str] = field(default_factory=dict)
    user: str = ""
    generation: Count = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class PodRecord:
    """A pod.

    Attributes:
        uid: Of the present restart, empty before the first.
        restart: Its number, from 0; also how often the pod was made again.
        process: What runs in it, or None.
        exit_code: Of the last end, 128 + n for signal n; None while it runs.
    """

    name: str
    node: Count
    uid: str = ""
    state: PodState = PodState.PENDING
    restart: Annotated[int, Within(0, _MAX_STARTS), Key("incarnation")] = 0
    process: ProcessId | None = None
    exit_code: ExitCode | None = None
    reason: str = ""
    started_s: UnixTime | None = None
    ended_s: UnixTime | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class JobRecord:
    """A job.

    Attributes:
        scratch: Folder of the pods' empty volumes; gone when the supervisor has ended in order.
        generation: Of its supervisor, see `Request`.
    """

    job: str
    run_id: str
    supervisor: Annotated[ProcessId, Key("keeper")]
    created_s: UnixTime
    scratch: str
    pods: tuple[PodRecord, ...] = field(default=())
    state: JobState = JobState.SUBMITTED
    reason: str = ""
    ended_s: UnixTime | None = None
    generation: Count = 0


def save_record(path: Path, record: Request | JobRecord) -> None:
    """Replace a file atomically and durably: a reader, and the next boot, see one of both whole.

    Raises:
        OSError: The folder cannot be written.
    """
    writer = f"{os.getpid()}-{threading.get_native_id()}"  # two submitters may write one request
    partial = path.with_name(f"{path.name}.{writer}.tmp")
    text = json.dumps(encode(record, schema=SCHEMA), indent=2, ensure_ascii=False)
    replace_file(path, text.encode("utf-8", "replace") + b"\n", partial=partial)


def load_request(path: Path) -> Request:
    """Read a request.

    Raises:
        FormatError: It is broken or of another schema.
        OSError: It cannot be read.
    """
    return decode(Request, path.read_bytes(), where=str(path), schema=SCHEMA)


def load_job_record(path: Path) -> JobRecord | None:
    """Read how a job stands; None where no supervisor has taken it over.

    Raises:
        FormatError: It is broken or of another schema.
        OSError: It cannot be read.
    """
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return decode(JobRecord, text, where=str(path), schema=SCHEMA)
