"""Each check of a cluster, over HTTP, against a server that answers as a real one does."""

from __future__ import annotations

import json
import re
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from launcher.doctor import controller, facilities, permissions, probe
from launcher.doctor.findings import Check, Level, run_check
from launcher.kube.errors import UnreachableError
from tests.launcher.doctor.conftest import DENIED, JOBS, OPERATOR, REVIEWS, RULES, forbidden, items, status


def node(**allocatable):
    ready = [{"type": "Ready", "status": "True"}]
    return {
        "metadata": {"name": "n"},
        "spec": {},
        "status": {"allocatable": allocatable, "conditions": ready},
    }


def test_the_version_and_the_clocks_are_looked_at(info):
    found = probe.probe_server(info)
    assert [finding.level for finding in found] == [Level.OK, Level.OK]
    assert found[0].message == "Kubernetes v1.34.7"


def test_an_old_cluster_is_warned_of(info, answers):
    answers["/version"] = {"gitVersion": "v1.23.1"}
    (cluster, _) = probe.probe_server(info)
    assert (cluster.level, cluster.fix) == (Level.WARN, "upgrade it to 1.27 or later")


@pytest.mark.parametrize(("ahead_s", "words"), [(90, "ahead of"), (-400, "behind")])
def test_a_clock_that_is_off_is_warned_of(info, ahead_s, words):
    base_s = time.time()
    (_, clock) = probe.probe_server(info, now=lambda: base_s + ahead_s)
    assert clock.level is Level.WARN
    found = re.search(rf"(\d+) s {words} the cluster's", clock.message)
    assert found is not None
    assert int(found[1]) == pytest.approx(abs(ahead_s), abs=30)  # the server's own time moves on


def test_who_we_are_is_told(info, only):
    assert only(probe.probe_user(info)) == ("ok", "accepted as ann", "")


def test_an_older_server_does_not_tell_who_we_are(info, answers, only):
    answers["/apis/authentication.k8s.io/v1/selfsubjectreviews"] = None
    assert only(probe.probe_user(info)) == ("ok", "accepted", "")


def test_credentials_that_are_refused_end_the_examination(info, answers):
    answers["/apis/authentication.k8s.io/v1/selfsubjectreviews"] = status(401, "Unauthorized")
    with pytest.raises(UnreachableError, match="--token=TOKEN"):
        probe.probe_user(info)


def test_every_verb_of_the_role_is_asked_for(info, server):
    found = permissions.check_permissions(info)
    assert {finding.level for finding in found} == {Level.OK}
    assert "paddlejobs: create, get, list, watch, patch, delete" in [finding.message for finding in found]
    reviews = [asked.path for asked in server.asked if "authorization" in asked.path]
    assert reviews == [RULES]


def test_under_kueue_its_role_is_asked_for_too(info, answers):
    answers["/apis/kueue.x-k8s.io/v1beta2"] = {"resources": [{"name": "workloads"}]}
    answers[REVIEWS] = {"status": {"allowed": False}}
    found = permissions.check_permissions(info)
    missing = [(finding.level, finding.message) for finding in found if "not allowed" in finding.message]
    assert (Level.WARN, "workloads: not allowed to patch") in missing


def test_the_role_of_files_is_told_of_and_not_missed(info, answers):
    whole = permissions.check_permissions(info)[-1]
    assert (whole.level, whole.message) == (
        Level.OK, "files: `ckpt`, `data` and `exec` may run programs in pods",
    )  # fmt: skip
    kept = [rule for rule in answers[RULES]["status"]["resourceRules"] if rule["resources"] != ["pods/exec"]]
    answers[RULES] = {"status": {"resourceRules": kept}}
    answers[REVIEWS] = {"status": {"allowed": False}}
    found = permissions.check_permissions(info)
    assert {finding.level for finding in found[:-1]} == {Level.OK}
    assert found[-1].level is Level.SKIP
    assert (
        "`ckpt`, `data` and `exec` are not allowed, for lack of pods/exec: create, get" in found[-1].message
    )
    assert "k8s/rbac/files.yaml in namespace 'ml'" in found[-1].fix


def test_the_role_of_every_day_reads_no_secret_and_runs_nothing_in_pods():
    needs = {(need.resource, verb) for need in permissions.read_needs() for verb in need.verbs}
    assert not needs & {("pods", "create"), ("pods/exec", "create"), ("pods/exec", "get"), ("secrets", "get")}
    files = {(need.resource, verb) for need in permissions.read_needs("files.yaml") for verb in need.verbs}
    assert files == {("pods", "create"), ("pods", "delete"), ("pods/exec", "create"), ("pods/exec", "get")}


