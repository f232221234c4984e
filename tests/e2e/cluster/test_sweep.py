"""A study whose driver is a pod, on a real cluster: the pod is deleted in the middle."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import REPOSITORY

RATE = "Optimizer.lr.learning_rate"
TRIALS = 4


@pytest.mark.timeout(1200)
def test_a_study_outlives_its_drivers_pod(place, space, cluster, write_job):
    space.kubectl("apply", "-f", str(REPOSITORY / "k8s/rbac/sweep.yaml"))
    space.kubectl("apply", "-f", str(REPOSITORY / "k8s/network/sweep-driver.yaml"))
    cfg = write_job(
        Launch__nodes=1, Launch__gpus=0, Global__epochs=4, Global__save_interval=0,
        Global__eval_during_train=True, Global__eval_interval=1,
    )  # fmt: skip
    over = f"{RATE}=[0.001,0.01,0.05,0.1]"
    asked = ("ftlaunch", "sweep", cfg, "--over", over, "--name", "rates", "--parallel", "2",
             "--driver", "pod", "--driver-image", cluster.image)  # fmt: skip
    dry = place.run(*asked, "--dry-run", "server")
    assert "checked by the cluster; nothing was begun" in dry.stderr
    place.run(*asked)

    def study():
        return json.loads(place.run("ftlaunch", "status", "rates", "--output", "json").stdout)

    place.wait_for(lambda: study()["trials"], what="a trial to begin", timeout_s=420)
    (pod,) = drivers(space)
    space.kubectl("delete", "pod", pod, "--wait=false")
    place.wait_for(lambda: drivers(space) not in ([], [pod]), what="another driver's pod", timeout_s=120)
    found = place.wait_for(
        lambda: (now := study())["state"] == "Succeeded" and now, what="the study to end", timeout_s=600
    )
    assert [trial["state"] for trial in found["trials"]] == ["complete"] * TRIALS
    assert found["winner"] in range(1, TRIALS + 1)
    jobs = {name for name in space.names(cluster.job_kinds) if name.startswith("rates-t")}
    assert jobs == {f"rates-t00{number}" for number in range(1, TRIALS + 1)}
    for number in range(1, TRIALS + 1):  # none was trained twice
        (path,) = space.output.rglob(f"rates/t00{number}/metrics.jsonl")
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        assert {row["attempt"] for row in rows} == {1}
        assert [row["epoch"] for row in rows if row["event"] == "eval"] == [1, 2, 3, 4]
    assert "learning_rate" in place.run("ftlaunch", "sweep", "best", "rates").stdout
    assert place.run("ftlaunch", "logs", "rates", "--trial", "1").stdout
    place.run("ftlaunch", "delete", "rates")
    place.wait_for(lambda: not drivers(space), what="its driver to be gone")


def drivers(space) -> list[str]:
    """Return the driver's pods that have not ended."""
    return [
        pod["metadata"]["name"]
        for pod in space.get("pods", "-l", "app.kubernetes.io/component=sweep-driver")["items"]
        if pod["status"].get("phase") in ("Pending", "Running") and "deletionTimestamp" not in pod["metadata"]
    ]
