"""Jobs in a real engine: two containers as one job, kills, and other shells."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
import yaml

from tests.docs.pages import commands
from tests.e2e.conftest import REPOSITORY, Place, config
from tests.e2e.container_engine import IMAGE, PLACES, RUNTIME, engine, in_container
from tests.e2e.test_printed_commands import type_all

pytestmark = pytest.mark.docker
PAGE = (REPOSITORY / "docs/extra-modules.md").read_text()
MODULE = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]


@pytest.fixture
def submit(place: Place) -> Iterator[Callable[..., str]]:
    """Submit a job and return its name; pytest shows the logs of jobs where the test fails."""
    place.env.update(PLACES)
    jobs = []

    def begin(*argv: str, **changes: object) -> str:
        document = in_container(config(**changes))
        asked = document.pop("Launch", {})
        document["Launch"] = {
            "name": "boxes", "image": IMAGE, "grace_period": "20s",
            "resources": {"cpu": 2, "memory": "2Gi", "shm": "64Mi"}, **asked,
            "volumes": [
                {"mount": "/data", "local": "./data", "read_only": True},
                {"mount": "/output", "local": "./output"}, *asked.get("volumes", ()),
            ],
        }  # fmt: skip
        (place.folder / "cfg.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
        said = place.run("ftlaunch", "submit", "cfg.yaml", "--on", "docker", *argv).stdout.strip()
        jobs.append(said.removeprefix("docker:///"))
        return jobs[-1]

    yield begin
    for job in jobs:
        sys.stdout.write(place.run("ftlaunch", "logs", job, "--attempt", "all", code=None).stdout[-8000:])


def left_of(job: str) -> str:
    containers = engine("ps", "--all", "--quiet", "--filter", f"label=ftlaunch.io/job={job}").stdout
    networks = engine("network", "ls", "--quiet", "--filter", f"name={job}").stdout
    return containers + networks


def test_two_containers_form_one_job_and_leave_nothing_behind(place, submit):
    job = submit("--nodes", "2")
    place.run("ftlaunch", "wait", job, "--timeout", "2m")
    status = place.status(job)
    assert status["state"] == "Succeeded"
    assert [pod["exit"] for pod in status["pods"]] == [0, 0]
    text = place.run("ftlaunch", "logs", job).stdout
    assert "2 ranks on 2 nodes" in text
    assert {row["samples"] for row in place.rows("output/run") if row["event"] == "step"} == {32}
    place.wait_for(lambda: not left_of(job), what="containers and network to be gone")


def test_the_lines_that_the_page_prints_work(place, submit):
    """In a folder with images as in the other tests; an image has no other name than the page's."""
    first, *others = commands("docker")
    document = in_container(config())
    (place.folder / "flowers").mkdir()
    shutil.copytree(place.folder / "data", place.folder / "flowers", dirs_exist_ok=True)
    (place.folder / "flowers/cfg.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    (place.folder / "output").mkdir()
    (place.folder / "output").chmod(0o777)
    name = next(word for word in first.split() if word.startswith("ftlaunch-trainer:"))
    type_all(place, [re.sub(r"^docker\b", _program(), first.replace(name, IMAGE))])
    assert (place.folder / "output/latest.pdparams").is_file()
    job = submit("--nodes", "2", Global__epochs=60, Global__eval_during_train=False)
    place.wait_for(lambda: place.status(job)["step"], what="a step")
    for command in others:
        if command.startswith("ftlaunch exec"):
            assert "3.3" in next(iter(type_all(place, [command]).values()))
    place.run("ftlaunch", "cancel", job)
    (submitted,) = [command for command in others if command.startswith("ftlaunch submit")]
    type_all(place, [f"{submitted} -o Global.epochs=1 -o Global.output_dir=/output/printed"])


def _program() -> str:
    return RUNTIME or "docker"


def test_a_killed_container_is_made_again_and_the_job_goes_on(place, submit):
    job = submit("--nodes", "2", Global__epochs=20)
    rows = lambda: [row for row in place.rows("output/run") if row["event"] == "checkpoint"]  # noqa: E731
    place.wait_for(rows, what="a checkpoint")
    engine("kill", f"{job}-worker-1")
    place.run("ftlaunch", "wait", job, "--timeout", "4m", timeout_s=260)
    assert [pod["restarts"] for pod in place.status(job)["pods"]] == [0, 1]
    steps = {row["attempt"] for row in place.rows("output/run") if row["event"] == "step"}
    assert steps == {1, 2}


def test_checkpoints_are_listed_fetched_and_checked_while_the_job_runs_and_afterwards(place, submit):
    job = submit(Global__epochs=30, Global__save_interval=1)
    place.wait_for(
        lambda: any(row["event"] == "checkpoint" for row in place.rows("output/run")), what="a checkpoint"
    )
    early = place.run("ftlaunch", "ckpt", "pull", job, "--to", "early").stdout.strip()
    assert (place.folder / early / "manifest.json").exists()
    place.run("ftlaunch", "wait", job, "--timeout", "4m", timeout_s=260)
    listed = json.loads(place.run("ftlaunch", "ckpt", "ls", job, "--output", "json").stdout)["items"]
    assert (listed[0]["latest"], listed[0]["epoch"], listed[0]["fault"]) == (True, 30, None)
    to = place.folder / place.run("ftlaunch", "ckpt", "pull", job).stdout.strip()
    assert to.name == f"{job}-{listed[0]['name']}"
    assert {*listed[0]["files"]} < {path.name for path in to.iterdir()}
    assert "0 of " in place.run("ftlaunch", "ckpt", "pull", job).stderr
    assert place.run("ftlaunch", "ckpt", "verify", job).stdout.count("whole") == len(listed)
    folder = place.folder / "output/run/.ftlaunch/checkpoints" / listed[0]["name"]
    weights = next(path for path in folder.iterdir() if path.suffix == ".pdparams")
    with weights.open("r+b") as file:
        file.write(b"torn")
    torn = place.run("ftlaunch", "ckpt", "verify", job, code=7).stdout
    assert weights.name in torn


def test_names_from_a_mounted_folder_are_trained_with(place, submit):
    (place.folder / "code").mkdir()
    (place.folder / "code/my_parts.py").write_text(MODULE)
    job = submit(
        Global__epochs=1, Arch={"name": "TwoLayers", "class_num": 4}, Loss__Train=[{"MarginLoss": {}}],
        Launch__extra_modules=["/code/my_parts.py"],
        Launch__volumes=[{"mount": "/code", "local": "./code", "read_only": True}],
    )  # fmt: skip
    place.run("ftlaunch", "wait", job, "--timeout", "2m")
    steps = [row for row in place.rows("output/run") if row["event"] == "step"]
    assert steps
    assert all(row["MarginLoss"] >= 0 for row in steps)


def test_a_job_whose_keeper_was_killed_is_taken_up_again_where_it_is(place, submit):
    job = submit(Global__epochs=5000)
    place.wait_for(lambda: place.rows("output/run"), what="a step")
    started = ("inspect", "--format", "{{.State.StartedAt}}", f"{job}-worker-0")
    before = engine(*started).stdout
    (state,) = place.folder.glob(f"state/**/{job}/docker/state.json")
    os.kill(json.loads(state.read_text())["keeper"]["pid"], signal.SIGKILL)
    status = place.wait_for(
        lambda: found if (found := place.status(job))["state"] == "Lost" else None, what="the loss to be seen"
    )
    assert "ftlaunch resume" in status["reason"]
    done = place.run("ftlaunch", "wait", job, code=5)
    assert "its supervisor was killed" in done.stderr
    place.run("ftlaunch", "resume", job)
    place.wait_for(lambda: place.status(job)["state"] == "Running", what="the job to be kept again")
    assert engine(*started).stdout == before
    seen = len(place.rows("output/run"))
    place.wait_for(lambda: len(place.rows("output/run")) > seen, what="a further step")
    place.run("ftlaunch", "cancel", job)
    place.run("ftlaunch", "wait", job, "--timeout", "60s", code=6)
    assert [(pod["exit"], pod["restarts"]) for pod in place.status(job)["pods"]] == [(143, 0)]
    lines = place.run("ftlaunch", "logs", job).stdout.splitlines()
    steps = [line for line in lines if "[Train]" in line and "Iter:" in line]
    assert len(steps) == len(set(steps))
    place.wait_for(lambda: not left_of(job), what="containers and network to be gone")


def test_a_name_that_somebody_elses_container_has_is_refused(place, submit):
    engine("create", "--name", "ours-worker-0", IMAGE)
    try:
        submit("--name", "free")  # writes the config; its own names are free
        done = place.run("ftlaunch", "submit", "cfg.yaml", "--on", "docker", "--name", "ours", code=2)
        assert "container 'ours-worker-0': expected a free name" in done.stderr
        assert not left_of("ours")
        assert engine("inspect", "--format", "{{.State.Status}}", "ours-worker-0").stdout.strip() in (
            "created", "configured",
        )  # fmt: skip
        place.run("ftlaunch", "delete", "--force", "free")
    finally:
        engine("rm", "--force", "ours-worker-0")


def test_exec_looks_into_a_container_and_cancel_saves(place, submit):
    job = submit(Global__epochs=5000)
    place.wait_for(lambda: place.rows("output/run"), what="a step")
    said = place.run("ftlaunch", "exec", job, "--", "python", "-c", "print(open('/proc/1/cmdline').read())")
    assert said.stdout.startswith("python\0-m\0trainer.node")
    place.run("ftlaunch", "cancel", job)
    place.run("ftlaunch", "wait", job, "--timeout", "60s", code=6)
    assert [pod["exit"] for pod in place.status(job)["pods"]] == [143]
    assert list((place.folder / "output/run/.ftlaunch/checkpoints").glob("e*-s*"))
    place.run("ftlaunch", "delete", job)
    assert not left_of(job)
