"""What all that observes a job takes: kept logs, trackers, metrics, messages, progress in the job object.

    python -m benchmarks.bench_observers [--rounds 3] [--seconds 40]

A real node process in turn with nothing that observes, its log not even kept, and with all of it: the
annotations of a job object over TLS, a webhook, TensorBoard and MLflow at an address that never answers, and
metrics that are read every second (Prometheus usually reads every 15). Its rank is a stand-in that prints a
line a step, 20 steps a second, and computes nothing: none of the observers runs in a rank, so what they take
of a step is what they take of the processors beside it. The processor's time is that of /proc, which a
machine that others use tells too; the steps' pace is beside it. That real weights are the same bits is held
by `tests/e2e/test_trackers.py`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import ssl
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.bench_trackers import swallow
from tests.launcher.kube.api_server import AUTHORITY, ApiServer
from tests.trainer.node.conftest import Job, NodeProcess, free_port, wait_for
from trainer.protocol.log_files import DEFAULT_BYTES
from trainer.protocol.nodefile import JobObject, Notify
from trainer.protocol.tracking import Target, Track

_TICKS = os.sysconf("SC_CLK_TCK")
_STEP_S, _SETTLE_S = 0.05, 40.0
"""A step's pause; what trackers may take to be loaded."""
_USUAL = {"watch_s": 0.05, "poll_s": 1.0, "report_s": 30.0, "say_s": 10.0, "ping_s": 5.0, "beat_s": 15.0}


@dataclass(frozen=True, kw_only=True)
class Shares:
    """What was seen of a job.

    Attributes:
        node: Share of one processor of the node process.
        trackers: Of the trackers' processes.
        rank: Of the rank.
        steps_per_s: The rank's pace.
    """

    node: float
    trackers: float
    rank: float
    steps_per_s: float


def seconds_of(job: Job, node: NodeProcess) -> dict[str, float]:
    """Return the processor's seconds of a node process, its trackers and its rank."""
    found = dict.fromkeys(("node", "trackers", "rank"), 0.0)
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, IndexError):
            if not entry.name.isdigit() or str(job.folder).encode() not in (entry / "environ").read_bytes():
                continue
            command = (entry / "cmdline").read_bytes()
            is_rank = b"standin.py" in command
            name = "node" if int(entry.name) == node.process.pid else "rank" if is_rank else "trackers"
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            found[name] += (int(fields[11]) + int(fields[12])) / _TICKS
    return found


def measure(job: Job, *, env: dict[str, str], mapped: dict[str, str], port: int, seconds: float) -> Shares:
    """Run a job, and look at its processes over that many seconds."""
    job.pace.update(_USUAL)
    (node,) = job.start(0, plan={"steps": 10**6, "step_s": _STEP_S}, env=env, mapped=mapped)
    wait_for(lambda: "rank 0 step " in node.text, timeout_s=300.0, what="the first step")
    with (job.output / "metrics.jsonl").open("w") as file:
        for step in range(1, 2001):
            row = {"event": "step", "step": step, "epoch": 1, "loss": 1.0}
            file.write(json.dumps(row) + "\n")
    time.sleep(_SETTLE_S)
    before, steps, began_s = seconds_of(job, node), node.text.count("rank 0 step "), time.monotonic()
    while time.monotonic() - began_s < seconds:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=1).read()
        time.sleep(1)
    took_s, after = time.monotonic() - began_s, seconds_of(job, node)
    shares = {name: (after[name] - before[name]) / took_s for name in after}
    pace = (node.text.count("rank 0 step ") - steps) / took_s
    job.close()
    return Shares(**shares, steps_per_s=pace)


@contextlib.contextmanager
def observers(folder: Path) -> Iterator[tuple[dict[str, Any], dict[str, str], dict[str, str], int]]:
    """Give settings of node.json, variables and mounts that switch all on, and the port of the metrics."""
    silent = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=swallow, args=(silent,), daemon=True).start()
    context, port = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), free_port()
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    AUTHORITY.cert_pem.write_to_path(str(folder / "ca.crt"))
    (folder / "token").write_text("t")
    (folder / "namespace").write_text("ml")
    with ApiServer(tls=context) as api, ApiServer() as webhook:
        (folder / "addresses").write_text(f"webhook {webhook.url}/said secret\n")
        host, _, api_port = api.url.removeprefix("https://").partition(":")
        mlflow = {"uri": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        targets = (Target(tracker="tensorboard"), Target(tracker="mlflow", settings=mlflow))
        settings = {
            "track": Track(targets=targets), "metrics_port": port, "keep_logs_bytes": DEFAULT_BYTES,
            "notify": Notify(file="/secrets/addresses"),
            "publish": JobObject(api="kubeflow.org/v1", resource="paddlejobs"),
        }  # fmt: skip
        environ = {
            "KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": api_port,
            "no_proxy": "127.0.0.1",  # tests have a proxy that is nowhere
        }  # fmt: skip
        mapped = {"/secrets/addresses": str(folder / "addresses"), "/etc/ftlaunch-api": str(folder)}
        yield settings, environ, mapped, port
        assert api.asked, "nothing was published"
        assert webhook.asked, "nobody was told"


def main() -> None:
    """Print a line a job, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=40.0)
    args = parser.parse_args()
    seen: dict[str, list[Shares]] = {"none": [], "all": []}
    with tempfile.TemporaryDirectory(prefix="ftlaunch-bench-") as name, observers(Path(name)) as given:
        settings, environ, mapped, port = given
        for number in range(args.rounds):
            for kind in seen if number % 2 == 0 else reversed(seen):
                folder = Path(name) / f"{kind}{number}"
                folder.mkdir()
                on = settings if kind == "all" else {}
                job = Job(folder, nodes=1, procs_per_node=1, **on)
                found = measure(job, env=environ, mapped=mapped, port=port, seconds=args.seconds)
                seen[kind].append(found)
                print(
                    f"{folder.name}: of one processor {100 * found.node:.2f} % the node process, "
                    f"{100 * found.trackers:.2f} % the trackers, {100 * found.rank:.2f} % the rank; "
                    f"{found.steps_per_s:.2f} steps a second",
                    flush=True,
                )
    for part in ("node", "trackers", "rank", "steps_per_s"):
        plain, observed = (statistics.mean(getattr(one, part) for one in seen[kind]) for kind in seen)
        ratio = f", a ratio of {observed / plain:.3f}" if plain else ""
        print(f"{part}: {plain:.4f} without, {observed:.4f} with all{ratio}")


if __name__ == "__main__":
    main()
