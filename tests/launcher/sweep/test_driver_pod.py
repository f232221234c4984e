"""A study whose driver is a pod, on the cluster in memory: the pod's process is played in this one."""

from __future__ import annotations

import base64
import json
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.cli.main import run
from launcher.jobs import driver_job
from launcher.jobs.driver_job import HALTED, driver_image
from launcher.sweep import lifecycle
from launcher.sweep.study import load_study
from launcher.sweep.trials import TrialState
from tests.docs.pages import commands
from tests.launcher.schemas import check_document
from tests.launcher.sweep.conftest import EVAL, RATE

ASK = ("sweep", "cfg.yaml", "--over", f"{RATE}=[0.1,0.2,0.3,0.4,0.5]", "--name", "rates", "--parallel", "2",
       "--on", "kubernetes", "--driver", "pod")  # fmt: skip
HERE = Path(__file__).parent


def labelled(cluster) -> tuple[dict[str, Any], ...]:
    return tuple(
        item for item in cluster._store.all("configmaps")
        if item["metadata"]["labels"].get("app.kubernetes.io/component") == driver_job.COMPONENT
    )  # fmt: skip


class Pod:
    """Plays the driver's pod: its ConfigMap as files, its volume as a folder that outlives it."""

    def __init__(self, cluster, folder: Path, monkeypatch) -> None:
        self._cluster, self._folder, self._monkeypatch = cluster, folder, monkeypatch
        self._steps = 0

    def drive(self, *, until: Callable[[], bool], each: Callable[[], None] = lambda: None) -> Any:
        """Go on with the study; the pod is killed once `until` says so, which is asked between two steps."""

        class KilledError(BaseException):
            pass

        def pause(_: float) -> None:
            each()
            if until():
                raise KilledError

        etc, workdir = self._folder / "etc", self._folder / "workspace"
        for folder in (etc / "ftlaunch", workdir):
            folder.mkdir(parents=True, exist_ok=True)
        (own,) = (item for item in labelled(self._cluster) if item["metadata"]["name"] == "rates-driver")
        (etc / "study.json").write_text(
            own["data"]["study.json"]
            .replace("/etc/ftlaunch-sweep/", f"{etc}/")
            .replace('"/workspace"', f'"{workdir}"')
        )
        (etc / "cfg.yaml").write_bytes(base64.b64decode(own["binaryData"]["cfg.yaml"]))
        (etc / driver_job.SETTINGS_PATH).write_text(own["data"]["settings.yaml"])
        with self._monkeypatch.context() as there:
            there.setenv("FTLAUNCH_STATE", str(self._folder / "volume"))
            there.setenv("XDG_CONFIG_HOME", str(etc))
            there.setenv("FTLAUNCH_CONTEXT", "null")
            there.setenv("FTLAUNCH_NAMESPACE", "ml")
            there.chdir(workdir)
            try:
                return lifecycle.drive_in_pod(etc, pause=pause)
            except KilledError:
                return None


@pytest.fixture
def pod(cluster, tmp_path, monkeypatch) -> Pod:
    monkeypatch.setattr(lifecycle, "_CLUSTER_PAUSE_S", 0.0)
    return Pod(cluster, tmp_path / "pod", monkeypatch)


def trials_run(cluster) -> Callable[[], None]:
    """Play the kubelet: of each trial's pod three epochs and its end, one thing a call."""
    passed: dict[str, int] = {}

    def step() -> None:
        for name in cluster.names("pods"):
            if not name.startswith("rates-t") or passed.get(name, 0) > 4:
                continue
            epoch = passed[name] = passed.get(name, 0) + 1
            if epoch == 1:
                cluster.start_pod(name)
            elif epoch <= 4:
                value = int(name[7:10]) / 10 + epoch / 100
                cluster.write_log(name, EVAL.format(epoch=epoch - 1, value=value).encode())
            else:
                cluster.finish_pod(name, 0)

    return step


