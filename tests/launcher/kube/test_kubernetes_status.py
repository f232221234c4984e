from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from launcher.backends.base import Submission
from launcher.backends.kubernetes import KubernetesBackend
from launcher.backends.kubernetes.backend import MOST_NAMED, NAMED
from launcher.backends.kubernetes.status import read_job, read_pod
from launcher.backends.states import JobState, PodState
from launcher.errors import NotFoundError
from launcher.kube.errors import NoAnswerError
from launcher.objects import EVENTS, PADDLE_JOBS, PODS
from launcher.plan.handle import Handle
from tests.fakes.cluster import FakeCluster
from trainer.protocol.progress import Progress, RankProgress, format_progress
from trainer.protocol.tags import Tag, tag_line
from trainer.protocol.termination import Termination

NewSubmission = Callable[..., Submission]
W0, W1 = "flowers-worker-0", "flowers-worker-1"
RANK = RankProgress(
    rank=0, node=0, step=7, epoch=0, phase="compute", loss=1.5, images_per_s=80.0, silent_s=0.1
)
PROGRESS = Progress(time_s=1.0, attempt=1, world_size=1, total_steps=40, ranks=(RANK,))


@pytest.fixture
def handle(backend: KubernetesBackend, submission: NewSubmission) -> Handle:
    return backend.submit(submission())


def start(cluster: FakeCluster, *pods: str) -> None:
    for pod in pods or (W0, W1):
        cluster.start_pod(pod)


