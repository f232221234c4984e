"""The launcher's side of a supervised job: starts its supervisor, reads what that wrote, signals it."""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from launcher.backends.base import Backend, Submission, refuse_to_resume
from launcher.backends.replicas import Pod, ReplicaError, expand, find_unmapped
from launcher.backends.states import JobState, JobStatus
from launcher.backends.supervised.identity import ProcessId
from launcher.backends.supervised.job_state import BEING_CANCELLED, read_status
from launcher.backends.supervised.state import (
    JobLayout,
    JobRecord,
    Request,
    load_job_record,
    load_request,
    save_record,
)
from launcher.errors import Issue, LaunchError, NotFoundError, NothingSentError, TakenError, UnreachableError
from launcher.plan.handle import Handle
from trainer.protocol.codec import FormatError
from trainer.protocol.environment import WORKSPACE
from trainer.protocol.pathmap import PathMap

if TYPE_CHECKING:
    from launcher.logs.source import Source
    from launcher.render.manifest import Manifest
    from launcher.volumes.place import Place

_GONE_WITHIN_S = 15.0


class SupervisorError(LaunchError):
    """The process that should keep a job does not start or does not end."""


class StateError(LaunchError):
    """What a supervisor wrote is broken or of another release."""


class SupervisedBackend(Backend):
    """Jobs that a supervisor on this machine looks after, each in its run folder.

    Attributes:
        supervisor_module: Program that becomes the supervisor of a job; takes the run folder.
        pods_outlive: Whether pods of a supervisor that was killed go on, and the next one adopts them.
    """

    supervisor_module: ClassVar[str]
    pods_outlive: ClassVar[bool] = False

    def __init__(self, runs_dir: Path, *, gpus: Callable[[], tuple[str, ...]]) -> None:
        """`runs_dir` holds a folder a job; `gpus` names the devices that jobs may use."""
        self._runs_dir = runs_dir
        self._gpus = gpus

    @abstractmethod
    def _request(self, submission: Submission, pods: tuple[Pod, ...]) -> Request:
        """Return what the supervisor is to be told; refuse what cannot be."""

    def _clear(self, record: JobRecord) -> None:
        """Remove what a supervisor that was killed could not; none of its processes runs any more."""

    def _check_names(self, layout: JobLayout, record: JobRecord) -> None:
        """Refuse with `TakenError` where somebody has taken a name that a resumed job needs."""

    def submit(self, submission: Submission) -> Handle:
        """Start the supervisor and wait until it has taken over; see `Backend.submit`.

        Raises:
            ReplicaError: The manifest asks for what this machine cannot do.
            NothingSentError: There is no engine to talk to.
            SupervisorError: The supervisor did not start.
        """
        manifest, layout = submission.manifest, self._layout(submission.run_folder)
        handle = Handle(backend=self.kind, job=manifest.name)
        if self._is_ours(layout, run_id=manifest.run_id):
            return handle
        pods = expand(manifest)
        _refuse_unmapped(pods, submission)
        try:
            request = self._request(submission, pods)
        except UnreachableError as error:  # asked before anything is made: it is certain that nothing was
            raise error.recast(NothingSentError) from error
        layout.folder.mkdir(parents=True, exist_ok=True)
        save_record(layout.request, request)
        _start_supervisor(layout, module=self.supervisor_module)
        if not self._is_ours(layout, run_id=manifest.run_id):
            raise SupervisorError(where=manifest.name, expected="its supervisor to take over", got="no state")
        return handle

    def check(self, submission: Submission) -> tuple[str, ...]:
        """See `Backend.check`."""
        manifest = submission.manifest
        self._is_ours(self._layout(submission.run_folder), run_id=manifest.run_id)
        pods = expand(manifest)
        _refuse_unmapped(pods, submission)
        self._request(submission, pods)
        return (
            f"all {len(pods)} pods of the manifest can be played here, and something stands for every mount",
            "not checked: the list files and images; `trainer check -c CONFIG` does",
        )

    def status(self, handle: Handle) -> JobStatus:
        """See `Backend.status`. One whose supervisor is gone before its end is lost."""
        layout, record = self._require(handle)
        supervisor = record.supervisor
        if not record.state.is_terminal and not supervisor.is_running():
            layout, record = self._require(handle)  # it may have ended between the two looks
        return read_status(handle, layout, record, pods_outlive=self.pods_outlive)

    def list_jobs(self, run_ids: Sequence[str] = ()) -> tuple[JobStatus, ...]:
        """See `Backend.list_jobs`."""
        found = []
        for path in self._runs_dir.glob(f"*/{self.kind}/state.json"):
            with contextlib.suppress(NotFoundError, StateError):  # deleted meanwhile, or of another release
                found.append(self.status(Handle(backend=self.kind, job=path.parent.parent.name)))
        chosen = [status for status in found if not run_ids or status.run_id in run_ids]
        return tuple(sorted(chosen, key=lambda status: (-status.created_s, status.handle.job)))

    def cancel(self, handle: Handle) -> None:
        """Ask the supervisor to stop the pods; see `Backend.cancel`.

        Pods that outlive the failure of their job are stopped too; the job stays failed. Pods that outlived
        their supervisor are stopped by another one.

        Raises:
            SupervisorError: That one did not start.
        """
        layout, record = self._require(handle)
        if self.pods_outlive and self.status(handle).state is JobState.LOST:
            self._succeed(handle, layout, record, adopting=True)
            _, record = self._require(handle)
        record.supervisor.send(signal.SIGTERM)

    def resume(self, handle: Handle) -> None:
        """Start a new supervisor for a job that was cancelled or lost; see `Backend.resume`.

        It goes on with pods that outlived their supervisor.

        Raises:
            SupervisorError: It did not start.
            TakenError: Somebody has taken a name that it needs.
        """
        layout, record = self._require(handle)
        state = self.status(handle).state
        if state not in (JobState.CANCELLED, JobState.LOST):
            refuse_to_resume(handle, state, stopping=record.reason == BEING_CANCELLED)
            return
        self._succeed(handle, layout, record, adopting=self.pods_outlive and state is JobState.LOST)

    def _succeed(self, handle: Handle, layout: JobLayout, record: JobRecord, *, adopting: bool) -> None:
        """Start the supervisor after the one of `record`, once nothing of that runs any more."""
        left = tuple(pod.process for pod in record.pods if pod.process is not None)
        if not _is_gone((record.supervisor, *left)):
            raise SupervisorError(
                where=handle, expected="its processes to be gone", got="some that run", fix="look at them"
            )
        self._check_names(layout, record)
        if not adopting:
            self._clear(record)
        save_record(layout.request, replace(load_request(layout.request), generation=record.generation + 1))
        _start_supervisor(layout, module=self.supervisor_module)

    def delete(self, handle: Handle, *, force: bool = False) -> None:
        """Kill what runs and remove the backend's folder; see `Backend.delete`.

        Raises:
            SupervisorError: Something does not die.
        """
        del force  # all is killed anyhow
        layout, record = self._require(handle)
        if record.supervisor.send(signal.SIGINT) and not _is_gone((record.supervisor,)):
            record.supervisor.send(signal.SIGKILL)
        _, record = self._require(handle)
        left = (record.supervisor, *(pod.process for pod in record.pods if pod.process is not None))
        for process in left:
            process.send(signal.SIGKILL)
        if not _is_gone(left):
            raise SupervisorError(
                where=handle, expected="its processes to die", got="some that do not", fix="look at them"
            )
        self._clear(record)
        for name in ("pods", layout.supervisor_log.name, layout.request.name):
            path = layout.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        shutil.rmtree(layout.folder)  # with the state last, so that a delete that is cut off can be repeated

    def log_source(self, handle: Handle) -> Source:
        """See `Backend.log_source`. Logs of earlier starts of a pod are there too."""
        from launcher.backends.supervised.logsource import SupervisedLogSource

        def load() -> tuple[JobRecord, str]:
            layout, record = self._require(handle)
            return record, read_status(handle, layout, record, pods_outlive=self.pods_outlive).reason

        return SupervisedLogSource(self._layout(self._runs_dir / handle.job), load)

    def open_folder(self, handle: Handle, path: str, *, manifest: Manifest) -> AbstractContextManager[Place]:
        """See `Backend.open_folder`: what stands for it on this machine."""
        from launcher.volumes.place import Folder

        del manifest
        request = load_request(self._layout(self._runs_dir / handle.job).request)
        found = PathMap({WORKSPACE: request.workdir, **request.host_folders}).apply(path)
        return nullcontext(Folder(Path(found)))

    def _layout(self, run_folder: Path) -> JobLayout:
        return JobLayout(run_folder, self.kind)

    def _require(self, handle: Handle) -> tuple[JobLayout, JobRecord]:
        layout = self._layout(self._runs_dir / handle.job)
        record = _load(layout)
        if record is None:
            raise NotFoundError(where=handle, expected="a job", got="none of this name on this machine")
        return layout, record

    def _is_ours(self, layout: JobLayout, *, run_id: str) -> bool:
        record = _load(layout)
        if record is not None and record.run_id != run_id:
            raise TakenError(where=record.job, expected="a free name", got=f"the job of run {record.run_id}")
        return record is not None

    def _choose_devices(self, pods: tuple[Pod, ...]) -> tuple[str, ...]:
        wanted = sum(pod.gpus for pod in pods)
        if not wanted:
            return ()
        present = self._gpus()
        if len(present) < wanted:
            raise ReplicaError(
                where="gpus", expected=f"{wanted} GPUs on this machine", got=len(present), fix="ask for fewer"
            )
        return present[:wanted]


