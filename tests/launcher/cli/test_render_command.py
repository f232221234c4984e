from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.config.load import load_run_config
from launcher.jobs import prepare
from launcher.plan.plan import plan
from launcher.render.manifest import parse_manifest
from launcher.render.render import render
from tests.launcher.configs import RUN_ID, config_values
from trainer.protocol.nodefile import parse_node_file


def test_stdout_is_the_manifest_byte_for_byte(ftlaunch, write_config):
    path = write_config(launch={"env": {"A": "é\u2028"}})
    ran = ftlaunch("render", path, "--run-id", RUN_ID, "--gpus", 2, "--nodes", 2, "-o", "Global.epochs=3")
    manifest = parse_manifest(ran.out)
    assert (ran.code, manifest.run_id) == (0, RUN_ID)
    config = load_run_config(path, overrides=["Global.epochs=3", "Launch.gpus=2", "Launch.nodes=2"])
    version = manifest.job["metadata"]["labels"]["app.kubernetes.io/version"]
    assert ran.out == render(plan(config, run_id=RUN_ID, on="kubernetes", version=version)).text
    summary, note = ran.err.splitlines()
    assert summary == "cfg-aaise: 2 nodes × 2 GPUs = 4 ranks, global batch 256"
    assert "holds no secret" in note


def test_each_rendering_draws_a_run_id(ftlaunch, write_config):
    path = write_config()
    assert (
        parse_manifest(ftlaunch("render", path).out).run_id
        != parse_manifest(ftlaunch("render", path).out).run_id
    )


def secret_of(text: str) -> str | None:
    return parse_node_file(parse_manifest(text).config_map["data"]["node.json"]).secret


def test_each_rendering_draws_a_secret_for_the_nodes_that_is_no_label(ftlaunch, write_config):
    path = write_config()
    first, again = (ftlaunch("render", path).out for _ in range(2))
    secrets = {secret_of(first), secret_of(again)}
    assert len(secrets) == 2
    for secret in secrets:
        assert secret is not None
        assert len(bytes.fromhex(secret)) == 32
    job = str(parse_manifest(first).job)
    assert str(secret_of(first)) not in job  # only in the ConfigMap, which only the pods mount


def test_a_rendering_for_git_holds_no_secret_and_says_so_where_nodes_would_need_it(ftlaunch, write_config):
    path = write_config()
    alone, two = (ftlaunch("render", path, "--stable", "--nodes", nodes) for nodes in (1, 2))
    assert secret_of(alone.out) is secret_of(two.out) is None
    assert "holds no secret" in two.err
    assert "holds no secret" not in alone.err


@pytest.mark.parametrize("flags", [("--name", "mine"), ("--stable",)], ids=["named", "asked for"])
def test_a_rendering_for_git_is_the_same_each_time(ftlaunch, write_config, flags):
    path = write_config()
    first, again = ftlaunch("render", path, *flags), ftlaunch("render", path, *flags)
    assert (first.code, first.out) == (0, again.out)
    changed = set(ftlaunch("render", path, *flags, "--gpus", "3").out.splitlines())
    lines = {line.strip() for line in changed ^ set(first.out.splitlines())}
    assert any("nvidia.com/gpu" in line for line in lines)
    assert not any("run-id" in line for line in lines)


def test_flags_make_a_job_of_a_plain_paddleclas_config(ftlaunch, write_config):
    values = config_values()
    del values["Launch"]
    ran = ftlaunch(
        "render", write_config(values), "--image", "i:1", "--gpus", 8, "--name", "mine", "--namespace", "ml",
        "--volume", "/data=flowers:./flowers,ro", "--volume", "/output=runs", "--procs-per-node", "auto",
    )  # fmt: skip
    manifest = parse_manifest(ran.out)
    assert (manifest.name, manifest.namespace) == ("mine", "ml")
    spec = manifest.job["spec"]["paddleReplicaSpecs"]["Worker"]["template"]["spec"]
    claims = {
        volume["name"]: volume["persistentVolumeClaim"]["claimName"]
        for volume in spec["volumes"]
        if "persistentVolumeClaim" in volume
    }
    assert claims == {"volume-0": "flowers", "volume-1": "runs"}
    (container,) = spec["containers"]
    assert [mount["readOnly"] for mount in container["volumeMounts"][-2:]] == [True, False]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--gpus", "-1"], "--gpus: Launch.gpus: expected a number of at least 0, got -1"),
        (["--nodes", "0"], "--nodes: Launch.nodes: expected a number of at least 1, got 0"),
        (["--nodes", "two"], "'two' is not a valid integer"),
        (
            ["--procs-per-node", "0"],
            "--procs-per-node: Launch.procs_per_node: expected auto or a number from 1",
        ),
        (["--procs-per-node", "x"], "expected auto or a whole number, got 'x'"),
        (["--volume", "/data"], "expected MOUNT=CLAIM[/FOLDER][:LOCAL][,ro]"),
        (["--volume", "/data=c,rx"], "expected MOUNT=CLAIM[/FOLDER][:LOCAL][,ro]"),
        (["--volume", "data=c"], "--volume: Launch.volumes.2.mount: expected an absolute path"),
        (["--name", "Mine"], "--name: expected at most 52 lower-case letters"),
        (["--run-id", "1"], "--run-id: expected 32 hexadecimal digits, got '1'"),
        (["--on", "slurm"], "'slurm' is not one of"),
        (["--api", "batch"], "--api: Launch.api: expected 'auto' or the name of a kind, got 'batch'"),
        (["--api", "v1"], "'v1' is not one of 'auto', 'paddlejob', 'jobset', 'job', 'trainjob'"),
        (["-o", "json"], "did you mean --output json?"),
        (["-o", "Global.epoch=1"], "did you mean 'epochs'"),
        (["--strict", "-o", "+Global.epoch=1"], "did you mean 'epochs'"),
        (["--template-dir", "none"], "--template-dir: expected a folder, got 'none'"),
    ],
    ids=" ".join,
)
def test_what_cannot_be_asked_for_is_a_sentence_and_exit_2(ftlaunch, write_config, arguments, sentence):
    ran = ftlaunch("render", write_config(), *arguments)
    assert (ran.code, ran.out) == (2, "")
    assert sentence in ran.err
    assert "Traceback" not in ran.err