def test_what_the_list_of_rules_lacks_is_asked_one_by_one(info, server, answers):
    answers[RULES] = {"status": {"resourceRules": [], "incomplete": True}}
    answers[REVIEWS] = {"status": {"allowed": True}}
    assert {finding.level for finding in permissions.check_permissions(info)} == {Level.OK}
    asked = [item.body["spec"]["resourceAttributes"] for item in server.asked if item.path == REVIEWS]
    assert {"namespace": "ml", "verb": "get", "group": "", "resource": "pods", "subresource": "log"} in asked


def test_without_watch_commands_poll_so_that_is_a_warning(info, answers):
    for rule in answers[RULES]["status"]["resourceRules"]:
        rule["verbs"] = [verb for verb in rule["verbs"] if verb != "watch"]
    answers[REVIEWS] = {"status": {"allowed": False}}
    found = permissions.check_permissions(info)
    assert {finding.message for finding in found if finding.level is Level.WARN} == {
        "jobs: not allowed to watch", "paddlejobs: not allowed to watch", "pods: not allowed to watch",
    }  # fmt: skip
    assert all(finding.level is not Level.FAIL for finding in found)


def test_a_missing_rule_is_written_out_and_counts_by_what_needs_it(info, answers):
    for rule in answers[RULES]["status"]["resourceRules"]:
        if rule["resources"] == ["paddlejobs"]:
            rule["verbs"].remove("patch")
        if rule["resources"] == ["pods/log"]:
            rule["resourceNames"] = ["only-this-one"]
    answers[REVIEWS] = {"status": {"allowed": False}}
    found = {finding.message.partition(":")[0]: finding for finding in permissions.check_permissions(info)}
    jobs, log = found["paddlejobs"], found["pods/log"]
    assert (jobs.level, log.level) == (Level.FAIL, Level.WARN)
    assert jobs.message == "paddlejobs: not allowed to patch"
    rule = {"apiGroups": ["kubeflow.org"], "resources": ["paddlejobs"], "verbs": ["patch"]}
    assert jobs.fix == f"ask for this rule in namespace 'ml': {json.dumps(rule)}"


@pytest.mark.parametrize("rule", [
    {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]},
    {"apiGroups": [""], "resources": ["*/log"], "verbs": ["get"]},
], ids=["all", "a subresource of all"])  # fmt: skip
def test_wildcards_of_rules_count(info, answers, rule):
    answers[RULES] = {"status": {"resourceRules": [rule]}}
    answers[REVIEWS] = {"status": {"allowed": False}}
    found = [finding for finding in permissions.check_permissions(info) if "pods/log:" in finding.message]
    assert [finding.level for finding in found] == [Level.OK]


def test_the_kind_that_is_sent_is_told_and_the_others_that_are_served(info, answers, only):
    level, message, _ = only(controller.check_kinds(info))
    assert level == "ok"
    assert message.startswith("a job is sent as a PaddleJob of kubeflow.org/v1 (api auto: ")
    assert message.endswith("; also served: Job")


def test_a_cluster_without_any_operator_is_fine(info, answers, only):
    del answers["/apis/kubeflow.org/v1"]
    level, message, fix = only(controller.check_kinds(info))
    assert (level, fix) == ("ok", "")
    assert "as a Job of batch/v1 (api auto: PaddleJobs and JobSets are not served)" in message
    assert controller.check_operator(info) == []


def test_a_kind_that_may_not_be_made_is_told_of_and_not_missed(info, answers, only):
    answers[RULES]["status"]["resourceRules"] = [
        rule for rule in answers[RULES]["status"]["resourceRules"] if rule["resources"] != ["services"]
    ]
    answers[REVIEWS] = {"status": {"allowed": False}}
    found = {finding.message: finding.level for finding in permissions.check_permissions(info)}
    (said,) = [message for message in found if message.startswith("a Job is not allowed")]
    assert (found[said], "for lack of services: create, get, patch, delete" in said) == (Level.SKIP, True)
    assert Level.FAIL not in found.values()


def test_an_operator_is_seen_from_three_sides(info, server, only):
    level, message, _ = only(controller.check_operator(info))
    assert level == "ok"
    assert message == (
        "its webhook answers; deployment kubeflow/training-operator is ready; "
        "it has looked at all 1 jobs here"
    )
    (probe,) = [asked for asked in server.asked if (asked.method, asked.path) == ("POST", JOBS)]
    assert probe.query["dryRun"] == "All"


