"""Where the agent runs: beside a volume in a cluster, or here. And how to talk to it."""

from __future__ import annotations

import contextlib
import copy
import json
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, Protocol

from launcher.errors import CliExit, LaunchError, NotFoundError
from launcher.volumes import agent
from trainer.protocol.codec import Count, FormatError, read
from trainer.protocol.untrusted import parse_object

SOURCE = Path(agent.__file__).read_text(encoding="utf-8")


class VolumeError(LaunchError):
    """A file cannot be had, or is not what it should be."""


class FileDiffersError(VolumeError):
    """A file came whole, and is not what its manifest says."""

    exit_code = CliExit.DIFFERS


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ready:
    """What the agent says first."""

    size: Count | None
    part: Count | None
    sha256: str | None
    text: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class _Answer(_Ready):
    """What it says of a file."""

    path: str


SCRATCH = "/scratch"
"""Where a pod beside a volume may write, if it was given a place to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scratch:
    """What a program needs that works beside a volume, besides a folder to write to.

    Attributes:
        cpu: Cores, as Kubernetes writes them.
        memory: Bytes, as Kubernetes writes them; what is written to the folder is not in it.
    """

    cpu: str
    memory: str


FIXES_HERE: Mapping[int, str] = {
    agent.EXIT_DENIED: "let it belong to you, or choose another folder",
    agent.EXIT_READ_ONLY: "choose a folder that can be written to",
    agent.EXIT_FULL: "free some space, and repeat the command",
}
"""What to do about a folder of this machine, by the exit code that the agent would end with."""


class Channel(Protocol):
    """A program that runs elsewhere."""

    stdout: IO[bytes]

    def send(self, data: bytes) -> None:
        """Write to its standard input.

        Raises:
            BrokenPipeError: It reads no more.
        """

    def finish(self) -> tuple[int, str]:
        """Wait for its end; return its exit code and what it said on standard error."""


class Place(ABC):
    """A folder, and what runs programs beside it.

    Attributes:
        root: The folder, as the programs there name it.
        title: What messages call it.
        scratch: Where programs there may write, if they were given a place to.
        fixes: What to do, by the exit code of the agent.
    """

    scratch: str = SCRATCH
    fixes: Mapping[int, str] = {
        agent.EXIT_DENIED: "let it belong to the user or the group that the job's pods run as: Launch.run_as",
        agent.EXIT_READ_ONLY: "check the claim's access mode, and how its volume is mounted",
        agent.EXIT_FULL: "free some space or enlarge the claim, and repeat the command",
    }

    def __init__(self, *, root: str, title: str) -> None:
        self.root, self.title = root, title

    @abstractmethod
    def start(self, argv: Sequence[str]) -> contextlib.AbstractContextManager[Channel]:
        """Start a program; it is ended with the context."""

    @property
    def python(self) -> str:
        """What runs Python there."""
        return "python3"

    def at(self, root: str, *, title: str) -> Place:
        """Return another folder that the same programs reach; arguments as the attributes."""
        other = copy.copy(self)
        other.root, other.title = root, title
        return other

    @contextmanager
    def ask(self, operation: str, request: Mapping[str, Any], *, within: str = "") -> Iterator[Channel]:
        """Give the agent a request; what it answers is read from the channel.

        Args:
            operation: See `agent.main`.
            request: Its request.
            within: Folder below the root.

        Raises:
            NotFoundError: There is no such folder.
            VolumeError: The agent refuses, or ends before its time.
        """
        root = f"{self.root.rstrip('/')}/{within}" if within else self.root
        with self.start((self.python, "-I", "-c", SOURCE, operation, root)) as channel:
            hello = channel.stdout.readline()
            if not hello:
                self._blame(channel)
            if not self._read(hello).get("ready") and operation not in ("receive", "stat"):
                raise NotFoundError(where=self.title, expected=f"the folder {root!r}", got="none")
            with contextlib.suppress(BrokenPipeError):
                channel.send(json.dumps(request).encode() + b"\n")
            try:
                yield channel
            except BrokenPipeError:
                self._blame(channel)
            self.require_success(channel)

    def lines(
        self, operation: str, request: Mapping[str, Any], *, within: str = ""
    ) -> Iterator[dict[str, Any]]:
        """Yield the agent's answers to a request; raises as `ask` does."""
        with self.ask(operation, request, within=within) as channel:
            for line in channel.stdout:
                yield self._read(line)

    def _read(self, line: bytes) -> dict[str, Any]:
        try:
            answer = parse_object(line, where=self.title)
            read(_Ready if "ready" in answer else _Answer, answer, where=self.title)
        except FormatError as error:
            raise VolumeError.of(error, fix=f"check what runs as {self.python} there") from error
        return answer

    def require_success(self, channel: Channel) -> None:
        """Wait for the agent's end.

        Raises:
            VolumeError: It has failed.
        """
        code, said = channel.finish()
        if code:
            raise VolumeError(
                said.strip() or f"the agent ended with exit code {code}", where=self.title,
                fix=self.fixes.get(code, ""),
            )  # fmt: skip

    def _blame(self, channel: Channel) -> None:
        self.require_success(channel)
        raise VolumeError(where=self.title, expected="an answer, and the connection ended")


class _Process:
    """A program of this machine."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        assert isinstance(process.stdout, BufferedReader)
        self._process, self._stdin = process, process.stdin
        self.stdout: IO[bytes] = process.stdout

    def send(self, data: bytes) -> None:
        """See `Channel`."""
        self._stdin.write(data)
        self._stdin.flush()

    def finish(self) -> tuple[int, str]:
        """See `Channel`."""
        with contextlib.suppress(BrokenPipeError):
            self._stdin.close()
        assert self._process.stderr is not None
        said = self._process.stderr.read()
        return self._process.wait(), said.decode("utf-8", "replace")


class Folder(Place):
    """A folder of this machine."""

    fixes = FIXES_HERE

    def __init__(self, folder: Path) -> None:
        super().__init__(root=str(folder), title=str(folder))

    @property
    def python(self) -> str:
        """See `Place`."""
        return sys.executable

    @contextmanager
    def start(self, argv: Sequence[str]) -> Iterator[Channel]:
        """See `Place`."""
        pipe = subprocess.PIPE
        with subprocess.Popen(argv, stdin=pipe, stdout=pipe, stderr=pipe) as process:
            try:
                yield _Process(process)
            finally:
                process.kill()
