"""`Launch.publish_progress` on a real API server: what pods may write into their job, and what not."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request

import pytest

from launcher.kinds.base import JobKind
from launcher.kinds.registry import JOB_SET, PADDLE_JOB
from tests.e2e.cluster.kind_table import of_kinds
from tests.e2e.cluster.space import REPOSITORY
from trainer.protocol.progress import MARK, parse_progress

ACCOUNT = "ftlaunch-progress"


@pytest.fixture(autouse=True)
def _controllers(controllers) -> None:
    """Those of all kinds run."""


@pytest.fixture
def role(space, cluster):
    """The account, its role and the policy, which is of the whole cluster."""
    space.kubectl("apply", "-f", str(REPOSITORY / "k8s/rbac/progress.yaml"))
    yield
    for resource in ("validatingadmissionpolicybinding", "validatingadmissionpolicy"):
        cluster.kubectl("delete", resource, ACCOUNT, "--ignore-not-found")


def notes_of(space, resource: str, job: str) -> dict[str, str]:
    found: dict[str, str] = space.get(f"{resource}/{job}")["metadata"].get("annotations") or {}
    return found


def patch_as_pod(space, cluster, pod: str, kind: JobKind, job: str, body: object) -> str:
    """Patch as a pod's own token lets it, and return why it was refused; kubectl would have to read first."""
    token = space.kubectl("create", "token", ACCOUNT, "--bound-object-kind=Pod", f"--bound-object-name={pod}")
    server = json.loads(cluster.kubectl("config", "view", "--minify", "-o", "json"))["clusters"][0]["cluster"]
    resource = kind.resource
    path = f"/apis/{resource.api_version}/namespaces/{space.name}/{resource.plural}/{job}"
    asked = urllib.request.Request(
        server["server"] + path, data=json.dumps(body).encode(), method="PATCH",
        headers={"Authorization": f"Bearer {token.strip()}", "Content-Type": "application/merge-patch+json"},
    )  # fmt: skip
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=ssl._create_unverified_context())
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        opener.open(asked, timeout=60)
    return str(json.loads(refused.value.read())["message"])


@of_kinds(PADDLE_JOB, JOB_SET)
@pytest.mark.usefixtures("role")
def test_the_job_object_says_how_far_the_run_is(place, space, cluster, write_job, kind):
    launch = {"Launch__publish_progress": True, "Launch__service_account": ACCOUNT, "Launch__nodes": 1}
    cfg = write_job(**launch, Global__epochs=500)
    place.run("ftlaunch", "submit", cfg, "--api", kind.name, "--name", "told")
    resource = f"{kind.resource.plural}.{kind.resource.group}"
    place.wait_for(lambda: "ftlaunch.io/step" in notes_of(space, resource, "told"), what="an annotation")
    notes = notes_of(space, resource, "told")
    progress = parse_progress(MARK + notes["ftlaunch.io/progress"].encode())
    assert progress is not None
    assert notes["ftlaunch.io/step"].endswith(f"/{progress.total_steps}")
    (pod,) = [
        item["metadata"]["name"] for item in space.get("pods", "-l", kind.pod_selector("told"))["items"]
    ]
    for body in (
        {"metadata": {"annotations": {"example.com/mine": "1"}}},
        {"metadata": {"labels": {"example.com/mine": "1"}}},
    ):
        assert "pods may write" in patch_as_pod(space, cluster, pod, kind, "told", body)
    other = write_job("other.yaml", **launch)
    place.run("ftlaunch", "submit", other, "--api", kind.name, "--name", "other")
    body = {"metadata": {"annotations": {"ftlaunch.io/step": "0/1"}}}
    assert "their own job alone" in patch_as_pod(space, cluster, pod, kind, "other", body)
    for job in ("told", "other"):
        place.run("ftlaunch", "delete", job, "--force")


def test_without_the_role_it_is_said_once_and_the_job_is_none_the_worse(place, space, write_job):
    space.kubectl("create", "serviceaccount", "nobody")
    cfg = write_job(
        Launch__publish_progress=True, Launch__service_account="nobody", Launch__nodes=1, Global__epochs=2
    )
    place.run("ftlaunch", "submit", cfg, "--name", "untold", "--wait")
    log = place.run("ftlaunch", "logs", "untold").stdout
    assert log.count("is not written: it answered 403: the service account may not patch it") == 1
    assert place.status("untold")["state"] == "Succeeded"
