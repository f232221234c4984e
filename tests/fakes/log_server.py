"""A stateful API server with one job's pods and their logs, at the level of bytes on a connection.

It plays API server, kubelet and container runtime: logs are followed, rotated, cut; containers are restarted
in place and pods made again; connections go silent. `truth` is what the containers wrote. What it does not
know it refuses with 404.
"""

from __future__ import annotations

import asyncio
import calendar
import json
import random
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import parse_qs, urlsplit

from launcher.kube.access import Access
from launcher.kube.endpoint import Endpoint
from launcher.kube.identity import Identity
from launcher.times import format_stamp

BASE_S = 1_790_000_000
JOB = "flowers"


@dataclass(eq=False)
class Log:
    """What the node keeps of one container's log: a file of (nanoseconds, bytes) lines."""

    lines: list[tuple[int, bytes]] = field(default_factory=list)
    part: tuple[int, bytes] | None = None
    dropped: int = 0
    """Lines of the container that rotation has taken away before those of `lines`."""
    newest: int = 0
    """Time of its newest line, rotated away or not."""
    is_level: bool = False
    """All lines since the first of that time have that time, and none was rotated away."""


@dataclass(eq=False)
class FakePod:
    node: int
    uid: str
    restarts: int = 0
    state: str = "running"
    log: Log = field(default_factory=Log)
    previous: Log | None = None
    skew_ns: int = 0
    began_s: float = 0.0
    """When its container began, by the loop's clock; as for the one before it."""
    previous_began_s: float = 0.0
    waiting: dict[str, str] = field(
        default_factory=lambda: {"reason": "ErrImagePull", "message": "no such image"}
    )
    """Why, where its state is `waiting`."""
    unscheduled: str = ""
    """Why it has no node, or empty where it has one."""

    @property
    def name(self) -> str:
        return f"{JOB}-worker-{self.node}"


class FakeTransport(asyncio.Transport):
    """The client's end of a connection."""

    def __init__(self, server: FakeLogServer, protocol: asyncio.BufferedProtocol) -> None:
        super().__init__()
        self.server, self.protocol = server, protocol
        self.is_dead = self.is_paused = self.is_half_open = False
        self.waiting: list[bytes] = []
        self.asked = b""
        self.log: Log | None = None
        self.sent = (0, 0)
        """Of a followed log: whole lines of its present file, and bytes of the line that is being written."""

    def write(self, data: bytes) -> None:
        self.asked += data
        if self.asked.endswith(b"\r\n\r\n"):
            asyncio.get_running_loop().call_soon(self.server.serve, self, self.asked)

    def send(self, data: bytes) -> None:
        """Bring bytes to the client, in pieces of any size."""
        if self.is_dead or self.is_half_open:
            return
        while data:
            size = self.server.draw.choice([1, 7, 64, 1024, 65536])
            self.waiting.append(data[:size])
            data = data[size:]
        self.flush()

    def chunk(self, data: bytes) -> None:
        if data:
            self.send(b"%x\r\n%s\r\n" % (len(data), data))

    def flush(self) -> None:
        while self.waiting and not self.is_paused and not self.is_dead:
            buffer = self.protocol.get_buffer(-1)
            piece, rest = self.waiting[0][: len(buffer)], self.waiting[0][len(buffer) :]
            self.waiting[:1] = [rest] if rest else []
            buffer[: len(piece)] = piece
            self.protocol.buffer_updated(len(piece))

    def lose(self, error: Exception | None = None) -> None:
        if not self.is_dead and not self.is_half_open:
            self.is_dead = True
            self.protocol.connection_lost(error)

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False
        asyncio.get_running_loop().call_soon(self.flush)

    def abort(self) -> None:
        self.is_dead = True

    def is_closing(self) -> bool:
        return self.is_dead


