"""`ftlaunch list --all` and `top`: everybody's jobs, as far as they may be seen, by few requests."""

from __future__ import annotations

import json

import pytest

import ftlaunch
from launcher.cli.main import run
from launcher.kinds.registry import JOB_SET, KINDS, PADDLE_JOB
from launcher.names import PROGRESS, RUN_ID_LABEL
from launcher.objects import LOCAL_QUEUES, NODES, PADDLE_JOBS, PODS
from launcher.quantity import is_gpu
from launcher.team.gather import gather_team, gather_top, read_logs_progress
from launcher.team.team_jobs import count_gpus, read_team_jobs, reduce_job, reduce_team_pod
from tests.launcher.schemas import check_document
from trainer.node.publish import Report, annotate
from trainer.protocol.progress import MARK, Progress, RankProgress, format_progress, parse_progress

NOW_S = 1_795_000_000.0  # when the cluster's time begins


def progress(*, step: int, of: int, time_s: float, silent_s: float = 0.0) -> bytes:
    rank = RankProgress(
        rank=0, node=0, step=step, epoch=0, phase="train", loss=1.0, images_per_s=10.0, silent_s=silent_s
    )
    return format_progress(Progress(time_s=time_s, attempt=1, world_size=1, total_steps=of, ranks=(rank,)))


def node(name: str, gpus: int, **spec: object) -> dict[str, object]:
    return {
        "metadata": {"name": name},
        "spec": spec,
        "status": {"allocatable": {"nvidia.com/gpu": str(gpus), "cpu": "64"}},
    }


def start(cluster, job: str, *, nodes: int = 1, host: str = "n1") -> None:
    for index in range(nodes):
        cluster.place_pod(f"{job}-worker-{index}", host)
        cluster.start_pod(f"{job}-worker-{index}")


def printed(capsys, *arguments: str) -> tuple[str, str]:
    capsys.readouterr()
    assert run(arguments) == 0
    said = capsys.readouterr()
    return said.out, said.err


def rows(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines()]


def test_everybodys_jobs_are_listed_with_whose_they_are_and_what_they_hold(cluster, submit, capsys):
    submit("ann-1", user="ann", gpus=8, nodes=2, queue="team-a", held=True)
    submit("bob-1", user="bob", gpus=4)
    start(cluster, "bob-1")
    out, err = printed(capsys, "list", "--all")
    header, *listed = rows(out)
    assert header == ["JOB", "USER", "KIND", "QUEUE", "GPUS", "STATE", "PROGRESS", "GPU-HOURS", "AGE"]
    by_name = {row[0]: row for row in listed}
    assert by_name["ann-1"][1:6] == ["ann", "PaddleJob", "team-a", "16", "Queued"]
    assert by_name["bob-1"][1:5] == ["bob", "PaddleJob", "4", "Running"]
    assert err == ""


def test_the_number_of_lists_does_not_depend_on_the_number_of_jobs(cluster, submit):
    counts = []
    for total in (1, 12):
        for index in range(total):
            submit(f"job-{total}-{index}", user="ann", gpus=1)
        cluster.requests.clear()
        team = gather_team(cluster, namespace="ml", clock=lambda: NOW_S)
        counts.append(len(cluster.requests))
    assert len(team.jobs) == 13
    assert counts[0] == counts[1] == len(KINDS) + 1  # jobs of each kind that is served, and pods


def test_the_document_is_as_published_and_names_every_job(cluster, submit, capsys):
    submit("flowers", user="ann", gpus=2)
    start(cluster, "flowers")
    document = json.loads(printed(capsys, "list", "--all", "--output", "json")[0])
    assert check_document(document) == "list"
    (item,) = document["items"]
    assert (item["user"], item["object"], item["gpus"], item["gpus_held"]) == ("ann", "PaddleJob", 2, 2)
    assert item["handle"] == "kubernetes://ml/flowers"


