"""What was read of containers' logs, kept on this machine in the kubelet's form, a file a container.

So a log is still there when its pod is gone, and what was read once is not read again. Files are numbered in
the order in which a pod's containers were found; only one process at a time writes.
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from launcher.logs.lines import STAMP_BYTES, LineReader, to_kubelet_form
from launcher.logs.overlap import Overlap
from launcher.logs.source import Container
from trainer.protocol.tags import parse_line

_NAME = re.compile(r"(\d+)\.(\d+)\.(.+)\.([^.]+)\.(\d+)\.log")
_KEPT_BYTES = 16 * 1024
_READ_BYTES = 1024 * 1024


class Record:
    """One container's file.

    Attributes:
        overlap: Where it ends.
    """

    def __init__(self, path: Path, overlap: Overlap, *, save: bool) -> None:
        self.path = path
        self.overlap = overlap
        self._save = save
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
            fd = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(fd, data)
            finally:
                os.close(fd)


class _File(NamedTuple):
    number: int
    path: Path


class Recording:
    """All records of a run."""

    def __init__(self, folder: Path) -> None:
        """`folder` is made when something is recorded."""
        self._folder = folder
        self._lock: int | None = None
        self._records: dict[Container, Record] = {}
        self._files = _find_files(folder)

    def containers(self) -> list[Container]:
        """Return the containers that were recorded, by node and in their order."""
        return sorted(self._files, key=lambda container: (container.node, self._files[container].number))

    def read(self, container: Container) -> Iterator[list[bytes]]:
        """Give a container's recorded lines, in pieces."""
        found = self._files.get(container)
        if found is None or not found.path.exists():
            return
        reader = LineReader()
        with found.path.open("rb") as file:
            rest = b""
            while data := file.read(_READ_BYTES):
                whole, mark, rest = (rest + data).rpartition(b"\n")
                yield reader.take(whole + mark)

    def open(self, container: Container, give: Callable[[list[bytes]], None]) -> Record:
        """Return a container's record after giving the lines that are in it already."""
        save = self._may_write()
        overlap = Overlap()
        for lines in self.read(container):
            give(overlap.take(lines))
        if container not in self._files:
            numbers = [file.number for found, file in self._files.items() if found.node == container.node]
            number = 1 + max(numbers, default=0)
            name = f"{container.node}.{number}.{container.pod}.{container.uid}.{container.restarts}.log"
            self._files[container] = _File(number, self._folder / name)
        record = Record(self._files[container].path, overlap, save=save)
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
        self.flush()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _may_write(self) -> bool:
        if self._lock is None:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            fd = os.open(self._folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:  # another `ftlaunch logs` records this run
                os.close(fd)
                return False
            self._lock = fd
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