class FakeLogServer:
    """See the module.

    Attributes:
        faults: Of the next requests: an HTTP status, `reset` or `silence`.
        events: What is noted about the pods.
        early_s: By how much answers begin before the time that was asked for.
        truth: By node, what was written: text and whether it may be missing, because the node dropped it
            before it was read.
        given: By node, the texts that the client has read.
        refusal: What the kubelet says at the end of each followed log, where it cannot follow any; the answer
            is otherwise whole.
    """

    equal = 0.1
    """The share of lines that say the same."""

    def __init__(self, *, nodes: int, seed: int) -> None:
        self.draw = random.Random(seed)
        self.pods: dict[int, FakePod] = {}
        self.is_over = False
        self.faults: list[int | str] = []
        self.early_s = 0
        self.events: list[dict[str, object]] = []
        self.token = 0
        self.client_token = 0
        self.truth: dict[int, list[list[object]]] = {node: [] for node in range(nodes)}
        self.given: dict[int, list[bytes]] = {node: [] for node in range(nodes)}
        self.refusal = b""
        self.connections: list[FakeTransport] = []
        self.requests = 0
        self._serial = 0
        for node in range(nodes):
            self.make_pod(node)

    # what the client needs

    @property
    def context(self) -> str:
        return "fake"

    @property
    def access(self) -> Access:
        identity = Identity(fields=lambda: (("Authorization", f"Bearer {self.client_token}"),))
        return Access(
            endpoint=Endpoint(url="http://cluster"), identity=identity, namespace="ml", context="fake"
        )

    async def dial(self, make) -> None:
        protocol = make()
        transport = FakeTransport(self, protocol)
        self.connections.append(transport)
        protocol.connection_made(transport)

    # what a test does

    def make_pod(self, node: int, *, state: str = "running") -> None:
        self._serial += 1
        skew_ns = self.pods[node].skew_ns if node in self.pods else 0
        self.pods[node] = FakePod(
            node=node, uid=f"uid{self._serial}", state=state, skew_ns=skew_ns, began_s=_now_s()
        )

    def write(self, node: int, count: int, *, step_ns: int = 1_000_000, part: bool = False) -> None:
        """Let a running container write numbered lines; with `part` a piece of one more."""
        pod = self.pods[node]
        if pod.state != "running":
            return
        log, truth = pod.log, self.truth[node]
        now_ns = int((BASE_S + asyncio.get_running_loop().time()) * 1e9) + pod.skew_ns
        for number in range(count):
            if log.part is not None:
                stamp, text = log.part
                log.part = None
                text += b" end"
            else:
                stamp, text = now_ns + number * step_ns, b"[a1 r%d] line %d" % (node, len(truth))
                # no clock comes back to the same nanosecond with the same words, nor does a rotation part two
                is_later = stamp > log.newest or (stamp == log.newest and log.is_level)
                if self.draw.random() < self.equal and truth and is_later:
                    text = b"[a1 r%d] the same" % node
            log.is_level = stamp > log.newest or (stamp == log.newest and log.is_level)
            log.newest = max(log.newest, stamp)
            log.lines.append((stamp, text))
            truth.append([text.partition(b"] ")[2], False])
        if part and log.part is None:
            log.part = now_ns + count * step_ns, b"[a1 r%d] line %d begun" % (node, len(truth))
        self.push(log)

    def end_container(self, node: int) -> None:
        pod = self.pods[node]
        if pod.state != "running":
            return
        if pod.log.part is not None:  # its last words lack a newline
            self.truth[node].append([pod.log.part[1].partition(b"] ")[2], False])
        pod.state = "terminated"
        self.push(pod.log)
        for connection in self._following(pod.log):
            connection.send(b"0\r\n\r\n")
            connection.log = None

    def restart(self, node: int) -> None:
        """Let the kubelet start the container again in its pod; it keeps one earlier log."""
        pod = self.pods[node]
        self.end_container(node)
        if pod.previous is not None:
            self._drop(node, pod.previous, len(pod.previous.lines))
        pod.previous, pod.log, pod.state = pod.log, Log(), "running"
        pod.previous_began_s, pod.began_s = pod.began_s, _now_s()
        pod.restarts += 1

    def recreate(self, node: int) -> None:
        pod = self.pods[node]
        self.end_container(node)
        for log in (pod.previous, pod.log):
            if log is not None:
                self._drop(node, log, len(log.lines))
        self.make_pod(node)

    def rotate(self, node: int, *, is_noticed: bool) -> None:
        """Begin a new file; where the kubelet does not notice it, followers hear nothing ever again."""
        log = self.pods[node].log
        if not is_noticed:
            for connection in self._following(log):
                connection.log = None
        self._drop(node, log, len(log.lines))
        log.dropped += len(log.lines)
        for connection in self._following(log):
            connection.sent = (0, connection.sent[1])
        log.lines, log.is_level = [], False

    def cut(self, *, error: Exception | None) -> None:
        """Break all connections, perhaps in the middle of a line and of a chunk."""
        for connection in self.connections:
            if connection.log is not None:
                if self.draw.random() < 0.5:
                    connection.send(b"40\r\n2026-01-01T00:00:00.0000000")
                connection.lose(error)

    def silence(self) -> None:
        """Make all connections half-open."""
        for connection in self.connections:
            connection.is_half_open = True

    def note(self, node: int, reason: str, message: str, *, kind: str = "Warning") -> None:
        """Write an event about a pod."""
        moment = f"2026-11-01T00:{len(self.events):02d}:00Z"
        self.events.append({
            "type": kind, "reason": reason, "message": message, "lastTimestamp": moment,
            "metadata": {"creationTimestamp": moment},
            "involvedObject": {"name": self.pods[node].name, "uid": self.pods[node].uid},
        })  # fmt: skip

    def expire_token(self) -> None:
        self.token += 1

    # how it works

    def _drop(self, node: int, log: Log, count: int) -> None:
        read = set(self.given[node])
        gone = {text.partition(b"] ")[2] for _, text in log.lines[:count]}
        if log.part is not None:
            gone.add(log.part[1].partition(b"] ")[2])
        for row in self.truth[node]:
            if row[0] in gone and (row[0] not in read or row[0] == b"the same"):
                row[1] = True

    def _following(self, log: Log) -> list[FakeTransport]:
        self.connections = [item for item in self.connections if not item.is_dead]
        return [item for item in self.connections if item.log is log]

    def _text(self, log: Log, *, since_ns: int = 0, tail: int | None = None) -> bytes:
        lines = [(stamp, text + b"\n") for stamp, text in log.lines]
        if log.part is not None:
            lines.append(log.part)
        kept = [self._stamp(stamp) + b" " + text for stamp, text in lines if stamp >= since_ns]
        return b"".join(kept if tail is None else kept[-tail:])

    def _stamp(self, stamp: int) -> bytes:
        text = format_stamp(stamp)
        return text if self.draw.random() < 0.9 or text[20:29] == b"0" * 9 else text[:-1].rstrip(b"0") + b"Z"

    def push(self, log: Log) -> None:
        """Bring what is new to those who follow a log."""
        for connection in self._following(log):
            connection.chunk(self._news(connection, log))

    def _news(self, connection: FakeTransport, log: Log) -> bytes:
        """Count in lines and bytes of the last part: an answer's times are written once only."""
        out = bytearray()
        done, of_part = connection.sent
        for stamp, text in log.lines[done:]:
            out += text[of_part:] + b"\n" if of_part else self._stamp(stamp) + b" " + text + b"\n"
            of_part = 0
        if log.part is not None:
            stamp, text = log.part
            out += text[of_part:] if of_part else self._stamp(stamp) + b" " + text
            of_part = len(text)
        connection.sent = (len(log.lines), of_part)
        return bytes(out)

    def serve(self, connection: FakeTransport, request: bytes) -> None:
        if connection.is_dead:
            return
        self.requests += 1
        first, *lines = request.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines if line)
        # nothing but a log is ever said to be gone while it is there
        if self.faults and (self.faults[0] != 404 or "/log?" in first):
            fault = self.faults.pop(0)
            if fault == "silence":
                connection.is_half_open = True
            elif fault == "reset":
                connection.lose(ConnectionResetError("reset"))
            else:
                self._refuse(connection, int(fault))
            return
        if headers["Authorization"] != f"Bearer {self.token}":
            self._refuse(connection, 401)
            return
        url = urlsplit(first.split(" ")[1])
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        if url.path.endswith("/log"):
            self._serve_log(connection, int(url.path.split("/")[-2].rpartition("-")[2]), query)
        elif url.path.endswith(f"/paddlejobs/{JOB}"):
            self._serve_json(connection, self._job())
        elif url.path.endswith("/events"):
            name = query["fieldSelector"].rpartition("=")[2]
            own = [item for item in self.events if item["involvedObject"]["name"] == name]
            self._serve_json(connection, {"items": own})
        elif url.path.endswith("/pods"):
            self._serve_json(connection, {"items": [self._pod(pod) for pod in self.pods.values()]})
        else:
            self._refuse(connection, 404)

    def _refuse(self, connection: FakeTransport, code: int) -> None:
        body = json.dumps({"message": "a fault", "reason": "Fault", "details": {"name": "x"}}).encode()
        after = b"Retry-After: 3\r\n" if code == 429 else b""
        head = b"HTTP/1.1 %d No\r\n%sContent-Length: %d\r\n\r\n" % (code, after, len(body))
        connection.send(head + body)

    def _serve_json(self, connection: FakeTransport, document: dict[str, object]) -> None:
        body = json.dumps(document).encode()
        connection.waiting.append(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        connection.flush()

    def _serve_log(self, connection: FakeTransport, node: int, query: dict[str, str]) -> None:
        pod = self.pods[node]
        log = pod.previous if query.get("previous") else pod.log
        if log is None or (pod.state == "waiting" and not query.get("previous")):
            self._refuse(connection, 400)
            return
        since_ns = 0
        if "sinceTime" in query:
            moment = datetime.strptime(query["sinceTime"], "%Y-%m-%dT%H:%M:%SZ")
            since_ns = (calendar.timegm(moment.timetuple()) - self.early_s) * 1_000_000_000
        connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        tail = int(query["tailLines"]) if "tailLines" in query else None
        connection.chunk(self._text(log, since_ns=since_ns, tail=tail))
        if query.get("follow") and pod.state == "running" and self.refusal:
            connection.chunk(self.refusal)
            connection.send(b"0\r\n\r\n")
        elif query.get("follow") and pod.state == "running":
            connection.log = log
            connection.sent = (len(log.lines), 0 if log.part is None else len(log.part[1]))
            if log.part is not None and log.part[0] < since_ns:
                connection.sent = (len(log.lines), 0)
        else:
            connection.send(b"0\r\n\r\n")

    def _job(self) -> dict[str, object]:
        kind = "Succeeded" if self.is_over else "Running"
        return {
            "metadata": {
                "name": JOB, "namespace": "ml", "uid": "job", "creationTimestamp": "2026-11-01T00:00:00Z",
            },
            "spec": {"paddleReplicaSpecs": {"Worker": {"replicas": len(self.pods)}}},
            "status": {"conditions": [{"type": kind, "status": "True"}]},
        }  # fmt: skip

    def _pod(self, pod: FakePod) -> dict[str, object]:
        state: dict[str, object] = {pod.state: {"startedAt": _instant(pod, pod.began_s)}}
        last = {"terminated": {"startedAt": _instant(pod, pod.previous_began_s)}} if pod.previous else {}
        if pod.state == "waiting":
            state = {"waiting": pod.waiting}
        scheduled = {"type": "PodScheduled", "status": "False" if pod.unscheduled else "True"}
        return {
            "metadata": {
                "name": pod.name, "namespace": "ml", "uid": pod.uid,
                "labels": {"training.kubeflow.org/replica-index": str(pod.node)},
                "ownerReferences": [{"uid": "job"}], "creationTimestamp": "2026-11-01T00:00:00Z",
            },
            "spec": {
                "nodeName": "" if pod.unscheduled else f"machine-{pod.node}",
                "containers": [{"name": "paddle"}],
            },
            "status": {
                "conditions": [{**scheduled, "message": pod.unscheduled}],
                "phase": "Running" if pod.state == "running" else "Pending",
                "containerStatuses": [
                    {"name": "paddle", "restartCount": pod.restarts, "state": state, "lastState": last}
                ],
            },
        }  # fmt: skip


def _now_s() -> float:
    """Return the time of the loop in which the test runs; 0 outside of any."""
    try:
        return asyncio.get_running_loop().time()
    except RuntimeError:
        return 0.0


def _instant(pod: FakePod, at_s: float) -> str:
    """Return an instant of the loop's clock by the clock of the pod's node, in whole seconds."""
    stamp = format_stamp(int(((BASE_S + at_s) * 1e9 + pod.skew_ns) // 1e9 * 1e9))
    return stamp[:19].decode() + "Z"