def test_of_all_namespaces_each_row_says_which(cluster, submit, capsys):
    submit("one", user="ann")
    submit("two", user="bob", namespace="vision")
    assert [row[0] for row in rows(printed(capsys, "list", "--all")[0])[1:]] == ["one"]
    out, _ = printed(capsys, "list", "--all", "--all-namespaces")
    assert {(row[0], row[1]) for row in rows(out)[1:]} == {("ml", "one"), ("vision", "two")}


def test_who_may_not_see_all_namespaces_sees_their_own_and_is_told(cluster, submit, capsys):
    submit("one", user="ann")
    submit("two", user="bob", namespace="vision")
    for resource in (*(kind.resource for kind in KINDS), PODS):
        cluster.refuse("list", resource, code=403)
    out, err = printed(capsys, "list", "--all-namespaces")
    assert [row[0] for row in rows(out)[1:]] == ["one"]
    assert "not looked at: paddlejobs of the cluster: " in err


def test_without_the_right_to_see_pods_a_state_that_only_they_tell_is_unknown(cluster, submit, capsys):
    submit("going", user="ann")
    start(cluster, "going")
    submit("waiting", user="ann", queue="q", held=True)
    cluster.refuse("list", PODS, code=403)
    out, err = printed(capsys, "list", "--all")
    states = {row[0]: row for row in rows(out)[1:]}
    assert "Unknown" in states["going"]
    assert "Queued" in states["waiting"]
    assert "not looked at: pods in ml: " in err


def test_where_no_job_may_be_seen_it_is_an_error_and_no_empty_list(cluster, submit, capsys):
    submit("one")
    for kind in KINDS:
        cluster.refuse("list", kind.resource, code=403, times=3)
    assert run(["list", "--all"]) == 3
    assert 'cannot list resource "paddlejobs"' in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "names"),
    [(["--user", "ann"], ["a2", "a1"]), (["--state", "queued"], ["a2"]), (["-n", "1"], ["b1"])],
    ids=["user", "state", "limit"],
)
def test_what_is_asked_for_narrows_the_list(cluster, submit, capsys, arguments, names):
    submit("a1", user="ann")
    cluster.pass_time(60)
    submit("a2", user="ann", queue="q", held=True)
    cluster.pass_time(60)
    submit("b1", user="bob")
    out, _ = printed(capsys, "list", "--all", "--output", "name", *arguments)
    assert out.split() == names


@pytest.mark.parametrize(
    "given", [["--user", "ann"], ["--namespace", "ml"], ["--all", "--here"], ["--all", "--on", "local"]]
)
def test_options_that_contradict_each_other_are_refused(submit, capsys, given):
    assert run(["list", *given]) == 2
    assert "expected" in capsys.readouterr().err


def test_an_annotation_tells_progress_without_a_log_and_a_log_where_there_is_none(cluster, submit):
    for name in ("told", "logged", "patched"):
        submit(name, gpus=1)
        start(cluster, name)
    text = progress(step=30, of=120, time_s=NOW_S)
    cluster.annotate(PODS, "told-worker-0", {PROGRESS: text.removeprefix(MARK).decode()})
    written = parse_progress(progress(step=90, of=120, time_s=NOW_S))
    notes = {"metadata": {"annotations": dict(annotate(Report(progress=written, left_s=None)))}}
    cluster.patch(PADDLE_JOBS, "patched", notes, namespace="ml")  # as node 0's process does
    cluster.write_log("logged-worker-0", progress(step=60, of=120, time_s=NOW_S) + b"\n")
    cluster.requests.clear()
    team = gather_team(cluster, namespace="ml", clock=lambda: NOW_S)
    assert {job.status.handle.job: job.status.progress and job.status.progress.step for job in team.jobs} == {
        "told": 30, "logged": None, "patched": 90,
    }  # fmt: skip
    read = read_logs_progress(cluster, team.jobs)
    assert {job.status.handle.job: job.status.progress.step for job in read} == {
        "told": 30, "logged": 60, "patched": 90,
    }  # fmt: skip
    assert cluster.requests.count("get pods told-worker-0") == 0


