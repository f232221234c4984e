"""`ftlaunch doctor`: the order, the forms and the exit codes."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import pytest

from launcher.cli.main import run
from launcher.doctor import machine
from launcher.doctor.findings import Check, ok, run_checks
from launcher.doctor.machine import check_engine
from launcher.errors import UsageError
from tests.launcher.doctor.conftest import DENIED, JOBS, status
from tests.launcher.schemas import check_document
from trainer.protocol.installation import trainer_fix


@pytest.fixture
def doctor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("NO_COLOR", "1")

    def call(*arguments: str) -> tuple[int, str]:
        capfd.readouterr()
        code = run(["doctor", *arguments])
        out, err = capfd.readouterr()
        # the test's server speaks no TLS, so that it is said that no token goes there
        assert [line for line in err.splitlines() if not line.startswith("note: ")] == []
        return code, out

    return call


@pytest.fixture
def at_cluster(kubeconfig: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))


@pytest.mark.usefixtures("at_cluster")
def test_a_good_cluster_is_all_ok(doctor):
    code, out = doctor()
    lines = [line.split()[:2] for line in out.splitlines() if not line.startswith(" ")]
    names = [name for _, name in lines]
    assert code == 0, out
    assert {level for level, name in lines if name != "client"} == {"ok"}
    assert [name for at, name in enumerate(names) if names.index(name) == at] == [
        "python", "templates", "state", "client", "cluster", "clock", "credentials", "permission",
        "kinds", "operator", "namespace", "gpus", "storage", "dns", "queues", "leftovers",
    ]  # fmt: skip


@pytest.mark.usefixtures("at_cluster")
def test_a_failed_check_makes_it_7_with_the_fix_below(doctor, answers):
    answers[f"POST {JOBS}"] = status(500, 'failed calling webhook "x": connection refused')
    code, out = doctor()
    lines = out.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("fail  operator"))
    assert code == 7
    assert lines[at + 1].strip().startswith("→ an administrator:")


@pytest.mark.usefixtures("at_cluster")
def test_as_data_each_check_has_its_level_words_and_fix(doctor, answers):
    answers["/apis/storage.k8s.io/v1/storageclasses"] = {"items": []}
    code, out = doctor("--output", "json")
    document = json.loads(out)
    assert (code, document["schema"], document["on"], document["ok"]) == (0, 2, "kubernetes", True)
    assert check_document(document) == "doctor"
    (storage,) = [check for check in document["checks"] if check["check"] == "storage"]
    assert storage["level"] == "warn"
    assert storage["fix"]


def test_no_cluster_is_3_and_this_machine_is_looked_at_all_the_same(doctor, tmp_path, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    code, out = doctor("--output", "json")
    document = json.loads(out)
    assert (code, document["ok"]) == (3, False)
    assert [check["check"] for check in document["checks"]] == [
        "python", "templates", "state", "client", "cluster",
    ]  # fmt: skip


@pytest.mark.usefixtures("at_cluster")
def test_another_namespace_can_be_asked_for(doctor, server, answers):
    answers["POST /apis/kubeflow.org/v1/namespaces/team-b/paddlejobs"] = status(403, DENIED)
    doctor("--namespace", "team-b")
    review = next(asked.body for asked in server.asked if asked.path.endswith("selfsubjectrulesreviews"))
    assert review["spec"] == {"namespace": "team-b"}


def test_this_machine_alone(doctor):
    code, out = doctor("--on", "local")
    assert code == 0, out
    assert "cluster" not in out


def test_a_machine_without_paddle_fails_for_local_jobs(doctor, monkeypatch):
    monkeypatch.setattr(machine.importlib.util, "find_spec", lambda name: None)
    code, out = doctor("--on", "local")
    assert code == 7
    assert trainer_fix() in out


def program(folder: Path, text: str) -> str:
    path = folder / "docker"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_an_engine_that_answers_is_named_with_what_it_has(tmp_path):
    answering = program(
        tmp_path, 'case $1 in version) echo 27.1;; info) echo \'{"runc":{},"nvidia":{}}\';; esac'
    )
    engine, gpus = check_engine(answering)
    assert engine == ok("engine", "docker 27.1")
    assert gpus == ok("gpus", "the engine has NVIDIA's runtime")


def test_an_engine_that_is_not_there_or_does_not_run_fails(tmp_path):
    (missing,) = check_engine(str(tmp_path / "none"))
    (asleep,) = check_engine(program(tmp_path, "echo Cannot connect to the Docker daemon >&2; exit 1"))
    assert (missing.level.value, asleep.level.value) == ("fail", "fail")
    assert asleep.fix.startswith("start it")


def test_a_state_folder_that_others_can_read_is_warned_of(tmp_path):
    (tmp_path / "runs").mkdir(mode=0o755)
    (tmp_path / "runs").chmod(0o755)
    (finding,) = machine.check_state(tmp_path / "runs")
    assert (finding.level.value, finding.fix) == ("warn", f"chmod 700 {tmp_path / 'runs'}")


def test_a_check_that_hangs_does_not_hold_up_the_others():
    def refused():
        raise UsageError(where="x", expected="y", got="z", fix="do w")

    checks = [
        Check(name="hangs", run=lambda: [ok("hangs", str(threading.Event().wait()))]),
        Check(name="works", run=lambda: [ok("works", "yes")]),
        Check(name="refused", run=refused),
    ]
    late, works, failed = run_checks(checks, timeout_s=0.5)
    assert (late.level.value, late.message) == ("fail", "no answer in 0.5 s")
    assert works == ok("works", "yes")
    assert (failed.message, failed.fix) == ("x: expected y, got z", "do w")


@pytest.mark.usefixtures("at_cluster")
def test_settings_say_which_namespace_and_which_gpus(doctor, server, monkeypatch):
    monkeypatch.setenv("FTLAUNCH_NAMESPACE", "team-c")
    monkeypatch.setenv("FTLAUNCH_GPU_RESOURCE", "amd.com/gpu")
    _, out = doctor()
    assert "none of 2 ready nodes offers amd.com/gpu" in out
    assert any("/namespaces/team-c/" in asked.path for asked in server.asked)


@pytest.mark.usefixtures("at_cluster")
def test_the_kind_that_a_setting_asks_for_is_looked_at(doctor, monkeypatch):
    monkeypatch.setenv("FTLAUNCH_API", "jobset")
    code, out = doctor()
    assert code == 7
    assert "fail  kinds        expected a cluster that serves jobsets" in out
