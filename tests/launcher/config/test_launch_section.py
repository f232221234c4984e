from __future__ import annotations

import re

import pytest

from launcher.config.flags import Flags
from trainer.config.problems import ConfigError


def refusal(load, **launch) -> str:
    with pytest.raises(ConfigError) as caught:
        load(launch=launch)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("24h", 86400), ("7d", 604800), ("1.5h", 5400)]
)
def test_durations_have_units(load, text, seconds):
    assert load(launch={"deadline": text}).job.launch.deadline == seconds


@pytest.mark.parametrize("value", [90, "90", "ten", "1h30", "-1s", "", True, "1e3s", "٣s"])
def test_a_duration_without_a_unit_is_refused(load, value):
    assert "Launch.deadline: expected a duration such as 90s, 10m, 24h or 7d" in refusal(load, deadline=value)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [("cpu", 16, "16"), ("cpu", 0.5, "0.5"), ("cpu", "500m", "500m"), ("memory", "64Gi", "64Gi")],
)
def test_quantities_become_text(load, key, value, text):
    assert getattr(load(launch={"resources": {key: value}}).job.launch.resources, key) == text


@pytest.mark.parametrize("value", ["64GB", "64 Gi", "-1", True, "", [1], "1_000"])
def test_what_is_no_quantity_is_refused(load, value):
    assert "Launch.resources.memory: expected " in refusal(load, resources={"memory": value})


@pytest.mark.parametrize(
    "launch",
    [
        {"nodes": 0}, {"nodes": 1001}, {"gpus": -1}, {"gpus": 1.5}, {"gpus": True}, {"max_restarts": -1},
        {"procs_per_node": 0}, {"procs_per_node": "many"}, {"name": "Upper"}, {"name": "1st"}, {"name": ""},
        {"image": "two words"}, {"image": ""}, {"namespace": "a/b"}, {"image_pull_policy": "Sometimes"},
        {"queue": {}}, {"queue": {"kueue": "a", "volcano": "b"}}, {"run_as": {"user": 0}},
        {"labels": {"ftlaunch.io/run-id": "x"}}, {"labels": {"training.kubeflow.org/x": "y"}},
        {"labels": {"a": "with space"}}, {"labels": {"a b": "c"}}, {"labels": {"a": "x" * 64}},
        {"annotations": {"ftlaunch.io/cancelled": "true"}}, {"weights": {"claim": "c"}},
        {"secrets": [{"name": "s", "key": "a/b", "mount": "/s"}]}, {"env": {"A": "\ud800"}},
        {"env": {"A": "two\nlines"}}, {"env": {"1A": "x"}}, {"volumes": [{"mount": "data", "claim": "c"}]},
        {"volumes": [{"mount": "/", "claim": "c"}]}, {"volumes": [{"mount": "/a/../b", "claim": "c"}]},
        {"volumes": [{"mount": "//a", "claim": "c"}]}, {"volumes": [{"mount": "/a:b", "claim": "c"}]},
        {"volumes": [{"mount": "/a", "claim": "C"}]},
        {"volumes": [{"mount": "/a", "claim": "c", "sub_path": "../x"}]},
        {"volumes": [{"mount": "/a", "claim": "c", "host_path": "/b"}]},
        {"volumes": [{"mount": "/a", "claim": "c", "empty_dir": {}}]},
        {"volumes": [{"mount": "/a", "nfs": {"server": "s", "path": "b"}}]},
        {"volumes": [{"mount": "/a", "csi": {}}]}, {"volumes": [{"mount": "/a", "config_map": "A"}]},
        {"volumes": [{"mount": "/a", "empty_dir": {"size": "many"}}]},
    ],
    ids=str,
)  # fmt: skip
def test_nonsense_is_refused_with_its_key(load, launch):
    (key,) = launch
    assert re.search(
        rf"cfg\.yaml:\d+:\d+: Launch\.{key}[^:]*: (expected|.* expected) ", refusal(load, **launch)
    )


@pytest.mark.parametrize(
    "mount", ["/tmp/x", "/etc/ftlaunch", "/dev/shm", "/workspace", "/home/trainer/a", "/proc"]
)
def test_a_mount_that_every_pod_has_is_refused(load, mount):
    text = refusal(load, volumes=[{"mount": mount, "claim": "c"}])
    assert f"expected a mount of your own, got {mount!r}" in text


def test_a_mount_below_the_working_directory_is_fine(load):
    config = load(launch={"volumes": [{"mount": "/workspace/data", "claim": "c"}]})
    assert config.job.launch.volumes[0].mount == "/workspace/data"


def test_two_things_at_one_mount_are_refused(load):
    text = refusal(
        load,
        volumes=[{"mount": "/a", "claim": "x"}],
        secrets=[{"name": "s", "key": "k", "mount": "/a"}],
    )
    assert "expected each mount once, got '/a' again" in text