def test_at_most_so_many_logs_are_read(cluster, submit):
    for index in range(5):
        submit(f"job-{index}", gpus=1)
        start(cluster, f"job-{index}")
    team = gather_team(cluster, namespace="ml", clock=lambda: NOW_S)
    cluster.requests.clear()
    read_logs_progress(cluster, team.jobs, most=2)
    assert len(cluster.requests) == 2


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 1}', "9" * 5000], ids=repr)
def test_a_progress_annotation_that_is_none_tells_nothing(cluster, submit, text):
    submit("flowers", gpus=1)
    start(cluster, "flowers")
    cluster.annotate(PADDLE_JOBS, "flowers", {PROGRESS: text})
    (job,) = gather_team(cluster, namespace="ml", clock=lambda: NOW_S).jobs
    assert job.status.progress is None


def test_an_object_that_only_carries_our_label_is_counted_and_left_out(cluster, submit, capsys):
    submit("real", user="ann")
    stray = {
        "metadata": {"name": "stray", "labels": {"ftlaunch.io/run-id": "x"}},
        "spec": {},
        "status": {"conditions": [{}]},
    }
    cluster.put(PADDLE_JOBS, {"apiVersion": "kubeflow.org/v1", "kind": "PaddleJob", **stray})
    out, err = printed(capsys, "list", "--all")
    assert [row[0] for row in rows(out)[1:]] == ["real"]
    assert "not looked at: 1 objects" in err


def test_a_name_of_a_user_reaches_no_terminal_as_it_is_and_is_bounded(cluster, submit):
    submit("flowers", user="a\x1b[31mnn" + "x" * 500)
    (job,) = gather_team(cluster, namespace="ml", clock=lambda: NOW_S).jobs
    assert job.user.startswith("a[31mnn")
    assert len(job.user) == 64


def test_gpu_hours_are_those_from_a_node_to_the_end_of_each_pod(cluster, submit):
    submit("flowers", gpus=4, nodes=2)
    for index in range(2):
        cluster.place_pod(f"flowers-worker-{index}", "n1")
    cluster.pass_time(600)  # pulling holds them too
    for index in range(2):
        cluster.start_pod(f"flowers-worker-{index}")
    cluster.pass_time(3000)
    cluster.finish_pod("flowers-worker-1", 0)
    cluster.pass_time(3600)
    (job,) = gather_team(cluster, namespace="ml", clock=lambda: NOW_S + 7200).jobs
    assert job.gpu_time.gpu_hours == pytest.approx(4 * 2 + 4 * 1)
    assert job.gpu_time.estimate == ""


def test_a_pod_that_came_long_after_its_job_says_that_others_were_before_it(cluster, submit):
    submit("flowers", gpus=1)
    cluster.pass_time(7200)
    cluster.place_pod("flowers-worker-0", "n1")
    (job,) = gather_team(cluster, namespace="ml", clock=lambda: NOW_S + 10_800).jobs
    assert job.gpu_time.gpu_hours == pytest.approx(1)
    assert job.gpu_time.estimate.startswith("at least")


def top_of(cluster, *, now_s: float = NOW_S):
    return gather_top(cluster, cluster, namespace="", fallback="ml", clock=lambda: now_s)[1]


def test_top_adds_up_gpus_by_user_queue_and_node(cluster, submit):
    for name, gpus in (("n1", 8), ("n2", 8)):
        cluster.put(NODES, node(name, gpus), namespace="")
    cluster.put(NODES, node("n3", 8, unschedulable=True), namespace="")
    submit("ann-1", user="ann", gpus=4, queue="q")
    start(cluster, "ann-1", host="n1")
    submit("ann-2", user="ann", gpus=8, nodes=2, queue="q", held=True)
    submit("bob-1", user="bob", gpus=2)
    start(cluster, "bob-1", host="n2")
    top = top_of(cluster)
    users = {usage.name: usage for usage in top.users}
    assert (users["ann"].gpus, users["ann"].waiting, users["ann"].gpus_waiting) == (4, 1, 16)
    assert (users["bob"].gpus, users["bob"].running) == (2, 1)
    assert [(usage.name, usage.gpus, usage.gpus_waiting) for usage in top.queues] == [("q", 4, 16)]
    assert {item.name: (item.free, item.users) for item in top.nodes} == {
        "n1": (4, {"ann": 4}), "n2": (6, {"bob": 2}), "n3": (8, {}),
    }  # fmt: skip
    assert (top.gpus, top.held, top.others, top.free) == (24, 6, 0, 10)
    assert top.blocks == {8: 0, 4: 2, 2: 5, 1: 10}  # none of 8 in one piece, though 10 are free


