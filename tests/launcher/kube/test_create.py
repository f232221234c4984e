from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from launcher.backends.base import Submission
from launcher.backends.kubernetes import KubernetesBackend
from launcher.backends.kubernetes.create import Creator
from launcher.backends.states import JobState
from launcher.errors import LaunchError, TakenError
from launcher.kinds.registry import TRAIN_JOB
from launcher.kube.errors import (
    AbsentError,
    DeniedError,
    InvalidError,
    NoAnswerError,
    NotAdmittedError,
    OrphanError,
)
from launcher.objects import CONFIG_MAPS, PADDLE_JOBS, TRAIN_JOBS, Resource
from launcher.render.manifest import parse_manifest
from tests.contract.harness import OTHER_RUN_ID, RUN_ID, manifest_text
from tests.fakes.cluster import FakeCluster

NewSubmission = Callable[..., Submission]
OTHER_RUN = "f" * 32


def objects(cluster: FakeCluster) -> tuple[tuple[str, ...], tuple[str, ...]]:
    return cluster.names("configmaps"), cluster.names("paddlejobs")


def test_the_config_map_is_posted_before_the_job_and_then_owned_by_it(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    handle = backend.submit(submission())
    assert str(handle) == "kubernetes://ml/flowers"
    assert cluster.requests == [
        "create configmaps flowers-config", "create paddlejobs flowers", "patch configmaps flowers-config",
    ]  # fmt: skip
    job = cluster.get(PADDLE_JOBS, "flowers", namespace="ml")
    (owner,) = cluster.get(CONFIG_MAPS, "flowers-config", namespace="ml")["metadata"]["ownerReferences"]
    assert owner == {
        "apiVersion": "kubeflow.org/v1", "kind": "PaddleJob", "name": "flowers",
        "uid": job["metadata"]["uid"],
    }  # fmt: skip


def test_what_is_posted_is_the_manifest_itself(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    sent = submission()
    backend.submit(sent)
    assert cluster.get(PADDLE_JOBS, "flowers", namespace="ml")["spec"] == sent.manifest.job["spec"]
    assert (
        cluster.get(CONFIG_MAPS, "flowers-config", namespace="ml")["data"] == sent.manifest.config_map["data"]
    )


@pytest.mark.parametrize("resource", [CONFIG_MAPS, PADDLE_JOBS], ids=lambda item: item.plural)
def test_a_lost_answer_makes_no_second_object(
    backend: KubernetesBackend,
    cluster: FakeCluster,
    submission: NewSubmission,
    pauses: list[float],
    resource: object,
) -> None:
    cluster.lose_answer("create", resource)  # type: ignore[arg-type]
    backend.submit(submission())
    assert objects(cluster) == (("flowers-config",), ("flowers",))
    assert cluster.names("pods") == ("flowers-worker-0", "flowers-worker-1")
    assert len(pauses) == 1


@pytest.mark.parametrize(("verb", "resource"), [
    ("create", CONFIG_MAPS), ("create", PADDLE_JOBS), ("patch", CONFIG_MAPS),
], ids=["config map", "job", "owner"])  # fmt: skip
@pytest.mark.parametrize("fault", ["time_out", "lose_answer"])
def test_a_cluster_that_is_silent_twice_is_asked_a_third_time(
    backend: KubernetesBackend,
    cluster: FakeCluster,
    submission: NewSubmission,
    verb: str,
    resource: object,
    fault: str,
) -> None:
    getattr(cluster, fault)(verb, resource, times=2)
    backend.submit(submission())
    assert objects(cluster) == (("flowers-config",), ("flowers",))
    assert cluster.get(CONFIG_MAPS, "flowers-config", namespace="ml")["metadata"]["ownerReferences"]


@pytest.mark.parametrize(("verb", "resource"), [
    ("create", CONFIG_MAPS), ("create", PADDLE_JOBS), ("get", PADDLE_JOBS), ("patch", CONFIG_MAPS),
], ids=["config map", "job", "looking for the job", "owner"])  # fmt: skip
def test_a_submit_that_got_no_answer_is_finished_by_the_next(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission, verb: str, resource: object
) -> None:
    cluster.lose_answer("create", PADDLE_JOBS)
    cluster.lose_answer(verb, resource, times=3)  # type: ignore[arg-type]
    with pytest.raises(NoAnswerError):
        backend.submit(submission())
    backend.submit(submission())
    assert objects(cluster) == (("flowers-config",), ("flowers",))
    assert cluster.get(CONFIG_MAPS, "flowers-config", namespace="ml")["metadata"]["ownerReferences"]


def test_silence_after_the_job_was_sent_keeps_its_config_map(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    cluster.lose_answer("create", PADDLE_JOBS)
    cluster.time_out("create", PADDLE_JOBS, times=2)
    with pytest.raises(NoAnswerError):
        backend.submit(submission())
    assert objects(cluster) == (("flowers-config",), ("flowers",))


def test_the_same_run_submitted_twice_is_one_job(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    first = backend.submit(submission())
    uid = cluster.get(PADDLE_JOBS, "flowers", namespace="ml")["metadata"]["uid"]
    assert backend.submit(submission()) == first
    assert cluster.get(PADDLE_JOBS, "flowers", namespace="ml")["metadata"]["uid"] == uid


def test_a_name_of_another_run_is_taken_and_its_objects_are_left_alone(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    backend.submit(submission())
    with pytest.raises(TakenError, match=r"ml/flowers-config: expected a free name, .*'0123456789abcdef"):
        backend.submit(submission(run_id=OTHER_RUN))
    assert objects(cluster) == (("flowers-config",), ("flowers",))


def test_a_job_name_taken_by_a_foreign_job_leaves_no_config_map(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    foreign = submission(run_id=OTHER_RUN).manifest.job
    foreign["metadata"]["labels"] = {}
    cluster.create(PADDLE_JOBS, foreign, namespace="ml")
    with pytest.raises(TakenError, match=r"PaddleJob ml/flowers: expected a free name, got .*not ours"):
        backend.submit(submission())
    assert objects(cluster) == ((), ("flowers",))


def test_a_name_that_is_being_deleted_asks_for_patience(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    handle = backend.submit(submission(nodes=1))
    cluster.start_pod("flowers-worker-0")
    backend.delete(handle)
    with pytest.raises(TakenError, match="wait until it is gone"):
        backend.submit(submission(run_id=OTHER_RUN))
    cluster.finish_pod("flowers-worker-0", 143)
    assert objects(cluster) == ((), ())


@pytest.mark.parametrize(("code", "message", "error"), [
    (403, "", DeniedError),
    (403, "exceeded quota: gpus", InvalidError),
    (422, "spec.x: Invalid value", InvalidError),
    (404, "the server could not find the requested resource", AbsentError),
], ids=["rule", "quota", "invalid", "no such kind"])  # fmt: skip
def test_a_refused_job_leaves_nothing_behind(
    backend: KubernetesBackend,
    cluster: FakeCluster,
    submission: NewSubmission,
    code: int,
    message: str,
    error: type[LaunchError],
) -> None:
    cluster.refuse("create", PADDLE_JOBS, code=code, message=message)
    with pytest.raises(error):
        backend.submit(submission())
    assert objects(cluster) == ((), ())


WEBHOOK = 'Internal error occurred: failed calling webhook "vjobset.kb.io": connection refused'


def test_a_webhook_that_does_not_answer_is_asked_again(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    cluster.refuse("create", PADDLE_JOBS, code=500, message=WEBHOOK, times=2)
    backend.submit(submission())
    assert objects(cluster) == (("flowers-config",), ("flowers",))


def test_what_is_taken_back_waits_for_no_garbage_collector(
    backend: KubernetesBackend,
    cluster: FakeCluster,
    submission: NewSubmission,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    orders: list[tuple[str, bool]] = []
    delete = cluster.delete

    def noted(resource: Resource, name: str, *, first: bool = False, **more: Any) -> None:
        orders.append((name, first))
        delete(resource, name, first=first, **more)

    monkeypatch.setattr(cluster, "delete", noted)
    cluster.refuse("create", PADDLE_JOBS, code=500, message=WEBHOOK, times=3)
    with pytest.raises(NotAdmittedError):
        backend.submit(submission())
    assert orders == [("flowers-config", True)]


def test_a_webhook_that_stays_away_leaves_nothing_behind_and_the_name_is_free(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    cluster.refuse("create", PADDLE_JOBS, code=500, message=WEBHOOK, times=3)
    with pytest.raises(NotAdmittedError, match="see that the controller behind the webhook runs"):
        backend.submit(submission())
    assert objects(cluster) == ((), ())
    backend.submit(submission(run_id=OTHER_RUN))


def test_a_webhook_that_goes_away_after_a_lost_answer_leaves_the_job(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    cluster.lose_answer("create", PADDLE_JOBS)
    cluster.refuse("create", PADDLE_JOBS, code=500, message=WEBHOOK, times=2)
    backend.submit(submission())
    assert objects(cluster) == (("flowers-config",), ("flowers",))


def test_a_refusal_after_a_lost_answer_still_finds_the_job(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    cluster.lose_answer("create", PADDLE_JOBS)
    cluster.refuse("create", PADDLE_JOBS, code=403, message="exceeded quota: gpus")
    backend.submit(submission())
    assert objects(cluster) == (("flowers-config",), ("flowers",))


def test_where_the_owner_cannot_be_set_the_job_is_taken_back(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    cluster.refuse("patch", CONFIG_MAPS, code=403)
    with pytest.raises(DeniedError, match=r'"resources": \["configmaps"\], "verbs": \["patch"\]'):
        backend.submit(submission())
    assert objects(cluster) == ((), ())


def test_what_cannot_be_taken_back_is_named(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    cluster.refuse("patch", CONFIG_MAPS, code=403)
    cluster.refuse("delete", PADDLE_JOBS, code=403)
    with pytest.raises(
        OrphanError, match=r"(?s)patch.*PaddleJob ml/flowers: expected to take it back.*delete"
    ):
        backend.submit(submission())
    assert objects(cluster) == (("flowers-config",), ("flowers",))


def test_what_is_gone_already_is_taken_back(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    cluster.refuse("create", PADDLE_JOBS, code=422)
    cluster.refuse("delete", CONFIG_MAPS, code=404)
    with pytest.raises(InvalidError):
        backend.submit(submission())


def test_a_quota_speaks_before_a_taken_name(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    foreign = submission(run_id=OTHER_RUN).manifest.job
    cluster.create(PADDLE_JOBS, foreign, namespace="ml")
    cluster.refuse("create", PADDLE_JOBS, code=403, message="exceeded quota: gpus")
    with pytest.raises(InvalidError, match="exceeded quota"):
        backend.submit(submission())
    assert objects(cluster) == ((), ("flowers",))


def test_a_job_that_an_earlier_call_made_is_not_taken_back(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    cluster.time_out("patch", CONFIG_MAPS, times=3)
    with pytest.raises(NoAnswerError):
        backend.submit(submission())
    cluster.refuse("patch", CONFIG_MAPS, code=403)
    with pytest.raises(DeniedError):
        backend.submit(submission())
    assert objects(cluster) == (("flowers-config",), ("flowers",))


def test_a_config_map_that_a_killed_submit_left_unowned_goes_with_the_job(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    cluster.time_out("patch", CONFIG_MAPS, times=3)
    with pytest.raises(NoAnswerError):
        backend.submit(submission())
    (status,) = backend.list_jobs()
    backend.delete(status.handle)
    assert objects(cluster) == ((), ())


def test_a_missing_namespace_is_named_with_its_cure(
    backend: KubernetesBackend, submission: NewSubmission
) -> None:
    elsewhere = submission()
    elsewhere.manifest.job["metadata"]["namespace"] = "nowhere"
    with pytest.raises(AbsentError, match="namespace 'nowhere': expected one that exists"):
        backend.submit(elsewhere)


def test_a_suspended_manifest_makes_a_job_without_pods(
    backend: KubernetesBackend, cluster: FakeCluster, submission: NewSubmission
) -> None:
    handle = backend.submit(submission(suspend=True))
    assert cluster.names("pods") == ()
    assert backend.status(handle).state is JobState.SUSPENDED


def test_a_webhook_that_has_not_seen_the_runtime_yet_is_asked_again() -> None:
    cluster, pauses = FakeCluster(namespace="ml"), list[float]()
    text = manifest_text(name="flowers", run_id=RUN_ID, nodes=2, command=["x"], kind=TRAIN_JOB)
    late = (
        'admission webhook "validator.trainjob.trainer.kubeflow.org" denied the request: spec.runtimeRef: '
        "specified trainingRuntime must be created before the TrainJob is created"
    )
    cluster.refuse("create", TRAIN_JOBS, code=403, message=late, times=2)
    creator = Creator(cluster, kind=TRAIN_JOB, pause=pauses.append)
    creator.create(parse_manifest(text), namespace="ml")
    assert cluster.names("trainjobs") == ("flowers",)
    assert pauses == [0.2, 0.5]
    cluster.refuse("create", TRAIN_JOBS, code=403, message=late, times=9)
    other = manifest_text(name="other", run_id=OTHER_RUN_ID, nodes=2, command=["x"], kind=TRAIN_JOB)
    with pytest.raises(InvalidError, match="must be created before"):
        creator.create(parse_manifest(other), namespace="ml")
    assert cluster.names("trainingruntimes") == ("flowers",)
