"""Jobs in a real engine: two containers as one job, kills, and other shells."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator

import pytest
import yaml

from tests.e2e.conftest import Place, config
from tests.e2e.container_engine import IMAGE, PLACES, engine, in_container

pytestmark = pytest.mark.docker


@pytest.fixture
def submit(place: Place) -> Iterator[Callable[..., str]]:
    """Submit a job and return its name; pytest shows the logs of jobs where the test fails."""
    place.env.update(PLACES)
    jobs = []

    def begin(*argv: str, **changes: object) -> str:
        document = in_container(config(**changes))
        document["Launch"] = {
            "name": "boxes", "image": IMAGE, "grace_period": "20s",
            "resources": {"cpu": 2, "memory": "2Gi", "shm": "64Mi"},
            "volumes": [
                {"mount": "/data", "local": "./data", "read_only": True},
                {"mount": "/output", "local": "./output"},
            ],
        }  # fmt: skip
        (place.folder / "cfg.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        said = place.run("ftlaunch", "submit", "cfg.yaml", "--on", "docker", *argv).stdout.strip()
        jobs.append(said.removeprefix("docker:///"))
        return jobs[-1]

    yield begin
    for job in jobs:
        sys.stdout.write(place.run("ftlaunch", "logs", job, "--attempt", "all", code=None).stdout[-8000:])


def left_of(job: str) -> str:
    containers = engine("ps", "--all", "--quiet", "--filter", f"label=ftlaunch.io/job={job}").stdout
    networks = engine("network", "ls", "--quiet", "--filter", f"name={job}").stdout
    return containers + networks


def test_two_containers_form_one_job_and_leave_nothing_behind(place, submit):
    job = submit("--nodes", "2")
    place.run("ftlaunch", "wait", job, "--timeout", "2m")
    status = place.status(job)
    assert status["state"] == "Succeeded"
    assert [pod["exit"] for pod in status["pods"]] == [0, 0]
    text = place.run("ftlaunch", "logs", job).stdout
    assert "2 ranks on 2 nodes" in text
    assert {row["samples"] for row in place.rows("output/run") if row["event"] == "step"} == {32}
    place.wait_for(lambda: not left_of(job), what="containers and network to be gone")


def test_a_killed_container_is_made_again_and_the_job_goes_on(place, submit):
    job = submit("--nodes", "2", Global__epochs=40)
    rows = lambda: [row for row in place.rows("output/run") if row["event"] == "checkpoint"]  # noqa: E731
    place.wait_for(rows, what="a checkpoint")
    engine("kill", f"{job}-worker-1")
    place.run("ftlaunch", "wait", job, "--timeout", "3m")
    assert [pod["restarts"] for pod in place.status(job)["pods"]] == [0, 1]
    steps = {row["attempt"] for row in place.rows("output/run") if row["event"] == "step"}
    assert steps == {1, 2}


def test_exec_looks_into_a_container_and_cancel_saves(place, submit):
    job = submit(Global__epochs=5000)
    place.wait_for(lambda: place.rows("output/run"), what="a step")
    said = place.run("ftlaunch", "exec", job, "--", "python", "-c", "print(open('/proc/1/cmdline').read())")
    assert said.stdout.startswith("python\0-m\0trainer.node")
    place.run("ftlaunch", "cancel", job)
    place.run("ftlaunch", "wait", job, "--timeout", "60s", code=6)
    assert [pod["exit"] for pod in place.status(job)["pods"]] == [143]
    assert list((place.folder / "output/run/.ftlaunch/checkpoints").glob("e*-s*"))
    place.run("ftlaunch", "delete", job)
    assert not left_of(job)
