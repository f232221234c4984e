"""What all that observes a job costs a step of a real training: its time, the rank's processor, and no bit.

    python -m benchmarks.bench_observed_steps [--epochs 40] [--images 1600] [--batch 8] [--side 32]

Two jobs on this machine (`--on local`), equal but for what observes. One keeps no log and has nothing on; the
other keeps its log, publishes progress over TLS, sends rows to TensorBoard and to an MLflow that hangs and
answers 500 in turn, is read by a Prometheus once a second, has a webhook that refuses every message, and
watches `stop_if`. Both train all the while, but only one of them runs at any moment: the other's processes
are stopped (SIGSTOP) for a block of some seconds, in the order A B B A. So both see the same load of the
machine within seconds, and none the other's. Of each block the median time of its steps is taken, without
the steps that a stop lies in, and of each pair of blocks the ratio; of the rank's processor time the ratio
of the sums, as rows come several at once. Steps are small, because what observes costs the same beside a
long one. At the end the weights of both are compared.

The median and quartiles of the ratios are what is printed; where quartiles are further from each other than
what is asked for, the machine was too busy to tell, and it is to be run again with more epochs.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import os
import signal
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from benchmarks.bench_trackers import draw, make_config
from tests.fakes.mlflow_server import Server
from tests.launcher.kube.api_server import AUTHORITY, ApiServer
from tests.trainer.node.conftest import free_port, wait_for

_TICKS = os.sysconf("SC_CLK_TCK")
_PUBLISH = "KUBEFLOW_TRAINER_SERVER_"
_FAULTS: tuple[Any, ...] = ("hang", 500)
_AROUND = 2
"""Steps at each end of a block that are left out: a stop lies in them."""


@dataclass
class Training:
    """A job under way.

    Attributes:
        folder: Of its own, which stands in the variables of all its processes.
        medians_s: Of the steps of each block.
        processor_s: Of the rank, of each block.
        counts: Of the steps that came in each block.
    """

    name: str
    folder: Path
    command: subprocess.Popen[bytes]
    medians_s: list[float] = field(default_factory=list)
    processor_s: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)

    @property
    def output(self) -> Path:
        """Its output folder."""
        return self.folder / self.name

    def steps(self) -> list[float]:
        """Return the seconds of each step so far."""
        path = self.output / "metrics.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [row["step_s"] for row in map(json.loads, lines) if row["event"] == "step"]

    def processes(self) -> dict[int, bytes]:
        """Return its processes by their ids, with what they were started as; not the command that waits."""
        found, folder = {}, str(self.folder).encode()
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                # pods have another environment than the supervisor: the folder's name is in all of them
                command = (entry / "cmdline").read_bytes() if entry.name.isdigit() else b""
                if command and folder in command + (entry / "environ").read_bytes():
                    found[int(entry.name)] = command
        found.pop(self.command.pid, None)
        return found

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all its processes."""
        for pid in self.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def rank_s(self) -> float:
        """Return the processor's seconds of its rank so far: of the process that has taken most."""
        seconds = [0.0]
        for pid in self.processes():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                seconds.append((int(fields[11]) + int(fields[12])) / _TICKS)
        return max(seconds)

    def run_block(self, seconds: float) -> bool:
        """Let it run for a block and note what was seen; False where it has ended."""
        self.signal(signal.SIGCONT)
        first, before_s = len(self.steps()), self.rank_s()
        time.sleep(seconds)
        after_s, steps = self.rank_s(), self.steps()
        has_ended = self.command.poll() is not None
        if not has_ended:
            self.signal(signal.SIGSTOP)
        measured = steps[first + _AROUND : -_AROUND]
        if has_ended or len(measured) < _AROUND:
            return False
        self.medians_s.append(statistics.median(measured))
        self.processor_s.append(after_s - before_s)
        self.counts.append(len(steps) - first)
        return True

    def weights(self) -> str:
        """Return the hash of its last weights."""
        return hashlib.sha256((self.output / "latest.pdparams").read_bytes()).hexdigest()


@contextlib.contextmanager
def observers(folder: Path) -> Iterator[tuple[dict[str, Any], int, Server, ApiServer, ApiServer]]:
    """Give what stands in `Launch`, the port of the metrics, and the servers."""
    context, port, mlflow = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), free_port(), Server()
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    AUTHORITY.cert_pem.write_to_path(str(folder / "ca.crt"))
    (folder / "token").write_text("t")
    try:
        with ApiServer(tls=context) as api, ApiServer() as webhook:
            webhook.answer_status(500, "not today")
            (folder / "addresses").write_text(f"webhook {webhook.url}/said secret\n")
            launch = {
                "env": {
                    f"{_PUBLISH}URL": f"{api.url}/status", f"{_PUBLISH}CA_CERT": str(folder / "ca.crt"),
                    f"{_PUBLISH}TOKEN": str(folder / "token"), "MLFLOW_HTTP_REQUEST_TIMEOUT": "2",
                },
                "not_secret": [f"{_PUBLISH}TOKEN"], "metrics_port": port, "keep_logs": "50Mi",
                "secrets": [{"name": "a", "key": "b", "mount": "/secrets/addresses", "local": "addresses"}],
                "notify": "/secrets/addresses", "stop_if": {"progress_below": 0.001, "for": "1h"},
                "track": ["tensorboard", {"mlflow": {"uri": mlflow.url, "experiment": "bench"}}],
            }  # fmt: skip
            yield launch, port, mlflow, api, webhook
    finally:
        mlflow.close()


