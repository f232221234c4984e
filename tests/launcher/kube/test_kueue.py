"""Cancelling and resuming under Kueue, whose controller a test plays."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from launcher.backends.kubernetes import KubernetesBackend
from launcher.backends.kubernetes.kueue import SETTINGS, looks_after
from launcher.backends.states import JobState
from launcher.doctor.cluster_info import ClusterInfo
from launcher.doctor.facilities import check_queued_kinds
from launcher.doctor.findings import Level
from launcher.kinds.registry import KINDS, PADDLE_JOB
from launcher.kube.errors import DeniedError
from launcher.objects import CONFIG_MAPS, PADDLE_JOBS, WORKLOADS
from launcher.plan.handle import Handle
from tests.fakes.cluster import FakeCluster
from tests.launcher.kube.conftest import NewSubmission

QUEUE = "kueue.x-k8s.io/queue-name"


@pytest.fixture
def job(backend: KubernetesBackend, submission: NewSubmission) -> Handle:
    """A job in a queue, which Kueue has admitted: it is not suspended."""
    made = submission()
    made.manifest.job["metadata"]["labels"][QUEUE] = "team-a"
    return backend.submit(made)


@pytest.fixture
def workload(cluster: FakeCluster, job: Handle) -> Callable[[], object]:
    """Let Kueue have made a Workload, and return what its `active` says."""
    uid = cluster.get(PADDLE_JOBS, job.job, namespace="ml")["metadata"]["uid"]
    owner = {"apiVersion": "kubeflow.org/v1", "kind": "PaddleJob", "name": job.job, "uid": uid}
    metadata = {"name": "paddlejob-flowers-1", "ownerReferences": [owner]}
    cluster.put(
        WORKLOADS,
        {
            "apiVersion": WORKLOADS.api_version,
            "kind": "Workload",
            "metadata": metadata,
            "spec": {"active": True},
        },
    )
    return lambda: cluster.get(WORKLOADS, "paddlejob-flowers-1", namespace="ml")["spec"]["active"]


def suspends(cluster: FakeCluster, job: Handle) -> object:
    return cluster.get(PADDLE_JOBS, job.job, namespace="ml")["spec"]["runPolicy"].get("suspend")


def test_a_cancelled_job_has_its_workload_deactivated_so_that_it_stays_stopped(
    cluster, backend, job, workload
):
    backend.cancel(job)
    assert workload() is False
    assert suspends(cluster, job) is True
    assert backend.status(job).state is JobState.CANCELLED


def test_a_resumed_job_waits_for_its_queue_and_is_not_unsuspended_by_us(cluster, backend, job, workload):
    backend.cancel(job)
    backend.resume(job)
    assert workload() is True
    assert suspends(cluster, job) is True
    assert backend.status(job).state is JobState.QUEUED


def test_who_may_not_deactivate_it_is_told_the_rule_and_nothing_is_changed(cluster, backend, job, workload):
    cluster.refuse("patch", WORKLOADS, code=403)
    with pytest.raises(DeniedError, match=r"queue 'team-a' of Kueue would start it again.*kueue\.yaml"):
        backend.cancel(job)
    assert workload() is True
    assert suspends(cluster, job) is None


def test_other_jobs_workloads_are_left_alone(cluster, backend, job, workload, submission):
    other = submission(name="other", run_id="f" * 32)
    other.manifest.job["metadata"]["labels"][QUEUE] = "team-a"
    backend.cancel(backend.submit(other))
    assert workload() is True


def test_without_kueue_a_label_alone_changes_nothing(cluster, backend, job):
    cluster.served = tuple(kind for kind in cluster.served if kind is not WORKLOADS)
    backend.cancel(job)
    assert backend.status(job).state is JobState.CANCELLED
    backend.resume(job)
    assert suspends(cluster, job) is False
    assert not [asked for asked in cluster.requests if "workloads" in asked]


def test_a_workload_that_comes_a_moment_later_is_met(cluster, backend, job):
    asked = len(cluster.requests)
    backend.cancel(job)
    assert cluster.requests[asked:] == [
        "get paddlejobs flowers", "list workloads", "patch paddlejobs flowers", "list workloads",
    ]  # fmt: skip


def test_a_queued_job_says_its_place_and_what_its_queue_lacks(cluster, backend, job, workload):
    lack = (
        "couldn't assign flavors to pod set worker: "
        "insufficient unused quota for cpu in flavor spot, 2 more needed"
    )
    condition = {"type": "QuotaReserved", "status": "False", "reason": "Pending", "message": lack}
    body = {"status": {"conditions": [condition]}, "spec": {"queueName": "team-a"}}
    cluster.patch(WORKLOADS, "paddlejob-flowers-1", body, namespace="ml")
    cluster.patch(PADDLE_JOBS, job.job, {"spec": {"runPolicy": {"suspend": True}}}, namespace="ml")
    cluster.pass_time(60)
    status = backend.status(job)
    assert status.state is JobState.QUEUED
    assert status.reason == "waits in queue 'team-a', place 1 of 1: 2 more cpu needed in flavour spot"
    cluster.refuse("list", WORKLOADS, code=403)
    assert backend.status(job).reason == "waits in queue 'team-a'"


def test_a_job_that_kueue_holds_without_a_queue_is_remarked_on(cluster, backend, submission):
    cluster.kueue_holds = lambda stored: True
    backend.submit(submission())
    (remark,) = backend.remarks
    assert "names no queue; set Launch.queue.kueue" in remark


def test_a_job_that_is_where_it_was_sent_is_not_remarked_on(cluster, backend, submission):
    backend.submit(submission())
    assert backend.remarks == ()
    cluster.kueue_holds = lambda stored: True
    queued = submission(name="other", run_id="f" * 32)
    queued.manifest.job["metadata"]["labels"][QUEUE] = "team-a"
    backend.submit(queued)
    assert backend.remarks == ()


def test_a_queue_that_kueue_chose_is_told(cluster, backend, submission):
    def choose(stored):
        stored["metadata"]["labels"][QUEUE] = "default"
        return True

    cluster.kueue_holds = choose
    backend.submit(submission())
    assert backend.remarks == ("note: Kueue manages all jobs here, and has put it into queue 'default'",)


@pytest.mark.parametrize("holds", [True, False])
def test_what_the_webhook_does_to_a_dry_run_says_whether_kueue_looks_after_a_kind(cluster, holds):
    cluster.kueue_holds = lambda job: holds and QUEUE in job["metadata"]["labels"]
    assert looks_after(cluster, PADDLE_JOB, namespace="ml", queue="team-a") is holds
    assert cluster.names("paddlejobs") == ()


def test_without_kueue_nobody_looks_after_jobs_and_nobody_is_asked(cluster):
    cluster.served = tuple(kind for kind in cluster.served if kind is not WORKLOADS)
    assert looks_after(cluster, PADDLE_JOB, namespace="ml") is False
    assert cluster.requests == []


def settings(*frameworks: str) -> dict[str, object]:
    text = f"apiVersion: config.kueue.x-k8s.io/v1beta2\nintegrations: {{frameworks: {list(frameworks)}}}\n"
    return {"metadata": {"name": SETTINGS[1]}, "data": {SETTINGS[2]: text}}


AWAY = 'Internal error occurred: failed calling webhook "x": connection refused'


@pytest.mark.parametrize("frameworks", [("kubeflow.org/paddlejob", "batch/job"), ("batch/job",)])
@pytest.mark.parametrize(("code", "message"), [(403, ""), (500, AWAY)], ids=["refused", "a webhook is away"])
def test_where_a_dry_run_is_refused_kueues_settings_tell_it(cluster, frameworks, code, message):
    cluster.refuse("create", PADDLE_JOBS, code=code, message=message)
    cluster.allow_namespace(SETTINGS[0])
    cluster.put(CONFIG_MAPS, settings(*frameworks), namespace=SETTINGS[0])
    assert looks_after(cluster, PADDLE_JOB, namespace="ml") is ("kubeflow.org/paddlejob" in frameworks)


def hide(cluster):
    cluster.refuse("create", PADDLE_JOBS, code=403)
    cluster.refuse("get", CONFIG_MAPS, code=403)


def test_where_settings_are_hidden_a_workload_of_such_a_job_tells_it(cluster, workload):
    hide(cluster)
    assert looks_after(cluster, PADDLE_JOB, namespace="ml") is True


def test_where_nothing_can_be_seen_it_is_not_known(cluster, job):
    hide(cluster)
    assert looks_after(cluster, PADDLE_JOB, namespace="ml") is None


class TestDoctor:
    """What the doctor says of kinds and queues."""

    @pytest.fixture
    def only(self, cluster):
        def ask():
            (found,) = check_queued_kinds(ClusterInfo(api=cluster, namespace="ml"))
            return found

        return ask

    def test_it_warns_of_kinds_that_no_queue_looks_after(self, cluster, only):
        cluster.kueue_holds = lambda job: job["kind"] != "PaddleJob" and QUEUE in job["metadata"]["labels"]
        found = only()
        assert found.level is Level.WARN
        assert "and not after PaddleJobs" in found.message
        assert "kubeflow.org/paddlejob" in found.fix

    def test_all_that_are_looked_after_are_named(self, cluster, only):
        cluster.kueue_holds = lambda job: True
        assert (only().level, "PaddleJobs" in only().message) == (Level.OK, True)

    def test_what_cannot_be_seen_is_no_warning(self, cluster, only):
        for kind in KINDS:
            cluster.refuse("create", kind.resource, code=403)
        for _ in KINDS:
            cluster.refuse("get", CONFIG_MAPS, code=403)
        assert only().level is Level.SKIP