def test_a_pod_goes_on_with_a_study_and_its_death_loses_nothing(config, cluster, pod, capsys):
    assert run([*ASK]) == 0
    out, err = capsys.readouterr()
    assert out == "rates\n"
    assert "a pod goes on with it" in err
    assert cluster.names("jobs") == ("rates-driver",)
    assert cluster.names("paddlejobs") == ()
    assert run(["why", "rates"]) == 0
    assert "its driver's pod does not run yet" in capsys.readouterr().out

    (name,) = (pod_name for pod_name in cluster.names("pods") if pod_name.startswith("rates-driver"))
    cluster.start_pod(name)
    step = trials_run(cluster)
    pod.drive(until=lambda: len(cluster.names("paddlejobs")) > 2, each=step)  # killed in the middle
    assert len(cluster.names("paddlejobs")) == 4
    before = len(cluster.requests)
    assert run(["status", "rates", "--output", "json"]) == 0
    asked = cluster.requests[before:]
    assert len(asked) <= 4, asked
    document = json.loads(capsys.readouterr().out)
    assert check_document(document) == "sweep"
    assert (document["state"], document["driver"]["state"]) == ("Running", "Running")
    assert [trial["state"] for trial in document["trials"]][:2] == ["complete", "complete"]

    picture = pod.drive(until=lambda: False, each=step)  # the next pod, on the same volume
    assert [trial.state for trial in picture.trials] == [TrialState.COMPLETE] * 5
    assert sorted(cluster.names("paddlejobs")) == [f"rates-t00{number}" for number in (1, 2, 3, 4, 5)]
    cluster.finish_pod(name, 0)
    assert run(["status", "rates", "--output", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert (document["state"], document["winner"]) == ("Succeeded", 5)
    assert run(["why", "rates"]) == 0
    assert "all its trials have ended" in capsys.readouterr().out
    assert run(["logs", "rates", "--trial", "2", "--no-prefix"]) == 0
    assert "top1: 0.2" in capsys.readouterr().out
    assert run(["list", "rates", "--output", "name"]) == 0
    assert len(capsys.readouterr().out.split()) == 5
    assert run(["sweep", "best", "rates"]) == 0
    assert "learning_rate: 0.5" in capsys.readouterr().out
    assert run(["delete", "rates"]) == 0
    assert cluster.names("paddlejobs") == cluster.names("jobs") == ()
    assert labelled(cluster) == ()
    assert run(["status", "rates"]) == 4


def test_the_commands_of_the_page_do_what_they_say(config, cluster, capsys):
    for command in commands("sweep-pod"):
        program, *arguments = shlex.split(command)
        assert program == "ftlaunch"
        assert run(arguments) == 0, command
    out, err = capsys.readouterr()
    assert "checked by the cluster; nothing was begun" in err
    assert "its driver's pod does not run yet" in out


def test_that_a_driver_reads_logs_where_each_job_has_a_folder_is_said(config, cluster, capsys):
    assert run([*ASK, "--dry-run", "client"]) == 0
    said = "it reads what trials measure from their logs"
    assert said not in capsys.readouterr().err
    values = yaml.safe_load(config.read_text())
    (output,) = [volume for volume in values["Launch"]["volumes"] if volume["mount"] == "/output"]
    output["sub_path"] = "{job}"
    config.write_text(yaml.safe_dump(values))
    assert run([*ASK, "--dry-run", "client"]) == 0
    assert said in capsys.readouterr().err


def test_what_is_cancelled_here_stops_there_and_goes_on_again(config, cluster, pod, capsys):
    assert run([*ASK]) == 0
    pod.drive(until=lambda: len(cluster.names("paddlejobs")) == 2)
    capsys.readouterr()
    assert run(["cancel", "rates"]) == 0
    assert "2 trials told to save and stop" in capsys.readouterr().err
    picture = pod.drive(until=lambda: False)
    assert picture.halted is not None
    assert picture.halted.cancelled
    assert len(cluster.names("paddlejobs")) == 2
    assert run(["status", "rates", "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["state"] == "Cancelled"
    assert run(["sweep", "resume", "rates", "--trials", "3"]) == 0
    assert not any(HALTED in (item["metadata"].get("annotations") or {}) for item in labelled(cluster))
    assert all(not item["spec"]["runPolicy"].get("suspend") for item in cluster._store.all("paddlejobs"))
    picture = pod.drive(until=lambda: False, each=trials_run(cluster))
    assert (picture.planned, picture.is_over) == (3, True)


def test_a_study_that_another_has_deleted_from_elsewhere_is_begun_anew(config, cluster, pod, capsys):
    assert run([*ASK]) == 0
    pod.drive(until=lambda: len(cluster.names("paddlejobs")) == 2)
    first = load_study("rates").settings.study_id
    assert run(["delete", "rates", "--force"]) == 0
    assert run([*ASK]) == 0
    assert load_study("rates").settings.study_id != first
    pod.drive(until=lambda: len(cluster.names("paddlejobs")) == 2)
    assert run(["status", "rates"]) == 0


def test_the_drivers_manifest_is_the_golden_one(config, cluster, check_golden, monkeypatch, capsys):
    monkeypatch.setattr("launcher.sweep.begin.new_run_id", lambda: "0123456789abcdef" * 2)
    monkeypatch.setattr("time.time", lambda: 1767225600.0)
    monkeypatch.setenv("FTLAUNCH_MAX_RESTARTS", "5")
    assert run([*ASK, "--dry-run", "server"]) == 0
    out, err = capsys.readouterr()
    assert "rates: checked by the cluster; nothing was begun" in err
    assert load_study("rates") is None
    assert cluster.names("jobs") == cluster.names("configmaps") == ()
    check_golden(str(HERE / "driver_pod.yaml"), out)
    policy = yaml.safe_load((HERE.parents[2] / "k8s/network/sweep-driver.yaml").read_text())
    accounts = list(yaml.safe_load_all((HERE.parents[2] / "k8s/rbac/sweep.yaml").read_text()))
    _, job = yaml.safe_load_all(out)
    template = job["spec"]["template"]
    selector: Mapping[str, str] = policy["spec"]["podSelector"]["matchLabels"]
    assert selector.items() <= template["metadata"]["labels"].items()
    assert template["spec"]["serviceAccountName"] in [item["metadata"]["name"] for item in accounts]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--code", "lib"), "Launch.code: expected none where a pod is the driver"),
        (("--template-dir", "lib"), "--template-dir: expected none where a pod is the driver"),
        (("--trials", "20000", "--sampler", "random"), "--trials: expected at most 10000"),
        (("--on", "local"), "--driver pod: expected --on kubernetes beside it, got --on local"),
    ],
)
def test_what_a_pod_cannot_have_is_refused_before_anything_is_made(config, cluster, capsys, more, said):
    Path("lib").mkdir()
    Path("lib/net.py").write_text("x = 1\n")
    assert run([*ASK, *more]) == 2
    assert said in " ".join(capsys.readouterr().err.split())
    assert load_study("rates") is None
    assert cluster.names("jobs") == ()


def test_an_image_without_the_launcher_says_so_by_name(config, cluster, tmp_path, capsys):
    assert run([*ASK, "--driver-image", "registry.example/own:1"]) == 0
    (job,) = cluster._store.all("jobs")
    argv = job["spec"]["template"]["spec"]["containers"][0]["command"]
    log = tmp_path / "termination-log"
    code = argv[2].replace("/dev/termination-log", str(log))
    done = subprocess.run(
        [sys.executable, "-S", "-I", "-c", code, *argv[3:]], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == driver_job.UNFIT
    said = "registry.example/own:1: expected an image with ftlaunch and optuna, got one without launcher"
    assert log.read_text().startswith(said)
    (name,) = cluster.names("pods")
    cluster.start_pod(name)
    cluster.finish_pod(name, driver_job.UNFIT, log.read_text())
    capsys.readouterr()
    assert run(["why", "rates"]) == 0
    out = capsys.readouterr().out
    assert "its driver's pod was refused" in out
    assert said in out


@pytest.mark.parametrize(
    ("image", "driver"),
    [
        ("ftlaunch-trainer:0.2.0-cpu", "ftlaunch-driver:0.2.0"),
        ("registry.example:5000/ftlaunch-trainer:1-gpu", "registry.example:5000/ftlaunch-driver:1"),
        ("registry.example/own:1", "registry.example/own:1"),
    ],
)  # fmt: skip
def test_the_image_of_a_driver_lies_beside_the_trainers(image, driver):
    assert driver_image(image) == driver