def begin(folder: Path, name: str, launch: dict[str, Any], *, epochs: int, batch: int) -> Training:
    """Submit a job of its own folder."""
    path = make_config(folder, name, epochs=epochs, track=[])
    document = yaml.safe_load(path.read_text())
    document["DataLoader"]["Train"]["sampler"]["batch_size"] = batch
    document["Global"]["print_batch_step"] = 10
    document["Launch"] |= {"hang_timeout": None, **launch}
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    environ = {**os.environ, "FTLAUNCH_STATE": str(folder / "state"), "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-m", "launcher", "submit", str(path), "--on", "local", "--wait"]
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(command, cwd=folder, env=environ, stdout=said, stderr=said)
    return Training(name=name, folder=folder, command=process)


def read_metrics(port: int, is_over: threading.Event) -> None:
    """Read the metrics once a second."""
    while not is_over.wait(1.0):
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=1).read()


def describe_steps(plain: list[float], observed: list[float]) -> str:
    """Say how much longer a step of the one takes."""
    if min(len(plain), len(observed)) < 2:
        return "a step: no two pairs of blocks; it takes more epochs"
    ratios = [b / a for a, b in zip(plain, observed, strict=False) if a > 0]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return (
        f"a step: {1000 * statistics.median(plain):.2f} ms without, {1000 * statistics.median(observed):.2f} "
        f"ms with all; of {len(ratios)} pairs a ratio of {middle:.4f} (quartiles {low:.4f} and {high:.4f}, "
        f"so the median is known to about {(high - low) / len(ratios) ** 0.5:.4f})"
    )


def describe_processor(plain: Training, observed: Training) -> str:
    """Say how much more of the processor a step of the one takes."""
    without_s, with_s = (sum(one.processor_s) / max(1, sum(one.counts)) for one in (plain, observed))
    return (
        f"the rank's processor, a step: {1000 * without_s:.2f} ms without, {1000 * with_s:.2f} ms with all, "
        f"a ratio of {with_s / without_s:.4f} over {sum(plain.counts)} and {sum(observed.counts)} steps"
    )


def measure(plain: Training, observed: Training, *, mlflow: Server, block_s: float) -> None:
    """Let both run in turn until one has ended."""
    for one in (plain, observed):
        wait_for(lambda one=one: len(one.steps()) > 20, timeout_s=300.0, what=f"steps of {one.name}")
    for one in (plain, observed):
        one.signal(signal.SIGSTOP)
    number = 0
    while True:
        mlflow.always = _FAULTS[number % len(_FAULTS)]
        order = (plain, observed) if number % 2 == 0 else (observed, plain)
        has_gone_on = [one.run_block(block_s) for one in order]  # both, whatever the first one says
        if not all(has_gone_on):
            break
        number += 1
    length = min(len(plain.medians_s), len(observed.medians_s))
    for one in (plain, observed):
        del one.medians_s[length:], one.processor_s[length:], one.counts[length:]
        one.signal(signal.SIGCONT)


def main() -> None:
    """Print the ratios, and whether the weights are the same."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--images", type=int, default=1600)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--block", type=float, default=2.0)
    args = parser.parse_args()
    with contextlib.ExitStack() as stack:
        # servers print a traceback for each client that a stop has cut off
        stack.enter_context(contextlib.redirect_stderr(io.StringIO()))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ftlaunch-bench-")))
        folders = [folder / name for name in ("plain", "observed")]
        for one in folders:
            one.mkdir()
            draw(one / "data", images=args.images, side=args.side)
        launch, port, mlflow, api, webhook = stack.enter_context(observers(folders[1]))
        mlflow.always = _FAULTS[0]
        trainings = [
            begin(folders[0], "plain", {"keep_logs": None}, epochs=args.epochs, batch=args.batch),
            begin(folders[1], "observed", launch, epochs=args.epochs, batch=args.batch),
        ]
        is_over = threading.Event()
        threading.Thread(target=read_metrics, args=(port, is_over), daemon=True).start()
        try:
            measure(*trainings, mlflow=mlflow, block_s=args.block)
            mlflow.always = None
            for one in trainings:
                assert one.command.wait(600) == 0, (one.folder / "said").read_text()
        finally:
            is_over.set()
            for one in trainings:
                one.signal(signal.SIGCONT)
                if one.command.poll() is None:
                    one.signal(signal.SIGTERM)
                    one.command.wait(60)
        plain, observed = trainings
        assert all((api.asked, webhook.asked, mlflow.asked)), "something was not on"
        print(f"load: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors, the job itself among it")
        print(describe_steps(plain.medians_s, observed.medians_s))
        print(describe_processor(plain, observed))
        same = "the same bits" if plain.weights() == observed.weights() else "OTHER WEIGHTS"
        print(f"weights: {same}, {len(plain.steps())} steps")


if __name__ == "__main__":
    main()