def test_a_kind_goes_by_its_name_of_before_in_the_option_too(ftlaunch, write_config):
    path = write_config()
    old, new = (ftlaunch("render", path, "--stable", "--api", name) for name in ("kubeflow", "paddlejob"))
    assert (old.code, old.out) == (0, new.out)
    assert "kind: PaddleJob" in new.out


def test_what_a_kind_cannot_do_is_refused_wherever_it_is_said(ftlaunch, write_config, monkeypatch):
    path = write_config()
    said = ftlaunch("render", path, "--api", "job", "-o", 'Launch.queue={"volcano": "team-a"}')
    assert (said.code, said.out) == (2, "")
    assert "Launch.queue.volcano: expected what a Job of batch/v1 can do" in said.err
    monkeypatch.setenv("FTLAUNCH_QUEUE", '{"volcano": "team-a"}')
    assert ftlaunch("render", path, "--api", "jobset").code == 2
    assert ftlaunch("render", path, "--api", "paddlejob").code == 0


def test_a_key_that_is_null_asks_nothing_of_a_kind(ftlaunch, write_config):
    ran = ftlaunch("render", write_config(), "--api", "trainjob", "-o", "Launch.keep_finished=null")
    assert ran.code == 0, ran.err


def test_missing_gpus_become_cpu_ranks_unless_required(ftlaunch, write_config, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    path = write_config()
    ran = ftlaunch("render", path, "--on", "local")
    assert "note: fewer than 4 GPUs are here: the job runs as CPU ranks over gloo" in ran.err
    refused = ftlaunch("render", path, "--on", "local", "--require-gpu")
    assert (refused.code, refused.out) == (2, "")
    assert "--require-gpu: expected 4 GPUs on this machine" in refused.err


def test_warnings_go_to_stderr(ftlaunch, write_config):
    ran = ftlaunch("render", write_config(Global__epoch=1))
    assert ran.code == 0
    assert "warning: Global.epoch: expected a key that exists here" in ran.err
    assert "warning" not in ran.out


def test_overwrite_reaches_the_node_processes(ftlaunch, write_config):
    manifest = parse_manifest(ftlaunch("render", write_config(), "--overwrite").out)
    assert json.loads(manifest.config_map["data"]["node.json"])["overwrite"] is True


def own_templates(folder: Path) -> None:
    ours = Path(__file__).resolve().parents[3] / "k8s/templates/pod.yaml.j2"
    folder.mkdir(parents=True)
    (folder / "pod.yaml.j2").write_text(ours.read_text().replace("{name: tmp,", "{name: tmp, #\n"))


def test_templates_of_the_project_are_used_and_said(ftlaunch, write_config):
    path = write_config()
    before = ftlaunch("render", path, "--run-id", RUN_ID)
    assert "promised of ftlaunch's templates" not in before.err
    own_templates(Path(".ftlaunch/templates"))
    assert ftlaunch("trust").code == 0
    after = ftlaunch("render", path, "--run-id", RUN_ID)
    assert ".ftlaunch/templates/pod.yaml.j2: the job is held against its API's schema" in after.err
    assert "{name: tmp, #" in after.out


def test_templates_of_another_user_are_not_used(ftlaunch, write_config, monkeypatch):
    path = write_config()
    own_templates(Path(".ftlaunch/templates"))
    monkeypatch.setattr(prepare, "is_ours", lambda path: False)
    ran = ftlaunch("render", path)
    assert "{name: tmp, #" not in ran.out
    assert "another user's" in ran.err


def test_the_kind_of_job_that_was_dropped_is_refused_by_name_with_a_cure(ftlaunch, write_config):
    ran = ftlaunch("render", write_config(launch={"api": "batch"}))
    assert ran.code == 2
    assert "Launch.api: expected 'auto' or the name of a kind, got 'batch'" in ran.err
    assert "leave Launch.api out" in ran.err
    assert ftlaunch("render", write_config(launch={"api": "batches"})).code == 2
