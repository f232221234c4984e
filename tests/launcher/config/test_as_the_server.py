"""What an API server, a kubelet or an engine refuses later is refused when the config is read."""

from __future__ import annotations

import pytest

from trainer.config.problems import ConfigError


def refusal(load, **launch) -> str:
    with pytest.raises(ConfigError) as caught:
        load(launch=launch)
    return str(caught.value)


@pytest.mark.parametrize(("value", "said"), [
    ("256m", "m is a thousandth of a byte, write 256Mi"), (64, "without a unit it counts bytes, write 64Mi"),
    ("8", "write 8Mi or 8Gi"), (0, "at least 1Mi, got 0"), ("0Gi", "at least 1Mi"), ("-4Gi", "at least 1Mi"),
    ("16GB", "write 16Gi"), ("16 Gi", "write 16Gi"), ("8gb", "write 8Gi"), ("9Ei", "at most 8Ei"),
    ("500u", "at least 1Mi"), ("much", "expected bytes with a unit such as 512Mi"),
    (float("nan"), "expected"),    ("1e999", "expected bytes"), (True, "expected bytes"),
])  # fmt: skip
def test_memory_that_nobody_means_is_refused_with_what_is_meant(load, value, said):
    text = refusal(load, resources={"memory": value})
    assert "Launch.resources.memory: expected bytes with a unit such as 512Mi, 8Gi or 16G" in text
    assert said in text
    assert "500m" not in text


@pytest.mark.parametrize("value", ["512Mi", "64Gi", "16G", "1e9", "1.5Gi", "7Ei", 2**30, "20480M"])
def test_memory_as_kubernetes_writes_it_is_taken(load, value):
    assert load(launch={"resources": {"memory": value}}).job.launch.resources.memory == str(value)


@pytest.mark.parametrize("value", ["4Gi", 0, "0", "-1", "100u", "1G", "four", "0.0001"])
def test_cores_that_nobody_means_are_refused(load, value):
    assert "Launch.resources.cpu: expected cores such as 4, 0.5 or 500m" in refusal(
        load, resources={"cpu": value}
    )


def test_shared_memory_beyond_the_memory_that_counts_it_is_refused(load):
    text = refusal(load, resources={"memory": "4Gi", "shm": "8Gi"})
    assert "expected shm of at most 4Gi, the memory that counts it, got 8Gi" in text


@pytest.mark.parametrize(
    ("resources", "size"),
    [({}, "1Gi"), ({"memory": "512Mi"}, str(2**28)), ({"memory": "8Gi"}, "1Gi"), ({"shm": "2Gi"}, "2Gi")],
)
def test_shared_memory_that_nobody_chose_fits_into_a_small_memory(make_plan, resources, size):
    from launcher.render.render import render

    volumes = render(make_plan(launch={"resources": resources})).pod_spec["volumes"]
    (shm,) = [volume["emptyDir"]["sizeLimit"] for volume in volumes if volume["name"] == "shm"]
    assert shm == size


@pytest.mark.parametrize("key", ["deadline", "keep_finished", "grace_period", "hang_timeout"])
@pytest.mark.parametrize("value", ["0s", "0d", "0.5s", "24856d", "9" * 400 + "d"])
def test_a_duration_below_a_second_or_beyond_the_servers_is_refused(load, key, value):
    text = refusal(load, **{key: value})
    assert f"Launch.{key}: expected a duration from 1s to 24855d, got '{value[:20]}" in text


def test_a_hang_timeout_is_switched_off_by_null(load):
    assert load(launch={"hang_timeout": None}).job.launch.hang_timeout is None


@pytest.mark.parametrize("toleration", [
    {"operator": "Exists"}, {"key": "gpu", "value": "yes"}, {"key": "a.example/gpu", "operator": "Exists"},
    {"key": "x", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 0},
    {"key": "x", "value": "", "effect": "PreferNoSchedule"},
])  # fmt: skip
def test_a_toleration_of_kubernetes_arrives_as_it_is(make_plan, toleration):
    from launcher.render.render import render

    *_, found = render(make_plan(launch={"tolerations": [toleration]})).pod_spec["tolerations"]
    assert found == {"operator": "Equal", **toleration}


