"""Parts of the control plane are away while jobs of each kind begin and run. Only on a kit.

`make kind-table` runs them; CI has the same of PaddleJobs (test_outages.py).
"""

from __future__ import annotations

import json

import pytest

from launcher.kinds.registry import PLAIN_JOB, TRAIN_JOB
from tests.e2e.cluster.kind_table import note, of_kinds, showing
from tests.e2e.cluster.test_faults import LONG, rows  # noqa: F401 - a fixture
from tests.e2e.cluster.test_kinds import END_PID_1, delete, pod_of

NOWHERE = {"Launch__node_selector": {"no": "such"}}


@pytest.fixture(autouse=True)
def _controllers(controllers) -> None:
    """Those of all kinds run."""


@pytest.mark.table  # a minute and more; test_outages.py shows it of PaddleJobs
@of_kinds(TRAIN_JOB)
def test_a_job_outlives_a_restart_of_its_controllers_and_of_the_api_server(
    place,
    space,
    write_job,
    kit,
    rows,  # noqa: F811
    kind,
):
    place.run("ftlaunch", "submit", write_job(**LONG), "--api", kind.name, "--name", "pair")
    place.wait_for(lambda: any(row["event"] == "step" for row in rows()), what="training to begin")
    with showing(kind, "controller restarted"):
        old = pod_of(space, kind, "pair", 1)["metadata"]
        kit.stop_controllers(kind)
        try:
            space.run_in_pod(old["name"], END_PID_1)
            place.run("ftlaunch", "wait", "--for", "restarting", "--timeout", "60s")
            assert json.loads(place.run("ftlaunch", "why", "--output", "json").stdout)["sentence"]
        finally:
            kit.start_controllers(kind)
        place.wait_for(
            lambda: pod_of(space, kind, "pair", 1)["metadata"]["uid"] != old["uid"],
            what="another pod of node 1", timeout_s=150,
        )  # fmt: skip
        place.run("ftlaunch", "wait", "--for", "running", "--timeout", "90s")
    with showing(kind, "API server restarted"):
        waiting = place.begin("ftlaunch", "wait")
        kit.stop_api_server()
        try:
            refused = place.run("ftlaunch", "status", code=3)
            assert "expected an answer from" in refused.stderr
        finally:
            kit.start_api_server()
        _, words = waiting.communicate(timeout=170)
        assert (waiting.returncode, "answers again" in words) == (0, True)
        assert max(row["step"] for row in rows() if row["event"] == "step") == 80
    delete(place, space, "pair")


@pytest.mark.table  # a minute and more; test_outages.py shows it of PaddleJobs
@of_kinds(TRAIN_JOB)
def test_a_submit_into_an_outage_is_finished_by_the_next_one(place, space, write_job, kit, kind):
    cfg = write_job(**NOWHERE)

    def submit(name, code=None):
        ask = ("submit", cfg, "--api", kind.name, "--name", name, "--no-preflight")
        done = place.run("ftlaunch", *ask, code=code)
        assert "Traceback" not in done.stderr
        return done.returncode

    with showing(kind, "submit into an outage of the API server"):
        kit.stop_api_server()
        try:
            submit("once", code=3)
        finally:
            kit.start_api_server()
        # a webhook may answer, or see what was made before its job, a little later than the server
        place.wait_for(lambda: submit("once") == 0, what="it to be taken")
        assert space.names(kind.resource.plural).count("once") == 1
        assert space.names("configmaps").count("once-config") == 1
    if kind is PLAIN_JOB:  # Kubernetes' own takes it, and makes the pods later
        note(kind, "submit while its controller is away", how="not there")
    else:
        with showing(kind, "submit while its controller is away"):
            kit.stop_controllers(kind)
            try:
                submit("late", code=3)
                assert [name for name in space.leftovers() if "late" in name] == []
            finally:
                kit.start_controllers(kind)
            place.wait_for(lambda: submit("late") == 0, what="it to be taken")
            assert space.names(kind.resource.plural).count("late") == 1
            place.run("ftlaunch", "delete", "late", "--force")
    place.run("ftlaunch", "wait", "once", "--for", "scheduling", "--timeout", "90s")
    delete(place, space, "once")
