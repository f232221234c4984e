from __future__ import annotations

import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from tests.trainer.node.conftest import REPOSITORY, Job, free_port, wait_for
from trainer.node import prometheus
from trainer.node.messages import RankState
from trainer.node.prometheus import MetricsError, NodeCollector, find_gpus, last_saved_s, serve
from trainer.node.settings import Address, NodeSettings
from trainer.protocol.evaluated import Evaluated
from trainer.protocol.nodefile import NodeFile
from trainer.protocol.step_times import StepTimes

TIMES = StepTimes(
    steps=20, step_s=0.5, wait_s=0.2, copy_s=0.05, peers_s=0.05, fetch_s=0.1, eval_s=7.0, save_s=3.0,
    workers=2, ranks=2, cores=4,
)  # fmt: skip
RUNS = RankState(
    rank=2, recorded=True, step=40, epoch=3, total_steps=100, phase="compute", silent_s=0.25, loss=0.75,
    images_per_s=123.0, evaluated=Evaluated(top1=0.8, best_top1=0.9, largest_class=0.3, images=50),
    times=TIMES,
)  # fmt: skip
STARTS = RankState(
    rank=3, recorded=False, step=0, epoch=0, total_steps=0, phase="start", silent_s=2.0, loss=None,
    images_per_s=None,
)  # fmt: skip


@dataclasses.dataclass
class Agent:
    attempt: int = 3
    rank_states: Sequence[RankState] = (RUNS, STARTS)


class Gpus:
    def read(self) -> Iterator[tuple[int, float, float, float]]:
        yield 0, 0.5, 1e9, 8e9


def make_settings(folder: Path, *, node: int = 0, port: int | None = None, **changes: Any) -> NodeSettings:
    job = NodeFile(
        run_id="ab" * 16, job="flowers-a3f9k", nodes=2, procs_per_node=2, coordinator_host="x",
        coordinator_port=1, backend="gloo", output_dir="/output", max_restarts=3, backoff_s=1.0,
        deadline_s=None, grace_s=10.0, rendezvous_timeout_s=15.0, hang_timeout_s=None, metrics_port=port,
    )  # fmt: skip
    address = Address(host="127.0.0.1", port=1)
    return NodeSettings(
        **{
            "node": node, "job": job, "coordinator": address, "bind_host": None, "master": address,
            "output_dir": folder, "termination_path": folder / "end", "shares_host": True, **changes,
        }
    )  # fmt: skip