def test_a_job_is_being_scheduled_until_its_pods_run(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    status = backend.status(handle)
    assert (status.state, status.handle, status.run_id) == (
        JobState.SCHEDULING,
        handle,
        "0123456789abcdef" * 2,
    )
    assert [(pod.pod, pod.node, pod.state) for pod in status.pods] == [
        (W0, 0, PodState.PENDING), (W1, 1, PodState.PENDING),
    ]  # fmt: skip
    start(cluster)
    status = backend.status(handle)
    assert status.state is JobState.RUNNING
    assert {pod.state for pod in status.pods} == {PodState.RUNNING}
    assert status.created_s == status.pods[0].started_s


def test_a_job_that_no_controller_looks_at_says_so(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    cluster.operator_runs = False
    status = backend.status(backend.submit(submission()))
    assert (status.state, status.pods) == (JobState.SUBMITTED, ())
    assert status.reason == "no controller has looked at the job yet"
    cluster.note("flowers", reason="FailedCreatePod", message='violates PodSecurity "restricted:latest"')
    said = backend.status(status.handle).reason
    assert said == 'FailedCreatePod: violates PodSecurity "restricted:latest"'


def test_a_pod_that_waits_says_why(backend: KubernetesBackend, cluster: FakeCluster, handle: Handle) -> None:
    cluster.hold_pod(W1, reason="ImagePullBackOff", message='Back-off pulling image "x"')
    status = backend.status(handle)
    assert status.state is JobState.SCHEDULING  # the other one
    assert status.reason == status.pods[1].reason == 'ImagePullBackOff: Back-off pulling image "x"'
    assert status.pods[0].reason == ""


def test_a_job_succeeds_when_all_pods_have(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    start(cluster)
    cluster.finish_pod(W0, 0)
    assert backend.status(handle).state is JobState.RUNNING
    cluster.pass_time(30)
    cluster.finish_pod(W1, 0, Termination(exit=0, attempt=1, reason="done"))
    status = backend.status(handle)
    assert (status.state, status.ended_s) == (JobState.SUCCEEDED, status.created_s + 30)
    assert [pod.exit_code for pod in status.pods] == [0, 0]
    assert status.pods[1].reason == "done"


def test_a_job_that_ended_early_says_why(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    start(cluster)
    why = "early stopping after epoch 3 of 9: top1 has not come above 0.5 (epoch 1) in 2 evaluations"
    cluster.finish_pod(W0, 0, Termination(exit=0, attempt=1, reason=why))
    cluster.finish_pod(W1, 0, Termination(exit=0, attempt=1, reason=why))
    assert backend.status(handle).reason == why


def test_a_small_exit_code_fails_the_job_with_its_verdict(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    start(cluster)
    cluster.pass_time(5)
    verdict = Termination(exit=3, rank=2, rank_exit=3, attempt=1, step=12, reason="list.txt:4: no such image")
    cluster.finish_pod(W1, 3, verdict)
    status = backend.status(handle)
    assert "completionTime" not in cluster.get(PADDLE_JOBS, "flowers", namespace="ml")["status"]
    assert (status.state, status.termination) == (JobState.FAILED, verdict)
    assert status.ended_s == status.created_s + 5
    assert (status.pods[1].exit_code, status.pods[1].reason) == (3, "list.txt:4: no such image")
    assert status.pods[0].state is PodState.RUNNING


def test_a_large_exit_code_brings_the_pod_back(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    handle = backend.submit(submission(nodes=1))
    start(cluster, W0)
    assert backend.status(handle).pods[0].restarts == 0
    cluster.finish_pod(W0, 143)
    status = backend.status(handle)
    assert (status.state, status.pods[0].state, status.pods[0].restarts) == (
        JobState.RESTARTING, PodState.PENDING, 1,
    )  # fmt: skip
    start(cluster, W0)
    assert backend.status(handle).state is JobState.RUNNING


def test_a_program_that_is_not_ours_leaves_its_own_last_words(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    start(cluster)
    cluster.finish_pod(W0, 1, "python: no module named trainer", reason="OOMKilled")
    pod = backend.status(handle).pods[0]
    assert (pod.termination, pod.reason) == (None, "OOMKilled: python: no module named trainer")


def test_the_last_whole_progress_line_of_node_0_is_shown(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    start(cluster)
    assert backend.status(handle).progress is None
    line = tag_line(Tag(attempt=1, node=0), format_progress(PROGRESS))
    cluster.write_log(W0, line + b"\n[a1 r0] step 8\n" + line[:60])
    assert backend.status(handle).progress == PROGRESS
    cluster.finish_pod(W0, 0)
    assert backend.status(handle).progress == PROGRESS


@pytest.mark.parametrize("code", [403, 404, 500])
def test_a_log_that_cannot_be_read_does_not_hide_the_status(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle, code: int
) -> None:
    start(cluster)
    cluster.refuse("get", PODS, code=code)
    status = backend.status(handle)
    assert (status.state, status.progress) == (JobState.RUNNING, None)


def test_cancelling_lets_pods_save_and_then_counts_as_cancelled(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    start(cluster)
    backend.cancel(handle)
    status = backend.status(handle)
    assert (status.state, status.reason) == (JobState.RUNNING, "being cancelled: its pods save and stop")
    cluster.pass_time(20)
    for pod in (W0, W1):
        cluster.finish_pod(pod, 143)
    assert cluster.names("pods") == ()
    status = backend.status(handle)
    assert (status.state, status.ended_s) == (JobState.CANCELLED, status.created_s)
    backend.cancel(handle)
    assert backend.status(handle).state is JobState.CANCELLED


def test_a_cancelled_job_of_a_silent_operator_is_not_cancelled_yet(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    cluster.operator_runs = False
    backend.cancel(handle)
    status = backend.status(handle)
    assert not status.state.is_terminal
    cluster.operator_runs = True
    cluster.delete_pod(W0)
    assert backend.status(handle).state is JobState.CANCELLED


def test_cancelling_a_job_that_has_ended_changes_nothing(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    start(cluster)
    for pod in (W0, W1):
        cluster.finish_pod(pod, 0)
    before = cluster.get(PADDLE_JOBS, "flowers", namespace="ml")
    backend.cancel(handle)
    assert cluster.get(PADDLE_JOBS, "flowers", namespace="ml") == before
    assert backend.status(handle).state is JobState.SUCCEEDED


def test_a_job_suspended_by_somebody_else_is_not_cancelled(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    start(cluster)
    cluster.patch(PADDLE_JOBS, "flowers", {"spec": {"runPolicy": {"suspend": True}}}, namespace="ml")
    assert (backend.status(handle).state, backend.status(handle).reason) == (JobState.RUNNING, "stopping")
    for pod in (W0, W1):
        cluster.finish_pod(pod, 143)
    assert backend.status(handle).state is JobState.SUSPENDED
    cluster.patch(PADDLE_JOBS, "flowers", {"spec": {"runPolicy": {"suspend": None}}}, namespace="ml")
    start(cluster)
    assert backend.status(handle).state is JobState.RUNNING


def test_a_deleted_job_is_gone_when_its_pods_are(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    start(cluster, W0)
    backend.delete(handle)
    assert backend.status(handle).reason == "being deleted"
    cluster.finish_pod(W0, 143)
    assert [cluster.names(plural) for plural in ("paddlejobs", "pods", "services", "configmaps")] == [()] * 4
    with pytest.raises(NotFoundError, match="PaddleJob ml/flowers: expected it to be there, got 404"):
        backend.status(handle)


def test_by_force_nobody_waits_for_a_pod_that_does_not_end(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    start(cluster, W0)
    backend.delete(handle)
    assert W0 in cluster.names("pods")  # its node does not answer
    backend.delete(handle, force=True)
    assert [cluster.names(plural) for plural in ("paddlejobs", "pods", "services", "configmaps")] == [()] * 4


@pytest.mark.parametrize("method", ["status", "cancel", "delete"])
def test_a_job_that_is_not_there_is_not_found(backend: KubernetesBackend, method: str) -> None:
    with pytest.raises(NotFoundError):
        getattr(backend, method)(Handle(backend="kubernetes", namespace="ml", job="nothing"))


@pytest.mark.parametrize("method", ["status", "cancel", "delete"])
def test_a_job_without_our_label_is_left_alone(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission, method: str
) -> None:
    foreign = submission().manifest.job
    foreign["metadata"]["labels"] = {}
    cluster.create(PADDLE_JOBS, foreign, namespace="ml")
    with pytest.raises(NotFoundError, match="expected a job of ours"):
        getattr(backend, method)(Handle(backend="kubernetes", namespace="ml", job="flowers"))
    assert backend.list_jobs() == ()


def test_jobs_are_listed_newest_first_with_their_own_pods(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    for index, name in enumerate(("old", "mid", "new")):
        backend.submit(submission(name=name, run_id=str(index) * 32, nodes=index + 1))
        cluster.pass_time(60)
    cluster.requests.clear()
    listed = backend.list_jobs()
    assert [(status.handle.job, len(status.pods)) for status in listed] == [
        ("new", 3),
        ("mid", 2),
        ("old", 1),
    ]
    assert cluster.requests == ["list paddlejobs", "list pods"]


def test_some_runs_are_asked_for_by_name_and_hundreds_all_at_once(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    run_ids = [f"{index:032x}" for index in range(MOST_NAMED + 1)]
    for index, name in enumerate(("old", "mid", "new")):
        backend.submit(submission(name=name, run_id=run_ids[index]))
        cluster.pass_time(60)
    cluster.requests.clear()
    assert [status.handle.job for status in backend.list_jobs([run_ids[0], run_ids[2], run_ids[9]])] == [
        "new", "old",
    ]  # fmt: skip
    assert cluster.requests == ["list paddlejobs", "list pods"]
    cluster.requests.clear()
    assert len(backend.list_jobs(run_ids[: NAMED + 1])) == 3
    assert cluster.requests == ["list paddlejobs"] * 2 + ["list pods"]
    cluster.requests.clear()
    assert len(backend.list_jobs(run_ids)) == 3
    assert cluster.requests == ["list paddlejobs", "list pods"]


def test_pods_of_jobs_that_have_ended_are_not_asked_for(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    for name in (W0, W1):
        cluster.start_pod(name)
        cluster.finish_pod(name, 0)
    cluster.requests.clear()
    (listed,) = backend.list_jobs()
    assert (listed.state, listed.pods) == (JobState.SUCCEEDED, ())
    assert cluster.requests == ["list paddlejobs"]


def test_a_job_whose_pods_are_being_made_says_how_many_there_are(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    job = cluster.get(PADDLE_JOBS, handle.job, namespace="ml")
    pods = cluster.list(PODS, namespace="ml")[:1]
    status = read_job({**job, "status": {}}, pods, restarts={}, progress=None)
    assert (status.state, status.reason) == (JobState.SCHEDULING, "1 of 2 pods have been made")


def test_a_cluster_that_does_not_answer_is_unreachable(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    cluster.time_out("get", PADDLE_JOBS)
    with pytest.raises(NoAnswerError):
        backend.status(handle)


def pod_with(status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    labels = {"training.kubeflow.org/replica-index": "0"}
    return {
        "metadata": {"name": W0, "namespace": "ml", "uid": "u", "labels": labels, **metadata},
        "spec": {},
        "status": status,
    }


@pytest.mark.parametrize(("status", "reason"), [
    ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "Evicted: low on memory"),
    ({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes"},
    ]}, "Unschedulable: 0/2 nodes"),
    ({"phase": "Running"}, ""),
    ({}, ""),
], ids=["evicted", "unschedulable", "well", "not seen by a kubelet"])  # fmt: skip
def test_a_pod_without_a_container_speaks_through_its_conditions(status: dict[str, Any], reason: str) -> None:
    assert read_pod(pod_with(status), restarts=0).reason == reason


def test_a_container_that_waits_to_be_restarted_shows_its_last_end() -> None:
    container = {
        "name": "paddle", "restartCount": 2,
        "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": {"terminated": {"exitCode": 7}},
    }  # fmt: skip
    pod = read_pod(pod_with({"phase": "Running", "containerStatuses": [container]}), restarts=2)
    assert (pod.exit_code, pod.reason, pod.ended_s) == (7, "CrashLoopBackOff", None)


def test_pods_that_all_run_outweigh_a_condition_that_lags(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    start(cluster)
    job = copy.deepcopy(cluster.get(PADDLE_JOBS, "flowers", namespace="ml"))
    pods = cluster.list(PODS, namespace="ml", labels="ftlaunch.io/run-id")
    for condition in job["status"]["conditions"]:
        condition["type"] = condition["type"].replace("Running", "Restarting")
    assert read_job(job, pods, restarts={}, progress=None).state is JobState.RUNNING
    assert read_job(job, pods[:0], restarts={}, progress=None).state is JobState.RESTARTING


def test_what_pods_do_not_say_themselves_is_read_from_the_events(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    cluster.note("flowers-worker-10x", reason="FailedMount", message="of another job")
    assert backend.status(handle).reason == ""
    for pod in (W0, W1):
        cluster.hold_pod(pod, reason="ContainerCreating", message="")
    cluster.note(W1, reason="FailedMount", message='secret "token" not found')
    cluster.pass_time(1)
    cluster.note(W1, reason="Pulled", message="there", warning=False)
    status = backend.status(handle)
    assert (status.state, status.reason) == (JobState.STARTING, 'FailedMount: secret "token" not found')
    noted = [(event.about, event.reason, event.is_warning) for event in backend.list_events(handle)]
    assert noted == [(W1, "FailedMount", True), (W1, "Pulled", False)]


def test_events_that_may_not_be_read_do_not_hide_the_status(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    cluster.refuse("list", EVENTS, code=403)
    assert backend.status(handle).state is JobState.SCHEDULING


def test_a_job_whose_pods_may_not_all_be_made_is_being_scheduled(
    backend: KubernetesBackend, cluster: FakeCluster, handle: Handle
) -> None:
    start(cluster, W0)
    job = cluster.get(PADDLE_JOBS, "flowers", namespace="ml")
    pods = [pod for pod in cluster.list(PODS, namespace="ml") if pod["metadata"]["name"] == W0]
    assert read_job(job, pods, restarts={}, progress=None).state is JobState.SCHEDULING
