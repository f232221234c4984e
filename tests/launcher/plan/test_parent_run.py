"""Which folder of its volumes a job has that goes on from another's output."""

from __future__ import annotations

import pytest

from launcher.plan.parent_run import ParentRun
from tests.launcher.configs import RUN_ID
from trainer.config.problems import ConfigError


def folders(make_plan, parent, *volumes, **changes):
    launch = {"volumes": [{"mount": "/data", "claim": "flowers"}, *volumes]}
    job = make_plan(parent=parent, exact_name="second", launch=launch, **changes)
    return {mount.path: mount.sub_path for mount in job.mounts}


def output(sub_path, mount="/output"):
    return {"mount": mount, "claim": "runs", "sub_path": sub_path}


@pytest.mark.parametrize(
    ("written", "known", "taken"),
    [
        ("runs/{job}", "runs/first", "runs/first"),
        ("{job}/out", "elsewhere", "elsewhere"),
        ("runs/{job}", "", None),
        ("runs/second", "runs/first", "runs/second"),
        ("runs", None, "runs"),
    ],
)
def test_the_mark_becomes_the_folder_of_the_run_that_goes_on(make_plan, written, known, taken):
    parent = ParentRun(run_id=RUN_ID, sub_path=known)
    assert folders(make_plan, parent, output(written))["/output"] == taken


def test_only_the_volume_of_the_output_follows(make_plan):
    parent = ParentRun(run_id=RUN_ID, sub_path="first")
    volumes = (output("{job}"), output("{job}", mount="/output/run"), output("{job}", mount="/scratch"))
    assert folders(make_plan, parent, *volumes, Global__output_dir="/output/run/a") == {
        "/data": None, "/output": "second", "/output/run": "first", "/scratch": "second",
    }  # fmt: skip


def test_a_run_of_its_own_has_a_folder_of_its_own(make_plan):
    assert folders(make_plan, None, output("{job}"))["/output"] == "second"


def test_a_folder_that_nobody_knows_is_refused_with_its_place(make_plan):
    with pytest.raises(ConfigError) as caught:
        folders(make_plan, ParentRun(run_id=RUN_ID, sub_path=None), output("runs/{job}"))
    (problem,) = caught.value.problems
    assert problem.path == ("Launch", "volumes", 1, "sub_path")
    assert problem.line
    assert RUN_ID in problem.message
