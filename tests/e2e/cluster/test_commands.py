"""Single commands on a real cluster, as a user with our least privilege."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

from launcher.kube.client import connect
from launcher.objects import PADDLE_JOBS, PODS
from tests.e2e.cluster.test_faults import delete, rows  # noqa: F401 - a fixture
from tests.e2e.cluster.test_manifest import NOWHERE
from tests.e2e.conftest import REPOSITORY

SCHEMA = json.loads((REPOSITORY / "docs/schemas/status.schema.json").read_text())
EPOCHS = 40  # long enough to be looked into and cancelled
EXITS = "import os\n\nif os.environ['PADDLE_TRAINER_ID'] == '1':\n    os._exit(1)\n"


def test_a_job_is_looked_into_cancelled_and_resumed_and_ends_as_the_same_run(
    place,
    space,
    write_job,
    rows,  # noqa: F811
):
    more = {"Global__epochs": EPOCHS, "Global__save_interval": 0, "Global__eval_during_train": False}
    place.run("ftlaunch", "submit", write_job(**more), "--name", "pair")
    begun = lambda: any(row["event"] == "step" for row in rows())  # noqa: E731
    place.wait_for(begun, what="training to begin", timeout_s=150)
    say = "import os; print(os.environ['FTL_NODE'])"
    done = place.run("ftlaunch", "exec", "--node", "1", "pair", "--", "python", "-c", say)
    assert done.stdout.strip() == "1"
    assert place.run("ftlaunch", "exec", "pair", "--", "sh", "-c", "exit 7", code=7).returncode == 7
    jsonschema.validate(place.status(), SCHEMA)
    place.run("ftlaunch", "cancel")
    assert place.run("ftlaunch", "wait", "--timeout", "60s", code=6).returncode == 6
    run_id = place.status()["run_id"]
    place.wait_for(lambda: space.names("pods") == [], what="its pods to be gone")
    place.run("ftlaunch", "resume")
    place.run("ftlaunch", "wait", "--timeout", "150s")
    status = place.status()
    assert (status["state"], status["run_id"]) == ("Succeeded", run_id)
    jsonschema.validate(status, SCHEMA)
    steps = [row["step"] for row in rows() if row["event"] == "step"]
    assert sorted(set(steps)) == list(range(1, EPOCHS * 2 + 1))
    delete(place, space, "pair")


def test_a_rank_that_exits_again_and_again_fails_the_job_with_its_words(place, space, write_job):
    (place.folder / "my").mkdir()
    (place.folder / "my" / "exits.py").write_text(EXITS)
    cfg = write_job(Launch__code="my", Launch__extra_modules=["exits"], Launch__max_restarts=1)
    done = place.run("ftlaunch", "submit", cfg, "--name", "exits")
    sha256 = re.search(r"code: 1 file, [0-9]+ bytes, SHA-256 (\w+)", done.stderr)[1]
    place.run("ftlaunch", "wait", "--timeout", "120s", code=5)
    status = place.status()
    assert (status["state"], status["exit"]) == ("Failed", 20)
    assert "internal error (all 2 attempts are used up)" in status["reason"]
    jsonschema.validate(status, SCHEMA)
    assert status["code_sha256"].startswith(sha256)
    text = place.run("ftlaunch", "logs", "--attempt", "all").stdout
    assert all(re.search(rf"\[node {node}\b.*code: 1 file, SHA-256 {sha256}", text) for node in (0, 1))
    delete(place, space, "exits")


def test_a_dry_run_on_the_server_leaves_nothing_and_finds_what_it_refuses(place, space, write_job):
    cfg = write_job(**NOWHERE)
    done = place.run("ftlaunch", "submit", cfg, "--name", "dry", "--dry-run", "server")
    assert [item["kind"] for item in yaml.safe_load_all(done.stdout)] == ["ConfigMap", "PaddleJob"]
    assert "the API server would take" in done.stderr
    assert space.leftovers() == []
    patch = {"spec": {"priority": 99999999999}}  # the schema has it as a number; Go's type takes 32 bits
    bad = write_job("bad.yaml", Launch__pod_patch=patch)
    lines = (place.folder / bad).read_text().splitlines()
    at = next(number for number, line in enumerate(lines, 1) if "priority" in line)
    for dry in ((), ("--dry-run", "server")):
        refused = place.run("ftlaunch", "submit", bad, "--name", "dry", *dry, code=2)
        assert f"bad.yaml:{at}:" in refused.stderr
        assert "Launch.pod_patch.spec.priority: spec.paddleReplicaSpecs" in refused.stderr
    assert space.leftovers() == []
    assert place.run("ftlaunch", "list").stdout == ""


@pytest.mark.usefixtures("kit")
def test_a_queue_of_kueue_is_refused_where_there_is_no_kueue(place, space, write_job):
    cfg = write_job(Launch__queue={"kueue": "team-a"})
    done = place.run("ftlaunch", "submit", cfg, "--name", "queued", code=2)
    assert "this cluster has no Kueue, so it would start at once [kueue-missing]" in done.stderr
    assert space.leftovers() == []


def test_doctor_finds_the_cluster_well_and_says_what_it_may_not_see(place, space):
    document = json.loads(place.run("ftlaunch", "doctor", "--output", "json").stdout)
    found = {}
    for check in document["checks"]:
        found.setdefault(check["check"], []).append(check)
    assert document["ok"]
    assert {check["level"] for check in found["permission"]} == {"ok"}
    assert found["operator"][0]["message"] == "its webhook answers"
    assert found["credentials"][0]["message"].startswith("accepted as system:serviceaccount:")
    assert found["gpus"][0]["level"] == "skip"
    assert found["gpus"][0]["fix"] == "k8s/rbac/capacity.yaml, which is optional, has the rule"
    assert space.leftovers() == []
    place.env["KUBECONFIG"] = str(space.cluster.kubeconfig)
    seen = place.run("ftlaunch", "doctor", "--namespace", space.name).stdout
    assert f"ok    namespace    {space.name}, pod security level restricted" in seen


def test_doctor_writes_out_the_rule_that_is_missing(place, space):
    space.kubectl("delete", "rolebinding", "ftlaunch-user")
    done = place.run("ftlaunch", "doctor", code=7)
    assert "fail  permission   paddlejobs: not allowed to create, get, list, watch, patch" in done.stdout
    assert '"resources": ["paddlejobs"]' in done.stdout


def test_doctor_without_a_cluster_is_3(place, space):
    config = json.loads(space.kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "https://127.0.0.1:9"
    space.kubeconfig.write_text(json.dumps(config))
    assert "fail  cluster" in place.run("ftlaunch", "doctor", code=3).stdout


def test_inside_a_cluster_the_service_account_is_enough(space, tmp_path):
    config = json.loads(space.kubeconfig.read_text())
    server = config["clusters"][0]["cluster"]["server"].removeprefix("https://")
    host, _, port = server.partition(":")
    roots = space.get("configmap", "kube-root-ca.crt")["data"]["ca.crt"]
    for name, text in (("token", config["users"][0]["user"]["token"]), ("ca.crt", roots)):
        (tmp_path / name).write_text(text)
    (tmp_path / "namespace").write_text(space.name)
    environ = {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port, "KUBECONFIG": "/none"}
    client = connect(environ=environ, service_account=Path(tmp_path))
    assert (client.namespace, client.serves(PADDLE_JOBS)) == (space.name, True)
    assert client.list(PODS, namespace=client.namespace) == ()


def test_a_wait_is_woken_by_what_happens_and_asks_little(place, space, write_job):
    place.run("ftlaunch", "submit", write_job(**NOWHERE), "--name", "pair")
    waiting = place.begin("ftlaunch", "wait", "--for", "suspended", "--timeout", "60s")
    suspend = '{"spec":{"runPolicy":{"suspend":true}}}'
    space.kubectl("patch", "paddlejob", "pair", "--type=merge", "-p", suspend)
    assert (waiting.wait(timeout=60), waiting.communicate()[0]) == (0, "")
    delete(place, space, "pair")
