"""A state machine of what can happen to a job while its logs are followed."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from launcher.backends.kubernetes.logsource import KubernetesLogSource
from launcher.kube.async_client import AsyncClient
from launcher.logs.follow import Follower
from launcher.logs.gaps import Filling, GapFiller, LogGap, choose_filling
from launcher.logs.log_filter import LogFilter
from launcher.logs.log_format import Formatter, LogFormat
from launcher.logs.recording import Recording
from launcher.logs.source import Snapshot
from launcher.plan.handle import Handle
from launcher.times import STAMP_BYTES, format_stamp, parse_instant
from tests.fakes.log_server import JOB, FakeLogServer, Log
from tests.fakes.virtual_time import VirtualTimeLoop

NODES = 2
HANDLE = Handle(backend="kubernetes", namespace="ml", job=JOB)


class Source(KubernetesLogSource):
    """The real source; credentials are renewed at the fake server."""

    server: FakeLogServer

    def __init__(self, async_client: AsyncClient, handle: Handle) -> None:
        super().__init__(async_client, handle)
        self.seen: set[tuple[str, int]] = set()

    async def snapshot(self) -> Snapshot:
        found = await super().snapshot()
        for pod in found.pods:
            self.seen |= {(one.uid, one.restarts) for one in (*pod.earlier, pod.container)}
        return found

    async def renew(self, refused: object) -> None:
        await asyncio.sleep(0.5)
        self.server.client_token = self.server.token


class SpyFormatter(Formatter):
    def __init__(self, server: FakeLogServer, node: int) -> None:
        super().__init__(node=node, log_filter=LogFilter(), form=LogFormat())
        self._given = server.given[node]

    def format_lines(self, lines: list[bytes]) -> list[bytes]:
        self._given.extend(line.partition(b"] ")[2] for line in lines)
        return super().format_lines(lines)


class Viewer:
    """`ftlaunch logs -f` against a fake server, in virtual time."""

    def __init__(
        self, server: FakeLogServer, *, seed: int, folder: Path | None = None, follow: bool = True,
        previous_only: bool = False, filler: GapFiller | None = None,
    ) -> None:  # fmt: skip
        self.shown: list[bytes] = []
        self.said: list[str] = []
        async_client = AsyncClient(server, reconnect=lambda: server, dial=server.dial)
        source = Source(async_client, HANDLE)
        source.server = server
        self.source = source
        self.follower = Follower(
            source,
            show=self.shown.extend,
            say=self.said.append,
            formatter=lambda node: SpyFormatter(server, node),
            recording=Recording(folder) if folder is not None else None,
            follow=follow,
            previous_only=previous_only,
            filler=filler,
            draw=random.Random(seed),
        )

    def of(self, node: int) -> list[bytes]:
        mark = b"[rank %d] " % node
        return [line[len(mark) :] for line in self.shown if line.startswith(mark)]


def misfit(server: FakeLogServer, node: int, shown: list[bytes]) -> str:
    """Say how what was shown differs from what was written; empty where it does not.

    Only lines that the node had dropped before they were read may be missing.
    """
    places = {0}  # in what was shown; several where equal lines may be missing
    for number, (text, may_miss) in enumerate(server.truth[node]):
        before = places
        places = {at + 1 for at in before if at < len(shown) and shown[at] == text}
        places |= before if may_miss else set()
        if not places:
            at = max(before)
            around = shown[max(0, at - 2) : at + 3]
            return f"node {node}: expected {text!r} (line {number}), got {around} at {at}"
    at = max(places)
    rest = shown[at : at + 3]
    return "" if len(shown) in places else f"node {node}: twice or out of order: {rest} at {at}"


class Schedules(RuleBasedStateMachine):
    """Whatever comes, every line is shown once and in order."""

    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed):
        self.has_rested = False
        self.loop = VirtualTimeLoop()
        asyncio.set_event_loop(self.loop)
        self.server = self.serve(seed)
        self.viewer = self.watch(seed)
        self.following = self.loop.create_task(self.viewer.follower.run())

    def serve(self, seed):
        return FakeLogServer(nodes=NODES, seed=seed)

    def watch(self, seed):
        return Viewer(self.server, seed=seed)

    def act(self, change, *arguments, **options):
        async def within_the_loop():
            change(*arguments, **options)

        self.loop.run_until_complete(within_the_loop())

    @rule(
        node=st.integers(0, 1), count=st.integers(1, 40), step_ns=st.sampled_from([0, 1, 10**6, 10**8, -1000])
    )
    def write(self, node, count, step_ns):
        self.act(self.server.write, node, count, step_ns=step_ns)

    @rule(node=st.integers(0, 1), count=st.integers(0, 3))
    def write_a_part(self, node, count):
        self.act(self.server.write, node, count, part=True)

    @rule(seconds=st.sampled_from([0.01, 0.3, 2.5, 8.0]))
    def wait(self, seconds):
        self.loop.pass_time(seconds)

    @rule(faults=st.lists(st.sampled_from([401, 404, 410, 429, 500, 503, "reset", "silence"]), max_size=4))
    def fail(self, faults):
        for fault in faults:
            if fault != 401 or 401 not in self.server.faults:  # twice in a row means that we are not let in
                self.server.faults.append(fault)

    @rule(error=st.sampled_from([None, ConnectionResetError("reset")]))
    def cut(self, error):
        self.act(self.server.cut, error=error)

    @rule()
    def go_silent(self):
        self.server.silence()

    @rule()
    def expire_the_token(self):
        self.server.expire_token()

    @rule(node=st.integers(0, 1), is_noticed=st.booleans())
    def rotate(self, node, is_noticed):
        self.act(self.server.rotate, node, is_noticed=is_noticed)

    @rule(node=st.integers(0, 1))
    def restart(self, node):
        self.act(self.server.restart, node)

    @rule(node=st.integers(0, 1))
    def recreate(self, node):
        self.act(self.server.recreate, node)

    @rule(node=st.integers(0, 1), seconds=st.sampled_from([-3600, -1, 0, 0.5, 86400]))
    def skew(self, node, seconds):
        pod = self.server.pods[node]
        # a clock that is set back by an hour under way hides what is written meanwhile (docs/logs.md)
        if pod.log.part is None and not pod.log.lines and not self.server.truth[node]:
            pod.skew_ns = int(seconds * 1e9)

    @rule(seconds=st.integers(0, 5))
    def answer_from_earlier_on(self, seconds):
        self.server.early_s = seconds

    @precondition(lambda self: not self.has_rested)
    @rule()
    def come_to_rest(self):
        """Without new faults all that can be read has been read after a while, without the job's end."""
        self.server.faults.clear()
        self.has_rested = True  # once, because that is most of a schedule's time
        self.loop.pass_time(100.0)
        for node, pod in self.server.pods.items():
            given = set(self.server.given[node])
            lines = [text.partition(b"] ")[2] for _, text in pod.log.lines]
            assert [line for line in lines if line not in given] == []

    def teardown(self):
        if not hasattr(self, "loop"):
            return
        try:
            self.finish()
        finally:
            self.following.cancel()
            self.loop.run_until_complete(asyncio.wait({self.following}))
            self.loop.close()
            asyncio.set_event_loop(None)

    def finish(self):
        self.server.faults.clear()
        for node in self.server.pods:
            self.act(self.server.end_container, node)
        self.server.is_over = True
        self.loop.run_until_complete(asyncio.wait_for(self.following, 600.0))
        self.judge()
        for node in range(NODES):
            fault = misfit(self.server, node, self.viewer.of(node))
            assert not fault, fault

    def judge(self):
        """Say which lines may be missing."""


