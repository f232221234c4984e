"""What is found before a job is sent, over the cluster in memory."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.objects import (
    CLAIMS,
    CLUSTER_QUEUES,
    LIMIT_RANGES,
    LOCAL_QUEUES,
    NODES,
    PADDLE_JOBS,
    PODS,
    QUOTAS,
    RULES_REVIEWS,
    STORAGE_CLASSES,
    Resource,
)
from launcher.why.preflight import Preflight, check_before, gather_within
from tests.fakes.cluster import FakeCluster
from tests.launcher.why.situations import (
    IMAGE,
    Item,
    claim,
    job,
    node,
    placed,
    quota,
    storage_class,
    template,
)

RBAC = Path(__file__).resolve().parents[3] / "k8s" / "rbac"
MAY = [
    {
        "apiGroups": ["", "kubeflow.org"],
        "resources": ["configmaps", "paddlejobs"],
        "verbs": ["create", "patch"],
    }
]


@pytest.fixture
def cluster() -> FakeCluster:
    made = FakeCluster(namespace="team-a", claims=())
    made.rules = MAY
    return made


@pytest.fixture
def look(cluster: FakeCluster) -> Callable[..., Preflight]:
    def call(wanted: Item | None = None, **there: list[Item]) -> Preflight:
        kinds: dict[str, Resource] = {
            "nodes": NODES, "placed": PODS, "claims": CLAIMS, "classes": STORAGE_CLASSES, "quotas": QUOTAS,
            "ranges": LIMIT_RANGES, "queues": LOCAL_QUEUES,
        }  # fmt: skip
        for name, items in there.items():
            where = "" if name in ("nodes", "classes") else "team-b" if name == "placed" else "team-a"
            for index, item in enumerate(items):
                named = {
                    **item,
                    "metadata": {**item["metadata"], "name": item["metadata"].get("name", f"o{index}")},
                }
                if name == "placed":
                    named["status"] = {"phase": "Running"}
                cluster.put(kinds[name], named, namespace=where)
        return check_before(cluster, wanted or job(), namespace="team-a", now_s=0.0)

    return call


def codes(findings: Preflight) -> tuple[list[str], list[str], list[str]]:
    return tuple(
        [item.code for item in part] for part in (findings.errors, findings.warnings, findings.notes)
    )  # type: ignore[return-value]


def of(*claims: str, replicas: int = 1) -> Item:
    return job(replicas=replicas, spec=template(claims=claims))


def limits(**what: Item) -> Item:
    return {"metadata": {"name": "r"}, "spec": {"limits": [{"type": "Container", **what}]}}


BARE = job(spec={**template(), "containers": [{"name": "paddle", "image": IMAGE}]})
"""It states no amounts."""
LATE = storage_class("nfs", mode="WaitForFirstConsumer")


def with_image(name: str) -> Item:
    made = node("g1")
    made["status"]["images"] = [{"names": [name]}]
    return made


def test_a_job_that_fits_finds_nothing_in_its_way(look, cluster) -> None:
    found = look(nodes=[with_image(IMAGE)])
    assert codes(found) == ([], [], ["fits-now"])
    assert found.skipped == ()
    assert len(cluster.requests) == 5


@pytest.mark.parametrize(("wanted", "there", "expected"), [
    (job(), {"nodes": [node("g1")], "placed": [placed("g1", gpus=1)]},
     ([], ["insufficient-gpu"], ["image-absent"])),
    (job(replicas=2), {"nodes": [with_image(IMAGE)]}, ([], ["insufficient-gpu"], [])),
    (job(), {"nodes": [node("c1", gpus=0)]}, ([], ["gpu-not-offered"], ["image-absent"])),
    (of("runs"), {"claims": []}, (["claim-missing"], ["no-nodes"], [])),
    (of("runs", replicas=2), {"claims": [claim("runs", "ReadWriteOnce")]},
     ([], ["claim-access-mode", "no-nodes"], [])),
    (of("runs", replicas=2), {"claims": [claim("runs", "ReadWriteOncePod")]},
     (["claim-access-mode"], ["no-nodes"], [])),
    (of("runs"), {"claims": [claim("runs", "ReadOnlyMany")]}, (["claim-access-mode"], ["no-nodes"], [])),
    (of("runs:ro"), {"claims": [claim("runs", "ReadOnlyMany")]}, ([], ["no-nodes"], [])),
    (of("runs"), {"claims": [claim("runs", phase="Pending", storage_class="fast")]},
     ([], ["claim-class-missing", "no-nodes"], [])),
    (of("runs"), {"claims": [claim("runs", phase="Pending")], "classes": [LATE]}, ([], ["no-nodes"], [])),
    (of("runs"), {"claims": [claim("runs", deleted=True)]}, (["claim-being-deleted"], ["no-nodes"], [])),
    (job(), {"quotas": [quota("team", requests_cpu=("8", "0"))]}, (["quota-never"], ["no-nodes"], [])),
    (job(), {"quotas": [quota("team", requests_cpu=("20", "8"))]},
     ([], ["quota-exceeded", "no-nodes"], [])),
    (BARE, {"quotas": [quota("team", limits_cpu=("20", "8"))]}, (["quota-needs-requests"], ["no-nodes"], [])),
    (job(), {"ranges": [limits(max={"cpu": "4"})]}, (["limit-range"], ["no-nodes"], [])),
], ids=["taken now", "never", "no GPUs", "no claim", "one node", "one pod", "read only", "only read",
        "no class", "bound later", "claim goes", "quota too small", "quota used", "states nothing",
        "too large"])  # fmt: skip
def test_what_can_never_run_is_refused_and_what_waits_is_warned_of(look, wanted, there, expected) -> None:
    assert codes(look(wanted, **there)) == expected


@pytest.mark.parametrize(("replicas", "labels", "code"), [
    (2, {"scheduling.x-k8s.io/pod-group": "other"}, "gang-incomplete"), (2, {}, "insufficient-gpu"),
    (3, {"scheduling.x-k8s.io/pod-group": "other"}, "insufficient-gpu"),
], ids=["a gang", "no gangs here", "never"])  # fmt: skip
def test_where_other_jobs_are_gangs_this_one_will_be(look, replicas, labels, code) -> None:
    other = placed("g1", gpus=1)
    other["metadata"]["labels"] = {"training.kubeflow.org/job-name": "other", **labels}
    found = look(job(replicas=replicas), nodes=[with_image(IMAGE), node("g2")], placed=[other])
    (warning,) = found.warnings
    assert warning.code == code
    assert "1 of" in warning.sentence
    assert warning.sentence.startswith("its pods start together") is (code == "gang-incomplete")


def test_defaults_of_a_limit_range_are_requests(look) -> None:
    bare = job(spec={**template(), "containers": [{"name": "paddle", "image": IMAGE}]})
    ranges = [
        {"metadata": {"name": "r"}, "spec": {"limits": [{"type": "Container", "default": {"cpu": "4"}}]}}
    ]
    assert look(bare, quotas=[quota("team", limits_cpu=("20", "8"))], ranges=ranges).errors == ()


def test_a_missing_permission_is_named_with_its_rule(look, cluster) -> None:
    cluster.rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}]
    (refusal,) = look(nodes=[node("g1")]).errors
    assert refusal.code == "create-denied"
    assert '{"apiGroups": ["kubeflow.org"], "resources": ["paddlejobs"], "verbs": ["create"]}' in refusal.fix


def test_an_image_that_nobody_may_pull_is_warned_of(look) -> None:
    wanted = job()
    wanted["spec"]["paddleReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["imagePullPolicy"] = (
        "Never"
    )
    assert codes(look(wanted, nodes=[node("g1")]))[1] == ["image-never-pulled"]
    assert codes(look(wanted, nodes=[with_image(IMAGE)]))[1] == []


@pytest.mark.parametrize(("written", "known"), [
    ("trainer:1", "docker.io/library/trainer:1"), ("me/trainer", "docker.io/me/trainer:latest"),
    ("localhost/trainer:1", "localhost/trainer:1"), ("reg.example:5000/a/b", "reg.example:5000/a/b:latest"),
])  # fmt: skip
def test_an_image_is_known_by_its_whole_name(look, written: str, known: str) -> None:
    wanted = job()
    wanted["spec"]["paddleReplicaSpecs"]["Worker"]["template"]["spec"]["containers"][0]["image"] = written
    assert codes(look(wanted, nodes=[with_image(known)]))[2] == ["fits-now"]


def test_what_may_not_be_looked_at_is_said_and_no_reason_to_refuse(look, cluster) -> None:
    for resource in (NODES, PODS, QUOTAS, LIMIT_RANGES, CLAIMS, STORAGE_CLASSES):
        cluster.refuse("list", resource, code=403)
    cluster.refuse("create", RULES_REVIEWS, code=403)
    found = look(of("runs"))
    assert codes(found) == ([], [], [])
    assert {item.what.partition(" ")[0] for item in found.skipped} == {
        "nodes", "pods", "resourcequotas", "limitranges", "persistentvolumeclaims", "storageclasses",
        "selfsubjectrulesreviews",
    }  # fmt: skip


def test_who_answers_late_is_not_waited_for() -> None:
    began_s = time.monotonic()
    gathered = gather_within({"now": lambda: 1, "never": lambda: time.sleep(30)}, within_s=0.2)
    assert (gathered.given, gathered.late) == ({"now": 1}, {"never"})
    assert time.monotonic() - began_s < 20


def test_a_bug_in_a_question_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        gather_within({"bug": lambda: 1 // 0}, within_s=5)


def test_the_roles_allow_what_is_looked_at() -> None:
    def rules(name: str) -> set[tuple[str, str]]:
        role: Any = yaml.safe_load((RBAC / name).read_text())
        return {
            (group, resource) for rule in role["rules"] if "list" in rule["verbs"]
            for group in rule["apiGroups"] for resource in rule["resources"]
        }  # fmt: skip

    namespaced, whole = rules("user.yaml"), rules("capacity.yaml")
    assert {
        (item.group, item.plural) for item in (CLAIMS, QUOTAS, LIMIT_RANGES, PODS, LOCAL_QUEUES)
    } <= namespaced
    assert {(item.group, item.plural) for item in (NODES, PODS, STORAGE_CLASSES, CLUSTER_QUEUES)} == whole
    assert not re.search(r"\*", (RBAC / "user.yaml").read_text() + (RBAC / "capacity.yaml").read_text())


def local_queue(name: str, message: str = "", **spec: str) -> Item:
    active = {"type": "Active", "status": "False" if message else "True", "message": message}
    return {
        "metadata": {"name": name}, "spec": {"clusterQueue": "shared", **spec},
        "status": {"conditions": [active]},
    }  # fmt: skip


@pytest.mark.parametrize(("queues", "refused", "warned", "words"), [
    ([local_queue("team-a")], [], [], ""),
    ([local_queue("team-b"), local_queue("team-c", "LocalQueue is stopped")], ["queue-missing"], [],
     "name one of this namespace: team-b (Launch.queue.kueue)"),
    ([], ["queue-missing"], [], "an administrator makes one"),
    ([local_queue("team-a", "LocalQueue is stopped", stopPolicy="Hold")], [], ["queue-inactive"],
     "patch localqueue team-a"),
    ([local_queue("team-a", "Can't submit new workloads to clusterQueue")], [], ["queue-inactive"],
     "kubectl get clusterqueue shared"),
], ids=["open", "another name", "none", "stopped", "nothing behind it"])  # fmt: skip
def test_a_queue_that_does_not_exist_is_refused_and_a_closed_one_warned_of(
    look, cluster, queues, refused, warned, words
) -> None:
    cluster.kueue_holds = lambda stored: True
    found = look(job(queue="team-a"), nodes=[with_image(IMAGE)], queues=queues)
    assert codes(found)[:2] == (refused, warned)
    assert words in "".join(verdict.fix for verdict in (*found.errors, *found.warnings))
    assert found.skipped == ()


def test_a_queue_without_kueue_is_refused(look, cluster) -> None:
    cluster.served = tuple(kind for kind in cluster.served if kind is not LOCAL_QUEUES)
    found = look(job(queue="team-a"), nodes=[with_image(IMAGE)])
    assert codes(found)[0] == ["kueue-missing"]
    assert "take Launch.queue out" in found.errors[0].fix
    assert found.skipped == ()


def test_a_job_that_kueue_would_not_hold_is_refused(look, cluster) -> None:
    (refusal,) = look(job(queue="team-a"), nodes=[node("g1")], queues=[local_queue("team-a")]).errors
    assert refusal.code == "queue-ignored"
    assert "integrations.frameworks (kubeflow.org/paddlejob)" in refusal.fix
    assert cluster.list(PADDLE_JOBS, namespace="team-a") == ()


def test_queues_that_may_not_be_looked_at_are_said_and_no_reason_to_refuse(look, cluster) -> None:
    cluster.refuse("list", LOCAL_QUEUES, code=403)
    cluster.refuse("create", PADDLE_JOBS, code=403)
    found = look(job(queue="team-a"), nodes=[node("g1")])
    assert found.errors == ()
    assert [item.what.partition(" ")[0] for item in found.skipped] == ["localqueues"]