@pytest.mark.parametrize(("replicas", "level"), [(1, "warn"), (1000, "ok")])
def test_an_operator_that_makes_a_thousand_pods_is_not_asleep(info, answers, only, replicas, level):
    born = datetime.now(timezone.utc) - timedelta(seconds=100)
    answers[JOBS] = items({
        "metadata": {"name": "big", "creationTimestamp": born.strftime("%Y-%m-%dT%H:%M:%SZ")},
        "spec": {"paddleReplicaSpecs": {"Worker": {"replicas": replicas}}},
    })  # fmt: skip
    assert only(controller.check_operator(info))[0] == level


@pytest.mark.parametrize(("path", "answer", "level", "words"), [
    (f"POST {JOBS}", status(500, 'failed calling webhook "x": connection refused'), "fail",
     "connection refused"),
    (f"POST {JOBS}", status(400, 'strict decoding error: unknown field "spec.runPolicy.suspend"'), "fail",
     "of an older release, without spec.runPolicy.suspend"),
    (OPERATOR, items({"metadata": {"name": "training-operator", "namespace": "k"}, "status": {}}), "fail",
     "deployment k/training-operator has no ready pod"),
    (JOBS, items({"metadata": {"name": "old", "creationTimestamp": "2026-01-01T00:00:00Z"}}), "warn",
     "no controller has looked at job old"),
], ids=["webhook", "old", "deployment", "asleep"])  # fmt: skip
def test_an_operator_that_does_not_work_is_told_of(info, answers, only, path, answer, level, words):
    answers[path] = answer
    found = only(controller.check_operator(info))
    assert (found[0], words in found[1], bool(found[2])) == (level, True, True)


@pytest.mark.parametrize(("wanted", "levels"), [
    ("auto", {"operator": "ok", "jobset": "warn", "trainer": "ok"}),
    ("job", {"operator": "ok", "jobset": "warn", "trainer": "ok"}),
    ("jobset", {"operator": "ok", "jobset": "fail", "trainer": "ok"}),
    ("trainjob", {"operator": "ok", "jobset": "fail", "trainer": "ok"}),
])  # fmt: skip
def test_a_controller_that_is_away_fails_only_those_who_send_its_kind(info, answers, wanted, levels):
    for group, plural in (
        ("jobset.x-k8s.io/v1alpha2", "jobsets"),
        ("trainer.kubeflow.org/v1alpha1", "trainjobs"),
    ):
        answers[f"/apis/{group}"] = {"resources": [{"name": plural}]}
        answers[f"/apis/{group}/namespaces/ml/{plural}"] = items()
        answers[f"POST /apis/{group}/namespaces/ml/{plural}"] = status(403, DENIED)
    away = 'Internal error occurred: failed calling webhook "vjobset.kb.io": connection refused'
    answers["POST /apis/jobset.x-k8s.io/v1alpha2/namespaces/ml/jobsets"] = status(500, away)
    found = {each.check: each for each in controller.check_operator(replace(info, wanted=wanted))}
    assert {name: each.level.value for name, each in found.items()} == levels
    assert ("which does without it" in found["jobset"].message) is (levels["jobset"] == "warn")
    assert "kubectl get deployments,pods -A" in found["jobset"].fix


def test_the_kind_that_settings_ask_for_is_told_or_missed(info, only):
    message = only(controller.check_kinds(replace(info, wanted="job")))[1]
    assert message.startswith("a job is sent as a Job of batch/v1 (api job)")
    level, message, fix = only(controller.check_kinds(replace(info, wanted="jobset")))
    assert (level, "a cluster that serves jobsets" in message, "install the JobSet controller" in fix) == (
        "fail", True, True,
    )  # fmt: skip


def test_an_operator_that_cannot_be_seen_is_not_said_to_work(info, answers, only):
    answers[f"POST {JOBS}"] = forbidden("create", "paddlejobs")
    answers[OPERATOR] = forbidden("list", "deployments")
    answers[JOBS] = items()
    assert only(controller.check_operator(info))[0] == "skip"


@pytest.mark.parametrize(("nodes", "level", "words"), [
    ([node(**{"nvidia.com/gpu": "8"}), node(**{"nvidia.com/gpu": "4"}), node()], "ok",
     "12 nvidia.com/gpu on 2 nodes, at most 8 on one"),
    ([node(), node()], "warn", "none of 2 ready nodes offers nvidia.com/gpu"),
    ([{**node(**{"nvidia.com/gpu": "8"}), "spec": {"unschedulable": True}}], "fail",
     "none of 1 nodes is ready"),
], ids=["some", "none", "not ready"])  # fmt: skip
def test_gpus_are_counted(info, answers, only, nodes, level, words):
    answers["/api/v1/nodes"] = items(*nodes)
    assert only(facilities.check_gpus(info, resource="nvidia.com/gpu"))[:2] == (level, words)