def test_gpus_of_pods_that_are_no_job_of_ours_are_counted_apart(cluster, submit):
    cluster.put(NODES, node("n1", 8), namespace="")
    pod = {
        "metadata": {"name": "notebook"},
        "spec": {"nodeName": "n1", "containers": [{"resources": {"requests": {"nvidia.com/gpu": "3"}}}]},
        "status": {"phase": "Running"},
    }
    cluster.put(PODS, pod, namespace="ml")
    submit("flowers", user="ann", gpus=1)
    start(cluster, "flowers")
    top = top_of(cluster)
    assert (top.held, top.others, top.free) == (1, 3, 4)


def test_without_the_right_to_see_nodes_what_is_free_is_not_known_and_not_zero(cluster, submit, capsys):
    submit("flowers", user="ann", gpus=1)
    start(cluster, "flowers")
    cluster.refuse("list", NODES, code=403)
    document = json.loads(printed(capsys, "top", "--output", "json")[0])
    assert check_document(document) == "top"
    assert (document["gpus"], document["free"], document["blocks"], document["held"]) == (None, None, None, 1)
    assert any("nodes" in item["what"] for item in document["skipped"])
    cluster.refuse("list", NODES, code=403)
    out, err = printed(capsys, "top")
    assert "nodes may not be looked at" in out
    assert "not looked at: nodes of the cluster" in err


def test_jobs_that_hold_gpus_and_do_not_go_on_are_named(cluster, submit):
    submit("stuck", user="ann", gpus=2)
    submit("gang", user="bob", gpus=4, nodes=2)
    submit("well", user="ann", gpus=1)
    submit("cpu", user="ann")
    for name in ("stuck", "well", "cpu"):
        start(cluster, name)
    cluster.place_pod("gang-worker-0", "n1")
    late_s = NOW_S + 3600
    cluster.write_log("stuck-worker-0", progress(step=5, of=9, time_s=late_s - 30, silent_s=1500) + b"\n")
    cluster.write_log("well-worker-0", progress(step=5, of=9, time_s=late_s - 30) + b"\n")
    top = top_of(cluster, now_s=late_s)
    assert [(item.job.status.handle.job, item.gpus, round(item.idle_s)) for item in top.idle] == [
        ("gang", 4, 3600), ("stuck", 2, 1530),
    ]  # fmt: skip
    assert top.idle[0].reason == "Scheduling: 1 of 2 pods have a node"
    assert top.unheard == 0


def test_a_running_job_whose_progress_is_hidden_is_not_called_idle(cluster, submit, capsys):
    submit("flowers", user="ann", gpus=2)
    start(cluster, "flowers")
    cluster.refuse("get", PODS, code=403)
    out, _ = printed(capsys, "top")
    assert "of 1 running job no progress was seen" in out
    assert "IDLE" not in out


def test_a_local_queue_without_jobs_stands_in_the_table(cluster, submit):
    submit("flowers", gpus=1)
    cluster.put(LOCAL_QUEUES, {"metadata": {"name": "empty"}, "spec": {"clusterQueue": "c"}}, namespace="ml")
    assert [(usage.name, usage.gpus, usage.quota) for usage in top_of(cluster).queues] == [("empty", 0, None)]


