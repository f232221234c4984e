"""What goes wrong on a cluster, on a cluster: each ends in the phase that docs/commands.md names."""

from __future__ import annotations

import json

import pytest

from benchmarks.soak_durability import VOLATILE
from tests.e2e.test_one_machine import relative_difference

SAVING = {"Global__eval_during_train": False, "Global__save_interval": 0, "Global__save_every_steps": 1}
LONG = {"Global__epochs": 40, "Global__eval_during_train": False, "Global__save_interval": 0}
KILL_RANK = (
    "import os, signal, pathlib\n"
    "for path in pathlib.Path('/proc').glob('[0-9]*/cmdline'):\n"
    "    words = path.read_bytes().split(b'\\0')\n"
    "    if b'trainer' in words and b'train' in words and b'trainer.node' not in words:\n"
    "        os.kill(int(path.parent.name), signal.SIGKILL)\n"
    "        break\n"
    "else:\n"
    "    raise SystemExit('no rank here')\n"
)


@pytest.fixture
def rows(place, space):
    """Return the rows of metrics.jsonl on the output claim."""
    (place.folder / "runs").symlink_to(space.output)
    return lambda: place.rows("runs/run")


def check_undisturbed(place, space, cfg, rows):
    """Train the same here, where nothing goes wrong, and compare weights and rows, without their times."""
    place.run("ftlaunch", "submit", cfg, "--on", "local", "--name", "here", "--wait")
    mine = place.folder / "local-output/run/latest.pdparams"
    assert relative_difference(space.output / "run/latest.pdparams", mine) == 0
    assert _steps(rows) == _steps(place.rows("local-output/run"))


def _steps(rows):
    return {
        row["step"]: {name: value for name, value in row.items() if name not in VOLATILE}
        for row in rows if row["event"] == "step"
    }  # fmt: skip


def delete(place, space, job):
    place.run("ftlaunch", "delete", job, "--force")
    place.wait_for(lambda: not space.leftovers(), what="nothing of the job to be left")


def test_a_killed_rank_and_pods_that_are_taken_away_cost_nothing_but_time(place, space, write_job, rows):
    """A save is written beside each step, so that whatever ends a pod may end one."""
    cfg = write_job(**SAVING, Global__epochs=16)
    place.run("ftlaunch", "submit", cfg, "--name", "pair")
    place.wait_for(lambda: any(row["event"] == "step" for row in rows()), what="training to begin")
    space.run_in_pod("pair-worker-1", KILL_RANK)
    place.wait_for(lambda: any(row.get("attempt") == 2 for row in rows()), what="the second attempt")
    uid = space.get("pod", "pair-worker-1")["metadata"]["uid"]
    space.kubectl("delete", "pod", "pair-worker-1", "--wait=false")
    place.wait_for(lambda: any(row.get("attempt") == 3 for row in rows()), what="the third attempt")
    space.evict("pair-worker-0")
    place.run("ftlaunch", "wait", "pair", "--timeout", "170s")
    assert place.status("pair")["state"] == "Succeeded"
    assert space.get("pod", "pair-worker-1")["metadata"]["uid"] != uid
    assert {row["attempt"] for row in rows()} == {1, 2, 3, 4}
    check_undisturbed(place, space, cfg, rows())
    delete(place, space, "pair")


def test_a_rank_that_cannot_go_on_fails_the_job_with_its_sentence(place, space, write_job):
    cfg = write_job(Global__epochs=1, Optimizer__lr={"name": "Constant", "learning_rate": 1e30})
    place.run("ftlaunch", "submit", cfg, "--name", "pair")
    assert place.run("ftlaunch", "wait", "--timeout", "120s", code=5).returncode == 5
    assert place.run("ftlaunch", "wait", "--propagate", code=4).returncode == 4
    assert "expected a finite loss" in place.run("ftlaunch", "status").stdout
    delete(place, space, "pair")


def test_a_rank_that_is_out_of_memory_fails_the_job(place, space, write_job):
    numbers = {"NormalizeImage": {"scale": "1.0/255.0", "mean": [0.5] * 3, "std": [0.25] * 3, "order": ""}}
    large = [{"DecodeImage": {"to_rgb": True}}, {"ResizeImage": {"size": 4096}}, numbers]
    cfg = write_job(
        Launch__resources={"memory": "900Mi", "shm": "64Mi"}, Launch__max_restarts=1,
        DataLoader__Train__dataset__transform_ops=large,
    )  # fmt: skip
    place.run("ftlaunch", "submit", cfg, "--name", "small")
    place.run("ftlaunch", "wait", "--timeout", "120s", code=5)
    status = place.status()
    assert (status["state"], status["exit"]) == ("Failed", 20)
    assert "[out-of-memory]" in place.run("ftlaunch", "why").stdout
    assert "OOMKilled: killed by signal 9" in status["reason"]
    delete(place, space, "small")