def _load(layout: JobLayout) -> JobRecord | None:
    try:
        return load_job_record(layout.state)
    except FormatError as error:
        raise StateError.of(
            error, fix=f"remove the folder {layout.folder} once nothing of it runs"
        ) from error


def _refuse_unmapped(pods: tuple[Pod, ...], submission: Submission) -> None:
    paths = dict.fromkeys(path for pod in pods for path in find_unmapped(pod, submission.host_folders))
    if paths:
        expected = "`local:` with what stands for it on this machine"
        raise ReplicaError(problems=[Issue(where=path, expected=expected, got="none") for path in paths])


def _start_supervisor(layout: JobLayout, *, module: str) -> None:
    with layout.supervisor_log.open("wb") as log:
        done = subprocess.run(
            [sys.executable, "-m", module, str(layout.run_folder)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd=layout.run_folder,
            check=False,
        )  # fmt: skip
    if done.returncode:
        said = layout.supervisor_log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise SupervisorError(
            where=layout.run_folder.name,
            expected="its supervisor to start",
            said=said[-1] if said else f"exit code {done.returncode}",
            fix=f"see {layout.supervisor_log}",
        )


def _is_gone(processes: tuple[ProcessId, ...]) -> bool:
    until_s = time.monotonic() + _GONE_WITHIN_S
    while any(process.is_running() for process in processes):
        if time.monotonic() > until_s:
            return False
        time.sleep(0.02)
    return True
