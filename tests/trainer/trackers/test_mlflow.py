"""MLflow's client against a server that is not well: each row once, what is known of a run, and its end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fakes.mlflow_server import Server
from tests.trainer.trackers.conftest import RUN_ID, Output
from trainer.protocol.tracking import Ending
from trainer.trackers import TrackerError
from trainer.trackers.delivery import Delivery

DONE = Ending(state="finished", reason="trained")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    made = Server()
    yield made
    made.close()


def send(output: Output, server: Server, ending: Ending = DONE, **settings: str) -> Delivery:
    from trainer.trackers.mlflow import MLflow

    delivery = Delivery(
        request=output.request("mlflow", ending=ending, uri=server.url, **settings), tracker=MLflow(),
        tell=lambda _: None, wait=lambda _: ending,
    )  # fmt: skip
    assert delivery.run()
    return delivery


def test_a_run_arrives_with_all_that_is_known_of_it(output: Output, server: Server) -> None:
    output.describe()
    output.steps(1, 2)
    output.row("checkpoint", step=2, path="/output/e001", best=1.0)
    (output.folder / "report.html").write_text("<p>")
    place = send(output, server, experiment="flowers").place
    (run,) = server.runs.values()
    assert server.points() == [(1, 1.0), (2, 0.5)]
    assert run["params"]["Global.epochs"] == "3"
    assert run["params"]["NumPy_ OpenCV"] == "2, 4"
    assert run["tags"]["best_checkpoint"] == "/output/e001"
    assert run["tags"]["ftlaunch.reason"] == "trained"
    assert (run["name"], run["status"]) == ("flowers-a3f9k", "FINISHED")
    assert server.files == {f"1/{run['id']}/artifacts/report.html": b"<p>"}
    assert place == f"{server.url}/#/experiments/1/runs/{run['id']}"


@pytest.mark.parametrize(
    "faults",
    [[500] * 3, [0, 500, 503, 429], ["lose"] * 12, [*[200] * 6, "lose", "lose"], ["hang", 0, "hang"]],
    ids=["500", "some", "answers lost", "later", "hangs"],
)
def test_each_row_comes_once_whatever_the_server_does(
    output: Output, server: Server, faults: list[int | str]
) -> None:
    output.steps(1, 2, 3)
    server.faults = [0 if fault == 200 else fault for fault in faults]
    send(output, server)
    assert [step for step, _ in server.points()] == [1, 2, 3]
    assert [run["status"] for run in server.runs.values()] == ["FINISHED"]


def test_a_run_is_found_again_from_another_machine(output: Output, server: Server) -> None:
    output.steps(1, 2)
    send(output, server)
    for path in output.state.iterdir():
        path.unlink()
    output.steps(3)
    send(output, server, Ending(state="failed", reason="gpu-memory"))
    assert [step for step, _ in server.points()] == [1, 2, 3]
    (run,) = server.runs.values()
    assert (run["status"], run["tags"]["ftlaunch.reason"]) == ("FAILED", "gpu-memory")
    assert run["tags"]["ftlaunch.run_id"] == RUN_ID


def test_a_run_that_was_deleted_there_is_sent_anew(output: Output, server: Server) -> None:
    output.steps(1, 2)
    send(output, server)
    server.runs.clear()
    output.steps(3)
    send(output, server)
    assert [step for step, _ in server.points()] == [1, 2, 3]


def test_an_address_is_asked_for(output: Output, monkeypatch: pytest.MonkeyPatch) -> None:
    from trainer.trackers import Run
    from trainer.trackers.mlflow import MLflow

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(TrackerError, match="give `uri`, or MLFLOW_TRACKING_URI"):
        MLflow().start(Run(job="j", run_id=RUN_ID, known=None, parameters={}))
