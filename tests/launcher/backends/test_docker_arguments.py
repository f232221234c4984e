"""A pod of a manifest as the arguments of an engine's `create`, and which engine that is."""

from __future__ import annotations

import dataclasses
import itertools
from pathlib import Path

import pytest

from launcher.backends.base import Submission
from launcher.backends.docker import DockerBackend
from launcher.backends.docker.arguments import DIFFERENCES, HostContext, create_arguments
from launcher.backends.docker.engine import Engine, find_engine
from launcher.backends.docker.kubelet import find_weights
from launcher.backends.replicas import ReplicaError, expand, expand_by_name
from launcher.errors import UnreachableError, UsageError
from launcher.render.manifest import Manifest, parse_manifest
from tests.conftest import GOLDENS
from tests.contract.docker_harness import DockerUnderTest


@pytest.fixture
def manifest() -> Manifest:
    return parse_manifest((GOLDENS / "fine-tuning-two-nodes.yaml").read_text())


def arguments(manifest: Manifest, **changes) -> list[str]:
    pod = expand_by_name(manifest)[1]
    sources = {
        mount.path: f"/here{mount.path}"
        for mount in pod.mounts
        if mount.source.value in ("outside", "configMap")
    }
    host = HostContext(
        sources={**sources, pod.termination_path: "/here/words"},
        restart=0,
        user="1000:1000",
        cpus=64,
        podman=False,
    )
    return create_arguments(pod, manifest, dataclasses.replace(host, **changes))


def values(argv: list[str], option: str) -> list[str]:
    return [value for name, value in itertools.pairwise(argv) if name == option]


def test_a_container_is_as_confined_as_the_pod(manifest):
    argv = arguments(manifest)
    assert "--read-only" in argv
    assert values(argv, "--cap-drop") == ["ALL"]
    assert values(argv, "--security-opt") == ["no-new-privileges"]
    assert values(argv, "--user") == ["1000:1000"]
    assert values(argv, "--restart") == ["no"]


def test_a_pods_name_leads_to_it(manifest):
    argv = arguments(manifest)
    name = f"{manifest.name}-worker-1"
    assert values(argv, "--name") == values(argv, "--network-alias") == values(argv, "--hostname") == [name]
    assert values(argv, "--network") == [manifest.name]


def test_no_shell_is_between_the_engine_and_the_program(manifest):
    argv = arguments(manifest)
    at = argv.index("--entrypoint")
    pod = expand(manifest)[1]
    assert (argv[at + 1], argv[at + 2], *argv[at + 3 :]) == (pod.command[0], pod.image, *pod.command[1:])


def test_the_environment_differs_from_the_operators_only_in_what_the_table_names(manifest):
    for theirs, ours in zip(expand(manifest), expand_by_name(manifest), strict=True):
        differing = {name for name in theirs.env if theirs.env[name] != ours.env.get(name)}
        assert differing <= set(DIFFERENCES)
        assert set(theirs.env) == set(ours.env)


def test_mounts_are_binds_and_empty_volumes_memory(manifest):
    argv = arguments(manifest)
    binds = values(argv, "--mount")
    assert "type=bind,source=/here/etc/ftlaunch,target=/etc/ftlaunch,readonly" in binds
    assert "type=bind,source=/here/words,target=/dev/termination-log" in binds
    assert {text.partition(":")[0] for text in values(argv, "--tmpfs")} >= {
        "/tmp",
        "/workspace",
        "/home/trainer",
    }
    assert values(argv, "--shm-size")


def test_what_is_named_on_this_machine_wins_over_an_empty_volume(manifest):
    pod = expand_by_name(manifest)[1]
    sources = {mount.path: "/a,b" for mount in pod.mounts}
    argv = arguments(manifest, sources={**sources, pod.termination_path: "/w"})
    assert values(argv, "--tmpfs") == []
    assert 'type=bind,"source=/a,b",target=/tmp' in values(argv, "--mount")


@pytest.mark.parametrize(("podman", "option", "wanted"), [
    (False, "--gpus", ['"device=0,3"']), (True, "--device", ["nvidia.com/gpu=0", "nvidia.com/gpu=3"]),
])  # fmt: skip
def test_gpus_are_named_as_the_engine_wants_them(manifest, podman, option, wanted):
    assert values(arguments(manifest, devices=("0", "3"), podman=podman), option) == wanted


@pytest.mark.parametrize(
    ("podman", "rootless", "wanted"), [(True, True, ["keep-id"]), (True, False, []), (False, True, [])]
)
def test_only_rootless_podman_needs_to_be_told_that_a_user_stays_himself(manifest, podman, rootless, wanted):
    assert values(arguments(manifest, podman=podman, rootless=rootless), "--userns") == wanted


def test_a_machine_without_an_engine_says_so(tmp_path: Path):
    with pytest.raises(UsageError, match="docker or podman"):
        find_engine(environ={"PATH": str(tmp_path)})


def test_an_engine_that_is_not_there_is_not_reached(tmp_path: Path):
    with pytest.raises(UnreachableError):
        Engine(program=str(tmp_path / "docker")).run("version")


@pytest.fixture
def place(tmp_path: Path) -> DockerUnderTest:
    return DockerUnderTest(tmp_path)


@pytest.mark.parametrize("where", ["DOCKER_HOST", "context"])
def test_an_engine_elsewhere_is_refused_because_it_has_none_of_our_folders(place, monkeypatch, where):
    submission: Submission = place.submission()
    engine = place.backend._engine
    if where == "context":
        monkeypatch.setenv("FAKE_CONTEXT", "ssh://far.example")
    else:
        engine = dataclasses.replace(engine, place={"DOCKER_HOST": "ssh://far.example"})
    backend = DockerBackend(place.runs_dir, engine=engine, gpus=tuple)
    with pytest.raises(ReplicaError, match=r"ssh://far\.example"):
        backend.submit(submission)
    assert not (submission.run_folder / "docker").exists()


def test_the_fake_engine_refuses_what_it_does_not_know(place):
    engine = place.backend._engine
    for command in (["prune"], ["create", "--privileged", "image"], ["network", "prune"]):
        with pytest.raises(Exception, match="unknown"):
            engine.run(*command)


def test_the_users_weights_are_shown_read_only_and_nothing_is_downloaded_where_that_is_asked(manifest):
    plain = arguments(manifest)
    assert not [text for text in plain if text.startswith(("FTL_WEIGHTS", "FTL_OFFLINE"))]
    argv = arguments(manifest, weights="/home/me/w", offline=True)
    assert "type=bind,source=/home/me/w,target=/ftlaunch/weights,readonly" in values(argv, "--mount")
    given = [text for text in values(argv, "--env") if text.startswith(("FTL_WEIGHTS", "FTL_OFFLINE"))]
    assert given == ["FTL_OFFLINE=1", "FTL_WEIGHTS=/ftlaunch/weights"]


def test_the_users_weights_are_where_the_trainer_looks_for_them(tmp_path):
    own, named = tmp_path / ".paddleclas" / "weights", tmp_path / "named"
    home = {"HOME": str(tmp_path)}
    assert find_weights(home) is None
    own.mkdir(parents=True)
    named.mkdir()
    assert find_weights(home) == str(own)
    assert find_weights({**home, "FTL_WEIGHTS": str(named)}) == str(named)
    assert find_weights({**home, "FTLAUNCH_WEIGHTS": str(named)}) == str(named)
    assert find_weights({**home, "FTLAUNCH_WEIGHTS": "{claim: w, path: /w}"}) == str(own)
    assert find_weights({**home, "FTL_WEIGHTS": str(tmp_path / "gone")}) == str(own)
