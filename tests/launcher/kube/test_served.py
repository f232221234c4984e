"""Which kinds of jobs a cluster serves, and which one is taken."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.backends.kubernetes import KubernetesBackend
from launcher.backends.kubernetes.apis import choose_kind
from launcher.errors import CliExit
from launcher.kube.client import connect
from launcher.kube.errors import DeniedError, UnservedError
from launcher.objects import JOB_SETS, PADDLE_JOBS, PODS, RULES_REVIEWS, TRAIN_JOBS, WORKLOADS, KubeObject
from tests.fakes.cluster import FakeCluster
from tests.launcher.kube.api_server import Answer, ApiServer, Asked
from tests.launcher.kube.conftest import NewSubmission
from tests.launcher.kube.test_client import write_kubeconfig

JOBS = {"kind": "APIResourceList", "resources": [{"name": "paddlejobs"}, {"name": "paddlejobs/status"}]}


def test_a_group_is_asked_for_once(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.path == "/apis/kubeflow.org/v1":
            return Answer(body=json.dumps(JOBS).encode())
        return Answer(code=404, body=b"404 page not found")

    with ApiServer() as server:
        server.answer = answer
        kubeconfig = write_kubeconfig(tmp_path, url=server.url, user={"token": "t"})
        client = connect(kubeconfig=kubeconfig, environ={})
        assert [client.serves(kind) for kind in (PADDLE_JOBS, WORKLOADS, PADDLE_JOBS)] == [
            True, False, True,
        ]  # fmt: skip
        assert [asked.path for asked in server.asked] == [
            "/apis/kubeflow.org/v1", "/apis/kueue.x-k8s.io/v1beta1",
        ]  # fmt: skip


EVERYTHING = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}


def may(*resources: str) -> list[KubeObject]:
    return [{"apiGroups": ["*"], "resources": list(resources), "verbs": ["create"]}]


@pytest.mark.parametrize(("served", "rules", "found", "why"), [
    ((PADDLE_JOBS,), [EVERYTHING], "paddlejob", "the first kind that is served here and that you may create"),
    ((), [EVERYTHING], "job", "PaddleJobs and JobSets are not served"),
    ((JOB_SETS, PADDLE_JOBS), may("jobsets", "jobs"), "jobset", "you may not create paddlejobs"),
    ((TRAIN_JOBS,), may("trainjobs", "trainingruntimes"), "trainjob", "you may not create jobs"),
    ((PADDLE_JOBS,), may("jobs", "services"), "job", "you may not create paddlejobs"),
    ((PADDLE_JOBS,), may("paddlejobs"), "paddlejob", "the first kind"),
])  # fmt: skip
def test_auto_takes_the_first_kind_that_is_served_and_may_be_made(
    cluster: FakeCluster, served, rules, found, why
) -> None:
    cluster.served, cluster.rules = served, rules
    choice = choose_kind(cluster, wanted="auto", namespace="ml")
    assert choice.kind.name == found
    assert why in choice.why
    assert cluster.requests == ["create selfsubjectrulesreviews"]


def test_without_a_kind_that_may_be_made_each_is_named(cluster: FakeCluster) -> None:
    cluster.rules = may("jobs")  # its Service is not among them
    with pytest.raises(DeniedError, match=r"create paddlejobs; .*create services.*k8s/rbac/user\.yaml"):
        choose_kind(cluster, wanted="auto", namespace="ml")


def test_a_kind_that_cannot_do_what_is_asked_is_passed_over(cluster: FakeCluster) -> None:
    cluster.served = ()
    cluster.rules = may("jobs", "services")
    with pytest.raises(DeniedError, match=r"a Job cannot do Launch\.queue\.volcano"):
        choose_kind(cluster, wanted="auto", namespace="ml", asks=[("queue", "volcano")])


@pytest.mark.parametrize(("looked_after", "found"), [
    (("PaddleJob", "Job"), "paddlejob"), (("Job",), "job"), ((), "paddlejob"),
])  # fmt: skip
def test_the_queue_that_is_asked_for_decides_too(cluster: FakeCluster, looked_after, found) -> None:
    cluster.kueue_holds = lambda job: job["kind"] in looked_after
    choice = choose_kind(cluster, wanted="auto", namespace="ml", queue="team-a")
    assert choice.kind.name == found
    assert not cluster.names("paddlejobs") + cluster.names("jobs")


def test_a_kind_whose_webhook_does_not_answer_is_passed_over(cluster: FakeCluster) -> None:
    cluster.served = (PADDLE_JOBS,)
    cluster.kueue_holds = lambda job: job["kind"] == "Job"
    said = 'Internal error occurred: failed calling webhook "x": connection refused'
    cluster.refuse("create", PADDLE_JOBS, code=500, message=said, times=3)
    choice = choose_kind(cluster, wanted="auto", namespace="ml", queue="team-a")
    assert choice.kind.name == "job"
    assert "the webhook of PaddleJobs does not answer" in choice.why


def test_a_kind_that_is_named_is_taken_or_refused_without_asking_for_rules(cluster: FakeCluster) -> None:
    assert choose_kind(cluster, wanted="job").kind.name == "job"
    cluster.served = ()
    with pytest.raises(UnservedError, match="install the training operator"):
        choose_kind(cluster, wanted="paddlejob")
    assert cluster.requests == []


def test_reviews_that_are_closed_to_us_keep_nothing_from_being_sent(cluster: FakeCluster) -> None:
    cluster.refuse("create", RULES_REVIEWS, code=403)
    assert choose_kind(cluster, wanted="auto", namespace="ml").kind.name == "paddlejob"


def test_where_no_job_can_be_followed_nothing_is_made_and_the_cure_is_said(
    cluster: FakeCluster, backend: KubernetesBackend, submission: NewSubmission
) -> None:
    cluster.served = (PODS,)
    for act in (backend.submit, backend.check):
        with pytest.raises(UnservedError, match="install the training operator: kubectl apply") as caught:
            act(submission())
        assert caught.value.exit_code is CliExit.UNREACHABLE
    assert cluster.requests == []
