"""ConfigMaps of interrupted submits: whose are swept, and whose are not."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from launcher.backends.kubernetes import KubernetesBackend
from launcher.cli.main import run
from launcher.doctor.cluster_info import ClusterInfo
from launcher.doctor.leftovers import InterruptedSubmit, check_leftovers
from launcher.jobs.recovery import collect, stale_records
from launcher.objects import CONFIG_MAPS, PADDLE_JOBS
from launcher.runs.record import Stage
from launcher.runs.store import RunStore
from launcher.times import format_unix_time
from tests.fakes.cluster import FakeCluster

MINE, OTHERS = "0123456789abcdef" * 2, "f" * 32
HOURS = 3600.0


@pytest.fixture
def cut_off(
    cluster: FakeCluster,
    store: RunStore,
    write_config: Callable[..., Path],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A submit of ours whose ConfigMap was made and whose job was not, two hours ago."""
    path = str(write_config())
    cluster.time_out("create", PADDLE_JOBS, times=3)
    assert run(["submit", path, "--name", "cut", "--run-id", MINE, "--namespace", "ml"]) == 3
    age(store, "cut", 2 * HOURS)
    cluster.set_time(time.time() - 2 * HOURS, "cut-config")
    cluster.requests.clear()
    capfd.readouterr()


def age(store: RunStore, job: str, by_s: float) -> None:
    path = store.run_folder(job) / "record.json"
    document = json.loads(path.read_text())
    path.write_text(json.dumps({**document, "created_s": document["created_s"] - by_s}))


def submit_next(*more: str) -> int:
    return run(["submit", "cfg.yaml", "--name", "next", "--namespace", "ml", *more])


@pytest.mark.usefixtures("cut_off")
def test_the_next_submit_sweeps_what_an_interrupted_one_has_left(cluster, store, capfd):
    assert submit_next() == 0
    assert cluster.names("configmaps") == ("next-config",)
    assert store.load("cut") is None
    assert "cut: removed the ConfigMap" in capfd.readouterr().err


@pytest.mark.usefixtures("cut_off")
def test_a_config_map_of_that_name_and_another_run_is_left_alone(cluster, store):
    cluster.relabel("cut-config", OTHERS)
    assert submit_next() == 0
    assert "cut-config" in cluster.names("configmaps")


@pytest.mark.usefixtures("cut_off")
def test_a_younger_one_is_left_alone(cluster, store):
    cluster.set_time(time.time() - 60, "cut-config")
    assert submit_next() == 0
    assert "cut-config" in cluster.names("configmaps")


@pytest.mark.usefixtures("cut_off")
def test_one_whose_job_is_there_is_left_alone_and_noted_as_submitted(cluster, store):
    body = {
        "apiVersion": "kubeflow.org/v1", "kind": "PaddleJob",
        "metadata": {"name": "cut", "labels": {"ftlaunch.io/run-id": MINE}},
        "spec": {"runPolicy": {"cleanPodPolicy": "None"}, "paddleReplicaSpecs": {"Worker": {
            "replicas": 1, "restartPolicy": "ExitCode",
            "template": {"spec": {"containers": [{"name": "paddle", "image": "x"}]}},
        }}},
    }  # fmt: skip
    cluster.create(PADDLE_JOBS, body, namespace="ml")
    assert submit_next() == 0
    assert "cut-config" in cluster.names("configmaps")
    record = store.load("cut")
    assert record is not None
    assert record.stage is Stage.SUBMITTED


def test_without_an_interrupted_submit_nothing_more_is_asked(cluster, store, write_config):
    write_config()
    assert submit_next("--no-preflight") == 0
    assert cluster.requests == [
        "create selfsubjectrulesreviews", "create configmaps next-config",
        "create paddlejobs next", "patch configmaps next-config",
    ]  # fmt: skip


@pytest.mark.usefixtures("cut_off")
def test_only_records_of_this_place_count(cluster, store):
    def jobs(namespace: str, context: str) -> list[str]:
        found = stale_records(store, namespace=namespace, context=context, now_s=time.time())
        return [record.handle.job for record in found]

    assert jobs("ml", "fake") == ["cut"]
    assert jobs("other", "fake") == jobs("ml", "other") == []
    assert stale_records(store, namespace="ml", context="fake", now_s=time.time() - 2 * HOURS) == []


@pytest.mark.usefixtures("cut_off")
def test_a_sweep_that_is_refused_is_left_for_the_next_time(cluster, store):
    cluster.refuse("delete", CONFIG_MAPS, code=403)
    records = stale_records(store, namespace="ml", context="fake", now_s=time.time())
    backend = KubernetesBackend.connect()
    assert collect(records, backend=backend, store=store) == []
    assert store.load("cut") is not None
    assert collect(records, backend=backend, store=store) == ["cut"]


@pytest.mark.usefixtures("cut_off")
def test_doctor_sweeps_ours_and_names_others(cluster, only):
    info = ClusterInfo(api=cluster, namespace="ml")  # `read` is not needed here
    assert "cut-config" in only(check_leftovers(info, []))[1]
    assert cluster.names("configmaps") == ("cut-config",)
    assert (
        only(check_leftovers(info, [InterruptedSubmit(job="cut", run_id=MINE, api="paddlejob")]))[1]
        == "removed the ConfigMaps of cut"
    )
    assert only(check_leftovers(info, []))[1] == "nothing of interrupted submits"


def test_doctor_names_pods_that_passed_files_and_that_nobody_waits_for(answers, info, only):
    def pod(name: str, phase: str, made: str) -> dict[str, object]:
        return {"metadata": {"name": name, "creationTimestamp": made}, "status": {"phase": phase}}

    old, new = format_unix_time(time.time() - HOURS), format_unix_time(time.time())
    answers["/api/v1/namespaces/ml/pods"] = {"kind": "List", "items": [
        pod("flowers-files-a", "Pending", old), pod("flowers-files-b", "Pending", new),
        pod("flowers-files-c", "Running", old), pod("flowers-files-d", "Failed", new),
    ]}  # fmt: skip
    assert only(check_leftovers(info, []))[1] == (
        "2 pods that passed files, which the next `data` or `ckpt` deletes: flowers-files-a, flowers-files-d"
    )