@pytest.mark.parametrize(
    "name", ["API_KEY", "api_key", "GITHUB_TOKEN", "DB_PASSWORD", "MY_SECRET", "WANDB_API_KEY_2"]
)
def test_a_variable_named_like_a_secret_is_refused_with_the_line_to_write(load, name):
    text = refusal(load, env={name: "hunter2"})
    assert f"`secrets: [{{name: SECRET, key: KEY, mount: /secrets/{name.lower()}}}]`" in text
    assert "hunter2" not in text


TOKENS = {
    "url": "https://user:hunter2@proxy.example:3128",
    "url without a user": "redis://:hunter2@db.example",
    "github": "ghp_" + "a1B2c3D4e5" * 4,
    "aws": "AKIA" + "ABCDEFGH12345678",
    "key": "-----BEGIN RSA PRIVATE KEY-----",
}


@pytest.mark.parametrize("value", TOKENS.values(), ids=TOKENS)
def test_a_value_that_is_a_secret_is_refused_without_showing_it(load, value):
    text = refusal(load, env={"A": value})
    assert "Launch.env.A: expected no credentials" in text
    assert value not in text


@pytest.mark.parametrize("text", ["x" * 200_000, "x://" + ":" * 200_000], ids=["letters", "colons"])
def test_a_long_text_is_looked_through_in_a_moment(load, text):
    """Where the time grew with the square of the length, this would take hours."""
    assert load(launch={"annotations": {"note": text}}).job.launch.annotations == {"note": text}


def test_a_url_without_credentials_is_fine(load):
    env = {"HTTPS_PROXY": "http://proxy.example:3128", "MAIL": "a@b", "AT": "https://h/x@y:z"}
    assert load(launch={"env": env}).job.launch.env == env


@pytest.mark.parametrize("name", ["FTL_NODE", "PADDLE_MASTER", "HOME", "PYTHONUNBUFFERED"])
def test_a_variable_that_the_launcher_sets_is_refused(load, name):
    assert f"expected a variable of your own, got {name}" in refusal(load, env={name: "x"})


def test_a_job_may_say_with_how_few_nodes_it_trains(load):
    launch = load(launch={"nodes": {"min": 2, "max": 8}}).job.launch
    assert (launch.max_nodes, launch.node_range.min, launch.node_range.patience) == (8, 2, 120.0)
    assert (
        load(launch={"nodes": {"min": 1, "max": 2, "patience": "5m"}}).job.launch.node_range.patience == 300.0
    )
    alone = load(launch={"nodes": 3}).job.launch
    assert (alone.max_nodes, alone.node_range) == (3, None)
    flagged = load(flags=Flags(nodes=4), launch={"nodes": {"min": 2, "max": 8}}).job.launch
    assert (flagged.max_nodes, flagged.node_range) == (4, None)


@pytest.mark.parametrize(("nodes", "said"), [
    ({"min": 8, "max": 2}, "Launch.nodes: expected min below max, got 8 and 2"),
    ({"min": 2}, "Launch.nodes.max: expected a value, got nothing; add it"),
    ({"min": 2, "max": 8, "pacience": "1m"}, "Launch.nodes.pacience: expected a parameter that exists here"),
    ({"min": 2, "max": 8, "patience": 60}, "Launch.nodes.patience: expected a duration such as 90s"),
    ({"min": 0, "max": 8}, "Launch.nodes.min: expected a number of at least 1, got 0"),
    ("two", "Launch.nodes: expected a whole number or a mapping, got 'two'"),
    (0, "Launch.nodes: expected a number of at least 1, got 0"),
])  # fmt: skip
def test_nodes_that_cannot_be_are_told_at_their_place(load, nodes, said):
    text = refusal(load, nodes=nodes)
    assert said in text
    assert len(text.splitlines()) == 1


def test_every_problem_of_the_section_is_said_at_once(load):
    text = refusal(load, env={"API_KEY": "x", "FTL_X": "y", "N": 1}, gpus=-1, nods=2, deadline=5)
    for part in ("env.API_KEY", "env.FTL_X", "env.N", "gpus", "nods", "deadline"):
        assert text.count(f"Launch.{part}: ") == 1
    assert "did you mean 'nodes'?" in text
    assert "YAML reads '1' so); quote it" in text


@pytest.mark.parametrize(
    ("launch", "text"),
    [
        ({"queue": {"kueue": "q", "topology": "required"}}, "expected topology_key beside queue.topology"),
        (
            {"queue": {"volcano": "q", "topology": "required"}, "topology_key": "rack"},
            "expected topology beside kueue",
        ),
        ({"queue": {"kueue": "q", "topology": "near"}, "topology_key": "rack"}, "Launch.queue.topology"),
    ],
)
def test_a_topology_needs_a_queue_of_kueue_and_a_level(load, launch, text):
    assert text in refusal(load, **launch)