@pytest.mark.parametrize(
    ("resource", "counts"),
    [
        ("nvidia.com/gpu", True), ("amd.com/gpu", True), ("nvidia.com/mig-1g.5gb", True),
        ("huawei.com/Ascend910", True), ("kunlunxin.com/xpu", True), ("nvidia.com/gpu.shared", True),
        ("cpu", False), ("gpu", False), ("aliyun.com/gpu-mem", False), ("rdma/hca", False),
        ("requests.kubernetes.io/gpu", False),
    ],
)  # fmt: skip
def test_only_devices_to_train_on_are_counted(resource, counts):
    assert is_gpu(resource) is counts
    assert count_gpus({resource: 3}) == (3 if counts else 0)


def test_what_is_kept_of_a_pod_is_small(cluster, submit):
    submit("flowers", gpus=8)
    (pod,) = cluster.list(PODS, namespace="ml")
    pod["spec"]["volumes"] = [{"name": "x" * 1000}] * 50
    pod["metadata"]["annotations"] = {"note": "x" * 10_000}
    kept = reduce_team_pod(pod)
    assert kept["gpus"] == 8
    assert len(json.dumps(kept)) < 2000


def test_a_jobset_has_its_pods_which_it_knows_by_a_label_with_its_uid():
    run_id, uid = "a" * 32, "uid-of-the-set"
    template = {"spec": {"containers": [{"name": "node", "resources": {"limits": {"nvidia.com/gpu": "8"}}}]}}
    job = {
        "apiVersion": JOB_SET.resource.api_version, "kind": "JobSet",
        "metadata": {"name": "s", "namespace": "ml", "uid": uid, "labels": {RUN_ID_LABEL: run_id}},
        "spec": {"replicatedJobs": [{"template": {"spec": {"completions": 1, "template": template}}}]},
    }  # fmt: skip
    labels = {
        RUN_ID_LABEL: run_id, "jobset.sigs.k8s.io/jobset-uid": uid, **JOB_SET.labels_of_pod("s", 0),
    }  # fmt: skip
    pod = {
        "metadata": {"name": "s-node-0-0-abcde", "namespace": "ml", "uid": "p", "labels": labels},
        "spec": {**template["spec"], "nodeName": "n1"},
        "status": {"phase": "Running", "containerStatuses": [{"name": "node", "state": {"running": {}}}]},
    }  # fmt: skip
    jobs, unreadable = read_team_jobs(
        [(JOB_SET, [reduce_job(job, kind=JOB_SET)])], [reduce_team_pod(pod)], now_s=NOW_S
    )
    assert unreadable == 0
    assert (jobs[0].status.state.value, jobs[0].gpus_held) == ("Running", 8)


def test_a_part_of_another_job_is_no_job(cluster, submit):
    submit("flowers")
    owner = {"apiVersion": "kubeflow.org/v1", "kind": "PaddleJob", "name": "flowers", "uid": "u"}
    part = cluster.get(PADDLE_JOBS, "flowers", namespace="ml")
    part["metadata"] = {**part["metadata"], "name": "flowers-part", "ownerReferences": [owner]}
    cluster.put(PADDLE_JOBS, part)
    team = gather_team(cluster, namespace="ml", clock=lambda: NOW_S)
    assert [job.status.handle.job for job in team.jobs] == ["flowers"]


def test_a_program_gets_the_same(cluster, submit):
    submit("flowers", user="ann", gpus=2)
    start(cluster, "flowers")
    (job,) = ftlaunch.team_jobs(states=["Running"]).jobs
    assert (job.user, job.kind, job.gpus_held) == ("ann", PADDLE_JOB.resource.kind, 2)
    assert ftlaunch.top().top.held == 2


def test_without_a_cluster_no_place_is_proposed_that_has_no_team(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FTLAUNCH_STATE", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for arguments in (["list", "--all"], ["top"]):
        assert run(arguments) == 3
        err = capsys.readouterr().err
        assert "set KUBECONFIG, or name a file by --kubeconfig" in err
        assert "--on local" not in err


def test_a_namespace_and_all_of_them_are_not_asked_for_together(cluster, submit, capsys):
    assert run(["top", "-A", "--namespace", "ml"]) == 2
    assert "--all-namespaces: expected no --namespace ml beside it" in capsys.readouterr().err
    printed(capsys, "top", "--namespace", "ml")
