"""A job of two nodes on this machine beside a real Prometheus, which is asked what the dashboard asks."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.conftest import REPOSITORY, Place

pytestmark = pytest.mark.monitoring
PAIR = 2  # neighbouring ports: node 1 of a local job has the next one


def free_ports() -> int:
    """Find a port whose neighbour is free, too."""
    for port in range(23000, 24000):
        try:
            for one in range(port, port + PAIR):
                with socket.socket() as bound:
                    bound.bind(("127.0.0.1", one))
        except OSError:
            continue
        return port
    raise AssertionError("no free ports")


class Prometheus:
    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, expression: str) -> list[dict[str, Any]]:
        query = urllib.parse.urlencode({"query": expression})
        with urllib.request.urlopen(
            f"http://127.0.0.1:{self.port}/api/v1/query?{query}", timeout=10
        ) as answer:
            document = json.load(answer)
        assert document["status"] == "success", document
        found: list[dict[str, Any]] = document["data"]["result"]
        return found


@pytest.fixture
def metrics_port() -> int:
    return free_ports()


@pytest.fixture
def prometheus(place: Place, metrics_port: int, tmp_path: Path) -> Iterator[Prometheus]:
    program = shutil.which("prometheus")
    assert program is not None, "expected the program prometheus; Debian has it as a package"
    targets = [f"127.0.0.1:{metrics_port + node}" for node in range(PAIR)]
    scrape = {
        "job_name": "ftlaunch", "scrape_interval": "1s", "static_configs": [{"targets": targets}],
    }  # fmt: skip
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [scrape]}))
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    log = tmp_path / "prometheus.log"
    with log.open("wb") as output:
        server = subprocess.Popen(
            [
                program, f"--config.file={tmp_path / 'prometheus.yml'}",
                f"--storage.tsdb.path={tmp_path / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
    found = Prometheus(port)

    def is_ready() -> bool:
        try:
            return found.ask("vector(1)") != []
        except OSError:
            return False

    try:
        place.wait_for(is_ready, what=f"Prometheus to answer: {log.read_text()[-500:]}")
        yield found
    finally:
        server.terminate()
        server.wait(30)


def test_every_question_of_the_dashboard_is_answered(
    place: Place, write_config: Callable[..., str], prometheus: Prometheus, metrics_port: int
) -> None:
    config = write_config(Global__epochs=2000, Launch={"metrics_port": metrics_port, "nodes": 2, "gpus": 0})
    place.run("ftlaunch", "submit", config, "--on", "local", "--name", "watched")
    place.wait_for(lambda: len(prometheus.ask("ftlaunch_rank_step > 5")) == PAIR, what="steps of both nodes")
    place.wait_for(lambda: prometheus.ask("ftlaunch_evaluation_top1"), what="an evaluation")
    place.wait_for(lambda: prometheus.ask("ftlaunch_checkpoint_age_seconds"), what="a checkpoint")
    place.wait_for(lambda: prometheus.ask("ftlaunch_rank_step_seconds"), what="times of steps")
    assert {one["metric"]["instance"] for one in prometheus.ask("up == 1")} == {
        f"127.0.0.1:{metrics_port + node}" for node in range(PAIR)
    }
    dashboard = json.loads((REPOSITORY / "k8s/monitoring/dashboard.json").read_text())
    silent = [
        target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
        if not place.wait_for(
            lambda expression=target["expr"]: prometheus.ask(expression) or "ftlaunch_gpu" in expression,
            what=f"an answer to {target['expr']}",
        )
    ]
    assert silent == []
    (images,) = prometheus.ask("sum(ftlaunch_rank_images_per_second)")
    assert float(images["value"][1]) > 0
    place.run("ftlaunch", "cancel", "watched")
    place.run("ftlaunch", "wait", "watched", code=None)
    place.wait_for(lambda: not prometheus.ask("up == 1"), what="nothing to listen any longer")
