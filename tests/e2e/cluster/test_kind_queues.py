"""Jobs of each kind in a queue of Kueue itself, as a user with our least privilege.

CI runs what takes no minutes with JobSets, and a short part with the others; `make kind-table` runs all of
it with all kinds.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from launcher.kinds.base import JobKind
from launcher.kinds.registry import JOB_SET, KINDS, PADDLE_JOB
from tests.e2e.cluster.kind_table import of_kinds, showing
from tests.e2e.cluster.kueue import ALL_KINDS, Kueue
from tests.e2e.cluster.space import REPOSITORY, USER, Space
from tests.e2e.cluster.test_manifest import NOWHERE, TEAM_QUEUE
from tests.e2e.conftest import Place

GROUP = "kueue.x-k8s.io"
QUIET = {"Global__save_interval": 0, "Global__eval_during_train": False}
EPOCHS = 40  # long enough to be preempted and cancelled
SIZE = {"cpu": "400m", "memory": "900Mi"}  # of a pod, of two; with less, Paddle takes a minute to start


@pytest.fixture
def managed(kueue: Kueue, space: Space) -> Iterator[Kueue]:
    """Kueue, which looks after the namespace, and a flavour of its name; the user may stop Workloads."""
    kueue.adopt(space.name)
    kueue.add_flavor(space.name)
    bind(space, "kueue")
    yield kueue
    space.kubectl("delete", space.cluster.job_kinds, "--all", "--timeout=60s")
    space.kubectl("delete", "localqueues", "--all", "--timeout=60s")


@pytest.fixture
def queues(managed: Kueue, space: Space) -> Kueue:
    """The LocalQueue `team-a`, with room for one job of two pods."""
    managed.add_queue("team-a", namespace=space.name, cpu="1200m", flavor=space.name)
    return managed


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
            "Launch__api": JOB_SET.name, "Global__epochs": EPOCHS, **QUIET, **changes,
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


def submit(place: Place, cfg: str, kind: JobKind, job: str, *more: str) -> None:
    place.run("ftlaunch", "submit", cfg, "--api", kind.name, "--name", job, *more)


def wait_for_turn(place: Place, job: str) -> None:
    """Wait until a job that no node takes has been let in."""
    place.run("ftlaunch", "wait", job, "--for", "scheduling", "--timeout", "90s")


def wait_for_reason(place: Place, job: str, words: str) -> None:
    place.wait_for(lambda: words in place.status(job)["reason"], what=f"{job}: {words}")


@pytest.mark.table  # minutes; what is reclaimed from a borrower is preempted as well, below
@of_kinds(JOB_SET)
def test_a_job_that_is_preempted_says_so_and_goes_on_where_it_was(
    place, space, write_queued, queues, follow, kind
):
    queues.add_priority("urgent", 1000)
    submit(place, write_queued(), kind, "long")
    place.wait_for(lambda: steps_of(place, "long"), what="training to begin", timeout_s=120)
    following = follow("long")
    other = write_queued("other.yaml", **NOWHERE)
    with showing(kind, "queue: place and lack"):
        submit(place, other, kind, "next")
        wait_for_reason(
            place, "next", "waits in queue 'team-a', place 1 of 1: 400m more cpu needed in flavour"
        )
        assert place.status("next")["state"] == "Queued"
        found = why(place, "next")
        assert (found["code"], found["resolves"]) == ("queue-waiting", "later")
    with showing(kind, "queue: preempted, goes on where it was"):
        urgent = json.dumps({f"{GROUP}/priority-class": "urgent"})
        submit(place, other, kind, "vip", "-o", f"Launch.labels={urgent}")
        place.run("ftlaunch", "wait", "long", "--for", "queued", "--timeout", "90s")
        wait_for_reason(place, "long", "it was preempted")
        assert why(place, "long")["code"] == "queue-preempted"
        wait_for_turn(place, "vip")
        for job in ("next", "vip"):
            place.run("ftlaunch", "delete", job, "--force")
        place.run("ftlaunch", "wait", "long", "--timeout", "300s")
        assert place.status("long")["state"] == "Succeeded"
        steps = [row["step"] for row in place.rows("runs/long/run") if row["event"] == "step"]
        assert steps == list(
            range(1, EPOCHS * 2 + 1)
        )  # each once: it goes on after the last one that was saved
        assert {row["attempt"] for row in place.rows("runs/long/run")} == {1, 2}
        out, err = following.communicate(timeout=60)
        assert following.returncode == 0
        assert "attempt 1 begins" in out
        assert "attempt 2 begins" in out
        assert "waiting: waits in queue 'team-a', place 1 of 2: it was preempted" in err
    with showing(kind, "queue: nothing is left"):
        place.run("ftlaunch", "delete", "long")
        place.wait_for(lambda: not space.names(f"workloads.{GROUP}"), what="no Workload to be left")
        place.wait_for(lambda: not space.leftovers(), what="nothing of the jobs to be left")


@pytest.mark.table  # minutes; what is cancelled while it waits is below
@of_kinds(JOB_SET)
@pytest.mark.usefixtures("queues")
def test_a_cancelled_job_stays_stopped_until_it_is_resumed(place, space, write_queued, kind):
    space.kubectl("delete", "rolebinding", "kueue")
    submit(place, write_queued(), kind, "pair")
    place.wait_for(lambda: steps_of(place, "pair"), what="training to begin", timeout_s=120)
    with showing(kind, "queue: cancel and resume"):
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
        place.run("ftlaunch", "wait", "--timeout", "300s")
        assert steps_of(place, "pair") == list(range(1, EPOCHS * 2 + 1))


@of_kinds(*KINDS)
@pytest.mark.usefixtures("queues")
def test_jobs_take_turns_and_one_that_waits_can_be_cancelled(place, space, write_queued, kind):
    cfg = write_queued(**NOWHERE)
    with showing(kind, "queue: turns"):
        for job in ("first", "second", "third"):
            submit(place, cfg, kind, job)
        wait_for_reason(place, "third", "place 2 of 2")
        assert place.status("first")["state"] == "Scheduling"
    with showing(kind, "queue: cancel while it waits"):
        place.run("ftlaunch", "cancel", "second")
        place.run("ftlaunch", "wait", "second", "--timeout", "30s", code=6)
        wait_for_reason(place, "third", "place 1 of 1")
        place.run("ftlaunch", "delete", "first", "--force")
        wait_for_turn(place, "third")
        assert place.status("second")["state"] == "Cancelled"
        assert "waits in queue 'team-a'" in place.run("ftlaunch", "resume", "second").stderr
        assert place.status("second")["state"] == "Queued"


@of_kinds(JOB_SET)
def test_a_job_borrows_from_a_cohort_until_the_owner_wants_its_own(place, space, write_queued, managed, kind):
    for name, cpu in (("team-a", "400m"), ("team-b", "800m")):
        reclaim = {"reclaimWithinCohort": "Any", "withinClusterQueue": "LowerPriority"}
        managed.add_queue(
            name, namespace=space.name, cpu=cpu, flavor=space.name, cohortName=space.name, preemption=reclaim
        )
    cfg, own = write_queued(**NOWHERE), "Launch.queue.kueue=team-b"
    with showing(kind, "queue: borrows from a cohort"):
        submit(place, cfg, kind, "guest")
        wait_for_turn(place, "guest")
    with showing(kind, "queue: reclaimed by its owner"):
        submit(place, cfg, kind, "owner", "-o", own)
        wait_for_reason(place, "guest", "it was preempted")
        assert why(place, "guest")["code"] == "queue-preempted"
        wait_for_turn(place, "owner")
        place.run("ftlaunch", "delete", "owner", "--force")
        wait_for_turn(place, "guest")


@of_kinds(JOB_SET)
def test_pods_are_placed_near_each_other_by_a_topology(place, space, write_queued, managed, kind):
    """The level is the node itself: two pods share one, as they would a rack."""
    racks = f"{space.name}-racks"
    managed.add_placing_flavor(racks, "kubernetes.io/hostname")
    managed.add_queue("racks", namespace=space.name, cpu="40", flavor=racks)
    managed.add_queue("plain", namespace=space.name, cpu="40", flavor=space.name)
    cpus = min(int(item["status"]["allocatable"]["cpu"]) for item in space.cluster.get("nodes")["items"])
    large = {**SIZE, "cpu": f"{cpus * 600}m"}  # of a node; two do not share it

    def write(name: str, topology: str, queue: str = "racks", **changes: Any) -> str:
        wish = {"kueue": queue, "topology": topology}
        return write_queued(
            name, Launch__queue=wish, Launch__topology_key="kubernetes.io/hostname", **changes
        )

    with showing(kind, "queue: pods near each other"):
        submit(place, write("near.yaml", "required"), kind, "near")
        place.run("ftlaunch", "wait", "near", "--for", "running", "--timeout", "120s")
        pods = space.get("pods")["items"]
        assert len(pods) == 2
        assert len({pod["spec"]["nodeName"] for pod in pods}) == 1
        place.run("ftlaunch", "delete", "near", "--force")
    with showing(kind, "queue: no such place"):
        submit(place, write("large.yaml", "required", Launch__resources=large), kind, "large")
        place.wait_for(lambda: why(place, "large")["code"] == "queue-topology", what="why to say so")
        found = why(place, "large")
        assert "has no place for 2 pods together" in found["sentence"]
        assert "`topology: preferred`" in found["fix"]
        assert place.status("large")["start"]["reason"].startswith("its pods must be near each other")
        place.run("ftlaunch", "delete", "large", "--force")
        submit(place, write("apart.yaml", "preferred", Launch__resources=large), kind, "apart")
        place.run("ftlaunch", "wait", "apart", "--for", "running", "--timeout", "120s")
        assert len({pod["spec"]["nodeName"] for pod in space.get("pods")["items"]}) == 2
        place.run("ftlaunch", "delete", "apart", "--force")
        submit(place, write("plain.yaml", "required", queue="plain"), kind, "plain")
        place.wait_for(lambda: why(place, "plain")["code"] == "queue-never", what="why to say so")
        assert f"flavour {space.name} has no topology" in why(place, "plain")["sentence"]


def test_a_queue_that_is_not_there_is_refused_and_one_that_is_closed_is_warned_of(
    place, space, write_queued, queues
):
    queues.add_local_queue(
        "held", namespace=space.name, cluster_queue=f"{space.name}-team-a", stopPolicy="Hold"
    )
    queues.add_local_queue("orphan", namespace=space.name, cluster_queue="nowhere")
    queues.add_queue("small", namespace=space.name, cpu="400m", flavor=space.name)
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


def test_where_kueue_does_not_look_after_a_kind_its_job_is_not_sent(place, space, write_queued, kueue):
    """As Kueue's own configuration has it of PaddleJobs."""
    others = [framework for framework in ALL_KINDS if framework != PADDLE_JOB.kueue_framework]
    kueue.install(integrations={"frameworks": others})
    try:
        kueue.add_flavor(space.name)
        kueue.add_queue("team-a", namespace=space.name, cpu="1200m", flavor=space.name)
        words = ("ftlaunch", "submit", write_queued(), "--name", "loose", "--api", "paddlejob")
        refused = place.run(*words, code=2)
        assert "Kueue would let it start at once" in refused.stderr
        assert PADDLE_JOB.kueue_framework in refused.stderr
        assert space.leftovers() == []
    finally:
        kueue.install()


@pytest.mark.usefixtures("queues")
def test_where_kueue_manages_all_jobs_one_without_a_queue_is_told_so(place, space, write_queued):
    cfg = write_queued(**NOWHERE, Launch__queue=None)
    said = place.run("ftlaunch", "submit", cfg, "--name", "bare").stderr
    assert "names no queue; set Launch.queue.kueue" in said
    place.run("ftlaunch", "wait", "--for", "suspended", "--timeout", "60s")
    found = why(place, "bare")
    assert found["code"] == "queue-unnamed"
    label = found["fix"].partition(";")[0].removeprefix(f"kubectl -n {space.name} ")
    space.kubectl(*label.split())
    wait_for_turn(place, "bare")


@pytest.mark.usefixtures("kueue")
def test_the_queue_that_a_platform_team_begins_with_is_known_to_kueue(space):
    text = TEAM_QUEUE.read_text(encoding="utf-8").replace("namespace: team-a", f"namespace: {space.name}")
    space.kubectl("apply", "--dry-run=server", "--validate=strict", "-f", "-", given=text)


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
