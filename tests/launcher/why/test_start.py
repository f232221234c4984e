"""`status` and `why` of a job in a queue say when it starts, or why not, from what a cluster shows."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from launcher import objects
from launcher.backends.kubernetes import KubernetesBackend
from launcher.backends.kubernetes.workloads import reduce_demand
from launcher.jobs import resolve
from launcher.jobs.resolve import ResolvedJob
from launcher.kinds.registry import PADDLE_JOB
from launcher.objects import CLUSTER_QUEUES, COHORTS, LOCAL_QUEUES, PADDLE_JOBS, PODS, WORKLOADS
from launcher.why.explanation import explain_job
from launcher.why.queue_model import QueueView, describe_estimate, estimate_of
from launcher.why.start import fetch_estimate
from tests.fakes.cluster import FakeCluster
from tests.launcher.schemas import check_document
from tests.launcher.team.conftest import submit as submit  # noqa: PLC0414 - a fixture
from tests.launcher.team.test_team import progress, start
from trainer.node.publish import Report, annotate
from trainer.protocol.progress import parse_progress

NOW_S = 1_795_000_000.0
GPU = "nvidia.com/gpu"


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster(namespace="ml")


class Queues:
    """What an administrator and Kueue make of a cluster."""

    def __init__(self, cluster: FakeCluster) -> None:
        self._cluster = cluster
        cluster.kueue_holds = lambda job: True

    def open(
        self, *, gpus: int, pending: int = 0, reserving: int = 0, name: str = "c", fair: bool = False,
        **spec: object,
    ) -> None:  # fmt: skip
        quota = {"name": GPU, "nominalQuota": str(gpus)}
        groups = [{"coveredResources": [GPU], "flavors": [{"name": "f", "resources": [quota]}]}]
        status: dict[str, object] = {"pendingWorkloads": pending, "reservingWorkloads": reserving}
        if fair:
            status["fairSharing"] = {"weightedShare": 0}
        self._cluster.put(
            CLUSTER_QUEUES,
            {"metadata": {"name": name}, "spec": {"resourceGroups": groups, **spec}, "status": status},
            namespace="",
        )  # fmt: skip
        self._cluster.put(LOCAL_QUEUES, {"metadata": {"name": "team-a"}, "spec": {"clusterQueue": "c"}})

    def note(
        self, job: str, *, gpus: int, holds: bool = False, owned: bool = True,
        part: Mapping[str, object] = {}, assigned: Mapping[str, object] = {}, **spec: object,
    ) -> None:  # fmt: skip
        """Let there be a Workload; of a job that is there, or of another tool's."""
        owner = {"apiVersion": "x/v1", "kind": "Other", "name": job, "uid": job}
        if owned:
            found = self._cluster.get(PADDLE_JOBS, job, namespace="ml")
            owner |= {"kind": "PaddleJob", "apiVersion": "kubeflow.org/v1", "uid": found["metadata"]["uid"]}
        container = {"resources": {"requests": {GPU: str(gpus)}}}
        sets = [{"name": "worker", "count": 1, "template": {"spec": {"containers": [container]}}, **part}]
        status: dict[str, object] = {}
        if holds:
            condition = {
                "type": "QuotaReserved",
                "status": "True",
                "lastTransitionTime": "2026-11-18T11:06:00Z",
            }
            usage = {"flavors": {GPU: "f"}, "resourceUsage": {GPU: str(gpus)}, **assigned}
            status = {
                "conditions": [condition],
                "admission": {"clusterQueue": "c", "podSetAssignments": [usage]},
            }
        item = {
            "apiVersion": WORKLOADS.api_version, "kind": "Workload",
            "metadata": {"name": f"w-{job}", "ownerReferences": [owner]},
            "spec": {"queueName": "team-a", "podSets": sets, **spec}, "status": status,
        }  # fmt: skip
        self._cluster.put(WORKLOADS, item)


@pytest.fixture
def queues(cluster: FakeCluster) -> Queues:
    return Queues(cluster)


