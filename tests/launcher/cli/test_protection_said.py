"""Each key that weakens the protection of a pod is named, and refused where that is asked for."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(("launch", "said"), [
    ({"rdma": True}, "Launch.rdma: container 'paddle' gets the capability IPC_LOCK"),
    ({"service_account": "admin"}, "Launch.service_account: the pod is service account 'admin'"),
    ({"env": {"PYTHONPATH": "/x"}}, "Launch.env.PYTHONPATH: the variable PYTHONPATH decides which code"),
    ({"pod_patch": {"spec": {"hostNetwork": True}}}, "Launch.pod_patch.spec.hostNetwork: the pod is in the"),
    ({"pod_patch": {"spec": {"securityContext": None}}}, "Launch.pod_patch.spec.securityContext: container"),
])  # fmt: skip
def test_render_names_the_key_that_weakens(ftlaunch, write_config, launch, said):
    path = write_config(launch={"image": "trainer", **launch})
    ran = ftlaunch("render", path)
    assert ran.code == 0
    assert f"note: {said}" in ran.err


def test_render_says_where_a_file_sends_the_job_and_not_where_a_flag_does(ftlaunch, write_config):
    path = write_config(launch={"image": "trainer", "context": "prod", "namespace": "team-b"})
    aim = "note: Launch.context, Launch.namespace: the job goes to context 'prod', namespace 'team-b'"
    assert aim in ftlaunch("render", path).err
    flagged = ftlaunch("render", path, "--context", "mine", "--namespace", "team-a")
    assert "the job goes to" not in flagged.err


def test_require_restricted_refuses_each_key_at_its_place_and_takes_what_the_level_takes(
    ftlaunch, write_config
):
    patch = {"spec": {"hostPID": True, "containers": [{"name": "paddle", "envFrom": []}]}}
    path = write_config(launch={"image": "trainer", "rdma": True, "service_account": "a", "pod_patch": patch})
    refused = ftlaunch("render", path, "--require-restricted")
    assert (refused.code, refused.out) == (2, "")
    assert "Launch.rdma: expected what --require-restricted allows" in refused.err
    assert "Launch.pod_patch.spec.hostPID: expected what --require-restricted allows" in refused.err
    assert "service_account" not in refused.err
    allowed = write_config(launch={"image": "trainer", "service_account": "a"})
    assert ftlaunch("render", allowed, "--require-restricted").code == 0


@pytest.mark.parametrize(
    "name",
    ["PYTHONPATH", "LD_PRELOAD", "PYTHONSTARTUP", "BASH_ENV", "PATH", "GIT_SSH_COMMAND", "NCCL_NET_PLUGIN"],
)
@pytest.mark.parametrize("place", ["env", "pod_patch"])
def test_a_local_job_may_not_choose_what_code_runs_on_this_machine(ftlaunch, write_config, name, place):
    patch = {"spec": {"containers": [{"name": "paddle", "env": [{"name": name, "value": "/x"}]}]}}
    path = write_config(launch={"env": {name: "/x"}} if place == "env" else {"pod_patch": patch})
    ran = ftlaunch("render", path, "--on", "local")
    assert (ran.code, ran.out) == (2, "")
    assert f"expected no variable that decides which code runs on this machine, got {name}" in ran.err


@pytest.mark.parametrize(
    "name", ["PYTHONHASHSEED", "OMP_NUM_THREADS", "NCCL_DEBUG", "FLAGS_cudnn_deterministic"]
)
def test_other_variables_of_a_local_job_are_the_configs_own(ftlaunch, write_config, name):
    assert ftlaunch("render", write_config(launch={"env": {name: "1"}}), "--on", "local").code == 0


def test_a_config_hands_no_keys_to_a_container_but_its_user_may(
    store, ftlaunch, write_config, monkeypatch, tmp_path
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    keys = tmp_path / "home" / ".ssh"
    keys.mkdir(parents=True)
    (tmp_path / "data").mkdir()
    volumes = [
        {"mount": "/data", "local": str(tmp_path / "data"), "read_only": True},
        {"mount": "/output", "local": str(keys)},
    ]
    path = write_config(launch={"gpus": 0, "volumes": volumes})
    engine = ("--on", "docker", "--container-runtime", "/nonexistent/docker")
    ran = ftlaunch("submit", path, *engine)
    assert ran.code == 2
    assert f"expected a folder of data, got '{keys}', which holds keys" in ran.err
    assert f"--volume /output=:{keys}" in ran.err
    typed = ftlaunch("submit", path, *engine, "--volume", f"/output=:{keys}")
    assert "which holds keys" not in typed.err
