"""All that observes a job, at once, and some of it hanging: the same weights, and each row once.

Trackers, kept logs, metrics for Prometheus, messages, and progress that is published: by way of a TrainJob's
status, since on this machine there is no job object, and both go one way but for the address.
"""

from __future__ import annotations

import hashlib
import ssl
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.mlflow_server import Server
from tests.launcher.kube.api_server import AUTHORITY, ApiServer
from tests.trainer.node.conftest import free_port

PUBLISH = "KUBEFLOW_TRAINER_SERVER_"


@pytest.fixture
def controller() -> Iterator[ApiServer]:
    """What takes the status of TrainJobs."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    AUTHORITY.issue_cert("127.0.0.1").configure_cert(context)
    with ApiServer(tls=context) as running:
        yield running


@pytest.fixture
def webhook() -> Iterator[ApiServer]:
    with ApiServer() as running:
        yield running


def observed(folder: Path, controller: ApiServer, webhook: ApiServer, *, port: int) -> dict[str, Any]:
    """Return keys of `Launch` that switch on all but trackers."""
    AUTHORITY.cert_pem.write_to_path(str(folder / "ca.crt"))
    (folder / "token").write_text("t")
    (folder / "addresses").write_text(f"webhook {webhook.url}/said secret\n")
    return {
        "env": {
            f"{PUBLISH}URL": f"{controller.url}/status", f"{PUBLISH}CA_CERT": str(folder / "ca.crt"),
            f"{PUBLISH}TOKEN": str(folder / "token"), "MLFLOW_HTTP_REQUEST_TIMEOUT": "2",
        },
        "not_secret": [f"{PUBLISH}TOKEN"], "metrics_port": port, "keep_logs": "1Mi",
        "secrets": [{"name": "a", "key": "b", "mount": "/secrets/addresses", "local": "addresses"}],
        "notify": "/secrets/addresses",
    }  # fmt: skip


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "latest.pdparams").read_bytes()).hexdigest()


def test_all_that_observes_costs_no_bit_and_what_hangs_no_row(place, write_config, controller, webhook):
    server, port = Server(), free_port()
    server.always = "hang"
    try:
        track = ["tensorboard", {"mlflow": {"uri": server.url, "experiment": "flowers"}}]
        plain = write_config(
            "plain.yaml", Global__output_dir="plain", Global__report=False, Launch={"keep_logs": None}
        )
        launch = {"track": track, **observed(place.folder, controller, webhook, port=port)}
        tracked = write_config("tracked.yaml", Global__output_dir="tracked", Launch=launch)
        place.run("ftlaunch", "submit", plain, "--on", "local", "--wait")
        job = place.begin("ftlaunch", "submit", tracked, "--on", "local", "--wait")
        place.wait_for(lambda: len(place.rows("tracked")) >= 8, what="a row of each step")
        place.wait_for(lambda: server.asked, what="a request that nothing answers")
        assert not server.runs
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            assert b"ftlaunch_rank_step" in answer.read()
        server.always = None
        said = job.communicate(timeout=120)
        assert job.returncode == 0, said
        assert weights(place.folder / "tracked") == weights(place.folder / "plain")
        steps = [row["step"] for row in place.rows("tracked") if row["event"] == "step"]
        assert [step for step, _ in server.points()] == steps == list(range(1, 9))
        assert [asked.body["event"] for asked in webhook.asked] == ["started", "evaluated", "ended"]
        assert controller.asked[-1].body["trainerStatus"]["progressPercentage"] == 100
        (log,) = (place.folder / "tracked/.ftlaunch/logs").glob("*.0.*.log")
        assert b"attempt 1 begins" in log.read_bytes()
        (run,) = server.runs.values()
        assert (run["status"], run["params"]["Global.epochs"]) == ("FINISHED", "2")
        assert run["tags"]["best_checkpoint"].startswith("tracked/.ftlaunch/checkpoints/")
        assert list(server.files) == [f"1/{run['id']}/artifacts/report.html"]
        logs = place.run("ftlaunch", "logs", "--no-prefix").stdout
        assert "track: mlflow (" in logs
        sent = place.run("ftlaunch", "track")
        assert sent.stdout.count("nothing new") == 2
        assert [step for step, _ in server.points()] == steps
    finally:
        server.close()