def run_one(cluster, submit, queues, name, *, gpus, step=None, of=1000) -> None:
    """Let a job run; with a step, let it have reported two, 0.6 s apart."""
    cluster.kueue_holds = lambda job: False
    submit(name, user="bob", gpus=gpus, queue="team-a")
    cluster.kueue_holds = lambda job: True
    start(cluster, name)
    if step is not None:
        lines = [
            progress(step=step - 100, of=of, time_s=NOW_S - 60),
            progress(step=step, of=of, time_s=NOW_S),
        ]
        cluster.write_log(f"{name}-worker-0", b"\n".join([*lines, b""]))
    queues.note(name, gpus=gpus, holds=True)


def estimate(cluster, name, *, now_s=NOW_S):
    job = cluster.get(PADDLE_JOBS, name, namespace="ml")
    return fetch_estimate(cluster, cluster, job, kind=PADDLE_JOB, clock=lambda: now_s)


def test_it_starts_when_a_running_job_has_done_its_steps(cluster, submit, queues):
    queues.open(gpus=8)
    run_one(cluster, submit, queues, "flowers-x", gpus=8, step=200, of=4200)
    submit("mine", gpus=8, queue="team-a")
    queues.note("mine", gpus=8)
    found = estimate(cluster, "mine")
    assert found.in_s == pytest.approx(0.6 * 4000, rel=0.03)  # and what comes after the last step
    assert describe_estimate(found) == (
        "first in team-a; job flowers-x frees 8 GPUs in about 41 min; starts in about 41 min"
    )


def publish(cluster, name, text):
    """Let a job's object have what its node 0 writes there."""
    written = annotate(Report(progress=parse_progress(text), left_s=None))
    cluster.patch(PADDLE_JOBS, name, {"metadata": {"annotations": dict(written)}}, namespace="ml")


def began_s(cluster, name):
    """Return when the first pod's container started."""
    status = cluster.get(PODS, f"{name}-worker-0", namespace="ml")["status"]
    return objects.unix_time(status["containerStatuses"][0]["state"]["running"]["startedAt"])


def test_what_stands_at_the_job_tells_it_without_its_log(cluster, submit, queues):
    queues.open(gpus=8)
    run_one(cluster, submit, queues, "flowers-x", gpus=8)
    now_s = began_s(cluster, "flowers-x") + 300
    publish(cluster, "flowers-x", progress(step=200, of=1200, time_s=now_s))
    submit("mine", gpus=8, queue="team-a")
    queues.note("mine", gpus=8)
    cluster.requests.clear()
    assert estimate(cluster, "mine", now_s=now_s).in_s == pytest.approx(1.5 * 1000, rel=0.03)
    assert not [request for request in cluster.requests if request.startswith("get pods")]


def test_what_an_earlier_start_left_at_the_job_is_not_taken_for_this_one(cluster, submit, queues):
    queues.open(gpus=8)
    run_one(cluster, submit, queues, "flowers-x", gpus=8, step=200, of=4200)
    earlier_s = began_s(cluster, "flowers-x") - 1
    publish(cluster, "flowers-x", progress(step=4100, of=4200, time_s=earlier_s))
    submit("mine", gpus=8, queue="team-a")
    queues.note("mine", gpus=8)
    assert estimate(cluster, "mine").in_s == pytest.approx(0.6 * 4000, rel=0.03)


def test_a_role_that_sees_jobs_and_no_pods_knows_whose_job_it_is(cluster, submit, queues):
    queues.open(gpus=8)
    run_one(cluster, submit, queues, "flowers-x", gpus=8)
    publish(cluster, "flowers-x", progress(step=200, of=1200, time_s=NOW_S))
    submit("mine", gpus=8, queue="team-a")
    queues.note("mine", gpus=8)
    cluster.refuse("list", PODS, code=403, times=2)  # of all namespaces, and of one
    assert estimate(cluster, "mine").reason == "flowers-x says how far it is, but not yet how fast"


def test_a_running_job_that_reports_nothing_makes_it_untold_and_is_named(cluster, submit, queues):
    queues.open(gpus=8)
    run_one(cluster, submit, queues, "flowers-x", gpus=8)
    submit("mine", gpus=8, queue="team-a")
    queues.note("mine", gpus=8)
    found = estimate(cluster, "mine")
    assert found.in_s is None
    assert describe_estimate(found) == (
        "first in team-a; cannot tell when it starts: flowers-x reports no progress yet"
    )