class KeepingServer(FakeLogServer):
    """One whose containers keep a second copy of what they write, as node processes do.

    No two lines are equal: which of two equal ones a rotation has left, where they came within the little
    that the copy's times differ by, neither text nor time can tell, and one may be shown once too often.
    """

    equal = 0.0

    def __init__(self, *, nodes: int, seed: int) -> None:
        self.kept: dict[tuple[str, int], list[bytes]] = {}
        self.rows: dict[int, list[tuple[str, int]]] = {node: [] for node in range(nodes)}
        super().__init__(nodes=nodes, seed=seed)

    def _drop(self, node: int, log: Log, count: int) -> None:
        """Let none be missing."""

    def write(self, node: int, count: int, *, step_ns: int = 1_000_000, part: bool = False) -> None:
        pod, before = self.pods[node], len(self.pods[node].log.lines)
        super().write(node, count, step_ns=step_ns, part=part)
        self._keep(node, pod.log.lines[before:])

    def end_container(self, node: int) -> None:
        pod = self.pods[node]
        if pod.state == "running" and pod.log.part is not None:
            self._keep(node, [pod.log.part])
        super().end_container(node)

    def _keep(self, node: int, lines: list[tuple[int, bytes]]) -> None:
        container = (self.pods[node].uid, self.pods[node].restarts)
        kept = self.kept.setdefault(container, [])
        for stamp, text in lines:
            before = parse_instant(kept[-1][:STAMP_BYTES]) if kept else 0
            # its own time is a little earlier, and never goes back
            own = max(before or 0, stamp - self.draw.randrange(0, 2_000_000))
            kept.append(format_stamp(own) + b" " + text)
            self.rows[node].append(container)


