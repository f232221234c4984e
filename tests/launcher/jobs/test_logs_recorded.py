"""`ftlaunch logs` of a cluster's job from the run folder, once its pods or the job itself are gone."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from launcher.logs.lines import to_kubelet_form
from launcher.plan.handle import Handle
from launcher.runs.paths import project_of
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from tests.contract.harness import RUN_ID
from tests.launcher.kube.api_server import Answer, ApiServer, Asked
from tests.launcher.kube.test_access import write_kubeconfig
from tests.launcher.kube.test_renewing import Cluster

LINES = [f"[rank {node}] line {number}" for number in range(4) for node in range(3)]
GONE = "flowers: it is gone; this is what was read of its log before\n"


class Fading(Cluster):
    """A job that has ended; its pods can go, and then the job."""

    has_pods = has_job = True
    has_failed = False

    def answer(self, asked: Asked) -> Answer:
        if asked.path.endswith("/pods") and not self.has_pods:
            return Answer(body=b'{"items": []}')
        answer = super().answer(asked)
        if asked.path.endswith("/paddlejobs/flowers"):
            if not self.has_job:
                body = {"kind": "Status", "reason": "NotFound", "details": {"name": "flowers"}, "message": ""}
                return Answer(code=404, body=json.dumps(body).encode())
            job = json.loads(answer.body)
            job["metadata"]["labels"] = {"ftlaunch.io/run-id": RUN_ID}
            if self.has_failed:
                job["status"] = {"conditions": [{"type": "Failed", "status": "True"}]}
            return Answer(body=json.dumps(job).encode())
        return answer


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fading]:
    """A cluster with the job `flowers`, which was submitted from the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path / "state"))
    record = RunRecord(
        handle=Handle(backend="kubernetes", namespace="ml", job="flowers"), run_id=RUN_ID,
        stage=Stage.SUBMITTED, project=str(project_of(Path.cwd())), config="cfg.yaml", command=("submit",),
        created_s=time.time(),
    )  # fmt: skip
    RunStore(Path("state/runs")).begin(record, config=b"", manifest="", git=None)
    fading = Fading(token="")
    with ApiServer() as server:
        server.answer = fading.answer
        path = write_kubeconfig(tmp_path, user={}, server=server.url)
        monkeypatch.setenv("KUBECONFIG", str(path))
        yield fading


@pytest.mark.parametrize("flags", [("-f",), ("--rank", "0", "--grep", "nothing")], ids=" ".join)
def test_what_was_fetched_or_followed_stays_whatever_was_shown_of_it(cluster, ftlaunch, flags):
    assert ftlaunch("logs", *flags)[0] == 0
    cluster.has_pods = False
    assert ftlaunch("logs") == (0, "".join(f"{line}\n" for line in LINES), "")
    cluster.has_job = False
    assert ftlaunch("logs") == (0, "".join(f"{line}\n" for line in LINES), GONE)
    assert ftlaunch("logs", "--rank", "1", "--tail", "2")[1] == "[rank 1] line 2\n[rank 1] line 3\n"
    since = "2026-11-24T00:00:03Z"
    assert ftlaunch("logs", "--since", since, "--no-prefix")[1] == 3 * "line 3\n"
    code, out, err = ftlaunch("logs", "-f")
    assert (code, out.splitlines()) == (4, LINES)
    assert err.startswith(GONE)


@pytest.mark.parametrize("flags", [("--tail", "2"), ("--since", "2026-11-24T00:00:03Z")], ids=" ".join)
def test_a_part_of_a_log_is_not_taken_for_the_whole(cluster, ftlaunch, flags):
    assert ftlaunch("logs", *flags)[1] != ""
    cluster.has_job = cluster.has_pods = False
    code, out, err = ftlaunch("logs")
    assert (code, out) == (4, "")
    assert "PaddleJob ml/flowers: expected it to be there" in err


def test_a_part_that_is_read_later_is_added_to_a_record_that_is_there(cluster, ftlaunch):
    assert ftlaunch("logs")[0] == 0
    assert ftlaunch("logs", "--tail", "2")[1].splitlines() == LINES[-2:]
    cluster.has_job = cluster.has_pods = False
    assert ftlaunch("logs")[1].splitlines() == LINES


def test_earlier_containers_come_from_the_record_too(cluster, ftlaunch):
    folder = RunStore(Path("state/runs")).run_folder("flowers") / "logs"
    folder.mkdir()
    for number, text in enumerate((b"first", b"second", b"third")):
        path = folder / f"0.{number + 1}.flowers-worker-0.u0.{number}.log"
        path.write_bytes(to_kubelet_form([b"2026-11-24T00:00:00.000000000Z [a1 r0] " + text]))
    cluster.has_job = cluster.has_pods = False
    assert ftlaunch("logs", "--previous") == (0, "[rank 0] second\n", GONE)
