"""A tracker that does not answer while a job trains: the same weights, and each row once when it does."""

from __future__ import annotations

import hashlib
from pathlib import Path

from tests.fakes.mlflow_server import Server


def weights(folder: Path) -> str:
    return hashlib.sha256((folder / "latest.pdparams").read_bytes()).hexdigest()


def test_what_hangs_costs_no_bit_and_no_row(place, write_config):
    server = Server()
    server.always = "hang"
    try:
        track = ["tensorboard", {"mlflow": {"uri": server.url, "experiment": "flowers"}}]
        env = {"MLFLOW_HTTP_REQUEST_TIMEOUT": "2"}
        plain = write_config("plain.yaml", Global__output_dir="plain", Global__report=False)
        tracked = write_config(
            "tracked.yaml", Global__output_dir="tracked", Launch={"track": track, "env": env}
        )
        place.run("ftlaunch", "submit", plain, "--on", "local", "--wait")
        job = place.begin("ftlaunch", "submit", tracked, "--on", "local", "--wait")
        place.wait_for(lambda: len(place.rows("tracked")) >= 8, what="a row of each step")
        place.wait_for(lambda: server.asked, what="a request that nothing answers")
        assert not server.runs
        server.always = None
        said = job.communicate(timeout=120)
        assert job.returncode == 0, said
        assert weights(place.folder / "tracked") == weights(place.folder / "plain")
        steps = [row["step"] for row in place.rows("tracked") if row["event"] == "step"]
        assert [step for step, _ in server.points()] == steps == list(range(1, 9))
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
