"""A job of each kind that may train with fewer nodes loses one, goes on, and takes it back.

`FTLAUNCH_LOSSES=15 pytest -s -m table tests/e2e/cluster/test_kind_elastic.py -k jobset` draws so many.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import sys
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.soak_elastic import count_redone, find_wrong_steps
from launcher.kinds.registry import JOB_SET, PADDLE_JOB
from tests.e2e.cluster.kind_table import note, of_kinds, showing
from tests.e2e.cluster.test_faults import LONG, rows  # noqa: F401 - a fixture
from tests.e2e.cluster.test_kind_faults import explained
from tests.e2e.cluster.test_kinds import delete, pod_of
from tests.e2e.conftest import CLASSES, PER_CLASS

FEWER = "fewer nodes, and more again"
LOSSES, SEED = int(os.environ.get("FTLAUNCH_LOSSES", "2")), int(os.environ.get("FTLAUNCH_SEED", "0"))
NODES = 2
TOLD, SUDDEN = ("deleted", "evicted"), ("killed", "forced")
NOTING = """
import json
from pathlib import Path

from trainer.engine.step import Stepper
from trainer.ranks import read_ranks

real_step, ranks = Stepper.step, read_ranks()


def step(stepper, fed, *, step):
    taken, batch = real_step(stepper, fed, step=step), fed.batch
    samples = [int(index) for index, valid in zip(batch.indices, batch.valid) if valid]
    row = {"attempt": ranks.attempt, "epoch": batch.epoch, "step": step, "samples": samples}
    with Path(f"/output/noted-{ranks.attempt}-{ranks.rank}").open("a") as noted:
        noted.write(json.dumps(row) + "\\n")
    return taken


Stepper.step = step
"""


@pytest.fixture(autouse=True)
def _controllers(controllers) -> None:
    """Those of all kinds run."""


@pytest.fixture
def hosts(cluster):
    """Let nodes of the cluster take no other pod (`cordon`), at the longest until the test ends."""
    names = [
        item["metadata"]["name"]
        for item in cluster.get("nodes")["items"] if not item["spec"].get("unschedulable")
    ]  # fmt: skip
    yield lambda verb: cluster.kubectl(verb, *names)
    cluster.kubectl("uncordon", *names)


def noted(space):
    """Return what each rank has trained on, a row a batch; the last one may be cut off by a kill."""
    found = []
    for path in sorted(space.output.glob("noted-*")):
        *lines, _ = path.read_text().split("\n")
        found += [json.loads(line) for line in lines]
    return found


def lose(space, kind, how):
    """Have node 1 be gone: told to stop first, unless it is killed, which costs the step that it is in."""
    about = pod_of(space, kind, "pair", 1)["metadata"]
    name = about["name"]
    match how:
        case "deleted":
            space.kubectl("delete", "pod", name, "--wait=false")
        case "evicted":
            space.evict(name)
        case "forced":  # a kubelet gives it a second or two
            space.kubectl("delete", "pod", name, "--force", "--grace-period=0")
        case "killed":
            kill(about["uid"])


def kill(uid):
    """End the first process of a pod, as no signal from within can: the kit's pods run on this machine."""
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        with contextlib.suppress(OSError):
            if uid in path.read_text() and b"trainer.node" in path.with_name("cmdline").read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)
                return
    raise AssertionError(f"expected the node process of the pod {uid} on this machine")


@pytest.mark.table  # minutes
@pytest.mark.timeout(max(600, 120 * LOSSES), func_only=True)
@of_kinds(JOB_SET)
def test_a_job_goes_on_without_a_node_that_is_gone_and_takes_it_back_where_an_epoch_ends(
    place,
    space,
    kit,
    write_job,
    hosts,
    rows,  # noqa: F811
    kind,
):
    """Nodes are told to stop and killed in turn, then at random; what each step was trained on is held."""
    (place.folder / "my").mkdir()
    (place.folder / "my/noting.py").write_text(NOTING)
    longer = {
        **LONG, "Global__epochs": 20_000, "Global__save_every_steps": 1, "Launch__code": "my",
        "Launch__extra_modules": ["noting"], "Launch__grace_period": "60s",
        "Launch__nodes": {"min": 1, "max": NODES, "patience": "5s"},
        "DataLoader__Train__sampler__batch_size": 4,
    }  # fmt: skip
    submit = ("submit", write_job(**longer), "--api", kind.name, "--name", "pair")
    if kind is PADDLE_JOB:
        assert "Launch.nodes" in place.run("ftlaunch", *submit, code=2).stderr
        note(kind, FEWER, how="not there")
        return

    def ranks_of(number):
        return len(list(space.output.glob(f"noted-{number}-*")))

    def attempt():
        return max((row["attempt"] for row in noted(space)), default=0)

    def trains_on(*absent):
        # Status may still be of the attempt before, and the next loss then hits a node that is only joining.
        place.wait_for(
            lambda: (
                ranks_of(attempt()) == NODES - len(absent) and place.status()["absent_nodes"] == [*absent]
            ),
            what=f"all but {absent}",
        )
        return attempt()

    with showing(kind, FEWER):
        place.run("ftlaunch", *submit)
        place.wait_for(lambda: attempt() == 1, what="training to begin", timeout_s=180)
        draws, after_kill, hows = random.Random(SEED), set(), []
        for number in range(LOSSES):
            how = ("deleted", "killed")[number] if number < 2 else draws.choice((*SUDDEN, *TOLD))
            hows.append(how)
            stays_away = number < 2 or draws.random() < 0.5
            begun = attempt()
            if stays_away:
                hosts("cordon")
            lose(space, kind, how)
            place.wait_for(lambda was=begun: attempt() > was, what="the next attempt", timeout_s=180)
            if stays_away:
                fewer = trains_on(1)
                assert place.status()["state"] == "Running"
                place.wait_for(lambda: explained(place)["code"] == "fewer-nodes", what="why to say so")
                hosts("uncordon")
                place.wait_for(lambda was=fewer: attempt() > was, what="another attempt", timeout_s=180)
            now = trains_on()
            after_kill |= set(range(begun + 1, now + 1)) if how in SUDDEN else set()
        place.run("ftlaunch", "cancel")
        place.run("ftlaunch", "wait", "--timeout", "120s", code=6)
        trained = noted(space)
        redone = count_redone(trained)
        assert {number: many for number, many in redone.items() if many > (number in after_kill)} == {}
        assert sum(redone.values()) <= sum(how in SUDDEN for how in hows)
        whole = range(max(row["epoch"] for row in trained))
        samples = {epoch: Counter(range(CLASSES * PER_CLASS)) for epoch in whole}
        assert find_wrong_steps(trained, samples_of=samples) == []
        steps = max(row["step"] for row in trained) + 1
        said = f"{len(redone)} attempts, {steps} steps, {sum(redone.values())} done again"
        sys.stdout.write(f"\n{LOSSES} losses, {' '.join(hows)}: {said}\n")  # shown with -s
        delete(place, space, "pair")
