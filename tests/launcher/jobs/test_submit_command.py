"""`ftlaunch submit` over the cluster in memory, and what it refuses before anything is sent."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from launcher.cli.main import run
from launcher.cli.options import read_volume
from launcher.jobs import prepare
from launcher.objects import CONFIG_MAPS, JOB_SETS, JOBS, PADDLE_JOBS, QUOTAS
from launcher.runs.record import Stage
from launcher.runs.store import RunStore
from tests.fakes.cluster import FakeCluster
from tests.launcher.configs import RUN_ID
from trainer.protocol.installation import trainer_fix
from trainer.protocol.nodefile import parse_node_file

NAMED = ("--name", "flowers", "--run-id", RUN_ID, "--namespace", "ml")
OTHER_ID = "f" * 32


@pytest.fixture
def submit(
    write_config: Callable[..., Path], store: RunStore, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    path = str(write_config())

    def call(*arguments: str) -> tuple[int, str, str]:
        capfd.readouterr()
        code = run(["submit", path, *arguments])
        out, err = capfd.readouterr()
        return code, out, err

    return call


def test_the_handle_is_all_that_stdout_holds_and_the_record_pins_the_job(cluster, store, submit):
    code, out, err = submit(*NAMED)
    assert (code, out) == (0, "kubernetes://ml/flowers\n")
    assert "next: ftlaunch logs -f · ftlaunch status · ftlaunch wait" in err
    record = store.load("flowers")
    assert record is not None
    assert (record.stage, record.run_id, record.context) == (Stage.SUBMITTED, RUN_ID, "fake")
    assert cluster.get(PADDLE_JOBS, "flowers", namespace="ml")["metadata"]["name"] == "flowers"


def test_a_dry_run_prints_the_manifest_and_touches_nothing(cluster, store, submit, capfd, monkeypatch):
    monkeypatch.setenv("LOGNAME", "ann\n")
    code, out, _ = submit(*NAMED, "--dry-run", "client")
    assert code == 0
    assert run(["render", "cfg.yaml", *NAMED]) == 0
    # what is drawn for each submit apart, that no two of them know
    drawn = re.compile(r',\n *"secret": "[0-9a-f]{64}"')
    whose = re.compile(r'  annotations: \{"ftlaunch.io/submitted-by": "ann"\}\n')
    assert capfd.readouterr().out == drawn.sub("", whose.sub("", out))
    assert len(drawn.findall(out)) == len(whose.findall(out)) == 1
    assert cluster.requests == []
    assert store.runs() == []


def test_a_name_is_submitted_once(cluster, store, submit):
    submit(*NAMED)
    code, _, err = submit("--name", "flowers", "--run-id", OTHER_ID, "--namespace", "ml")
    assert code == 2
    assert "flowers" in err
    record = store.load("flowers")
    assert record is not None
    assert record.run_id == RUN_ID


def test_a_refused_submit_leaves_no_record(cluster, store, submit):
    submit(*NAMED)
    store.remove("flowers")  # as on another machine
    code, _, err = submit("--name", "flowers", "--run-id", OTHER_ID, "--namespace", "ml")
    assert code == 2
    assert "flowers" in err
    assert store.load("flowers") is None


def test_a_submit_into_a_namespace_that_is_not_there_leaves_no_record(cluster, store, submit):
    code, _, err = submit("--name", "flowers", "--namespace", "nosuch")
    assert code == 4
    assert "nosuch" in err
    assert store.load("flowers") is None


def test_a_submit_that_never_arrived_is_taken_up_by_the_next(cluster, store, submit):
    cluster.time_out("create", PADDLE_JOBS, times=3)
    assert submit(*NAMED)[0] == 3
    record = store.load("flowers")
    assert record is not None
    assert record.stage is Stage.SUBMITTING
    code, out, _ = submit(*NAMED)
    assert (code, out) == (0, "kubernetes://ml/flowers\n")


def test_a_folder_without_a_record_which_a_killed_submit_leaves_holds_no_name(cluster, store, submit):
    folder = store.run_folder("once")
    folder.mkdir(parents=True)
    (folder / "record.json.tmp").write_text("{")
    assert submit("--name", "once")[0] == 0
    assert store.load("once") is not None
    assert not (folder / "record.json.tmp").exists()


def test_a_submit_whose_answers_got_lost_is_found_by_the_next(cluster, store, submit):
    submit(*NAMED)
    record = store.load("flowers")
    assert record is not None
    path = store.run_folder("flowers") / "record.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "stage": "submitting"}))
    assert submit(*NAMED)[0] == 2
    found = store.load("flowers")
    assert found is not None
    assert found.stage is Stage.SUBMITTED
    assert run(["status", "flowers"]) == 0


def test_an_engine_that_is_down_leaves_nothing_behind(store, submit, tmp_path):
    engine = tmp_path / "docker"
    engine.write_text("#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
    engine.chmod(0o755)
    Path("flowers").mkdir()
    code, out, err = submit("--on", "docker", "--container-runtime", str(engine))
    assert (code, out) == (3, "")
    assert "expected a running engine" in err
    assert store.runs() == []


@pytest.mark.parametrize("on", ["local", "docker"])
def test_folders_of_this_machine_must_be_there(store, submit, on):
    code, _, err = submit("--on", on, "--name", "flowers")
    assert code == 2
    assert err.startswith(
        f"/data: expected the folder '{Path.cwd() / 'flowers'}' (`local:`), got none; make it"
    )
    assert store.runs() == []


@pytest.mark.parametrize(("local", "hint"), [("./pictures", True), ("/nowhere/pictures", False)])
def test_a_relative_folder_that_is_missing_may_be_one_of_another_folder(store, submit, local, hint):
    code, _, err = submit("--on", "local", "--gpus", "0", "--volume", f"/pictures=:{local},ro")
    assert code == 2
    (line,) = [line for line in err.splitlines() if line.startswith("/pictures: expected the folder")]
    assert "; make it" in line
    assert ("call from the folder that holds './pictures'" in line) is hint
    assert store.runs() == []


def test_without_paddle_a_local_job_is_refused_with_what_to_install(store, submit, monkeypatch):
    Path("flowers").mkdir()
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "paddle" else find(name, *rest)
    )
    code, _, err = submit("--on", "local", "--name", "flowers")
    assert code == 2
    assert trainer_fix() in err
    assert store.runs() == []


def continued(cluster: FakeCluster) -> str | None:
    data = cluster.get(CONFIG_MAPS, "second-config", namespace="ml")["data"]
    return parse_node_file(data["node.json"]).continues


def test_a_new_job_goes_on_from_one_that_has_ended(cluster, store, submit):
    submit(*NAMED)
    second = ("--name", "second", "--namespace", "ml", "--continue", "flowers", "--nodes", "2")
    code, _, err = submit(*second)
    assert code == 2
    assert "ftlaunch cancel flowers" in err
    cluster.start_pod("flowers-worker-0")
    cluster.finish_pod("flowers-worker-0", 3)
    code, _, err = submit(*second, "-o", "Global.output_dir=/output/other")
    assert code == 2
    assert "-o Global.output_dir=/output/run" in err
    assert submit(*second)[0] == 0
    assert continued(cluster) == RUN_ID


@pytest.mark.parametrize("gone", ["its objects", "its record"])
def test_a_job_that_is_gone_is_gone_on_from_by_name_or_run_id(cluster, store, submit, gone):
    submit(*NAMED)
    job = cluster.get(PADDLE_JOBS, "flowers", namespace="ml")
    cluster.delete(PADDLE_JOBS, "flowers", namespace="ml", uid=job["metadata"]["uid"])
    if gone == "its record":
        store.remove("flowers")
    wanted = RUN_ID if gone == "its record" else "flowers"
    assert submit("--name", "second", "--namespace", "ml", "--continue", wanted)[0] == 0
    assert continued(cluster) == RUN_ID


OWN_FOLDERS = {
    "volumes": [
        {"mount": "/data", "claim": "flowers", "sub_path": "seen/{job}", "read_only": True},
        {"mount": "/output", "claim": "runs", "sub_path": "runs/{job}"},
    ]
}


def sub_paths(cluster: FakeCluster, job: str) -> dict[str, str]:
    worker = cluster.get(PADDLE_JOBS, job, namespace="ml")["spec"]["paddleReplicaSpecs"]["Worker"]
    mounts = worker["template"]["spec"]["containers"][0]["volumeMounts"]
    return {mount["mountPath"]: mount["subPath"] for mount in mounts if "subPath" in mount}


def test_a_new_job_goes_on_in_the_folder_that_the_first_of_its_line_had(cluster, store, write_config, submit):
    write_config(launch=OWN_FOLDERS)
    submit(*NAMED)
    line = ["flowers", "second", "third"]
    for earlier, job in pairwise(line):
        cluster.start_pod(f"{earlier}-worker-0")
        cluster.finish_pod(f"{earlier}-worker-0", 3)
        assert submit("--name", job, "--namespace", "ml", "--continue", earlier)[0] == 0
    assert [sub_paths(cluster, job) for job in line] == [
        {"/data": f"seen/{job}", "/output": "runs/flowers"} for job in line
    ]


def test_a_folder_of_its_own_for_a_job_that_is_known_by_its_run_id_alone_is_refused(
    cluster, store, write_config, submit
):
    write_config(launch=OWN_FOLDERS)
    code, _, err = submit("--name", "second", "--namespace", "ml", "--continue", OTHER_ID)
    assert code == 2
    assert "cfg.yaml:" in err
    assert "Launch.volumes.1.sub_path: expected the folder of run ffff" in err
    named = ("-o", "Launch.volumes.1.sub_path=runs/flowers")
    assert submit("--name", "second", "--namespace", "ml", "--continue", OTHER_ID, *named)[0] == 0
    assert sub_paths(cluster, "second")["/output"] == "runs/flowers"


def test_going_on_and_overwriting_exclude_each_other(cluster, store, submit):
    code, _, err = submit("--continue", RUN_ID, "--overwrite")
    assert code == 2
    assert "--overwrite" in err


def test_a_dry_run_on_the_server_is_checked_there_and_stores_nothing(cluster, store, submit):
    code, out, err = submit(*NAMED, "--dry-run", "server")
    assert code == 0
    assert "kind: PaddleJob" in out
    assert "the API server would take" in err
    assert cluster.names("paddlejobs") == cluster.names("configmaps") == ()
    assert store.runs() == []
    cluster.refuse("create", PADDLE_JOBS, code=403, message="exceeded quota: gpus")
    code, _, err = submit(*NAMED, "--dry-run", "server")
    assert code != 0
    assert "exceeded quota" in err


def test_a_dry_run_on_this_machine_says_what_it_checked_and_makes_no_folder(store, submit):
    Path("flowers").mkdir()
    code, out, err = submit("--on", "local", "--name", "flowers", "--gpus", "0", "--dry-run", "server")
    assert code == 0
    assert "kind: PaddleJob" in out
    assert "pods of the manifest can be played here" in err
    assert not Path("output").exists()
    assert store.runs() == []


def test_what_was_submitted_is_said_as_json(cluster, store, submit):
    code, out, _ = submit(*NAMED, "--output", "json")
    assert code == 0
    document = json.loads(out)
    assert document.pop("created").endswith("Z")
    assert document == {
        "schema": 1, "kind": "submit", "handle": "kubernetes://ml/flowers", "backend": "kubernetes",
        "namespace": "ml", "job": "flowers", "run_id": RUN_ID, "context": "fake",
    }  # fmt: skip


def test_an_output_format_given_as_an_override_is_understood(cluster, store, submit):
    code, _, err = submit("-o", "json")
    assert code == 2
    assert "did you mean --output json?" in err


@pytest.mark.parametrize(
    ("volume", "expected"),
    [
        ("/m=claim", {"claim": "claim"}),
        ("/m=claim/a/b:./a,ro", {"claim": "claim", "sub_path": "a/b", "local": "./a", "read_only": True}),
        ("/m=/mnt/disk,rw", {"host_path": "/mnt/disk"}),
        ("/m=/mnt/disk:/srv/x", {"host_path": "/mnt/disk", "local": "/srv/x"}),
        ("/m=:./here", {"local": "./here"}),
    ],
)  # fmt: skip
def test_volumes_are_claims_folders_of_nodes_or_of_this_machine(volume, expected):
    assert read_volume(volume) == {"mount": "/m", "read_only": False, **expected}


@pytest.mark.parametrize("text", ["/m", "/m=", "=x", "/m=x,rx", ""])
def test_what_is_no_volume_is_refused(cluster, store, submit, text):
    code, _, err = submit("--volume", text)
    assert code == 2
    assert "expected MOUNT=CLAIM" in err


@pytest.mark.parametrize(
    ("gpus", "plan"), [("1,3", "1 node × 2 GPUs = 2 ranks"), ("0,9", "2 CPU ranks"), ("2", "1 node × 2 GPUs")]
)
def test_gpus_of_this_machine_can_be_chosen(store, submit, monkeypatch, gpus, plan):
    monkeypatch.setattr(prepare, "list_gpus", lambda: ("0", "1", "2", "3"))
    Path("flowers").mkdir()
    code, _, err = submit("--on", "local", "--gpus", gpus, "--dry-run", "client")
    assert (code, plan in err) == (0, True)


@pytest.mark.parametrize("gpus", ["0,1", "a", "1,1", ","])
def test_gpus_that_make_no_sense_or_that_a_cluster_chooses_are_refused(cluster, store, submit, gpus):
    code, _, err = submit("--gpus", gpus)
    assert code == 2
    assert "--gpus" in err


def test_what_the_cluster_refuses_is_said_at_its_place_in_the_config(cluster, store, submit):
    field = "spec.paddleReplicaSpecs.Worker.template.spec.containers[0].resources.limits[nvidia.com/gpu]"
    cluster.refuse("create", PADDLE_JOBS, code=400, message=f'strict decoding error: unknown field "{field}"')
    code, _, err = submit(*NAMED)
    written = Path("cfg.yaml").read_text().splitlines()
    line = next(number for number, text in enumerate(written, 1) if text.strip() == "gpus: 4")
    assert code == 2
    assert f"cfg.yaml:{line}:9: Launch.gpus: {field}: unknown field" in err
    assert cluster.names("configmaps") == ()
    assert store.load("flowers") is None


def test_a_job_that_could_never_run_is_not_sent_unless_told_to(cluster, store, submit):
    quota = {"metadata": {"name": "team"}, "spec": {"hard": {"pods": "0"}}, "status": {"hard": {"pods": "0"}}}
    cluster.put(QUOTAS, quota)
    code, _, err = submit(*NAMED)
    assert code == 2
    assert "the quota of the namespace allows 0 in all [quota-never]" in err
    assert store.load("flowers") is None
    assert cluster.names("paddlejobs") == cluster.names("configmaps") == ()
    assert submit(*NAMED, "--no-preflight")[0] == 0


def test_a_submit_warns_of_what_is_missing_and_says_what_it_did_not_see(cluster, submit):
    cluster.refuse("list", QUOTAS, code=403)
    code, out, err = submit(*NAMED)
    assert (code, out) == (0, "kubernetes://ml/flowers\n")
    assert "warning: the cluster has no nodes [no-nodes]" in err
    assert "note: not looked at before submitting: resourcequotas in ml" in err


def test_a_name_that_another_has_taken_is_that_of_its_job(cluster, store, submit):
    assert submit(*NAMED, "--no-preflight")[0] == 0
    store.remove("flowers")  # another machine has submitted it
    code, _, err = submit("--name", "flowers", "--namespace", "ml", "--no-preflight")
    assert code == 2
    assert (
        "a job 'flowers' is there: choose another name with --name, or `ftlaunch delete flowers` first" in err
    )


def test_who_may_create_no_kind_of_job_is_told_of_each_before_anything_is_made(cluster, store, submit):
    cluster.rules = []
    code, _, err = submit(*NAMED)
    assert code == 3
    assert "you may not create paddlejobs; " in err
    assert "you may not create jobs" in err
    assert "ask for k8s/rbac/user.yaml in namespace 'ml', or correct its name: it may not exist" in err
    assert cluster.requests == ["create selfsubjectrulesreviews"]
    assert store.load("flowers") is None


def test_the_kind_that_was_taken_is_said_recorded_and_kept(cluster, store, submit, capfd):
    cluster.served = tuple(resource for resource in cluster.served if resource not in (PADDLE_JOBS, JOB_SETS))
    code, _, err = submit(*NAMED)
    assert code == 0
    assert "note: as a Job of batch/v1 (api auto: PaddleJobs and JobSets are not served" in err
    record = store.load("flowers")
    assert record is not None
    assert record.api == "job"
    assert {name for plural in ("jobs", "services") for name in cluster.names(plural)} == {"flowers"}
    cluster.served = (*cluster.served, PADDLE_JOBS)  # another day there is an operator
    assert run(["cancel", "flowers"]) == 0
    assert cluster.get(JOBS, "flowers", namespace="ml")["spec"]["suspend"] is True
    assert run(["delete", "flowers", "--yes"]) == 0
    assert cluster.names("jobs") == cluster.names("services") == cluster.names("configmaps") == ()


@pytest.mark.parametrize("said", ["kubeflow", "paddlejob"])
def test_a_kind_may_be_named_by_a_flag_and_by_its_name_of_before(cluster, store, write_config, said):
    path = str(write_config(Launch__api=said))
    assert run(["submit", path, *NAMED]) == 0
    assert cluster.names("paddlejobs") == ("flowers",)
    assert run(["submit", path, "--api", "job", "--name", "other", "--namespace", "ml"]) == 0
    assert cluster.names("jobs") == ("other",)


def test_a_missing_permission_is_refused_in_the_servers_words(cluster, store, submit):
    cluster.rules = [{"apiGroups": ["kubeflow.org"], "resources": ["*"], "verbs": ["*"]}]
    cluster.refuse("create", CONFIG_MAPS, code=403)
    code, _, err = submit(*NAMED)
    assert code == 3
    assert '{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]}' in err
    assert store.load("flowers") is None
