"""What nodes kept in the output folder, joined with what is recorded here and what the cluster still has."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from launcher.jobs.saved_logs import choose_files
from launcher.logs.follow import Follower
from launcher.logs.gaps import find_after
from launcher.logs.lines import to_kubelet_form
from launcher.logs.log_filter import LogFilter
from launcher.logs.log_format import Formatter, LogFormat
from launcher.logs.reading import run
from launcher.logs.recording import Recording
from launcher.logs.saved import SavedFile, SavedSource
from launcher.logs.source import Container, End, LogRequest, Pod, Receiver, Snapshot
from launcher.times import STAMP_BYTES, format_stamp, parse_instant
from trainer.protocol.log_files import LogFileName, parse_name

RUN = "0123456789ab"
START_NS = 1_790_000_000_000_000_000
SECOND = 1_000_000_000


@dataclass
class Life:
    """One start of a pod: its lines as the node process and as the kubelet have them."""

    start_ns: int
    ours: list[bytes] = field(default_factory=list)
    theirs: list[bytes] = field(default_factory=list)

    @property
    def texts(self) -> list[str]:
        return [line[STAMP_BYTES + 1 :].decode() for line in self.ours]

    @property
    def container(self) -> Container:
        return Container(node=0, pod="w-0", uid=f"u{self.start_ns}", restarts=0)


def tell(draw: random.Random, lives: int) -> list[Life]:
    """Make up starts of a pod; many of its lines are the same."""
    now_ns, found = START_NS, []
    for attempt in range(lives):
        now_ns += draw.randint(10, 90) * SECOND + draw.randint(0, SECOND - 1)
        life = Life(start_ns=now_ns)
        for _ in range(draw.randint(1, 12)):
            now_ns += draw.randint(1, 3 * SECOND)
            text = f" [a{attempt + 1} r0] {draw.choice('aaab')}".encode()
            life.ours.append(format_stamp(now_ns) + text)
            now_ns += draw.randint(1, 2_000_000)
            life.theirs.append(format_stamp(now_ns) + text)
        found.append(life)
    return found


def save(folder: Path, draw: random.Random, life: Life) -> list[SavedFile]:
    """Write a life as the node process does, in up to three files."""
    at = sorted({0, *(draw.randrange(len(life.ours)) for _ in range(2))})
    files = []
    for first, end in zip(at, [*at[1:], len(life.ours)], strict=True):
        first_ns = parse_instant(life.ours[first][:STAMP_BYTES]) or 0
        name = LogFileName(run=RUN, node=0, life_ns=life.start_ns, first_ns=first_ns)
        path = folder / str(name)
        path.write_bytes(to_kubelet_form(life.ours[first:end]) + b"2026-09-21T1")  # torn by a kill
        files.append(SavedFile(name=name, path=path))
    return files


class StillThere:
    """A source of what a cluster still has."""

    keeps_logs, snapshot_every_s = False, 2.0

    def __init__(self, lives: list[Life], *, waits: bool = False) -> None:
        self._lives = {life.container: life for life in lives}
        self._waits = waits

    async def snapshot(self) -> Snapshot:
        if not self._lives and not self._waits:
            return Snapshot(has_ended=True, pods=())
        new = Container(node=0, pod="w-0", uid="new", restarts=0)
        row = [*self._lives, *([new] if self._waits else [])]
        began = tuple((one, life.start_ns // SECOND * SECOND) for one, life in self._lives.items())
        pod = Pod(
            container=row[-1], earlier=tuple(row[:-1]), has_started=not self._waits,
            has_ended=not self._waits, began_ns=began,
        )  # fmt: skip
        return Snapshot(has_ended=not self._waits, pods=(pod,))

    def open(self, request: LogRequest, receiver: Receiver) -> Answer:
        return Answer(self._lives[request.container].theirs, receiver)

    async def renew(self, refused: object) -> None:
        raise AssertionError("nobody asks for a password")


class Answer:
    """A whole log at once."""

    def __init__(self, lines: list[bytes], receiver: Receiver) -> None:
        self._lines, self._receiver, self._is_closed = lines, receiver, False
        asyncio.get_running_loop().call_soon(self._give)

    def _give(self) -> None:
        if not self._is_closed:
            self._receiver.begin()
            self._receiver.take(b"".join(line + b"\n" for line in self._lines))
            self._receiver.end(End())

    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def close(self) -> None:
        self._is_closed = True


def read(source: SavedSource, recording: Recording) -> list[str]:
    shown: list[bytes] = []
    follower = Follower(
        source, is_joined=True, show=shown.extend, say=pytest.fail, recording=recording, follow=False,
        formatter=lambda node: Formatter(
            node=node, log_filter=LogFilter(), form=LogFormat(prefix=True, attempts=True)
        ),
        draw=random.Random(1),
    )  # fmt: skip
    run(follower.run())
    recording.close()
    return [line.decode() for line in shown]


def shown_of(lives: list[Life]) -> list[str]:
    found = []
    for life in lives:
        for text in life.texts:
            tag, _, rest = text.partition("] ")
            found.append(f"[rank 0 attempt {tag[2:].split()[0]}] {rest}")
    return found


@pytest.mark.parametrize("seed", range(12))
def test_each_line_is_shown_once_and_in_order_wherever_it_is(tmp_path, seed):
    draw = random.Random(seed)
    lives = tell(draw, draw.randint(1, 4))
    files = [file for life in lives for file in save(tmp_path, draw, life)]
    draw.shuffle(files)
    there, waits = [life for life in lives if draw.random() < 0.4], draw.random() < 0.2
    if there and not waits and lives[-1] not in there:  # what is there now began last
        there.append(lives[-1])
    recording = Recording(tmp_path / "recorded")
    # Who recorded a container has recorded those before it that were there.
    recorded: list[Life] = []
    for life in reversed(lives):
        if draw.random() < 0.5 or (recorded and life in there):
            recorded.insert(0, life)
    for life in recorded:
        record = recording.open(life.container)
        record.add(life.theirs[: draw.randint(1, len(life.theirs))])
        record.close()
    recording.close()
    source = SavedSource(StillThere(there, waits=waits), files, recording=Recording(tmp_path / "recorded"))
    assert read(source, Recording(tmp_path / "recorded")) == shown_of(lives)
    # What was read is recorded where it came from the cluster, and is shown the same again.
    again = SavedSource(StillThere([]), files, recording=Recording(tmp_path / "recorded"))
    assert read(again, Recording(tmp_path / "recorded")) == shown_of(lives)
    assert source.last_attempt == len(lives)


def test_a_line_that_was_lost_leads_to_its_neighbour_by_time():
    saved = [format_stamp(START_NS + at) + b" x%d" % at for at in (10, 20, 40)]
    recorded = [format_stamp(START_NS + 31) + b" x30"]
    assert find_after(saved, recorded) == 2
    assert find_after(saved, []) == 0
    assert find_after([], recorded) == 0


def names(*told: tuple[int, int, int]) -> list[LogFileName]:
    return [
        LogFileName(run=RUN, node=node, life_ns=START_NS + life * SECOND, first_ns=START_NS + first * SECOND)
        for node, life, first in told
    ]


@pytest.mark.parametrize(
    ("log_filter", "expected"),
    [
        (LogFilter(), [0, 1, 2, 3, 4]),
        (LogFilter(nodes=frozenset({1})), [4]),
        (LogFilter(since_ns=START_NS + 25 * SECOND), [2, 3, 4]),
        (LogFilter(tail=10), [2, 3, 4]),
        (LogFilter(tail=10, ranks=frozenset({0})), [0, 1, 2, 3, 4]),
    ],
)
def test_files_that_hold_nothing_of_what_is_wanted_are_not_fetched(log_filter, expected):
    there = names((0, 0, 0), (0, 0, 10), (0, 20, 20), (0, 20, 30), (1, 0, 5))
    assert choose_files(there, log_filter) == [there[at] for at in expected]


@pytest.mark.parametrize("name", ["x.log", f"{RUN}.0.1.2.log", f"{RUN}.0.{START_NS}.{START_NS}.rest"])
def test_other_names_are_none_of_ours(name):
    assert parse_name(name) is None
