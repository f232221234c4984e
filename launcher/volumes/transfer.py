"""Bringing files to a place or fetching them from one: what is there with the right hash is passed over."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from launcher.volumes import agent
from launcher.volumes.place import FIXES_HERE, Channel, FileDiffersError, Place, VolumeError

Progress = Callable[[int], None]
"""Called with each number of bytes that has passed."""


@dataclass(frozen=True, kw_only=True, slots=True)
class File:
    """What a file must be.

    Attributes:
        path: Below the folder, with slashes.
        size: In bytes.
        sha256: Hexadecimal digits.
    """

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Delta:
    """A file that the other side lacks, and how much of it has come already."""

    file: File
    offset: int


def describe(folder: Path) -> list[File]:
    """Return all plain files below a folder of this machine."""
    return [
        File(path=path, size=(folder / path).stat().st_size, sha256=agent.hash_file(folder / path))
        for path in agent.walk(folder)
    ]


def find_deltas(there: Iterator[Mapping[str, Any]], files: Sequence[File]) -> list[Delta]:
    """Compare what is there, as `agent.stat_files` tells it, with what should be."""
    found = {item["path"]: item for item in there}
    deltas = []
    for file in files:
        item = found.get(file.path, {})
        if item.get("size") != file.size or item.get("sha256") != file.sha256:
            part = item.get("part", 0)
            deltas.append(Delta(file=file, offset=part if part <= file.size else 0))
    return deltas


def is_there(folder: Path, file: File) -> bool:
    """Whether a folder of this machine has a file as it should be."""
    path = folder / file.path
    return path.is_file() and path.stat().st_size == file.size and agent.hash_file(path) == file.sha256


def pull(
    place: Place, files: Sequence[File], *, within: str, to: Path, progress: Progress = lambda _: None
) -> list[Delta]:
    """Fetch files into a folder of this machine; return what had to come.

    Args:
        place: Where they are.
        files: What is wanted.
        within: Folder of the place that they are below.
        to: Made where it is missing.
        progress: See there.

    Raises:
        VolumeError: The folder cannot be made, or something else came; what was whole is kept, and what came
            in part.
        FileDiffersError: A file came whole and has another hash.
        NotFoundError: The place has no such folder.
    """
    try:
        to.mkdir(parents=True, exist_ok=True)
        deltas = find_deltas(agent.stat_files(to, [file.path for file in files], hashes=True), files)
        if deltas:
            _pull(place, deltas, within=within, to=to, progress=progress)
    except agent.DiffersError as error:
        raise FileDiffersError(str(error), where=to) from error
    except (agent.RefusedError, OSError) as error:
        fix = FIXES_HERE.get(agent.exit_of(error), "")
        raise VolumeError(agent.describe_error(error), where=to, fix=fix) from error
    return deltas


def _pull(place: Place, deltas: Sequence[Delta], *, within: str, to: Path, progress: Progress) -> None:
    request = {"files": [(delta.file.path, delta.offset, delta.file.size) for delta in deltas]}
    with place.ask("send", request, within=within) as channel:
        try:
            arrived = list(agent.receive_files(to, _table(deltas), _counting(channel.stdout, progress)))
        except agent.CutShortError:  # the agent knows why it has ended
            place.require_success(channel)
            raise
    missing = [delta.file.path for delta in deltas if delta.file.path not in arrived]
    if missing:
        raise VolumeError(where=place.title, expected=f"{missing[0]!r}, and it did not come")


def push(
    place: Place, folder: Path, files: Sequence[File], *, progress: Progress = lambda _: None
) -> list[Delta]:
    """Bring files of a folder of this machine to a place; return what had to go. Raises as `pull` does."""
    deltas = compare(place, files)
    if deltas:
        with place.ask("receive", {"files": _table(deltas)}) as channel:
            pipe = cast("IO[bytes]", _Sending(channel, progress))
            try:
                agent.send_files(folder, [(delta.file.path, delta.offset) for delta in deltas], pipe)
            except agent.RefusedError as error:
                raise VolumeError(str(error), where=folder) from error
    return deltas


def compare(place: Place, files: Sequence[File]) -> list[Delta]:
    """Return what a place lacks, or has otherwise."""
    request = {"files": [file.path for file in files], "hashes": True}
    return find_deltas(place.lines("stat", request), files)


def _table(deltas: Sequence[Delta]) -> dict[str, dict[str, object]]:
    return {delta.file.path: {"size": delta.file.size, "sha256": delta.file.sha256} for delta in deltas}


class _Sending:
    """The agent's input as a file that an archive is written to."""

    def __init__(self, channel: Channel, progress: Progress) -> None:
        self._channel, self._progress = channel, progress

    def write(self, data: bytes) -> int:
        self._channel.send(bytes(data))
        self._progress(len(data))
        return len(data)


class _Receiving:
    """The agent's output as a file that an archive is read from."""

    def __init__(self, stdout: IO[bytes], progress: Progress) -> None:
        self._stdout, self._progress = stdout, progress

    def read(self, size: int) -> bytes:
        data = self._stdout.read(size)
        self._progress(len(data))
        return data


def _counting(stdout: IO[bytes], progress: Progress) -> IO[bytes]:
    return cast("IO[bytes]", _Receiving(stdout, progress))
