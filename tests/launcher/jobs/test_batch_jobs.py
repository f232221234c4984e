"""The commands on a cluster that serves PaddleJobs of batch.paddlepaddle.org/v1 alone."""

from __future__ import annotations

import json

import pytest

from launcher.backends.kubernetes.orphans import find_left
from launcher.cli.main import run
from launcher.kube.batchjobs import BatchJobs, as_kubeflow
from launcher.kube.resources import BATCH_PADDLE_JOBS, CONFIG_MAPS
from launcher.names import RUN_ID_LABEL
from launcher.runs.store import RunStore
from tests.fakes.cluster import FakeCluster
from tests.launcher.configs import RUN_ID

NAMED = ("--name", "flowers", "--run-id", RUN_ID, "--namespace", "ml", "--nodes", "2")


@pytest.fixture
def ftlaunch(cluster: FakeCluster, store: RunStore, write_config, capfd):
    cluster.served = tuple(kind for kind in cluster.served if kind.plural != "paddlejobs")
    cluster.served = (*cluster.served, BATCH_PADDLE_JOBS)
    write_config()

    def call(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run(arguments)
        out, err = capfd.readouterr()
        return code, out, err

    return call


def state_of(ftlaunch) -> str:
    code, out, _ = ftlaunch("status", "flowers", "--output", "json")
    assert code == 0
    return str(json.loads(out)["state"])


def run_pods(cluster: FakeCluster) -> None:
    for index in range(2):
        cluster.start_pod(f"flowers-worker-{index}")


def test_auto_sends_the_kind_that_is_served_and_says_what_it_cannot_do(ftlaunch, cluster, store):
    code, out, err = ftlaunch("submit", "cfg.yaml", *NAMED)
    assert (code, out) == (0, "kubernetes://ml/flowers\n")
    assert "note: a PaddleJob of batch.paddlepaddle.org/v1" in err
    assert "`ftlaunch cancel` deletes it" in err
    job = cluster.get(BATCH_PADDLE_JOBS, "flowers", namespace="ml")
    assert (job["apiVersion"], job["spec"]["worker"]["replicas"]) == ("batch.paddlepaddle.org/v1", 2)
    record = store.load("flowers")
    assert record is not None
    assert (record.api, record.run_id) == ("batch", RUN_ID)
    (owner,) = cluster.get(CONFIG_MAPS, "flowers-config", namespace="ml")["metadata"]["ownerReferences"]
    assert (owner["apiVersion"], owner["uid"]) == (job["apiVersion"], job["metadata"]["uid"])


def test_where_both_are_served_auto_means_kubeflow_and_batch_is_taken_by_name(ftlaunch, cluster, store):
    cluster.served = (*FakeCluster().served, BATCH_PADDLE_JOBS)
    assert ftlaunch("submit", "cfg.yaml", "--name", "one", "--namespace", "ml")[0] == 0
    asked = ("-o", "Launch.api=batch")
    assert ftlaunch("submit", "cfg.yaml", "--name", "two", "--namespace", "ml", *asked)[0] == 0
    records = [store.load(name) for name in ("one", "two")]
    assert [record.api for record in records if record] == ["kubeflow", "batch"]


def test_it_is_followed_to_its_end(ftlaunch, cluster):
    ftlaunch("submit", "cfg.yaml", *NAMED)
    assert state_of(ftlaunch) == "Scheduling"
    run_pods(cluster)
    assert state_of(ftlaunch) == "Running"
    cluster.write_log("flowers-worker-0", b"[a1 r0] hello\n")
    cluster.write_log("flowers-worker-1", b"[a1 r1] world\n")
    code, out, _ = ftlaunch("logs", "flowers")
    assert code == 0
    assert [line.split()[-1] for line in out.splitlines()] == ["hello", "world"]
    for index in range(2):
        cluster.finish_pod(f"flowers-worker-{index}", 0)
    assert state_of(ftlaunch) == "Succeeded"
    assert ftlaunch("wait", "flowers")[0] == 0
    code, out, _ = ftlaunch("list", "--output", "json")
    assert [row["state"] for row in json.loads(out)] == ["Succeeded"]


def test_a_pod_that_fails_fails_it_with_the_trainers_words(ftlaunch, cluster):
    ftlaunch("submit", "cfg.yaml", *NAMED)
    run_pods(cluster)
    cluster.finish_pod("flowers-worker-1", 143)
    assert state_of(ftlaunch) == "Failed"
    assert ftlaunch("wait", "flowers")[0] == 5
    assert ftlaunch("resume", "flowers")[0] == 2


def test_cancel_deletes_it_and_another_goes_on_from_its_output(ftlaunch, cluster, store):
    ftlaunch("submit", "cfg.yaml", *NAMED)
    run_pods(cluster)
    code, _, err = ftlaunch("cancel", "flowers")
    assert code == 0
    assert "deleted: its kind of job cannot be suspended" in err
    assert cluster.names("paddlejobs") == ()
    assert cluster.names("pods") == ("flowers-worker-0", "flowers-worker-1")  # they save
    for index in range(2):
        cluster.finish_pod(f"flowers-worker-{index}", 143)
    assert cluster.names("pods") == cluster.names("configmaps") == ()
    assert ftlaunch("status", "flowers")[0] == 4
    heir = ("--name", "heir", "--namespace", "ml", "--continue", "flowers")
    assert ftlaunch("submit", "cfg.yaml", *heir)[0] == 0
    assert ftlaunch("delete", "flowers")[0] == 0
    assert store.load("flowers") is None


def test_why_reads_it_too(ftlaunch, cluster):
    ftlaunch("submit", "cfg.yaml", *NAMED)
    code, out, _ = ftlaunch("why", "flowers")
    assert code == 0
    assert "flowers-worker-0" in out


def test_a_missing_rule_is_named_by_its_group(ftlaunch, cluster):
    cluster.rules = [{"apiGroups": ["kubeflow.org", ""], "resources": ["*"], "verbs": ["*"]}]
    code, _, err = ftlaunch("submit", "cfg.yaml", *NAMED)
    assert code == 2
    assert '"batch.paddlepaddle.org"' in err
    assert cluster.names("paddlejobs") == ()


def test_a_queue_of_kueue_is_refused_at_its_place(ftlaunch, cluster, write_config):
    write_config(launch={"queue": {"kueue": "team-a"}})
    code, _, err = ftlaunch("submit", "cfg.yaml", *NAMED)
    assert code == 2
    assert "Launch.queue.kueue: expected volcano with jobs of batch.paddlepaddle.org/v1" in err
    assert cluster.requests == []


@pytest.mark.parametrize(
    ("phase", "kind"),
    [
        ("Pending", "Created"), ("Starting", "Created"), ("Running", "Running"), ("Restarting", "Restarting"),
        ("Completed", "Succeeded"), ("Failed", "Failed"), ("Terminated", "Failed"),
    ],
)  # fmt: skip
def test_a_phase_becomes_a_condition(phase, kind):
    status = {"phase": phase, "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T01:00:00Z"}
    job = as_kubeflow({"metadata": {"name": "a"}, "spec": {"worker": {"replicas": 2}}, "status": status})
    (condition,) = job["status"]["conditions"]
    assert (condition["type"], condition["status"]) == (kind, "True")
    ended = phase in ("Completed", "Failed", "Terminated")
    assert condition["lastTransitionTime"] == status["completionTime" if ended else "startTime"]


def test_a_job_of_kubeflow_is_left_as_it_is():
    job = {"metadata": {"name": "a"}, "spec": {"paddleReplicaSpecs": {"Worker": {"replicas": 2}}}}
    assert as_kubeflow(job) is job


def test_what_interrupted_submits_left_is_found(ftlaunch, cluster):
    ftlaunch("submit", "cfg.yaml", *NAMED)
    api = BatchJobs(cluster)
    late_s = 1e12
    assert find_left(api, namespace="ml", now_s=late_s) == ()
    uid = cluster.get(CONFIG_MAPS, "flowers-config", namespace="ml")["metadata"]["uid"]
    cluster.delete(CONFIG_MAPS, "flowers-config", namespace="ml", uid=uid)
    left = {"metadata": {"name": "lost-config", "labels": {RUN_ID_LABEL: "f" * 32}}}
    cluster.put(CONFIG_MAPS, left)
    assert find_left(api, namespace="ml", now_s=late_s) == ("lost-config",)
