"""`Launch.metrics_port`: from the config to node.json and the pod's port."""

from __future__ import annotations

import pytest
import yaml

from launcher.render.render import render
from trainer.config.problems import ConfigError
from trainer.protocol.environment import COORDINATOR_PORT, STORE_PORT


def ports(job) -> list[dict[str, object]]:
    (spec,) = [one for one in yaml.safe_load_all(render(job).text) if one["kind"] == "PaddleJob"]
    template = spec["spec"]["paddleReplicaSpecs"]["Worker"]["template"]
    found: list[dict[str, object]] = template["spec"]["containers"][0]["ports"]
    return found


def test_the_port_is_the_pods_and_the_node_processes(make_plan):
    job = make_plan(launch={"metrics_port": 9400})
    assert job.node_file.metrics_port == 9400
    assert ports(job)[-1] == {"name": "metrics", "containerPort": 9400}


def test_without_it_nothing_is_named(make_plan):
    job = make_plan()
    assert job.node_file.metrics_port is None
    assert "metrics" not in {port["name"] for port in ports(job)}


@pytest.mark.parametrize("port", [80, 0, -1, 70000, COORDINATOR_PORT, STORE_PORT, "http"])
def test_a_port_that_cannot_be_is_refused(load, port):
    with pytest.raises(ConfigError, match=r"Launch\.metrics_port: expected"):
        load(launch={"metrics_port": port})
