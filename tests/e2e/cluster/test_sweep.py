"""A study whose driver is a pod, on a real cluster: the pod is deleted in the middle, and a node cut off."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import REPOSITORY

RATE = "Optimizer.lr.learning_rate"
EPOCHS = 4


@pytest.fixture
def study(place, space, cluster, write_job):
    """Return what begins a study of so many trials, and then what tells how it stands."""
    space.kubectl("apply", "-f", str(REPOSITORY / "k8s/rbac/sweep.yaml"))
    space.kubectl("apply", "-f", str(REPOSITORY / "k8s/network/sweep-driver.yaml"))
    cfg = write_job(
        Launch__nodes=1, Launch__gpus=0, Global__epochs=EPOCHS, Global__save_interval=0,
        Global__eval_during_train=True, Global__eval_interval=1,
    )  # fmt: skip

    def begin(trials):
        over = f"{RATE}=[{','.join(f'{number / 100}' for number in range(1, trials + 1))}]"
        asked = ("ftlaunch", "sweep", cfg, "--over", over, "--name", "rates", "--parallel", "2",
                 "--driver", "pod", "--driver-image", cluster.image)  # fmt: skip
        dry = place.run(*asked, "--dry-run", "server")
        assert "checked by the cluster; nothing was begun" in dry.stderr
        place.run(*asked)
        return lambda: json.loads(place.run("ftlaunch", "status", "rates", "--output", "json").stdout)

    return begin


@pytest.mark.timeout(1200)
def test_a_study_outlives_its_drivers_pod(place, space, cluster, study):
    now = study(4)
    place.wait_for(lambda: now()["trials"], what="a trial to begin", timeout_s=420)
    replace_driver(place, space)
    found = await_end(place, now, timeout_s=600)
    check_trials(space, cluster, found, count=4)
    for number in range(1, 5):  # none was trained twice
        assert {row["attempt"] for row in rows_of(space, number)} == {1}
    assert "learning_rate" in place.run("ftlaunch", "sweep", "best", "rates").stdout
    assert place.run("ftlaunch", "logs", "rates", "--trial", "1").stdout
    place.run("ftlaunch", "delete", "rates")
    place.wait_for(lambda: not drivers(space), what="its driver to be gone")


@pytest.mark.table  # ten minutes
@pytest.mark.timeout(3000)
def test_a_study_of_twelve_trials_outlives_a_node_and_its_drivers_pod(place, space, cluster, study, kit):
    now = study(12)
    place.wait_for(lambda: len(now()["trials"]) >= 4, what="the fourth trial to begin", timeout_s=600)
    host = place.wait_for(lambda: host_of_a_trial(space), what="a trial's pod to run", timeout_s=300)
    number = host.removeprefix("n")
    kit.run("node-cut", number)
    try:
        node = "jsonpath={.status.conditions[?(@.type=='Ready')].status}"
        place.wait_for(
            lambda: space.kubectl("get", "node", host, "-o", node).strip() == "Unknown",
            what="the cluster to miss its node", timeout_s=150,
        )  # fmt: skip
        replace_driver(place, space)
    finally:
        kit.run("node-cut", number, "heal")
    found = await_end(place, now, timeout_s=1800)
    check_trials(space, cluster, found, count=12)
    assert found["best"] == max(trial["value"] for trial in found["trials"])
    assert place.run("ftlaunch", "sweep", "best", "rates").stdout
    place.run("ftlaunch", "delete", "rates")
    place.wait_for(lambda: not drivers(space), what="its driver to be gone")


def replace_driver(place, space):
    """Delete the driver's pod, at once also where its node does not answer, and wait for the next one."""
    before = drivers(space)
    space.kubectl("delete", "pod", *before, "--force", "--grace-period=0")
    place.wait_for(lambda: set(drivers(space)) - {*before}, what="another driver's pod", timeout_s=180)


def await_end(place, now, *, timeout_s):
    """Return a study that has ended well."""
    return place.wait_for(
        lambda: (found := now())["state"] == "Succeeded" and found,
        what="the study to end",
        timeout_s=timeout_s,
    )


def check_trials(space, cluster, found, *, count):
    """Hold that all trials were trained to their end, in a job each, and that one is the winner."""
    assert [trial["state"] for trial in found["trials"]] == ["complete"] * count
    assert found["winner"] in range(1, count + 1)
    jobs = {name for name in space.names(cluster.job_kinds) if name.startswith("rates-t")}
    assert jobs == {f"rates-t{number:03}" for number in range(1, count + 1)}
    for number in range(1, count + 1):
        assert {row["epoch"] for row in rows_of(space, number) if row["event"] == "eval"} == {
            *range(1, EPOCHS + 1)
        }


def rows_of(space, number):
    (path,) = space.output.rglob(f"rates/t{number:03}/metrics.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def host_of_a_trial(space):
    """Return the node of a trial's pod that runs; None while none does."""
    pods = [
        pod for pod in space.get("pods")["items"]
        if pod["metadata"]["name"].startswith("rates-t") and pod["status"].get("phase") == "Running"
    ]  # fmt: skip
    return pods[0]["spec"]["nodeName"] if pods else None


def drivers(space) -> list[str]:
    """Return the driver's pods that have not ended."""
    return [
        pod["metadata"]["name"]
        for pod in space.get("pods", "-l", "app.kubernetes.io/component=sweep-driver")["items"]
        if pod["status"].get("phase") in ("Pending", "Running") and "deletionTimestamp" not in pod["metadata"]
    ]
