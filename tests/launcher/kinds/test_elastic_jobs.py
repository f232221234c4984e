"""A job that may train with fewer nodes than it asks for, from its config to what is said of it."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from typing import Any

import pytest

from launcher.backends.kubernetes.status import read_job
from launcher.backends.replicas import ReplicaError, expand
from launcher.backends.states import JobState, PodState, trains_with_fewer
from launcher.backends.supervised.identity import identify
from launcher.backends.supervised.job_state import read_status
from launcher.backends.supervised.state import JobLayout, JobRecord, PodRecord
from launcher.cli.status import describe_progress
from launcher.kinds.registry import JOB_SET, KINDS, PADDLE_JOB, PLAIN_JOB, TRAIN_JOB, kind_named
from launcher.plan.handle import Handle
from launcher.render.crds import find_faults
from launcher.render.render import render
from launcher.why.explain import explain
from launcher.why.snapshot import Snapshot
from tests.launcher.configs import RUN_ID
from tests.launcher.kinds.test_plain_job import job, pod
from trainer.config.problems import ConfigError
from trainer.protocol.progress import Progress, RankProgress, format_progress, parse_progress

NODES = {"min": 2, "max": 4, "patience": "5m"}


def progress(*absent: int, nodes: int = 4) -> Progress:
    ranks = tuple(
        RankProgress(
            rank=node, node=node, step=7, epoch=0, phase="compute", loss=1.0, images_per_s=10.0, silent_s=0.0
        )
        for node in range(nodes)
        if node not in absent
    )
    return Progress(
        time_s=1.0, attempt=2, world_size=len(ranks), total_steps=100, ranks=ranks, absent=absent or None
    )


def large(**changes: Any) -> Any:
    found = job(**changes)
    found["spec"]["completions"] = 4
    return found


def pending(number: int) -> Any:
    found = pod(number, phase="Pending")
    found["status"]["containerStatuses"][0]["state"] = {}
    found["spec"] = {}
    found["status"]["conditions"] = [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    ]
    return found


@pytest.mark.parametrize("kind", [PLAIN_JOB, JOB_SET, TRAIN_JOB], ids=lambda kind: kind.name)
def test_kinds_that_end_with_node_0_take_it(kind, make_plan):
    plan = make_plan(launch={"nodes": NODES}, api=kind.name)
    manifest = render(plan)
    inner = manifest.job if kind is PLAIN_JOB else kind.inner_job_of(manifest.job, manifest.companions)
    assert inner["spec"]["successPolicy"] == {"rules": [{"succeededIndexes": "0"}]}
    assert kind.replicas_of(manifest.job) == 4
    assert kind.needed_of(manifest.job) == 2
    assert not find_faults(manifest.job)
    node_file = json.loads(manifest.config_map["data"]["node.json"])
    assert (node_file["nodes"], node_file["min_nodes"], node_file["patience_s"]) == (4, 2, 300.0)
    assert node_file["rendezvous_timeout_s"] == 900.0
    assert len(expand(manifest)) == 4


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_job_that_needs_all_its_nodes_says_nothing_of_it(kind, make_plan):
    text = render(make_plan(launch={"nodes": 4}, api=kind.name)).text
    assert not any(word in text for word in ("min_nodes", "patience", "successPolicy", "min-nodes"))
    assert kind.needed_of(render(make_plan(launch={"nodes": 4}, api=kind.name)).job) == 4


def test_a_paddlejob_cannot_and_is_not_chosen(make_plan):
    with pytest.raises(ConfigError, match=r"Launch\.nodes\.min: expected what a PaddleJob .* can do"):
        make_plan(launch={"nodes": NODES}, api="paddlejob")
    for place in ("kubernetes", "local", "docker"):
        assert make_plan(launch={"nodes": NODES}, on=place).api == "jobset"
        assert make_plan(launch={"nodes": 4}, on=place).api == PADDLE_JOB.name


@pytest.mark.parametrize("queue", [{"kueue": "team-a"}, {"volcano": "team-a"}])
def test_a_queue_that_lets_in_all_or_none_is_refused(queue, make_plan):
    with pytest.raises(ConfigError, match=r"Launch\.queue: expected no queue where nodes has min"):
        make_plan(launch={"nodes": NODES, "queue": queue}, api="job")


def test_it_is_said_before_it_runs(make_plan):
    plan = make_plan(launch={"nodes": NODES}, api="job")
    assert plan.describe().startswith("2 to 4 nodes × 4 GPUs = up to 16 ranks, global batch ")
    assert any(
        "it trains with 2 to 4 nodes: missing ones are waited for 5 min" in note for note in plan.notes
    )
    assert plan.global_batch == make_plan(launch={"nodes": 4}).global_batch


def test_another_success_policy_is_not_played_here(make_plan):
    manifest = render(make_plan(launch={"nodes": NODES}, api="job"))
    manifest.job["spec"]["successPolicy"] = {"rules": [{"succeededCount": 1}]}
    with pytest.raises(ReplicaError, match=r"spec\.successPolicy"):
        expand(manifest)


def test_a_progress_line_says_who_is_missing():
    line = format_progress(progress(2))
    assert parse_progress(line) == progress(2)
    assert progress(2).fewer_nodes == "3 of 4 nodes, waiting for node-2"
    assert progress(*range(1, 9), nodes=10).fewer_nodes.endswith("node-3, node-4 and 4 more")
    assert b"absent" not in format_progress(progress())
    assert "3 of 4 nodes, waiting for node-2" in describe_progress(progress(2))
    assert "nodes" not in describe_progress(progress())


@pytest.mark.parametrize(("away", "absent", "fewer"), [
    ({2}, (2,), True), ({2}, (2, 3), True), ({2, 3}, (2,), False), ({0}, (0,), False), ((), (2,), False),
    ({2}, (), False),
])  # fmt: skip
def test_only_pods_of_nodes_that_it_does_without_may_be_away(away, absent, fewer):
    assert bool(trains_with_fewer(frozenset(away), progress(*absent))) is fewer
    assert trains_with_fewer(frozenset(away), None) == ""


def test_a_pending_pod_is_no_failure_while_the_others_train():
    pods = [pod(0), pod(1), pending(2), pod(3)]
    found = read_job(large(), pods, kind=PLAIN_JOB, restarts={}, progress=progress(2))
    assert found.state is JobState.RUNNING
    assert found.reason.startswith("3 of 4 nodes, waiting for node-2")
    for said in (None, progress(), progress(3)):
        found = read_job(large(), pods, kind=PLAIN_JOB, restarts={}, progress=said)
        assert found.state is JobState.SCHEDULING
    unmade = read_job(large(), pods[:2] + pods[3:], kind=PLAIN_JOB, restarts={}, progress=progress(2))
    assert unmade.state is JobState.RUNNING


def test_why_says_first_that_it_trains():
    pods = (pod(0), pod(1), pending(2), pod(3))
    status = read_job(large(), pods, kind=PLAIN_JOB, restarts={}, progress=progress(2))
    verdicts = explain(Snapshot(now_s=100.0, status=status, job=large(), kind=PLAIN_JOB, pods=pods))
    assert verdicts[0].code == "fewer-nodes"
    assert "3 of 4 nodes, waiting for node-2" in verdicts[0].sentence
    whole = read_job(large(), [pod(n) for n in range(4)], kind=PLAIN_JOB, restarts={}, progress=progress())
    assert "fewer-nodes" not in {one.code for one in explain(replace_status(whole))}


def replace_status(status: Any) -> Snapshot:
    pods = tuple(pod(number) for number in range(4))
    return replace(Snapshot(now_s=100.0, status=status, job=large(), kind=kind_named("job")), pods=pods)


@pytest.mark.parametrize(("absent", "state"), [((2,), JobState.RUNNING), ((), JobState.RESTARTING)])
def test_a_pod_that_is_made_again_here_is_no_restart_while_the_others_train(absent, state, tmp_path):
    layout = JobLayout(tmp_path, "local")
    states = (PodState.RUNNING, PodState.RUNNING, PodState.PENDING, PodState.RUNNING)
    pods = tuple(PodRecord(name=f"p{node}", node=node, state=one) for node, one in enumerate(states))
    record = JobRecord(
        job="j", run_id=RUN_ID, supervisor=identify(os.getpid()), created_s=1.0, scratch="", pods=pods,
        state=JobState.RESTARTING, reason="p2 is made again",
    )  # fmt: skip
    log = layout.log("p0", 0)
    log.parent.mkdir(parents=True)
    line = b"2026-01-01T00:00:00.000000000Z stdout F [a2 n0] " + format_progress(progress(*absent))
    log.write_bytes(line + b"\n")
    found = read_status(Handle(backend="local", namespace="", job="j"), layout, record, pods_outlive=False)
    assert found.progress == progress(*absent)
    assert found.state is state
    assert ("waiting for node-2" in found.reason) is bool(absent)
