"""GPU-hours of a run outlive its pods: each look notes what is there."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import yaml

from launcher.backends.states import JobState, JobStatus, PodState, PodStatus
from launcher.jobs.gpu_hours import USAGE, note_gpu_time, read_gpu_hours
from launcher.plan.handle import Handle
from launcher.runs.store import RunStore
from tests.launcher.kube.conftest import manifest_text

HOUR = 3600.0


@pytest.fixture
def job(tmp_path):
    store = RunStore(tmp_path)
    folder = store.run_folder("flowers")
    folder.mkdir()

    def make(*, gpus: int = 4):
        objects = list(yaml.safe_load_all(manifest_text(name="flowers", run_id="0" * 32, nodes=1)))
        template = objects[1]["spec"]["paddleReplicaSpecs"]["Worker"]["template"]
        template["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": gpus}}
        (folder / "manifest.yaml").write_text(yaml.safe_dump_all(objects))
        return SimpleNamespace(name="flowers", run_folder=folder, store=store)

    return make


def pod(uid="u1", *, start=0.0, end=None, state=PodState.RUNNING):
    return PodStatus(pod="flowers-worker-0", node=0, state=state, uid=uid, bound_s=start, ended_s=end)


def status(*pods, state=JobState.RUNNING, ended=None):
    return JobStatus(
        handle=Handle(backend="kubernetes", namespace="ml", job="flowers"), run_id="0" * 32, state=state,
        pods=pods, created_s=0.0, ended_s=ended,
    )  # fmt: skip


def test_what_is_held_now_counts_up_to_now(job):
    assert note_gpu_time(job(), status(pod()), now_s=2 * HOUR).gpu_hours == pytest.approx(8)


def test_when_the_pods_are_gone_what_was_seen_of_them_stays(job):
    made = job()
    note_gpu_time(made, status(pod()), now_s=HOUR)
    cancelled = status(state=JobState.CANCELLED, ended=1.5 * HOUR)
    found = note_gpu_time(made, cancelled, now_s=99 * HOUR)
    assert (found.gpu_hours, found.estimate) == (pytest.approx(6), "")
    assert read_gpu_hours(made.store, "flowers") == pytest.approx(6)


def test_a_pod_that_was_made_again_ends_the_one_before_it(job):
    made = job()
    note_gpu_time(made, status(pod()), now_s=HOUR)
    found = note_gpu_time(made, status(pod("u2", start=2 * HOUR)), now_s=3 * HOUR)
    assert found.gpu_hours == pytest.approx(4 * 3)


def test_the_end_that_a_pod_states_wins_over_that_of_the_job(job):
    ended = pod(end=HOUR, state=PodState.SUCCEEDED)
    done = status(ended, state=JobState.SUCCEEDED, ended=1.2 * HOUR)
    assert note_gpu_time(job(), done, now_s=9 * HOUR).gpu_hours == pytest.approx(4)


def test_a_job_without_gpus_has_none(job):
    assert note_gpu_time(job(gpus=0), status(pod()), now_s=HOUR) is None


def test_pods_that_were_never_seen_make_it_an_estimate(job):
    found = note_gpu_time(job(), status(pod("u9", start=5 * HOUR)), now_s=6 * HOUR)
    assert found.gpu_hours == pytest.approx(4)
    assert found.estimate.startswith("at least")
    gone = job()
    (gone.run_folder / USAGE).unlink()
    none = note_gpu_time(gone, status(state=JobState.SUCCEEDED, ended=HOUR), now_s=2 * HOUR)
    assert none.estimate == "none of its pods is there any more"


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema": 1}', '{"schema": 1, "pods": {"a": 1}}', '{"schema": 9}']
)
def test_what_is_broken_begins_anew(job, text):
    made = job()
    (made.run_folder / USAGE).write_text(text)
    assert read_gpu_hours(made.store, "flowers") is None
    assert note_gpu_time(made, status(pod()), now_s=HOUR).gpu_hours == pytest.approx(4)
    assert json.loads((made.run_folder / USAGE).read_text())["schema"] == 1


def test_a_look_that_sees_nothing_new_writes_no_file(job):
    made = job()
    note_gpu_time(made, status(pod()), now_s=HOUR)
    before = (made.run_folder / USAGE).stat().st_mtime_ns
    note_gpu_time(made, status(pod()), now_s=HOUR + 5)
    assert (made.run_folder / USAGE).stat().st_mtime_ns == before
