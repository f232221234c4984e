"""Jobs of a queue under Kueue itself, as a user with our least privilege."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.e2e.cluster.kueue.install import Kueue
from tests.e2e.cluster.space import REPOSITORY, USER, Space
from tests.e2e.cluster.test_manifest import NOWHERE
from tests.e2e.conftest import Place

GROUP = "kueue.x-k8s.io"
QUIET = {"Global__save_interval": 0, "Global__eval_during_train": False}
EPOCHS = 24  # long enough to be preempted and cancelled
SIZE = {"cpu": "100m", "memory": "900Mi"}  # of a pod, of two


@pytest.fixture
def queues(kueue: Kueue, space: Space) -> Iterator[Kueue]:
    """The LocalQueue `team-a`, with room for one job of two pods."""
    kueue.adopt(space.name)
    kueue.add_flavor(space.name)
    kueue.add_queue("team-a", namespace=space.name, cpu="300m", flavor=space.name)
    bind(space, "kueue")
    yield kueue
    space.kubectl("delete", "paddlejobs", "--all", "--timeout=60s")
    space.kubectl("delete", "localqueues", "--all", "--timeout=60s")


@pytest.fixture
def write_queued(write_job: Callable[..., str], place: Place, space: Space) -> Callable[..., str]:
    """Write a job of `team-a` with an output folder of its own."""
    (place.folder / "runs").symlink_to(space.output)
    volumes = [
        {"mount": "/data", "claim": "data", "read_only": True},
        {"mount": "/output", "claim": "runs", "sub_path": "{job}"},
    ]

    def write(name: str = "cfg.yaml", **changes: Any) -> str:
        given = {
            "Launch__queue": {"kueue": "team-a"}, "Launch__resources": SIZE, "Launch__volumes": volumes,
            "Global__epochs": EPOCHS, **QUIET, **changes,
        }  # fmt: skip
        return write_job(name, **given)

    return write


def bind(space: Space, role: str) -> None:
    """Give the user one more of our roles."""
    space.kubectl("apply", "-f", str(REPOSITORY / f"k8s/rbac/{role}.yaml"))
    account = f"--serviceaccount={space.name}:{USER}"
    space.kubectl("create", "rolebinding", role, f"--role=ftlaunch-{role}-user", account)


def workload_of(space: Space, job: str) -> dict[str, Any]:
    found = [
        item for item in space.get(f"workloads.{GROUP}")["items"]
        if item["metadata"]["ownerReferences"][0]["name"] == job
    ]  # fmt: skip
    assert len(found) == 1
    return found[0]


def why(place: Place, job: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(place.run("ftlaunch", "why", job, "--output", "json").stdout)
    return document


def steps_of(place: Place, job: str) -> list[int]:
    return sorted({row["step"] for row in place.rows(f"runs/{job}/run") if row["event"] == "step"})


@pytest.fixture
def follow(place: Place) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Follow a job's log beside the test."""
    begun = []

    def begin(job: str) -> subprocess.Popen[str]:
        begun.append(place.begin("ftlaunch", "logs", "-f", job))
        return begun[-1]

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def test_a_job_that_is_preempted_says_so_and_goes_on_where_it_was(place, space, write_queued, queues, follow):
    queues.add_priority("urgent", 1000)
    place.run("ftlaunch", "submit", write_queued(), "--name", "long")
    place.wait_for(lambda: steps_of(place, "long"), what="training to begin", timeout_s=120)
    following = follow("long")
    other = write_queued("other.yaml", **NOWHERE)
    place.run("ftlaunch", "submit", other, "--name", "next")
    waits = "waits in queue 'team-a', place 1 of 1: 100m more cpu needed in flavour"
    place.wait_for(lambda: waits in place.status("next")["reason"], what="its place in the queue")
    assert place.status("next")["state"] == "Queued"
    found = why(place, "next")
    assert (found["code"], found["resolves"]) == ("queue-waiting", "later")
    urgent = json.dumps({f"{GROUP}/priority-class": "urgent"})
    place.run("ftlaunch", "submit", other, "--name", "vip", "-o", f"Launch.labels={urgent}")
    place.run("ftlaunch", "wait", "long", "--for", "queued", "--timeout", "90s")
    place.wait_for(lambda: "it was preempted" in place.status("long")["reason"], what="why it waits")
    assert why(place, "long")["code"] == "queue-preempted"
    assert place.status("vip")["state"] == "Scheduling"
    for job in ("next", "vip"):
        place.run("ftlaunch", "delete", job, "--force")
    place.run("ftlaunch", "wait", "long", "--timeout", "170s")
    assert place.status("long")["state"] == "Succeeded"
    assert steps_of(place, "long") == list(range(1, EPOCHS * 2 + 1))
    assert {row["attempt"] for row in place.rows("runs/long/run")} == {1, 2}
    out, err = following.communicate(timeout=60)
    assert following.returncode == 0
    assert "attempt 1 begins" in out
    assert "attempt 2 begins" in out
    assert "waiting: waits in queue 'team-a', place 1 of 2: it was preempted" in err
    place.run("ftlaunch", "delete", "long")
    place.wait_for(lambda: not space.names(f"workloads.{GROUP}"), what="no Workload to be left")
    place.wait_for(lambda: not space.leftovers(), what="nothing of the jobs to be left")