def read(text: str) -> dict[tuple[str, str], float]:
    """Name and labels -> value, as Prometheus's own parser reads them."""
    return {
        (sample.name, ",".join(map(str, sample.labels.values()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def collect(settings: NodeSettings, agent: Agent, **options: Any) -> dict[tuple[str, str], float]:
    registry = CollectorRegistry()
    registry.register(NodeCollector(settings, agent, **options))
    return read(generate_latest(registry).decode())


def test_what_ranks_tell_is_served_by_rank(tmp_path: Path) -> None:
    found = collect(make_settings(tmp_path), Agent())
    assert found["ftlaunch_node_info", f"flowers-a3f9k,0,2,{'ab' * 16}"] == 1
    assert found["ftlaunch_attempts_total", ""] == 3
    values = {name: found.get((f"ftlaunch_rank_{name}", "2")) for name, _, _ in prometheus._BY_RANK}
    assert values == {
        "running": 1, "step": 40, "planned_steps": 100, "epoch": 3, "silent_seconds": 0.25, "loss": 0.75,
        "images_per_second": 123, "evaluation_seconds": 7, "save_seconds": 3,
    }  # fmt: skip
    parts = {part: found["ftlaunch_rank_step_seconds", f"{part},2"] for part in prometheus.PARTS}
    assert parts == pytest.approx(
        {"images": 0.2, "copy": 0.05, "peers": 0.05, "fetch": 0.1, "compute": 0.1}
    )  # and so they add up to the step
    assert [key[1] for key, value in found.items() if key[0] == "ftlaunch_rank_phase" and value] == [
        "compute,2", "start,3",
    ]  # fmt: skip


def test_what_is_not_known_yet_is_left_out(tmp_path: Path) -> None:
    found = collect(make_settings(tmp_path), Agent(attempt=0, rank_states=(STARTS,)))
    assert found["ftlaunch_rank_running", "3"] == 0
    names = {name for name, labels in found if "3" in labels}
    assert not names & {"ftlaunch_rank_loss", "ftlaunch_rank_planned_steps", "ftlaunch_rank_step_seconds"}
    assert not any(name.startswith(("ftlaunch_evaluation", "ftlaunch_checkpoint")) for name, _ in found)


def test_evaluations_and_checkpoints_are_node_0s(tmp_path: Path) -> None:
    saved = tmp_path / ".ftlaunch/checkpoints"
    for name, has_manifest in (("e001-s000010", True), ("e002-s000020", True), ("e003-s000030", False)):
        (saved / name).mkdir(parents=True)
        if has_manifest:
            (saved / name / "manifest.json").write_text("{}")
    os.utime(saved / "e002-s000020/manifest.json", (1000, 1000))
    assert last_saved_s(tmp_path) == 1000
    found = collect(make_settings(tmp_path), Agent(), now_s=lambda: 1060.0)
    assert found["ftlaunch_checkpoint_age_seconds", ""] == 60
    evaluated = {name: found[f"ftlaunch_evaluation_{name}", ""] for name in ("top1", "best_top1")}
    assert evaluated == {"top1": 0.8, "best_top1": 0.9}
    assert found["ftlaunch_evaluation_largest_class", ""] == 0.3
    others = collect(make_settings(tmp_path, node=1), Agent())
    assert not any(name.startswith(("ftlaunch_evaluation", "ftlaunch_checkpoint")) for name, _ in others)


def test_gpus_are_told_of_where_there_are_any(tmp_path: Path) -> None:
    assert find_gpus() is None  # no driver on the machine that tests
    found = collect(make_settings(tmp_path), Agent(), gpus=Gpus())
    assert found["ftlaunch_gpu_utilization_ratio", "0"] == 0.5
    assert found["ftlaunch_gpu_memory_used_bytes", "0"] == 1e9
    assert found["ftlaunch_gpu_memory_bytes", "0"] == 8e9


def fetch(port: int) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return str(answer.read().decode())


def test_nodes_of_one_machine_listen_there_alone_and_at_ports_of_their_own(tmp_path: Path) -> None:
    port = free_port()
    stop = serve(make_settings(tmp_path, node=1, port=port), Agent())
    try:
        assert ("ftlaunch_rank_step", "2") in read(fetch(port + 1))
        with socket.socket() as other, pytest.raises(OSError, match="refused"):
            other.connect((socket.gethostbyname("127.0.0.2"), port + 1))
    finally:
        stop()


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(MetricsError, match=rf"metrics_port: expected to listen at 127\.0\.0\.1:{port}"):
            serve(make_settings(tmp_path, port=port), Agent())


def test_without_the_package_the_job_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(MetricsError, match="which this image lacks; install the extra `monitoring`"):
        serve(make_settings(tmp_path, port=1234), Agent())


def test_node_processes_serve_while_their_ranks_run(new_job: Callable[..., Job]) -> None:
    job = new_job(metrics_port=free_port())
    job.start(0, 1, plan={"steps": 400, "step_s": 0.01})
    port = job.job.metrics_port
    assert port is not None
    seen = wait_for(
        lambda: (
            (both := [read(try_fetch(port)), read(try_fetch(port + 1))])
            and both[0].get(("ftlaunch_rank_step", "0"), 0) > 2
            and both[1].get(("ftlaunch_rank_step", "2"), 0) > 2
            and both
        ),
        what="steps of both nodes",
    )
    assert seen[0]["ftlaunch_attempts_total", ""] == 1
    for node in job.nodes:
        node.process.send_signal(signal.SIGTERM)
    assert [node.exit() for node in job.nodes] == [143, 143]
    assert not try_fetch(port)


def test_a_node_process_that_cannot_serve_ends_as_misconfigured(new_job: Callable[..., Job]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        job = new_job(metrics_port=taken.getsockname()[1], nodes=1)
        (node,) = job.start(0)
        assert node.exit() == 2
    assert "Launch.metrics_port: expected to listen at" in node.termination.reason


def try_fetch(port: int) -> str:
    try:
        return fetch(port)
    except OSError:
        return ""


def test_without_the_key_nothing_of_it_is_imported() -> None:
    program = "import sys; import trainer.node.__main__; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_dashboard_and_the_page_name_the_metrics_that_are_served(tmp_path: Path) -> None:
    (tmp_path / ".ftlaunch/checkpoints/e001-s000010").mkdir(parents=True)
    (tmp_path / ".ftlaunch/checkpoints/e001-s000010/manifest.json").write_text("{}")
    served = {name for name, _ in collect(make_settings(tmp_path), Agent(), gpus=Gpus())}
    dashboard = json.loads((REPOSITORY / "k8s/monitoring/dashboard.json").read_text())
    asked = " ".join(target["expr"] for panel in dashboard["panels"] for target in panel["targets"])
    shown = set(re.findall(r"ftlaunch_[a-z0-9_]+", asked)) - {"ftlaunch_job"}
    assert shown <= served
    page = (REPOSITORY / "docs/monitoring.md").read_text()
    table = "\n".join(line for line in page.splitlines() if line.startswith("| `ftlaunch_"))
    assert set(re.findall(r"`(ftlaunch_[a-z0-9_]+)`", table)) - {"ftlaunch_job"} == served - {
        "ftlaunch_attempts_created"
    }


def test_serving_takes_nothing_that_a_step_waits_for(tmp_path: Path) -> None:
    """A scrape that hangs holds back neither the next one nor who is watched."""
    port = free_port()
    stop = serve(make_settings(tmp_path, port=port), Agent())
    try:
        with socket.create_connection(("127.0.0.1", port)) as idle:
            idle.sendall(b"GET /metrics HTTP/1.1\r\n")  # and no more
            began_s = time.monotonic()
            assert read(fetch(port))
            assert time.monotonic() - began_s < 9
    finally:
        stop()
