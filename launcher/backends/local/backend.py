"""Jobs as processes of this machine."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from launcher.backends.base import Submission
from launcher.backends.devices import list_gpus
from launcher.backends.replicas import Pod
from launcher.backends.supervised.backend import SupervisedBackend
from launcher.backends.supervised.state import JobRecord, Request
from launcher.plan.handle import BackendKind


class LocalBackend(SupervisedBackend):
    """See `SupervisedBackend`. The pods of a killed supervisor die with it."""

    kind: ClassVar[BackendKind] = "local"
    supervisor_module = "launcher.backends.local.supervisor"

    def __init__(self, runs_dir: Path, *, gpus: Callable[[], tuple[str, ...]] = list_gpus) -> None:
        """`runs_dir` holds a folder a job; `gpus` names the devices that jobs may use."""
        super().__init__(runs_dir, gpus=gpus)

    def _request(self, submission: Submission, pods: tuple[Pod, ...]) -> Request:
        return Request(
            run_id=submission.manifest.run_id,
            host_folders={path: str(folder) for path, folder in submission.host_folders.items()},
            workdir=str(submission.workdir),
            devices=self._choose_devices(pods),
        )

    def _clear(self, record: JobRecord) -> None:
        shutil.rmtree(record.scratch, ignore_errors=True)
