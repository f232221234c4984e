"""One client of the log benchmarks, in a process of its own: `log_client.py pump|follow|h11 FOLDER PODS`.

`pump` is the limit: an asyncio protocol for each stream that splits its bytes into lines, takes off their
times, puts a prefix before them and writes them, and that is all. `follow` is the whole follower: looks at
the pods, heartbeats, tags, overlap, merging, the record on disk, lines written to /dev/null. `h11` is the
same with that library's parser in place of ours. Prints JSON.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import ssl
import sys
import time
from pathlib import Path

from go_server import JOB, NAMESPACE

from launcher.backends.kubernetes.logsource import KubernetesLogSource
from launcher.kube.access import Access
from launcher.kube.async_client import AsyncClient
from launcher.kube.endpoint import Endpoint
from launcher.kube.identity import Identity
from launcher.logs.follow import Follower
from launcher.logs.log_filter import LogFilter
from launcher.logs.log_format import Formatter, LogFormat
from launcher.logs.recording import Recording
from launcher.logs.source import LogRequest
from launcher.plan.handle import Handle


class Sink:
    """/dev/null, with a count."""

    def __init__(self) -> None:
        self.file = open(os.devnull, "wb", buffering=0)  # noqa: PTH123, SIM115 - unbuffered, for the process's life
        self.lines, self.last_s, self.cpu_s = 0, 0.0, 0.0

    def write(self, lines: list[bytes]) -> None:
        if lines:
            self.file.write(b"\n".join(lines) + b"\n")
            self.lines += len(lines)
            self.last_s, self.cpu_s = time.perf_counter(), time.process_time()


class Pump(asyncio.Protocol):
    """One stream."""

    def __init__(self, pod: int, sink: Sink, ended: list[asyncio.Future[None]]) -> None:
        self.pod, self.sink, self.ended = pod, sink, ended
        self.prefix = b"[rank %d] " % pod
        self.data = self.rest = b""
        self.has_head = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{JOB}-worker-{self.pod}/log"
        self.transport.write(
            f"GET {path}?follow=true&timestamps=true HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        data, at = self.data + data, 0
        if not self.has_head:
            head, mark, rest = data.partition(b"\r\n\r\n")
            if not mark:
                self.data = data
                return
            assert head.startswith(b"HTTP/1.1 200")
            self.has_head, data = True, rest
        pieces = [self.rest]
        while (end := data.find(b"\r\n", at)) > 0:
            size = int(data[at:end], 16)
            if not size:
                self.transport.close()
                break
            if len(data) < end + size + 4:
                break
            pieces.append(data[end + 2 : end + 2 + size])
            at = end + size + 4
        self.data = data[at:]
        lines = b"".join(pieces).split(b"\n")
        self.rest = lines.pop()
        self.sink.write([self.prefix + line[31:] for line in lines])

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self.ended[self.pod].set_result(None)


async def pump(folder: Path, pods: int, sink: Sink) -> dict[str, float]:
    loop, port = asyncio.get_running_loop(), int((folder / "port").read_text())
    context = ssl.create_default_context(cafile=folder / "certificate")
    ended = [loop.create_future() for _ in range(pods)]
    gate = asyncio.Semaphore(64)

    async def connect(pod: int) -> None:
        async with gate:
            await loop.create_connection(lambda: Pump(pod, sink, ended), "localhost", port, ssl=context)

    began_s = time.perf_counter()
    await asyncio.gather(*map(connect, range(pods)))
    attached_s = time.perf_counter()
    await asyncio.gather(*ended)
    return {"began_s": began_s, "attached_s": attached_s}


class Cluster:
    """What `AsyncClient` takes for a client."""

    context = "bench"

    def __init__(self, folder: Path) -> None:
        endpoint = Endpoint(
            url=f"https://localhost:{(folder / 'port').read_text()}",
            authority=(folder / "certificate").read_text(),
        )
        identity = Identity(fields=lambda: (("Authorization", "Bearer t"),))
        self.access = Access(endpoint=endpoint, identity=identity, namespace=NAMESPACE, context="bench")


class Attached(KubernetesLogSource):
    """The real source, which notes when the last of the followed logs has begun."""

    begun, attached_s = 0, 0.0

    def open(self, ask: LogRequest, receiver):
        if ask.follow:
            begin = receiver.begin

            def count() -> None:
                self.begun += 1
                self.attached_s = time.perf_counter()
                begin()

            receiver.begin = count
        return super().open(ask, receiver)


async def follow_with_h11(folder: Path, pods: int, sink: Sink) -> dict[str, float]:
    from bench_http import H11Parser

    from launcher.kube import stream

    stream.ResponseParser = H11Parser
    return await follow(folder, pods, sink)


async def follow(folder: Path, _: int, sink: Sink) -> dict[str, float]:
    cluster = Cluster(folder)
    async_client = AsyncClient(cluster, reconnect=lambda: cluster)
    source = Attached(async_client, Handle(backend="kubernetes", namespace=NAMESPACE, job=JOB))
    recording = Recording(folder / "logs")
    began_s = time.perf_counter()
    await Follower(
        source, show=sink.write, say=print, follow=True, recording=recording, draw=random.Random(1),
        formatter=lambda node: Formatter(node=node, log_filter=LogFilter(), form=LogFormat()),
    ).run()  # fmt: skip
    recording.close()
    return {"began_s": began_s, "attached_s": source.attached_s, "streams": source.begun}


def main() -> None:
    what, folder, pods = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    sink = Sink()
    cpu_s = time.process_time()
    found = asyncio.run({"pump": pump, "follow": follow, "h11": follow_with_h11}[what](folder, pods, sink))
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({
        "lines": sink.lines, "s": sink.last_s - found["began_s"], "cpu_s": sink.cpu_s - cpu_s,
        "attached_s": found["attached_s"] - found["began_s"], "end_s": time.perf_counter() - found["began_s"],
        "streams": found.get("streams", pods), "mb": usage.ru_maxrss / 1024,
    }))  # fmt: skip


if __name__ == "__main__":
    main()