def test_one_of_another_tool_has_no_end(cluster, submit, queues):
    queues.open(gpus=8)
    submit("mine", gpus=8, queue="team-a")
    queues.note("notebook", gpus=8, holds=True, owned=False)
    queues.note("mine", gpus=8)
    assert estimate(cluster, "mine").reason == "notebook is of another tool, and says no end"


def test_a_job_that_does_not_step_any_more_is_not_taken_to_go_on(cluster, submit, queues):
    queues.open(gpus=8)
    run_one(cluster, submit, queues, "flowers-x", gpus=8, step=200)
    submit("mine", gpus=8, queue="team-a")
    queues.note("mine", gpus=8)
    job = cluster.get(PADDLE_JOBS, "mine", namespace="ml")
    found = fetch_estimate(cluster, cluster, job, kind=PADDLE_JOB, clock=lambda: NOW_S + 1800)
    assert found.reason == "flowers-x has made no step for 30 min"


def test_where_quotas_may_not_be_seen_it_says_which_role_shows_them(cluster, submit, queues):
    queues.open(gpus=8)
    submit("mine", gpus=8, queue="team-a")
    queues.note("mine", gpus=8)
    cluster.refuse("list", CLUSTER_QUEUES, code=403)
    found = estimate(cluster, "mine")
    assert (found.in_s, found.place, found.of) == (None, 1, 1)
    assert "k8s/rbac/team.yaml" in found.reason


def test_jobs_that_share_the_quota_and_are_hidden_are_counted_and_make_it_untold(cluster, submit, queues):
    queues.open(gpus=8, pending=3, reserving=1)
    submit("mine", gpus=8, queue="team-a")
    queues.note("mine", gpus=8)
    found = estimate(cluster, "mine")
    assert found.in_s is None
    assert found.reason.startswith("3 more jobs share its quota that may not be seen")


@pytest.mark.parametrize("others", [False, True])
def test_where_a_cohort_shares_fairly_it_is_untold(cluster, submit, queues, others):
    queues.open(gpus=8, fair=True, cohortName="all")
    if others:
        queues.open(gpus=8, fair=True, cohortName="all", name="d")
    submit("mine", gpus=8, queue="team-a")
    queues.note("mine", gpus=8)
    found = estimate(cluster, "mine")
    assert (found.in_s is None) == others
    assert found.reason.startswith("its cohort shares fairly") == others


@pytest.mark.parametrize(
    "spec",
    [
        {"admissionChecks": ["provision"]},
        {"admissionChecksStrategy": {"admissionChecks": [{"name": "provision"}]}},
    ],
)
def test_where_a_queue_has_checks_it_is_untold(cluster, submit, queues, spec):
    queues.open(gpus=8, **spec)
    submit("mine", gpus=8, queue="team-a")
    queues.note("mine", gpus=8)
    assert estimate(cluster, "mine").reason.startswith("its queue has admission checks")


@pytest.mark.parametrize(("cohort", "reason"), [
    (None, ""), ({"metadata": {"name": "all"}, "spec": {}}, ""),
    ({"metadata": {"name": "all"}, "spec": {"parentName": "root"}}, "its cohort 'all' shares with others"),
    ({"metadata": {"name": "leaf"}, "spec": {"parentName": "all"}}, "its cohort 'all' shares with others"),
    ({"metadata": {"name": "other"}, "spec": {"parentName": "root"}}, ""),
    ({"metadata": {"name": "all"}, "spec": {"resourceGroups": [{}]}}, "its cohort 'all' has quotas of its"),
], ids=["not made", "plain", "below another", "above another", "elsewhere", "with quotas"])  # fmt: skip
def test_where_cohorts_are_a_tree_or_have_quotas_it_is_untold(cluster, submit, queues, cohort, reason):
    queues.open(gpus=8, cohortName="all")
    if cohort is not None:
        cluster.put(COHORTS, cohort, namespace="")
    submit("mine", gpus=8, queue="team-a")
    queues.note("mine", gpus=8)
    found = estimate(cluster, "mine")
    assert found.reason.startswith(reason)
    assert (found.in_s is None) == bool(reason)


