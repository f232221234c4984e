"""Following many pods' logs over TLS: lines a second, against a bare pump that only splits and prefixes lines.

The server is a process of its own on the last core, with every answer rendered beforehand; the client has the
first core to itself. Needs `openssl`. The whole of the follower is measured: looks, heartbeats, tags, overlap,
merging, showing to /dev/null.
"""

# ruff: noqa: ARG002, PLW1509, E501
from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

from launcher.backends.kubernetes.logsource import KubernetesLogSource
from launcher.kube.asking import Asker
from launcher.kube.client import Way
from launcher.kube.wire import Wire
from launcher.logs.choose import Wanted
from launcher.logs.follow import Follower
from launcher.logs.lines import format_stamp
from launcher.logs.present import Form
from launcher.logs.shape import Shaper
from launcher.plan.handle import Handle

CASES = [tuple(map(int, case.split(","))) for case in sys.argv[1:] if "," in case] or [
    (64, 6000, 50),
    (512, 800, 50),
    (64, 800, 1),
]
START_NS = 1_790_000_000_000_000_000
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def render(pod: int, lines: int, batch: int) -> list[bytes]:
    """One pod's answer: a piece is what the server writes at once."""
    pieces = []
    for first in range(0, lines, batch):
        text = b"".join(
            format_stamp(START_NS + number * 1_234_567)
            + b" [a1 r%d] INFO step=%06d loss=2.345678 top1=0.71234 lr=0.1 img/s=12345.6 eta=01:02:03\n" % (pod, number)
            for number in range(first, min(first + batch, lines))
        )  # fmt: skip
        pieces.append(b"%x\r\n%s\r\n" % (len(text), text))
    return pieces


async def serve(folder: Path, pods: int, lines: int, batch: int) -> None:
    answers = [render(pod, lines, batch) for pod in range(pods)]
    ended: set[int] = set()

    def describe() -> dict[str, object]:
        items = [
            {
                "metadata": {
                    "name": f"job-worker-{pod}", "uid": f"u{pod}", "ownerReferences": [{"uid": "job"}],
                    "labels": {"training.kubeflow.org/replica-index": str(pod)},
                },
                "spec": {"nodeName": "m"},
                "status": {"phase": "Running", "containerStatuses": [
                    {"name": "paddle", "restartCount": 0, "state": {"terminated" if pod in ended else "running": {}}}
                ]},
            }
            for pod in range(pods)
        ]  # fmt: skip
        return {"items": items}

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            request = (await reader.readuntil(b"\r\n\r\n")).decode()
            path = request.split(" ")[1]
            if "/log?" in path:
                pod = int(path.partition("-worker-")[2].partition("/")[0])
                writer.write(HEAD)
                for piece in answers[pod] if "sinceTime" not in path else answers[pod][-1:]:
                    writer.write(piece)
                    await writer.drain()
                ended.add(pod)
                writer.write(b"0\r\n\r\n")
            else:
                kind = "Succeeded" if len(ended) == pods else "Running"
                job = {
                    "metadata": {"name": "job", "namespace": "ml", "uid": "job"},
                    "spec": {"paddleReplicaSpecs": {"Worker": {"replicas": pods}}},
                    "status": {"conditions": [{"type": kind, "status": "True"}]},
                }
                body = json.dumps(job if path.endswith("/job?") else describe()).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            await writer.drain()
            writer.close()
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context, backlog=1024)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


class Cluster:
    """What `Asker` takes for a client."""

    context = "bench"

    def __init__(self, folder: Path, port: int) -> None:
        configuration = SimpleNamespace(
            host=f"https://localhost:{port}", ssl_ca_cert=str(folder / "cert.pem"), verify_ssl=True,
            cert_file=None, key_file=None, assert_hostname=None, tls_server_name=None,
        )  # fmt: skip
        self.way = Way(configuration=configuration, headers=lambda: {"Authorization": "Bearer t"})


