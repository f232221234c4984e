"""The run folders: begun before the first request, found again by name, handle or project."""

from __future__ import annotations

import contextlib
import heapq
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from launcher.errors import NotFoundError, TakenError
from launcher.plan.handle import parse_handle
from launcher.runs.record import RecordError, RunRecord, Stage, format_record, parse_record
from trainer.protocol import jobfile
from trainer.protocol.environment import CODE_FILE
from trainer.protocol.file_locks import hold_new
from trainer.protocol.jobfile import JobFile, format_job_file
from trainer.protocol.safe_files import replace_file

_CLOCKS_APART_S = 60.0
"""By which the clock of a file server may be behind ours."""
_SUBMITTING = f'"{Stage.SUBMITTING.value}"'.encode()
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,252}", re.ASCII)
WANTED = "a job of this machine's runs"
"""What is expected of a name that is none; a command line tells a study's name by it."""
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
        self, record: RunRecord, *, config: bytes, manifest: str, git: dict[str, object] | None,
        job_file: JobFile | None = None, code: bytes | None = None,
    ) -> Path:  # fmt: skip
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
                where=record.handle.job,
                expected="a free name",
                got="that of an earlier run",
                fix=f"choose another, or `ftlaunch delete {record.handle.job}`",
            ) from error
        # The record comes last: a folder without one is no run, so that a process that is killed in between
        # leaves nothing that a later command could take for a submit.
        (folder / CONFIG).write_bytes(config)
        if code is not None:
            (folder / CODE_FILE).write_bytes(code)
        if job_file is not None:
            (folder / jobfile.NAME).write_text(format_job_file(job_file), encoding="utf-8")
        (folder / MANIFEST).write_text(manifest, encoding="utf-8", newline="")
        if git is not None:
            (folder / GIT).write_text(json.dumps(git, indent=2) + "\n", encoding="utf-8")
        self._save(record)
        return folder

    def clear(self, job: str) -> None:
        """Delete a folder whose `begin` was killed before its record was there; call it under `lock`."""
        folder = self.run_folder(job)
        if folder.is_dir() and not (folder / RECORD).exists():
            self.remove(job)

    def finish(self, record: RunRecord) -> RunRecord:
        """Note that the job was submitted."""
        done = replace(record, stage=Stage.SUBMITTED)
        self._save(done)
        return done

    def load(self, job: str) -> RunRecord | None:
        """Read a job's record; None where there is none, and for what is no name of a job.

        Raises:
            RecordError: It is broken.
        """
        if _NAME.fullmatch(job) is None:  # such as one that leads to another folder
            return None
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
        return [job for _, job in self._written()]

    def runs(self) -> list[RunRecord]:
        """Return all readable records, newest first."""
        return list(self.newest())

    def newest(self) -> Iterator[RunRecord]:
        """Give all readable records, newest first; of thousands only those are read that are taken.

        No record is older than its run, so that those not read yet can be told from those that are next.
        """
        read: list[tuple[float, str, RunRecord]] = []
        # A record is written again when its submit is finished, so files are not in the order of the runs,
        # but none is older than its run began. A record that was read is given once no unread file can hold a
        # newer run.
        for written_s, job in sorted(self._written(), reverse=True):
            while read and -read[0][0] > written_s + _CLOCKS_APART_S:
                yield heapq.heappop(read)[2]
            with contextlib.suppress(RecordError):
                record = self.load(job)
                if record is not None:
                    heapq.heappush(read, (-record.created_s, job, record))
        while read:
            yield heapq.heappop(read)[2]

    def submitting(self) -> list[RunRecord]:
        """Return the readable records whose submit has not been finished."""
        found = []
        for _, job in self._written():
            with contextlib.suppress(RecordError, OSError):
                # Most records say that they were submitted, and are not parsed.
                if _SUBMITTING in (self.run_folder(job) / RECORD).read_bytes():
                    found.append(self.load(job))
        return [record for record in found if record is not None and record.stage is Stage.SUBMITTING]

    def written(self) -> Iterator[tuple[int, str]]:
        """Give when each record was written, in nanoseconds of Unix time, and its job; in no order."""
        try:
            entries = list(os.scandir(self.folder))
        except FileNotFoundError:
            return
        for entry in entries:
            with contextlib.suppress(OSError):  # no run folder, or deleted meanwhile
                yield os.stat(f"{entry.path}/{RECORD}").st_mtime_ns, entry.name  # noqa: PTH116 - of thousands

    def _written(self) -> Iterator[tuple[float, str]]:
        """Give when each record was written, in Unix time, and its job."""
        for written_ns, job in self.written():
            yield written_ns / 1e9, job

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
            for latest in self.newest():
                if latest.project == str(project):
                    return latest
            raise NotFoundError(
                where=project, expected="a job submitted from here", got="none", fix="name one"
            )
        job = parse_handle(text).job if "://" in text else text
        record = self.load(job)
        if record is None or ("://" in text and str(record.handle) != text):
            raise NotFoundError(where=text, expected=WANTED, got="none", fix="see `ftlaunch list`")
        return record

    def remove(self, job: str) -> None:
        """Delete a run's folder."""
        shutil.rmtree(self.run_folder(job), ignore_errors=True)

    @contextmanager
    def lock(self, job: str) -> Iterator[None]:
        """Keep other processes out of one name while it is looked at and taken."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with hold_new(self.folder / f".{job}.lock"):
            yield

    def _save(self, record: RunRecord) -> None:
        replace_file(self.run_folder(record.handle.job) / RECORD, format_record(record).encode("utf-8"))