def test_where_cohorts_may_not_be_seen_a_queue_that_has_one_is_untold(cluster, submit, queues):
    queues.open(gpus=8, cohortName="all")
    submit("mine", gpus=8, queue="team-a")
    queues.note("mine", gpus=8)
    cluster.refuse("list", COHORTS, code=403)
    assert "k8s/rbac/team.yaml" in estimate(cluster, "mine").reason


PLACED = {"topologyRequest": {"required": "rack"}}


@pytest.mark.parametrize(("mine", "other", "reason"), [
    (PLACED, {}, "its pods must be near each other"),
    ({}, PLACED, "its queue places pods by a topology"),
    ({}, {"topologyRequest": {"podIndexLabel": "x"}}, ""),
], ids=["its own", "another's", "none"])  # fmt: skip
def test_where_kueue_places_by_a_topology_it_is_untold(cluster, submit, queues, mine, other, reason):
    queues.open(gpus=8)
    run_one(cluster, submit, queues, "flowers-x", gpus=8, step=200)
    submit("mine", gpus=8, queue="team-a")
    submit("next", gpus=8, queue="team-a")
    queues.note("mine", gpus=8, part=mine)
    queues.note("next", gpus=8, part=other)
    found = estimate(cluster, "mine")
    assert found.reason.startswith(reason)
    assert (found.in_s is None) == bool(reason)


def test_a_topology_is_known_from_those_that_were_placed(cluster, submit, queues):
    queues.open(gpus=8)
    run_one(cluster, submit, queues, "flowers-x", gpus=8, step=200)
    queues.note("flowers-x", gpus=8, holds=True, assigned={"topologyAssignment": {"levels": ["rack"]}})
    submit("mine", gpus=8, queue="team-a")
    queues.note("mine", gpus=8)
    assert estimate(cluster, "mine").reason.startswith("its queue places pods by a topology")


def test_of_a_waiting_job_before_it_those_of_its_name_tell_how_long_it_takes():
    def workload(name, *, since, holds=None, until=None):
        conditions = [
            {"type": kind, "status": "True", "lastTransitionTime": f"2026-11-18T{at}Z"}
            for kind, at in (("QuotaReserved", holds), ("Finished", until)) if at
        ]  # fmt: skip
        admission = {
            "clusterQueue": "c",
            "podSetAssignments": [{"flavors": {GPU: "f"}, "resourceUsage": {GPU: 8}}],
        }
        return {
            "metadata": {
                "name": name, "namespace": "ml", "uid": name, "creationTimestamp": f"2026-11-18T{since}Z",
                "ownerReferences": [{"name": name, "uid": f"job-{name}"}],
            },
            "spec": {"queueName": "q"}, "requests": {GPU: "8"}, "pods": 1,
            "status": {"conditions": conditions, **({"admission": admission} if holds else {})},
        }  # fmt: skip

    earlier = [
        workload(
            f"leaves-0000{index}", since="00:00:00", holds=f"0{index}:00:00", until=f"0{index}:5{index}:00"
        )
        for index in range(3)
    ]
    before = workload("leaves-99999", since="10:00:00")
    mine = workload("other-12345", since="10:01:00")
    quota = {
        "coveredResources": [GPU],
        "flavors": [{"name": "f", "resources": [{"name": GPU, "nominalQuota": 8}]}],
    }
    view = QueueView(
        now_s=NOW_S, workloads=(*earlier, before, mine),
        local_queues=({"metadata": {"name": "q", "namespace": "ml"}, "spec": {"clusterQueue": "c"}},),
        cluster_queues=({"metadata": {"name": "c"}, "spec": {"resourceGroups": [quota]}},),
    )  # fmt: skip
    found = estimate_of(view, {"metadata": {"uid": "job-other-12345"}})
    assert found.in_s == pytest.approx(51 * 60)
    assert (found.place, found.of) == (2, 2)
    alone = estimate_of(
        QueueView(
            now_s=NOW_S,
            workloads=(before, mine),
            local_queues=view.local_queues,
            cluster_queues=view.cluster_queues,
        ),
        {"metadata": {"uid": "job-other-12345"}},
    )
    assert alone.reason == "leaves-99999 waits before it, and how long it will run is not known"