@pytest.mark.usefixtures("queues")
def test_a_cancelled_job_stays_stopped_until_it_is_resumed(place, space, write_queued):
    space.kubectl("delete", "rolebinding", "kueue")
    place.run("ftlaunch", "submit", write_queued(), "--name", "pair")
    place.wait_for(lambda: steps_of(place, "pair"), what="training to begin", timeout_s=120)
    refused = place.run("ftlaunch", "cancel", code=3)
    assert "queue 'team-a' of Kueue would start it again" in refused.stderr
    assert '"resources": ["workloads"], "verbs": ["patch"]' in refused.stderr
    assert place.status()["state"] == "Running"
    bind(space, "kueue")
    place.run("ftlaunch", "cancel")
    place.run("ftlaunch", "wait", "--timeout", "60s", code=6)
    place.wait_for(lambda: space.names("pods") == [], what="its pods to be gone")
    held = workload_of(space, "pair")
    assert held["spec"]["active"] is False
    conditions = {item["type"]: item["status"] for item in held["status"]["conditions"]}
    assert conditions["QuotaReserved"] == "False"
    assert place.status()["state"] == "Cancelled"
    place.run("ftlaunch", "resume")
    assert workload_of(space, "pair")["spec"]["active"] is True
    place.run("ftlaunch", "wait", "--timeout", "150s")
    assert steps_of(place, "pair") == list(range(1, EPOCHS * 2 + 1))


@pytest.mark.usefixtures("queues")
def test_a_job_that_waits_is_cancelled_and_another_takes_its_place(place, space, write_queued):
    cfg = write_queued(**NOWHERE)
    for job in ("first", "second", "third"):
        place.run("ftlaunch", "submit", cfg, "--name", job)
    place.wait_for(lambda: "place 2 of 2" in place.status("third")["reason"], what="its place")
    place.run("ftlaunch", "cancel", "second")
    place.run("ftlaunch", "wait", "second", "--timeout", "30s", code=6)
    place.wait_for(lambda: "place 1 of 1" in place.status("third")["reason"], what="the next place")
    place.run("ftlaunch", "delete", "first", "--force")
    place.wait_for(lambda: place.status("third")["state"] == "Scheduling", what="its turn")
    said = place.run("ftlaunch", "resume", "second").stderr
    assert "waits in queue 'team-a'" in said
    assert place.status("second")["state"] == "Queued"


def test_a_queue_that_is_not_there_is_refused_and_one_that_is_closed_is_warned_of(
    place, space, write_queued, queues
):
    queues.add_local_queue(
        "held", namespace=space.name, cluster_queue=f"{space.name}-team-a", stopPolicy="Hold"
    )
    queues.add_local_queue("orphan", namespace=space.name, cluster_queue="nowhere")
    queues.add_queue("small", namespace=space.name, cpu="100m", flavor=space.name)
    cfg = write_queued(**NOWHERE)
    refused = place.run("ftlaunch", "submit", cfg, "--name", "lost", "-o", "Launch.queue.kueue=none", code=2)
    assert "LocalQueue none doesn't exist [queue-missing]" in refused.stderr
    assert "small, team-a (Launch.queue.kueue)" in refused.stderr
    assert space.leftovers() == []
    for queue, warning, code in (
        ("held", "LocalQueue is stopped [queue-inactive]", "queue-inactive"),
        ("orphan", "Can't submit new workloads to clusterQueue [queue-inactive]", "queue-missing"),
        ("small", "", "queue-never"),
    ):
        place.wait_for(lambda: has_condition(space, queue), what="Kueue to look at the queue")  # noqa: B023
        said = place.run("ftlaunch", "submit", cfg, "--name", queue, "-o", f"Launch.queue.kueue={queue}")
        assert warning in said.stderr
        place.wait_for(lambda: why(place, queue)["code"] == code, what=code)  # noqa: B023
        assert why(place, queue)["resolves"] == "by-change"


def has_condition(space: Space, queue: str) -> bool:
    return bool((space.get("localqueue", queue).get("status") or {}).get("conditions"))


@pytest.mark.usefixtures("kueue")
def test_where_kueue_would_not_hold_it_a_job_is_not_sent(place, space, write_queued, kueue):
    kueue.add_flavor(space.name)
    kueue.add_queue("team-a", namespace=space.name, cpu="300m", flavor=space.name)
    refused = place.run("ftlaunch", "submit", write_queued(), "--name", "loose", code=2)
    assert "Kueue would let it start at once" in refused.stderr
    assert "managedJobsNamespaceSelector" in refused.stderr
    assert space.leftovers() == []


def test_where_kueue_manages_all_jobs_one_without_a_queue_is_told_so(place, space, write_queued, queues):
    queues.install(manageJobsWithoutQueueName=True)
    try:
        cfg = write_queued(**NOWHERE, Launch__queue=None)
        said = place.run("ftlaunch", "submit", cfg, "--name", "bare").stderr
        assert "names no queue; set Launch.queue.kueue" in said
        place.wait_for(lambda: place.status()["state"] == "Suspended", what="Kueue to hold it")
        found = why(place, "bare")
        assert found["code"] == "queue-unnamed"
        label = found["fix"].partition(";")[0].removeprefix(f"kubectl -n {space.name} ")
        space.kubectl(*label.split())
        place.wait_for(lambda: place.status()["state"] == "Scheduling", what="its turn")
    finally:
        queues.install()


@pytest.mark.usefixtures("queues")
def test_doctor_names_the_queues_and_what_the_role_allows(place, space):
    document = json.loads(place.run("ftlaunch", "doctor", "--output", "json").stdout)
    said = [(check["check"], check["level"], check["message"]) for check in document["checks"]]
    assert ("permission", "ok", "workloads: list, patch") in said
    (queues,) = [text for check, _, text in said if check == "queues"]
    assert "Kueue" in queues
    assert queues.endswith(f"queues of {space.name}: team-a")
    space.kubectl("delete", "rolebinding", "kueue")
    done = place.run("ftlaunch", "doctor", code=None)
    assert "warn  permission   workloads: not allowed to patch" in done.stdout