def test_a_deadline_ends_the_job_after_saving(place, space, write_job, rows):
    cfg = write_job(**LONG, Launch__deadline="30s")
    place.run("ftlaunch", "submit", cfg, "-o", "Global.epochs=4000", "--name", "late")
    place.run("ftlaunch", "wait", "--timeout", "120s", code=5)
    assert place.run("ftlaunch", "wait", "--propagate", code=23).returncode == 23
    assert any(row["event"] == "checkpoint" for row in rows())
    delete(place, space, "late")


@pytest.mark.parametrize(("changes", "state", "words", "verdict"), [
    ({"Launch__image": "registry.invalid/nothing:1"}, "pulling", "registry.invalid/nothing:1",
     "registry-unreachable later"),
    ({"Launch__volumes": [{"mount": "/data", "claim": "nothing"}, {"mount": "/output", "claim": "runs"}]},
     "scheduling", 'persistentvolumeclaim "nothing" not found', "claim-missing by-change"),
    ({"Launch__node_selector": {"no": "such"}}, "scheduling", "didn't match Pod's node affinity/selector",
     "node-selector by-change"),
    ({"Launch__resources": {"cpu": 4000}}, "scheduling", "Insufficient cpu", "insufficient-cpu later"),
    ({"Launch__secrets": [{"name": "no-secret", "key": "token", "mount": "/secrets/x"}]}, "starting",
     'secret "no-secret" not found', "secret-missing by-change"),
], ids=["no image", "no claim", "no such node", "too large", "no secret"])  # fmt: skip
def test_a_job_that_cannot_start_says_why_and_can_be_cancelled(
    place, space, write_job, changes, state, words, verdict
):
    place.run("ftlaunch", "submit", write_job(**changes), "--name", "stuck", "--no-preflight")
    place.run("ftlaunch", "wait", "--for", state, "--timeout", "30s")
    place.wait_for(lambda: words in place.run("ftlaunch", "status").stdout, what=words, timeout_s=40)
    why = json.loads(place.run("ftlaunch", "why", "--output", "json").stdout)
    assert f"{why['code']} {why['resolves']}" == verdict, why
    # the user has no ClusterRole: nodes, the pods on them, storage classes, named while a pod has no node
    assert len(why["skipped"]) == (3 if state == "scheduling" else 0), why
    place.run("ftlaunch", "cancel")
    place.run("ftlaunch", "wait", "--timeout", "60s", code=6)
    assert place.status()["state"] == "Cancelled"
    delete(place, space, "stuck")


def test_a_submit_that_could_never_run_is_refused_before_it_is_sent(place, space, write_job):
    volumes = [{"mount": "/data", "claim": "nothing"}, {"mount": "/output", "claim": "runs"}]
    done = place.run("ftlaunch", "submit", write_job(Launch__volumes=volumes), "--name", "never", code=2)
    assert "claim 'nothing' does not exist in this namespace [claim-missing]" in done.stderr
    assert space.leftovers() == []


def test_a_namespace_that_is_not_ours_is_refused_with_the_missing_rule(place, write_job):
    done = place.run("ftlaunch", "submit", write_job(), "--namespace", "default", code=3)
    assert "expected to be allowed to create a PaddleJob" in done.stderr
    assert "ask for k8s/rbac/user.yaml in namespace 'default'" in done.stderr
    assert place.run("ftlaunch", "list").stdout == ""


def test_of_two_submits_of_one_name_one_wins(place, space, write_job):
    cfg = write_job(**LONG)
    commands = [("ftlaunch", "submit", cfg, "--name", "one") for _ in range(2)]
    first = place.begin(*commands[0])
    place.env["FTLAUNCH_STATE"] = str(place.folder / "another-machine")
    second = place.begin(*commands[1])
    ends = sorted((process.communicate()[1], process.returncode) for process in (first, second))
    assert sorted(code for _, code in ends) == [0, 2]
    assert any("choose another name" in words for words, code in ends if code == 2)
    assert space.names("paddlejobs") == ["one"]
    assert len([name for name in space.names("configmaps") if name == "one-config"]) == 1


def test_a_job_can_be_cancelled_while_it_starts(place, space, write_job):
    place.run("ftlaunch", "submit", write_job(), "--name", "early")
    place.run("ftlaunch", "cancel")
    place.run("ftlaunch", "wait", "--timeout", "60s", code=6)
    place.wait_for(lambda: space.names("pods") == [], what="its pods to be gone")
    delete(place, space, "early")