def test_what_a_user_may_not_see_is_skipped_with_the_rule(info, answers, only):
    answers["/api/v1/nodes"] = forbidden("list", "nodes")
    check = Check(name="gpus", run=lambda: facilities.check_gpus(info, resource="nvidia.com/gpu"))
    named = only(run_check(replace(check, role="capacity.yaml")))
    assert named[::2] == ("skip", "k8s/rbac/capacity.yaml, which is optional, has the rule")
    level, _, fix = only(run_check(check))
    assert level == "skip"
    assert fix == (
        'ask for this rule in a ClusterRole: {"apiGroups": [""], "resources": ["nodes"], "verbs": ["list"]}'
    )


def test_the_default_storage_class_is_named_or_missed(info, answers, only):
    assert only(facilities.check_storage(info))[:2] == ("ok", "default class standard (csi.example)")
    answers["/apis/storage.k8s.io/v1/storageclasses"] = items({"metadata": {"name": "slow"}})
    assert only(facilities.check_storage(info))[:2] == ("warn", "no default storage class, of: slow")


def test_names_need_a_service_with_an_endpoint(info, answers, only):
    assert only(facilities.check_dns(info))[:2] == ("ok", "service kube-system/kube-dns, 1 ready end")
    answers["/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"] = items()
    assert only(facilities.check_dns(info))[0] == "fail"
    answers["/api/v1/namespaces/kube-system/services"] = items()
    assert only(facilities.check_dns(info))[0] == "warn"


def test_the_namespace_s_level_is_told(info, answers, only):
    level, message, _ = only(facilities.check_namespace(info))
    assert (level, message.startswith("ml, pod security level restricted: jobs pass, but for")) == (
        "ok",
        True,
    )
    answers["/api/v1/namespaces/ml"] = status(404, "no", kind="namespaces", name="ml")
    assert only(facilities.check_namespace(info))[0] == "fail"


@pytest.mark.parametrize(("labels", "words"), [
    ({"scheduling.x-k8s.io/pod-group": "other"}, "the training operator makes a gang of every job"),
    ({}, "not used: the training operator runs without --gang-scheduler-name, by the last job here"),
], ids=["with", "without"])  # fmt: skip
def test_whether_coscheduling_is_used_is_seen_at_the_last_job(info, answers, only, labels, words):
    group = {"name": "scheduling.x-k8s.io", "preferredVersion": {"version": "v1alpha1"}}
    answers["/apis"] = {"groups": [group]}
    labels = {"training.kubeflow.org/job-name": "other", **labels}
    pod = {
        "metadata": {"name": "other-worker-0", "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z"}
    }
    answers["/api/v1/namespaces/ml/pods"] = items(pod)
    assert only(facilities.check_queues(info))[1] == f"coscheduling ({words})"
    answers["/api/v1/namespaces/ml/pods"] = forbidden("list", "pods")
    assert "which no pod of a job here shows" in only(facilities.check_queues(info))[1]


def test_a_queue_that_is_closed_says_so(info, answers, only):
    closed = {"type": "Active", "status": "False", "message": "LocalQueue is stopped"}
    path = next(path for path in answers if path.endswith("/localqueues"))
    answers[path] = items({"metadata": {"name": "team-a"}, "status": {"conditions": [closed]}})
    message = only(facilities.check_queues(info))[1]
    assert message == "Kueue; queues of ml: team-a (takes nothing in: LocalQueue is stopped)"


def test_queues_are_named(info, answers, only):
    assert only(facilities.check_queues(info))[:2] == ("ok", "Kueue; queues of ml: team-a")
    answers["/apis"] = {"groups": [
        {"name": name, "preferredVersion": {"version": "v1"}}
        for name in ("scheduling.x-k8s.io", "scheduling.volcano.sh")
    ]}  # fmt: skip
    answers["/api/v1/namespaces/ml/pods"] = items()
    message = only(facilities.check_queues(info))[1]
    assert message.startswith("coscheduling (used if the training operator runs with --gang-scheduler-name")
    assert message.endswith("), Volcano")
    answers["/apis"] = {"groups": []}
    assert only(facilities.check_queues(info))[1].startswith("none of Kueue, coscheduling, Volcano")


def test_where_most_rules_are_lacking_the_role_that_has_them_is_named_first(info, answers):
    answers[RULES] = {"status": {"resourceRules": []}}
    answers[REVIEWS] = {"status": {"allowed": False}}
    first, *others = permissions.check_permissions(info)
    assert first.level is Level.FAIL
    assert first.message.endswith("rules are lacking")
    assert first.fix.startswith("ask for k8s/rbac/user.yaml in namespace 'ml', or correct its name")
    assert any("apiGroups" in finding.fix for finding in others)
