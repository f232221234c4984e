"""What was read of containers' logs, kept on this machine in the kubelet's form, a file a container.

So a log is still there when its pod is gone, and what was read once is not read again. Files are numbered in
the order in which a pod's containers were found; only one process at a time writes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from launcher.logs.lines import LineReader, to_kubelet_form
from launcher.logs.resume_point import ResumePoint
from launcher.logs.source import Container
from launcher.times import STAMP_BYTES, parse_instant
from trainer.protocol.file_locks import HeldFile, try_hold
from trainer.protocol.tags import parse_line

_NAME = re.compile(r"(\d+)\.(\d+)\.(.+)\.([^.]+)\.(\d+)\.log")
_APPEND = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_BINARY", 0)
_KEPT_BYTES = 8 * 1024
_READ_BYTES = 16 * 1024


class Record:
    """One container's file.

    Attributes:
        overlap: Where it ends, for its reader to say.
    """

    def __init__(self, path: Path, *, save: bool, fail: Callable[[OSError], None]) -> None:
        self.path = path
        self.resume_point = ResumePoint()
        self._save, self._fail = save, fail
        self._fd: int | None = None
        self._lines: list[bytes] = []
        self._size = 0

    def add(self, lines: list[bytes]) -> None:
        """Append lines; they are on disk after the next `flush`."""
        if self._save:
            self._lines += lines
            self._size += sum(map(len, lines))
            if self._size > _KEPT_BYTES:
                self.flush()

    def flush(self) -> None:
        """Write what was added."""
        if self._lines:
            data = to_kubelet_form(self._lines)
            self._lines, self._size = [], 0
            try:
                if self._fd is None:
                    self._fd = os.open(self.path, _APPEND, 0o600)
                while data:
                    data = data[os.write(self._fd, data) :]
            except OSError as error:  # a full disk or too many open files must not end the showing
                self._save = False
                self._fail(error)

    def close(self) -> None:
        """Write what was added, and close the file until there is more."""
        self.flush()
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None


class _File(NamedTuple):
    number: int
    path: Path


class Recording:
    """All records of a run.

    Attributes:
        failure: Why something is not recorded, for the user; empty where all is.
    """

    def __init__(self, folder: Path) -> None:
        """`folder` is made when something is recorded."""
        self._folder = folder
        self._lock: HeldFile | None = None
        self._records: dict[Container, Record] = {}
        self._files = _find_files(folder)
        self.failure = ""

    def containers(self, node: int | None = None) -> list[Container]:
        """Return the containers that were recorded, by node and in their order; of one node if named."""
        found = [container for container in self._files if node in (None, container.node)]
        return sorted(found, key=lambda container: (container.node, self._files[container].number))

    def read(self, container: Container) -> Iterator[list[bytes]]:
        """Give a container's recorded lines, in pieces."""
        found = self._files.get(container)
        if found is None or not found.path.exists():
            return
        reader = LineReader()
        with found.path.open("rb") as file:
            while data := file.read(_READ_BYTES) + file.readline():
                yield reader.take(
                    data[: data.rfind(b"\n") + 1]
                )  # what was torn when a disk was full is not read

    def began_ns(self, container: Container) -> int | None:
        """Return the time of a container's first recorded line; None where there is none."""
        first = next((lines[0] for lines in self.read(container) if lines), None)
        return None if first is None else parse_instant(first[:STAMP_BYTES])

    def open(self, container: Container) -> Record:
        """Return a container's record; `read` gives the lines that are in it already."""
        save = self._may_write()
        if container not in self._files:
            numbers = [file.number for found, file in self._files.items() if found.node == container.node]
            number = 1 + max(numbers, default=0)
            name = f"{container.node}.{number}.{container.pod}.{container.uid}.{container.restarts}.log"
            self._files[container] = _File(number, self._folder / name)
        record = Record(self._files[container].path, save=save, fail=self._note_failure)
        self._records[container] = record
        return record

    def last_attempt(self) -> int:
        """Return the last attempt that node 0, or the first node that was recorded, spoke of; 0 for none."""
        last = 0
        containers = self.containers()
        for container in containers:
            if container.node == containers[0].node:
                for lines in self.read(container):
                    tags = (parse_line(line[STAMP_BYTES + 1 :]).tag for line in lines)
                    last = max([last, *(tag.attempt for tag in tags if tag is not None)])
        return last

    def flush(self) -> None:
        """Write what all records still hold."""
        for record in self._records.values():
            record.flush()

    def close(self) -> None:
        """Write the rest and let others write."""
        for record in self._records.values():
            record.close()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def _note_failure(self, error: OSError) -> None:
        self.failure = (
            f"{self._folder}: expected to keep what is shown, got {error.strerror}; the showing goes on, and "
            "what is missing is fetched again by the next `ftlaunch logs` while the cluster has it"
        )

    def _may_write(self) -> bool:
        if self._lock is None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = try_hold(self._folder / ".lock")
            if self._lock is None:  # another `ftlaunch logs` records this run
                return False
            self._files = _find_files(self._folder)  # another may have written until now
        return True


def _find_files(folder: Path) -> dict[Container, _File]:
    found = {}
    for path in folder.glob("*.log"):
        match = _NAME.fullmatch(path.name)
        if match is not None:
            container = Container(node=int(match[1]), pod=match[3], uid=match[4], restarts=int(match[5]))
            found[container] = _File(int(match[2]), path)
    return found
