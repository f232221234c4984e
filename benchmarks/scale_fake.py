"""A job of 1,000 pods and 10,000 suspended jobs: what commands ask of the API server, their time and memory.

The API server is a process beside: an HTTP server that holds the objects and pages lists as the real one does
(limit, continue, label and field selectors). It makes no admission and no watch events, and no network lies
between, so times are the client's own. Objects have the fields and about the sizes that Kubernetes 1.34 with
the training operator gives them, managed fields included.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

from launcher.names import RUN_ID_LABEL
from launcher.plan.handle import Handle
from launcher.runs.record import RunRecord, Stage, format_record

WORKERS, SUSPENDED, NODES = 1000, 10_000, 250
NAMESPACE, BIG = "ml", "big"
STARTED = "2026-01-02T03:04:05Z"
LINES = 200
COMMANDS = {
    "status of 1,000 pods": ("status", BIG),
    "status of one suspended job": ("status", "job-00001"),
    "why, 1,000 pods running": ("why", BIG),
    f"logs of 1,000 pods, {LINES} lines each": ("logs", BIG),
    "events": ("events", BIG),
    "list, 20 newest of 10,001": ("list", "-n", "20"),
    "list of 10,001 jobs": ("list",),
    "list --all of 10,001 jobs, 1,000 pods": ("list", "--all"),
    "top over them and 250 nodes": ("top",),
}


def main() -> None:
    ready: Any = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(ready,), daemon=True)
    server.start()
    url = ready.get()
    with tempfile.TemporaryDirectory() as folder:
        prepare(Path(folder), url)
        for title, argv in COMMANDS.items():
            print(f"{title:42}  {call(argv, url)}", flush=True)
    server.terminate()


def prepare(folder: Path, url: str) -> None:
    """Write a kubeconfig and the records of 10,001 submits."""
    write_kubeconfig(folder, url)
    for index, name in enumerate([*(name_of(index) for index in range(SUSPENDED)), BIG]):
        record = RunRecord(
            handle=Handle(backend="kubernetes", namespace=NAMESPACE, job=name), run_id=f"{index:032x}",
            stage=Stage.SUBMITTED, project=str(Path.cwd()), config="cfg.yaml", command=("submit",),
            created_s=1e9 + index, context="scale",
        )  # fmt: skip
        run = folder / "runs" / name
        run.mkdir(parents=True)
        (run / "record.json").write_text(format_record(record))


@dataclass(frozen=True, kw_only=True, slots=True)
class Used:
    """What a command has taken.

    Attributes:
        requests, answered_bytes: Of the API server.
        cpu_s: User and system time.
        memory_mib: At most, resident.
    """

    requests: int
    answered_bytes: int
    wall_s: float
    cpu_s: float
    memory_mib: float
    has_failed: bool

    def __str__(self) -> str:
        return (
            f"{self.requests:5} requests  {self.answered_bytes / 1e6:7.2f} MB  {self.wall_s:6.1f} s  "
            f"{self.cpu_s:6.2f} s CPU  {self.memory_mib:5.0f} MiB{'  FAILED' if self.has_failed else ''}"
        )


def call(argv: Sequence[str], url: str) -> Used:
    """Run a command of the launcher, its output thrown away."""
    urlopen(f"{url}/_count").read()
    began_s = time.perf_counter()
    silent = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_WRONLY, 0) for stream in (1, 2)]
    command = [sys.executable, "-m", "launcher", *argv]
    pid = os.posix_spawn(sys.executable, command, os.environ, file_actions=silent)
    _, status, used = os.wait4(pid, 0)
    wall_s = time.perf_counter() - began_s
    asked = json.loads(urlopen(f"{url}/_count").read())
    return Used(
        requests=asked["requests"], answered_bytes=asked["bytes"], wall_s=wall_s,
        cpu_s=used.ru_utime + used.ru_stime, memory_mib=used.ru_maxrss / 1024,
        has_failed=os.waitstatus_to_exitcode(status) != 0,
    )  # fmt: skip


def write_kubeconfig(folder: Path, url: str) -> None:
    """Have commands ask this server, with their state in a folder."""
    config = {
        "current-context": "scale", "clusters": [{"name": "c", "cluster": {"server": url}}],
        "contexts": [{"name": "scale", "context": {"cluster": "c", "namespace": NAMESPACE}}],
    }  # fmt: skip
    (folder / "kubeconfig").write_text(json.dumps(config))
    os.environ |= {"KUBECONFIG": str(folder / "kubeconfig"), "FTLAUNCH_STATE": str(folder)}


def name_of(index: int) -> str:
    return f"job-{index:05}"


def metadata(name: str, index: int, **more: Any) -> dict[str, Any]:
    fields = {f"f:field-{number}": {"f:inner": {}, ".": {}} for number in range(40)}
    return {
        "name": name, "namespace": NAMESPACE, "uid": f"uid-{name}", "resourceVersion": str(index),
        "creationTimestamp": STARTED, "generation": 1,
        "managedFields": [
            {"manager": manager, "operation": "Update", "time": STARTED, "fieldsV1": fields}
            for manager in ("ftlaunch", "manager")
        ],
        **more,
    }  # fmt: skip


def template() -> dict[str, Any]:
    mounts = [{"name": f"volume-{number}", "mountPath": f"/volume-{number}"} for number in range(7)]
    container = {
        "name": "paddle", "image": "registry.example/team/ftlaunch-trainer:1.0-gpu", "volumeMounts": mounts,
        "command": ["python", "-m", "trainer.node", "--", "train", "-c", "/etc/ftlaunch/cfg.yaml"],
        "env": [{"name": f"VARIABLE_{number}", "value": "value" * 4} for number in range(12)],
        "resources": {"limits": {"nvidia.com/gpu": 8, "cpu": "64", "memory": "512Gi"}},
    }  # fmt: skip
    volumes = [{"name": mount["name"], "emptyDir": {}} for mount in mounts]
    return {"spec": {"containers": [container], "volumes": volumes, "restartPolicy": "OnFailure"}}


def job(name: str, index: int, *, replicas: int, suspend: bool) -> dict[str, Any]:
    kind, reason = ("Suspended", "PaddleJobSuspended") if suspend else ("Running", "PaddleJobRunning")
    labels = {RUN_ID_LABEL: f"{index:032x}", "app.kubernetes.io/managed-by": "ftlaunch"}
    return {
        "apiVersion": "kubeflow.org/v1", "kind": "PaddleJob",
        "metadata": metadata(name, index, labels=labels),
        "spec": {
            "runPolicy": {"cleanPodPolicy": "None", "suspend": suspend},
            "paddleReplicaSpecs": {
                "Worker": {"replicas": replicas, "restartPolicy": "ExitCode", "template": template()}
            },
        },
        "status": {"conditions": [{
            "type": kind, "status": "True", "reason": reason, "lastTransitionTime": STARTED, "message": kind,
        }], "startTime": STARTED},
    }  # fmt: skip


def pod(index: int) -> dict[str, Any]:
    name = f"{BIG}-worker-{index}"
    labels = {
        RUN_ID_LABEL: f"{SUSPENDED:032x}", "training.kubeflow.org/job-name": BIG,
        "training.kubeflow.org/replica-index": str(index), "training.kubeflow.org/replica-type": "worker",
    }  # fmt: skip
    owner = {"apiVersion": "kubeflow.org/v1", "kind": "PaddleJob", "name": BIG, "uid": f"uid-{BIG}"}
    state = {
        "name": "paddle", "ready": True, "restartCount": 0, "started": True,
        "state": {"running": {"startedAt": STARTED}}, "lastState": {}, "image": "trainer",
        "imageID": "sha256:0", "containerID": f"containerd://{index}",
    }  # fmt: skip
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": STARTED}
        for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    return {
        "apiVersion": "v1", "kind": "Pod",
        "metadata": metadata(name, index, labels=labels, ownerReferences=[owner]),
        "spec": {**template()["spec"], "nodeName": f"node-{index % NODES}"},
        "status": {
            "phase": "Running", "startTime": STARTED, "containerStatuses": [state], "conditions": conditions,
        },
    }  # fmt: skip


def event(index: int) -> dict[str, Any]:
    return {
        "metadata": metadata(f"event-{index}", index), "type": "Normal", "reason": "Started",
        "message": "Started container paddle", "count": 1, "lastTimestamp": STARTED,
        "involvedObject": {"kind": "Pod", "name": f"{BIG}-worker-{index}", "uid": f"uid-{index}"},
    }  # fmt: skip


def node(index: int) -> dict[str, Any]:
    room = {"cpu": "128", "memory": "1Ti", "nvidia.com/gpu": "8", "pods": "110"}
    return {
        "metadata": metadata(f"node-{index}", index, labels={"kubernetes.io/hostname": f"node-{index}"}),
        "spec": {}, "status": {"allocatable": room, "capacity": room,
                               "conditions": [{"type": "Ready", "status": "True"}]},
    }  # fmt: skip


def serve(ready: Any) -> None:
    """Hold everything of this benchmark and answer."""
    jobs = [job(name_of(index), index, replicas=1, suspend=True) for index in range(SUSPENDED)]
    jobs.append(job(BIG, SUSPENDED, replicas=WORKERS, suspend=False))
    lists = {
        "paddlejobs": jobs, "pods": [pod(index) for index in range(WORKERS)],
        "events": [event(index) for index in range(WORKERS)],
        "nodes": [node(index) for index in range(NODES)],
    }  # fmt: skip
    log = b"".join(b"2026-01-02T03:04:05.%09dZ [a1 r0] line %d\n" % (n, n) for n in range(LINES))
    serve_lists(ready, lists, log=log)


def serve_lists(ready: Any, lists: dict[str, list[dict[str, Any]]], *, log: bytes = b"") -> None:
    """Answer as an API server would; what is not known is 404, as on a cluster without it.

    Args:
        ready: A queue that is given the URL; its `/_count` tells requests and bytes since it was last asked.
        lists: Objects by the plural of their kind.
        log: Of every pod.
    """
    kept = {kind: [(item, json.dumps(item).encode()) for item in items] for kind, items in lists.items()}
    by_name = {(kind, item["metadata"]["name"]): data for kind, items in kept.items() for item, data in items}
    kinds = json.dumps({"resources": [{"name": name} for name in kept]}).encode()
    count = {"requests": 0, "bytes": 0}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = 1 << 20

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            query = {key: values[0] for key, values in parse_qs(url.query).items()}
            if url.path == "/_count":
                self.answer(json.dumps(count).encode())
                count.update(requests=0, bytes=0)
                return
            count["requests"] += 1
            *_, kind, last = url.path.rstrip("/").split("/")
            if last == "log":
                self.answer(log)
            elif last in kept:
                self.answer(page(kept[last], query))
            elif (kind, last) in by_name:
                self.answer(by_name[kind, last])
            elif last == "v1":
                self.answer(kinds)
            else:
                self.answer(b'{"kind": "Status", "message": "not found"}', code=404)

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            count["requests"] += 1
            self.answer(b'{"kind": "Status", "message": "not found"}', code=404)

        def answer(self, body: bytes, *, code: int = 200) -> None:
            count["bytes"] += len(body)
            self.send_response(code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    class Server(ThreadingHTTPServer):
        request_queue_size = 2048
        daemon_threads = True

    server = Server(("127.0.0.1", 0), Handler)
    ready.put(f"http://127.0.0.1:{server.server_port}")
    server.serve_forever()


def page(items: list[tuple[dict[str, Any], bytes]], query: dict[str, str]) -> bytes:
    found = [data for item, data in items if matches(item, query.get("labelSelector", ""))]
    found = [] if "type=Warning" in query.get("fieldSelector", "") else found
    begin, limit = int(query.get("continue", "0")), int(query.get("limit", "0")) or len(found)
    more = f'"continue": "{begin + limit}"' if begin + limit < len(found) else ""
    return b'{"metadata": {%s}, "items": [%s]}' % (more.encode(), b",".join(found[begin : begin + limit]))


def matches(item: dict[str, Any], selector: str) -> bool:
    labels = item["metadata"].get("labels") or {}
    key, among, values = selector.partition(" in (")
    if among:
        return labels.get(key) in values.rstrip(")").split(",")
    return all(
        labels.get(key) == value if mark else key in labels
        for key, mark, value in (part.partition("=") for part in selector.split(",") if part)
    )


if __name__ == "__main__":
    main()