class KeptLines:
    """What a job's output folder has. A `GapFiller`."""

    def __init__(self, server: KeepingServer) -> None:
        self._server = server

    async def fill(self, gap: LogGap) -> Filling:
        await asyncio.sleep(self._server.draw.choice([0.0, 0.2, 3.0]))
        kept = self._server.kept.get((gap.container.uid, gap.container.restarts), [])
        return choose_filling(kept, gap, is_from_start=True)


class KeptSchedules(Schedules):
    """The same, where lines are kept elsewhere too: none is missing of a container that was ever seen."""

    def serve(self, seed):
        return KeepingServer(nodes=NODES, seed=seed)

    def watch(self, seed):
        return Viewer(self.server, seed=seed, filler=KeptLines(self.server))

    @rule(
        node=st.integers(0, 1), count=st.integers(1, 40), step_ns=st.sampled_from([0, 1, 10**6, 10**8, -1000])
    )
    def write(self, node, count, step_ns):
        """Write, and let the time pass that the lines say: no clock is set back under way (docs/logs.md)."""
        self.act(self.server.write, node, count, step_ns=step_ns)
        self.loop.pass_time(max(0.0, count * step_ns / 1e9))

    @rule(node=st.integers(0, 1), before=st.integers(1, 30), after=st.integers(0, 12))
    def rotate_unread(self, node, before, after):
        """Have lines be rotated away while no connection brings them."""
        self.server.silence()
        self.act(self.server.write, node, before)
        self.rotate(node, is_noticed=False)
        self.act(self.server.write, node, after)

    @rule(node=st.integers(0, 1), is_noticed=st.booleans())
    def rotate(self, node, is_noticed):
        """Rotate a log later than within its first seconds, as kubelets do, and between two of its lines.

        A line that a rotation tears apart is a piece with a time of its own in each file; the fake server's
        lines have one time.
        """
        self.loop.pass_time(2.5)
        if self.server.pods[node].log.part is not None:
            self.act(self.server.write, node, 1)  # ends it
        self.act(self.server.rotate, node, is_noticed=is_noticed)

    def judge(self):
        for node, rows in self.server.rows.items():
            for row, container in zip(self.server.truth[node], rows, strict=True):
                row[1] = container not in self.viewer.source.seen
