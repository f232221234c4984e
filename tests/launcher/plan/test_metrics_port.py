"""`Launch.metrics_port`: from the config to node.json and the pod's port."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from launcher.render.render import render
from trainer.config.problems import ConfigError
from trainer.protocol.environment import COORDINATOR_PORT, STORE_PORT

MONITORING = Path(__file__).resolve().parents[3] / "k8s/monitoring"


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


def test_what_scrapes_pods_finds_ours_by_their_labels_and_the_ports_name(make_plan):
    labels = make_plan(launch={"metrics_port": 9400}).labels
    monitor = yaml.safe_load((MONITORING / "podmonitor.yaml").read_text())["spec"]
    assert monitor["selector"]["matchLabels"].items() <= labels.items()
    assert monitor["podMetricsEndpoints"] == [{"port": "metrics", "path": "/metrics", "interval": "15s"}]
    policy = yaml.safe_load((MONITORING / "network-policy.yaml").read_text())["spec"]
    assert policy["podSelector"]["matchLabels"].items() <= labels.items()
    collector = yaml.safe_load((MONITORING / "otel-collector.yaml").read_text())
    (scrape,) = collector["receivers"]["prometheus"]["config"]["scrape_configs"]
    kept = {
        rule["source_labels"][0]: rule["regex"]
        for rule in scrape["relabel_configs"]
        if rule.get("action") == "keep"
    }
    assert kept == {
        "__meta_kubernetes_pod_label_app_kubernetes_io_managed_by": labels["app.kubernetes.io/managed-by"],
        "__meta_kubernetes_pod_container_port_name": "metrics",
    }
