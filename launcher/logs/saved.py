"""Logs that node processes have written into the output folder, joined with those that a source still has.

A node's log is a row of containers, one start of its pod each. Of each there may be up to three copies: what
the cluster still has (`Source`), what was recorded here (`Recording`), and what the node process has saved.
Of a container that the cluster still has, nothing else is read. Of one that is gone, what was recorded comes
first and then what was saved after its last line, which is found by its text: our own times lie a little
before a kubelet's. Which copies are of one container is told by when it started.

So a reader sees one row of containers a node, in their order, and reads it as if a cluster had all of it.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from launcher.logs.file_response import FileResponse
from launcher.logs.gaps import CONTEXT, find_after, is_hidden
from launcher.logs.lines import LineReader, to_kubelet_form
from launcher.logs.recording import Recording
from launcher.logs.source import (
    SAVED,
    Container,
    LogRequest,
    LogResponse,
    Pod,
    Receiver,
    Snapshot,
    Source,
)
from launcher.times import STAMP_BYTES, parse_instant
from trainer.protocol.log_files import LogFileName
from trainer.protocol.tags import parse_line


@dataclass(frozen=True, kw_only=True, slots=True)
class SavedFile:
    """A file that was fetched."""

    name: LogFileName
    path: Path

    def lines(self) -> list[bytes]:
        """Return its whole lines, as `RFC3339Nano text`."""
        data = self.path.read_bytes()
        return LineReader().take(data[: data.rfind(b"\n") + 1])


class SavedSource:
    """A source, and beside it what node processes have saved. A `Source`."""

    def __init__(self, source: Source, files: Sequence[SavedFile], *, recording: Recording) -> None:
        """Read nothing yet.

        Args:
            source: Where the job runs, or ran.
            files: Of the job's run, in any order.
            recording: What was read of the job before.
        """
        self._source, self._recording = source, recording
        self._files: dict[int, list[SavedFile]] = {}
        for file in sorted(files, key=lambda file: file.name):
            self._files.setdefault(file.name.node, []).append(file)
        self._paths: dict[Container, Path | None] = {}
        self._gone: dict[int, list[tuple[int, Container]]] = {}
        self._has_run: set[int] = set()

    @property
    def keeps_logs(self) -> bool:
        """See `Source`."""
        return self._source.keeps_logs

    @property
    def snapshot_every_s(self) -> float:
        """See `Source`."""
        return self._source.snapshot_every_s

    @property
    def last_attempt(self) -> int:
        """The last attempt of which the first node that was saved speaks; 0 for none."""
        first = self._files[min(self._files)] if self._files else []
        for file in reversed(first):
            tags = [tag for line in file.lines() if (tag := parse_line(line[STAMP_BYTES + 1 :]).tag)]
            if tags:
                return max(tag.attempt for tag in tags)
        return 0

    async def snapshot(self) -> Snapshot:
        """See `Source`."""
        found = await self._source.snapshot()
        pods = {pod.container.node: pod for pod in found.pods}
        joined = (self._join(node, pods.get(node)) for node in sorted(set(pods) | set(self._files)))
        return replace(found, pods=tuple(pod for pod in joined if pod is not None))

    def open(self, request: LogRequest, receiver: Receiver) -> LogResponse:
        """See `Source`. Of what is recorded only, the record is all that there is."""
        if request.container not in self._paths:
            return self._source.open(request, receiver)
        path = self._paths[request.container] or Path(os.devnull)
        return FileResponse(path, request, receiver, is_over=lambda: True)

    async def renew(self, refused: object) -> None:
        """See `Source`."""
        await self._source.renew(refused)

    def _join(self, node: int, pod: Pod | None) -> Pod | None:
        if pod is None and node in self._has_run:
            return None  # its pod has gone meanwhile, as pods do, and may come back
        if node not in self._gone:
            self._gone[node] = self._find_gone(node, _starts(pod))
        if pod is not None:
            self._has_run.add(node)
        gone = self._gone[node]
        if pod is None:
            *earlier, last = (container for _, container in gone) if gone else (None,)
            if last is None:
                return None
            return Pod(
                container=last, earlier=tuple(one for one in earlier if one), has_started=True, has_ended=True
            )
        begun = _starts(pod)
        known = [one for one in pod.earlier if one in begun or not gone]
        row = sorted([*gone, *((begun.get(one, 0), one) for one in known)], key=lambda item: item[0])
        return replace(pod, earlier=tuple(container for _, container in row))

    def _find_gone(self, node: int, there: Mapping[Container, int]) -> list[tuple[int, Container]]:
        """Return what is not in the cluster any more, with when it began, in order."""
        recorded = [
            (began_ns, container)
            for container in self._recording.containers(node)
            if container not in there and (began_ns := self._recording.began_ns(container)) is not None
        ]
        found: list[tuple[int, Container]] = []
        for began_ns, container in recorded:
            self._paths[container] = None
            found.append((began_ns, container))
        lives: dict[int, list[SavedFile]] = {}
        for file in self._files.get(node, ()):
            lives.setdefault(file.name.life_ns, []).append(file)
        # A container's life is the first that begins after it: a cluster tells starts in whole seconds.
        alive = {min((life for life in lives if life >= began), default=None) for began in there.values()}
        for life_ns, files in lives.items():
            if life_ns in alive:
                continue
            following = min((other for other in lives if other > life_ns), default=None)
            covered = [
                container for began_ns, container in recorded
                if began_ns >= life_ns and (following is None or began_ns < following)
            ]  # fmt: skip
            rest = self._after(files, covered[-1]) if covered else files
            for file in rest:
                container = Container(node=node, pod=SAVED, uid=f"{file.name.first_ns}", restarts=0)
                self._paths[container] = file.path
                found.append((file.name.first_ns, container))
        return sorted(found, key=lambda item: item[0])

    def _after(self, files: Sequence[SavedFile], container: Container) -> list[SavedFile]:
        """Return what follows a container's last recorded line; the file that it is in is cut."""
        last: deque[bytes] = deque(maxlen=CONTEXT)
        for lines in self._recording.read(container):
            last.extend(line for line in lines if not is_hidden(line))
        found: list[SavedFile] = []
        for file in reversed(files):
            lines = file.lines()
            at = find_after(lines, list(last))
            if at < len(lines):
                found.insert(0, _cut(file, lines, at))
            if at:
                break
        return found


def _cut(file: SavedFile, lines: list[bytes], at: int) -> SavedFile:
    if not at:
        return file
    path = file.path.with_suffix(".rest")
    path.write_bytes(to_kubelet_form(lines[at:]))
    first_ns = parse_instant(lines[at][:STAMP_BYTES]) or file.name.first_ns
    return SavedFile(name=replace(file.name, first_ns=first_ns), path=path)


def _starts(pod: Pod | None) -> dict[Container, int]:
    return dict(pod.began_ns) if pod is not None else {}
