"""What a cluster thinks of our manifest: schema, webhook, pod security level, quota."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from tests.e2e.cluster.space import REPOSITORY
from tests.e2e.cluster.test_faults import delete
from tests.e2e.test_one_machine import without_secret

GOLDENS = Path(__file__).resolve().parents[2] / "goldens"
EXAMPLES = REPOSITORY / "k8s/examples"
# A PodMonitor needs the Prometheus operator's definitions, and a collector's configuration is no object; both
# are held against our pods in tests/launcher/plan/test_metrics_port.py.
OF_OTHERS = {"podmonitor", "otel-collector"}
TEAM_QUEUE = REPOSITORY / "k8s/team/kueue.yaml"  # needs Kueue's definitions: tried in test_kind_queues.py
ADDED = sorted(
    path
    for path in REPOSITORY.glob("k8s/*/*.yaml")
    if path.parent != EXAMPLES and path.stem not in OF_OTHERS and path != TEAM_QUEUE
)
NOWHERE = {"Launch__node_selector": {"no": "such"}}  # its pods wait, so that nothing runs


def test_after_submit_there_is_no_difference_between_render_and_the_cluster(place, space, write_job):
    cfg = write_job(**NOWHERE)
    place.run("ftlaunch", "submit", cfg, "--name", "same")
    rendered = place.run("ftlaunch", "render", cfg, "--name", "same", "--run-id", place.status()["run_id"])
    submitted = (place.folder / "state/runs/same/manifest.yaml").read_text()
    # What is printed with a run id is the same for everybody: it does not say who submits.
    unsigned, signatures = re.subn(r'\n  annotations: {"ftlaunch.io/submitted-by": "\w+"}', "", submitted)
    assert signatures == 1
    assert without_secret(unsigned) == rendered.stdout
    assert space.kubectl("diff", "-f", "-", given=submitted) == ""
    sent = list(yaml.safe_load_all(rendered.stdout))[1]["spec"]
    assert not lost(sent, space.get("paddlejob", "same")["spec"])
    delete(place, space, "same")


@pytest.mark.usefixtures("controllers")
def test_every_field_that_we_can_render_is_known_to_schema_and_webhook(space):
    tried = 0
    for path in sorted([*GOLDENS.glob("*.yaml"), *EXAMPLES.glob("*.yaml")]):
        documents = [document for document in yaml.safe_load_all(path.read_text()) if document]
        if documents[-1]["kind"] == "TrainJob":
            del documents[-1]  # its webhook refuses it until its runtime is there, which no dry run leaves
        tried += 1
        for document in documents:
            document["metadata"].pop("namespace", None)
        items = json.dumps({"apiVersion": "v1", "kind": "List", "items": documents})
        space.kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", given=items)
    assert tried >= 11


@pytest.mark.parametrize("path", ADDED, ids=lambda path: path.stem)
@pytest.mark.usefixtures("controllers")
def test_every_object_that_an_administrator_may_add_is_known_to_the_server(cluster, path):
    cluster.kubectl("-n", "default", "apply", "--dry-run=server", "--validate=strict", "-f", str(path))


def test_pods_that_may_not_be_made_are_told_of_with_the_admission_checks_words(place, space, write_job):
    place.run("ftlaunch", "submit", write_job(Launch__rdma=True), "--name", "locks")  # adds IPC_LOCK
    place.wait_for(lambda: "violates PodSecurity" in place.status()["reason"], what="the reason")
    assert place.status()["state"] == "Submitted"
    delete(place, space, "locks")
    space.kubectl("create", "quota", "few", "--hard=pods=1")
    cfg = write_job(**NOWHERE)
    assert "[quota-never]" in place.run("ftlaunch", "submit", cfg, "--name", "many", code=2).stderr
    place.run("ftlaunch", "submit", cfg, "--name", "many", "--no-preflight")
    place.run("ftlaunch", "wait", "--for", "scheduling", "--timeout", "30s")
    place.wait_for(lambda: "exceeded quota: few" in events(place), what="the reason")
    delete(place, space, "many")


def lost(sent, stored, at="spec"):
    """Return the places of what was sent and is not what was stored; the server may add, not change."""
    if isinstance(sent, dict) and isinstance(stored, dict):
        return [place for key, value in sent.items() for place in lost(value, stored.get(key), f"{at}.{key}")]
    if isinstance(sent, list) and isinstance(stored, list) and len(sent) == len(stored):
        pairs = enumerate(zip(sent, stored, strict=True))
        return [place for index, pair in pairs for place in lost(*pair, f"{at}[{index}]")]
    return [] if sent == stored else [at]


def events(place):
    return place.run("ftlaunch", "events").stdout
