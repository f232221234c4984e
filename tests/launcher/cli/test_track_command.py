"""`ftlaunch track`: a run that is over, or goes on, at trackers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.cli.track import describe
from launcher.jobs.track import Tracked
from launcher.names import RUN_ID_LABEL
from launcher.plan.handle import Handle
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from tests.docs.pages import commands
from tests.fakes.mlflow_server import Server
from tests.launcher.schemas import check_document
from trainer.protocol.jobfile import JobFile
from trainer.protocol.tracking import Target

TRACKER = """
from pathlib import Path
from trainer.trackers import Tracker
class File(Tracker):
    def start(self, run):
        self.file = Path(run.settings["uri"])
        return "1"
    def log(self, rows):
        with self.file.open("a") as file:
            for row in rows:
                file.write(f"{row.step} {dict(row.values)}\\n")
    def end(self, ending):
        with self.file.open("a") as file:
            file.write(f"{ending.state}\\n")
    @property
    def place(self):
        return str(self.file)
class Broken(File):
    def log(self, rows):
        raise ConnectionError("it answered 500")
"""


NODE = {
    "schema": 1, "run_id": "1" * 32, "job": "flowers", "nodes": 1, "procs_per_node": 1,
    "coordinator_host": "x", "coordinator_port": 1, "backend": "gloo", "output_dir": "/output/flowers",
    "max_restarts": 0, "backoff_s": 1.0, "deadline_s": None, "grace_s": 10.0, "rendezvous_timeout_s": 10.0,
    "hang_timeout_s": None,
}  # fmt: skip
LABELS = {RUN_ID_LABEL: "1" * 32}
MANIFEST = "\n---\n".join(
    json.dumps({"metadata": {"name": name, "labels": LABELS}, **part})
    for name, part in (
        (
            "flowers-config",
            {"apiVersion": "v1", "kind": "ConfigMap", "data": {"node.json": json.dumps(NODE)}},
        ),
        ("flowers", {"apiVersion": "kubeflow.org/v1", "kind": "PaddleJob", "spec": {}}),
    )
)


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a job whose output lies here; returns its rows."""
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", f"{Path(__file__).resolve().parents[3]}:{tmp_path}")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "those.py").write_text(TRACKER)
    run_id = "1" * 32
    output = tmp_path / "output" / "flowers"
    (output / ".ftlaunch").mkdir(parents=True)
    (output / ".ftlaunch" / "run.json").write_text(
        json.dumps({"schema": 1, "run_id": run_id, "first_start_s": 1.0})
    )
    record = RunRecord(
        handle=Handle(backend="local", job="flowers"), run_id=run_id, stage=Stage.SUBMITTED,
        project=str(tmp_path), config="/p/cfg.yaml", command=("submit",), created_s=1.0,
    )  # fmt: skip
    file = JobFile(
        job="flowers", backend="local", run_id=run_id, workdir=str(tmp_path), overrides=(), extra_modules=(),
        folders={"/output": str(tmp_path / "output")}, output_dir="/output/flowers",
    )  # fmt: skip
    RunStore(tmp_path / "state" / "runs").begin(
        record, config=b"", manifest=MANIFEST, git=None, job_file=file
    )
    rows = output / "metrics.jsonl"
    rows.write_text("".join(f'{{"event": "step", "step": {step}, "loss": 0.5}}\n' for step in (1, 2, 3)))
    return rows


def test_a_run_is_sent_once_however_often_it_is_asked_for(job, ftlaunch, tmp_path):
    ran = ftlaunch("track", "flowers", "--to", "those:File", "--uri", str(tmp_path / "sent"))
    assert (ran.code, ran.out) == (0, f"those:File ({tmp_path}/sent): 3 rows -> {tmp_path}/sent\n")
    again = ftlaunch("track", "--to", "those:File", "--uri", str(tmp_path / "sent"))
    assert again.out == f"those:File ({tmp_path}/sent): nothing new -> {tmp_path}/sent\n"
    with job.open("a") as file:
        file.write('{"event": "step", "step": 4, "loss": 0.5}\n{"event": "step"')
    ran = ftlaunch("track", "--to", "those:File", "--uri", str(tmp_path / "sent"), "--output", "json")
    document = json.loads(ran.out)
    assert check_document(document) == "track"
    assert [(item["rows"], item["left"]) for item in document["items"]] == [(1, 0)]
    lines = (tmp_path / "sent").read_text().splitlines()
    assert [line for line in lines if line != "finished"] == [
        f"{step} {{'train/loss': 0.5}}" for step in (1, 2, 3, 4)
    ]


def test_what_is_left_is_said_with_its_reason(job, ftlaunch, tmp_path):
    ran = ftlaunch("track", "--to", "those:Broken", "--uri", "x", "--timeout", "4s", "--output", "json")
    (item,) = json.loads(ran.out)["items"]
    assert (ran.code, item["rows"], item["left"]) == (7, 0, 3)
    assert item["problem"].startswith("ConnectionError: it answered 500; tries again in ")
    assert "note: those:Broken (x): ConnectionError: it answered 500" in ran.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "flowers: expected --to NAME, or a job with Launch.track, got neither; use one of tensorboard"),
        (("--uri", "x"), "expected --to beside settings"),
        (("--to", "mlflow", "--to", "wandb", "--uri", "x"), "one --to beside settings, got mlflow, wandb"),
        (("--to", "mlflow", "--set", "x"), "--set: expected KEY=VALUE, got 'x'"),
        (("--to", "mlflow", "--timeout", "soon"), "expected a duration"),
    ],
)  # fmt: skip
def test_what_cannot_be_asked_for_is_refused(job, ftlaunch, arguments, said):
    ran = ftlaunch("track", *arguments)
    assert ran.code == 2
    assert said in ran.err


def test_a_tracker_that_is_not_installed_is_named_with_its_cure(job, ftlaunch):
    ran = ftlaunch("track", "--to", "swanlab")
    assert ran.code == 7
    assert "swanlab: nothing new; 3 rows are left: swanlab: expected the package swanlab" in ran.out


def test_a_job_that_has_measured_nothing_is_told_so(job, ftlaunch):
    job.write_text('{"event"')
    ran = ftlaunch("track", "--to", "tensorboard")
    assert ran.code == 4
    assert "no row in its metrics.jsonl yet" in ran.err


def test_a_line_of_what_came_of_it_says_what_to_do():
    target = Target(tracker="mlflow", settings={"uri": "http://x"})
    assert describe(Tracked(target=target, rows=1, left=1, problem="ConnectionError")) == (
        "mlflow (http://x): 1 row; 1 row is left: ConnectionError; call it again to go on"
    )


def test_the_page_on_trackers_prints_what_works(job, ftlaunch, monkeypatch, tmp_path):
    server = Server()
    try:
        for command in commands("track"):
            words = command.replace("http://127.0.0.1:5000", server.url).split()
            assert ftlaunch(*words[1:]).code == 0
        assert [step for step, _ in server.points()] == [1, 2, 3]
        assert list((tmp_path / "tensorboard" / "flowers").glob("events.out.tfevents.*"))
    finally:
        server.close()
