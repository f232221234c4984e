"""The run folders: begun before the first request, found again by name, handle or project."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from launcher.errors import NotFoundError, TakenError
from launcher.plan.handle import parse_handle
from launcher.runs.record import RecordError, RunRecord, Stage, format_record, parse_record
from trainer.protocol.atomic import replace_file

RECORD, CONFIG, MANIFEST, GIT = "record.json", "cfg.yaml", "manifest.yaml", "git.json"


class RunStore:
    """Run folders below one folder; each is `<job>/`, readable by its owner only."""

    def __init__(self, folder: Path) -> None:
        """`folder` is made when the first run begins."""
        self.folder = folder

    def run_folder(self, job: str) -> Path:
        """Return the folder of a job."""
        return self.folder / job

    def begin(
        self, record: RunRecord, *, config: bytes, manifest: str, git: dict[str, object] | None
    ) -> Path:
        """Make the folder of a run that is about to be submitted, and return it.

        Raises:
            TakenError: There is one of this name.
        """
        folder = self.run_folder(record.handle.job)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError as error:
            raise TakenError(
                f"{record.handle.job}: expected a free name, got that of an earlier run; choose another, or "
                f"`ftlaunch delete {record.handle.job}`"
            ) from error
        (folder / CONFIG).write_bytes(config)
        (folder / MANIFEST).write_text(manifest, encoding="utf-8", newline="")
        if git is not None:
            (folder / GIT).write_text(json.dumps(git, indent=2) + "\n", encoding="utf-8")
        self._save(record)
        return folder

    def finish(self, record: RunRecord) -> RunRecord:
        """Note that the job was submitted."""
        done = replace(record, stage=Stage.SUBMITTED)
        self._save(done)
        return done

    def load(self, job: str) -> RunRecord | None:
        """Read a job's record; None where there is none.

        Raises:
            RecordError: It is broken.
        """
        path = self.run_folder(job) / RECORD
        try:
            return parse_record(path.read_bytes(), where=str(path))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def read_manifest(self, job: str) -> str:
        """Return the manifest that was submitted.

        Raises:
            OSError: There is none.
        """
        return (self.run_folder(job) / MANIFEST).read_text(encoding="utf-8")

    def names(self) -> list[str]:
        """Return the names of all jobs that have a record."""
        return [path.parent.name for path in self.folder.glob(f"*/{RECORD}")]

    def runs(self) -> list[RunRecord]:
        """Return all readable records, newest first."""
        found = []
        for path in self.folder.glob(f"*/{RECORD}"):
            with contextlib.suppress(RecordError):
                record = self.load(path.parent.name)
                if record is not None:
                    found.append(record)
        return sorted(found, key=lambda record: record.created_s, reverse=True)

    def find(self, text: str | None, *, project: Path) -> RunRecord:
        """Return the run that a command means.

        Args:
            text: A job's name or its handle; None for the last one of `project`.
            project: Of the current folder.

        Raises:
            NotFoundError: There is none.
            RecordError: Its record is broken.
        """
        if text is None:
            own = [record for record in self.runs() if record.project == str(project)]
            if not own:
                raise NotFoundError(f"{project}: expected a job submitted from here, got none; name one")
            return own[0]
        job = parse_handle(text).job if "://" in text else text
        record = self.load(job)
        if record is None or ("://" in text and str(record.handle) != text):
            raise NotFoundError(
                f"{text}: expected a job of this machine's runs, got none; see `ftlaunch list`"
            )
        return record

    def remove(self, job: str) -> None:
        """Delete a run's folder."""
        shutil.rmtree(self.run_folder(job), ignore_errors=True)

    @contextmanager
    def lock(self, job: str) -> Iterator[None]:
        """Keep other processes out of one name while it is looked at and taken."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = self.folder / f".{job}.lock"
        fd = _lock_file(path)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
            os.close(fd)

    def _save(self, record: RunRecord) -> None:
        replace_file(self.run_folder(record.handle.job) / RECORD, format_record(record).encode("utf-8"))


def _lock_file(path: Path) -> int:
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(fd).st_ino:
                return fd
        os.close(fd)  # its last holder has removed the file that we waited for: others lock a new one