@pytest.mark.parametrize(("toleration", "said"), [
    ({"value": "x"}, "operator Exists where no key is given"),
    ({"key": "x", "operator": "Exists", "value": "y"}, "no value beside operator Exists"),
    ({"key": "x", "tolerationSeconds": 5}, "effect NoExecute beside tolerationSeconds"),
    ({"key": "a b"}, "a taint's name"), ({"key": "x", "value": "a b"}, "a label of at most 63"),
    ({"key": "x", "toleration_second": 5}, "did you mean 'tolerationSeconds'?"),
    ({"key": "x", "effect": "NoRun"}, "'NoSchedule', 'PreferNoSchedule' or 'NoExecute'"),
])  # fmt: skip
def test_a_toleration_that_the_server_refuses_is_refused(load, toleration, said):
    assert said in refusal(load, tolerations=[toleration])


@pytest.mark.parametrize("launch", [
    {"labels": {"a..b/c": "x"}}, {"labels": {"-a/c": "x"}}, {"labels": {"a/b/c": "x"}},
    {"labels": {"x" * 254 + "/c": "x"}}, {"node_selector": {"a": "-x"}}, {"namespace": "team.a"},
    {"namespace": "n" * 64}, {"gpu_resource": "memory"}, {"gpu_resource": "kubernetes.io/gpu"},
    {"service_account": "a..b"}, {"run_as": {"user": 2**31}}, {"run_as": {"supplemental_groups": [2**31]}},
    {"secrets": [{"name": "s", "key": "..", "mount": "/s"}]},
    {"secrets": [{"name": "s", "key": "k", "mount": "/s/"}]},
    {"annotations": {"note": "x" * 300_000}},
])  # fmt: skip
def test_names_that_the_server_refuses_are_refused(load, launch):
    (key,) = launch
    assert f"Launch.{key}" in refusal(load, **launch)


@pytest.mark.parametrize("launch", [
    {"volumes": [{"mount": "/data/", "claim": "c"}]}, {"volumes": [{"mount": "/a", "host_path": "/data//"}]},
    {"volumes": [{"mount": "/a", "nfs": {"server": "s", "path": "/data/"}}]},
    {"weights": {"claim": "c", "path": "/data/"}},
    {"secrets": [{"name": "s", "key": "k", "mount": "/data/"}]},
], ids=str)  # fmt: skip
def test_a_slash_at_the_end_of_a_path_is_named(load, launch):
    assert "expected a path without '/' at its end, got '/data/" in refusal(load, **launch)
    assert "write '/data'" in refusal(load, **launch)


@pytest.mark.parametrize("name", [
    "TOKENIZERS_PARALLELISM", "MAX_TOKENS", "MONKEY", "KEYBOARD", "PASS_ID", "BYPASS", "AUTHOR",
    "SESSION_DIR", "NCCL_DEBUG", "SSH_KEY_PATH", "TOKENIZER", "SECRETARY", "KEY2VALUE", "PATTERN", "PAT_SIZE",
])  # fmt: skip
def test_a_name_that_only_holds_such_letters_is_fine(load, name):
    assert load(launch={"env": {name: "some value"}}).job.launch.env == {name: "some value"}


@pytest.mark.parametrize("name", [
    "PGPASSWORD", "dbPassword", "GITHUBTOKEN", "MY_APIKEY", "API_KEYS", "SMTP_PASS", "X_CREDENTIALS",
    "BASIC_AUTH", "DB_PWD", "SESSION_COOKIE", "LOGIN_SESSION", "API_KEY2", "TOKEN2", "PASSWORD1",
    "HF_TOKEN2", "DB_PASS_2", "GITHUB_PAT", "AUTHORIZATION",
])  # fmt: skip
def test_other_names_of_secrets_are_refused_and_named_with_the_way_round(load, name):
    text = refusal(load, env={name: "hunter2"})
    assert f"`not_secret: [{name}]`" in text
    assert "hunter2" not in text
    assert load(launch={"env": {name: "hunter2"}, "not_secret": [name]}).job.launch.env == {name: "hunter2"}


@pytest.mark.parametrize("value", ["true", "0", "", "FALSE", "/run/s/key.json"])
def test_a_switch_or_a_mounted_file_is_no_secret(load, value):
    launch = {"env": {"APP_KEY": value}, "secrets": [{"name": "s", "key": "k", "mount": "/run/s/key.json"}]}
    assert load(launch=launch).job.launch.env["APP_KEY"] == value


def test_a_path_that_nothing_is_mounted_at_may_be_a_secret(load):
    assert "expected no secret" in refusal(load, env={"APP_KEY": "/run/s/key.json"})