class Pump:
    """The limit: lines are split, prefixed and written, and that is all."""

    def __init__(self, out, pod: int, left: list[int], ended: asyncio.Event) -> None:
        self.out, self.prefix, self.left, self.ended = out, b"[rank %d] " % pod, left, ended
        self.rest, self.lines = b"", 0

    def head(self, status: int, headers: dict[str, str]) -> None:
        assert status == 200

    def body(self, piece: bytes) -> None:
        lines = (self.rest + piece).split(b"\n")
        self.rest = lines.pop()
        self.lines += len(lines)
        self.out.write(b"".join([self.prefix + line[31:] + b"\n" for line in lines]))

    def done(self, error: Exception | None) -> None:
        self.left[0] -= 1
        if not self.left[0]:
            self.ended.set()


async def pump(cluster: Cluster, pods: int) -> int:
    asker, left, ended = Asker(cluster, reconnect=lambda: cluster), [pods], asyncio.Event()
    with open(os.devnull, "wb", buffering=0) as out:  # noqa: PTH123 - unbuffered
        pumps = [Pump(out, pod, left, ended) for pod in range(pods)]
        for pod, one in enumerate(pumps):
            asker._send(f"/api/v1/namespaces/ml/pods/job-worker-{pod}/log", {"follow": "true"}, one)
        await ended.wait()
    return sum(one.lines for one in pumps)


async def follow(cluster: Cluster, pods: int) -> tuple[int, float, float]:
    """Return lines, seconds until the last line, seconds until all streams stood."""
    asker, count = Asker(cluster, reconnect=lambda: cluster), [0, 0.0, 0, 0.0]
    began_s = time.perf_counter()
    made = Wire.connection_made

    def connected(wire: Wire, transport: asyncio.BaseTransport) -> None:
        count[2] += 1
        if count[2] == pods + 2:  # two looks come first
            count[3] = time.perf_counter() - began_s
        made(wire, transport)

    Wire.connection_made = connected
    with open(os.devnull, "wb", buffering=0) as out:  # noqa: PTH123 - unbuffered

        def show(lines: list[bytes]) -> None:
            if lines:
                count[0] += len(lines)
                count[1] = time.perf_counter() - began_s
                out.write(b"\n".join(lines) + b"\n")

        source = KubernetesLogSource(asker, Handle(backend="kubernetes", namespace="ml", job="job"))
        shaped = [Shaper(node=pod, wanted=Wanted(), form=Form()) for pod in range(pods)]
        await Follower(
            source, show=show, say=print, shaper=shaped.__getitem__, recording=None, follow=True,
            draw=random.Random(1),
        ).run()  # fmt: skip
    return count[0], count[1], count[3]


def measure(folder: Path, what: str, pods: int, lines: int, batch: int) -> None:
    cores = sorted(os.sched_getaffinity(0))
    server = subprocess.Popen(
        [sys.executable, __file__, "serve", str(folder), str(pods), str(lines), str(batch)],
        stdout=subprocess.PIPE, text=True, preexec_fn=lambda: os.sched_setaffinity(0, {cores[-1]}),
    )  # fmt: skip
    try:
        port = server.stdout.readline().strip()
        client = [sys.executable, __file__, what, str(folder), port, str(pods)]
        subprocess.run(client, check=True, preexec_fn=lambda: os.sched_setaffinity(0, {cores[0]}))
    finally:
        server.kill()
        server.wait()


def main() -> None:
    if sys.argv[1:2] == ["serve"]:
        asyncio.run(serve(Path(sys.argv[2]), *map(int, sys.argv[3:6])))
        return
    if sys.argv[1:2] in (["pump"], ["follow"]):
        cluster, pods = Cluster(Path(sys.argv[2]), int(sys.argv[3])), int(sys.argv[4])
        began_s, attached = time.perf_counter(), ""
        if sys.argv[1] == "pump":
            count = asyncio.run(pump(cluster, pods))
            passed_s = time.perf_counter() - began_s
        else:
            count, passed_s, attached_s = asyncio.run(follow(cluster, pods))
            attached = f", connected in {attached_s:.2f} s"
        size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"  {sys.argv[1]:7s}{count:9,d} lines {count / passed_s:11,.0f} lines/s, {size:.0f} MB{attached}",
            flush=True,
        )
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
             "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True,
        )  # fmt: skip
        for pods, lines, batch in CASES:
            print(f"{pods} pods, {lines} lines each, {batch} a write")
            for what in ("pump", "follow"):
                measure(folder, what, pods, lines, batch)


if __name__ == "__main__":
    main()