def test_what_is_kept_of_a_workload_has_what_its_pods_ask_for_and_not_the_pods(cluster, submit, queues):
    submit("mine", gpus=8, queue="team-a")
    queues.note("mine", gpus=8)
    (item,) = cluster.list(WORKLOADS, namespace="ml")
    kept = reduce_demand(item)
    assert kept["requests"][GPU] == "8"
    assert "podSets" not in kept["spec"]


def test_requests_are_few_and_logs_bounded(cluster, submit, queues, monkeypatch):
    queues.open(gpus=80)
    for index in range(6):
        run_one(cluster, submit, queues, f"run-{index}", gpus=8, step=200)
    submit("mine", gpus=80, queue="team-a")
    queues.note("mine", gpus=80)
    monkeypatch.setattr("launcher.why.start.MAX_LOGS", 4)
    cluster.requests.clear()
    assert estimate(cluster, "mine").in_s is None  # two of six were not looked at
    lists = [request for request in cluster.requests if request.startswith("list")]
    assert sorted(lists) == [
        "list clusterqueues", "list localqueues", "list paddlejobs", "list pods", "list workloads"
    ]  # fmt: skip
    assert sum(request.startswith("get pods") for request in cluster.requests) == 4


def test_a_role_of_one_namespace_sees_that(cluster, submit, queues):
    queues.open(gpus=8)
    run_one(cluster, submit, queues, "flowers-x", gpus=8, step=200)
    submit("mine", gpus=8, queue="team-a")
    queues.note("mine", gpus=8)
    for resource in (WORKLOADS, LOCAL_QUEUES, PODS):
        cluster.refuse("list", resource, code=403)  # of all namespaces
    assert estimate(cluster, "mine").in_s is not None


@pytest.fixture
def typed(cluster, submit, queues, monkeypatch, capsys):
    """Run a command on a job that waits for one of 40 minutes."""
    from launcher.cli.main import run
    from launcher.runs.record import RunRecord, Stage
    from launcher.runs.store import RunStore

    queues.open(gpus=8)
    run_one(cluster, submit, queues, "flowers-x", gpus=8, step=200, of=4200)
    handle = submit("mine", gpus=8, queue="team-a")
    queues.note("mine", gpus=8)
    record = RunRecord(
        handle=handle, run_id=f"{2:032x}", stage=Stage.SUBMITTED, project=".", config="cfg.yaml",
        command=(), created_s=NOW_S,
    )  # fmt: skip
    backend = KubernetesBackend(cluster, cluster, namespace="ml")
    found = ResolvedJob(record=record, backend=backend, store=RunStore(resolve.runs_dir()))
    monkeypatch.setattr("launcher.cli.status.find_job", lambda name: found)
    monkeypatch.setattr("launcher.cli.why.find_job", lambda name: found)
    monkeypatch.setitem(fetch_estimate.__kwdefaults__, "clock", lambda: NOW_S)
    monkeypatch.setitem(explain_job.__kwdefaults__, "clock", lambda: NOW_S)

    def call(*arguments: str) -> str:
        assert run(arguments) == 0
        return capsys.readouterr().out

    return call


@pytest.mark.parametrize("command", ["status", "why"])
def test_both_commands_say_it_to_people_and_to_programs(typed, command):
    shown = " ".join(typed(command, "mine").split())
    assert (
        "when: first in team-a; job flowers-x frees 8 GPUs in about 41 min; starts in about 41 min" in shown
    )
    document = json.loads(typed(command, "mine", "--output", "json"))
    assert check_document(document) == command
    assert document["start"]["in_s"] == 2449
    assert document["start"]["freed"] == [{"job": "flowers-x", "in_s": 2449, "amounts": {GPU: 8.0}}]
