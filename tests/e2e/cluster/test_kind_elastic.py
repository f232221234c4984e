"""A job of each kind that may train with fewer nodes loses one, goes on, and takes it back.

`FTLAUNCH_LOSSES=100 pytest -s -m table tests/e2e/cluster/test_kind_elastic.py -k jobset` draws so many, of
several jobs at once and of a few losses each: the Job controller waits 10 s before it makes an index's first
pod anew, then 20 s, 40 s, at the end ten minutes (Kubernetes, "Backoff limit per index").
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
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
from tests.e2e.cluster.test_kinds import pod_of
from tests.e2e.conftest import CLASSES, PER_CLASS

FEWER = "fewer nodes, and more again"
LOSSES, SEED = int(os.environ.get("FTLAUNCH_LOSSES", "2")), int(os.environ.get("FTLAUNCH_SEED", "0"))
LOSSES_A_JOB, JOBS_AT_ONCE = 2, 3
NODES = 2
SUDDEN = ("killed", "forced")
HOWS = (*SUDDEN, "deleted", "evicted")
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


class Pair:
    """A job of two nodes that may train with one, and what its ranks have noted of their training."""

    def __init__(self, place, space, kind, name):
        self.place, self.space, self.kind, self.name = place, space, kind, name
        self.hows, self.after_kill = [], set()

    def noted(self):
        """Return what each rank has trained on, a row a batch; the last one may be cut off by a kill."""
        found = []
        for path in sorted((self.space.output / self.name).glob("noted-*")):
            *lines, _ = path.read_text().split("\n")
            found += [json.loads(line) for line in lines]
        return found

    def attempt(self):
        return max((row["attempt"] for row in self.noted()), default=0)

    def await_attempt(self, *, after):
        """Wait until ranks train that were started anew; nothing of the job object's is believed."""
        what = f"{self.name} to begin" if after == 0 else f"{self.name} to begin again"
        self.place.wait_for(lambda: self.attempt() > after, what=what, timeout_s=180)

    def trains_on(self, *absent):
        """Wait until all nodes but these train; return the attempt."""

        def trains():
            # Status may still be of the attempt before, and the next loss then hits a node that only joins.
            ranks = len(list((self.space.output / self.name).glob(f"noted-{self.attempt()}-*")))
            said = ranks == NODES - len(absent) and self.place.status(self.name)
            return said and said["absent_nodes"] == [*absent]

        self.place.wait_for(trains, what=f"{self.name}: all but {absent}")
        return self.attempt()

    def lose(self, how):
        """Have node 1 be gone: told to stop first, or killed, which costs the step that it is in."""
        self.hows.append(how)
        about = pod_of(self.space, self.kind, self.name, 1)["metadata"]
        name = about["name"]
        match how:
            case "deleted":
                self.space.kubectl("delete", "pod", name, "--wait=false")
            case "evicted":
                self.space.evict(name)
            case "forced":  # a kubelet gives it a second or two
                self.space.kubectl("delete", "pod", name, "--force", "--grace-period=0")
            case "killed":
                kill(about["uid"])

    def check(self):
        """Hold what was trained on: every sample once an epoch, and nothing twice but the step of a kill."""
        self.place.run("ftlaunch", "cancel", self.name)
        self.place.run("ftlaunch", "wait", self.name, "--timeout", "120s", code=6)
        trained = self.noted()
        redone = count_redone(trained)
        assert {key: many for key, many in redone.items() if many > (key in self.after_kill)} == {}
        assert sum(redone.values()) <= sum(how in SUDDEN for how in self.hows)
        whole = range(max(row["epoch"] for row in trained))
        samples = {epoch: Counter(range(CLASSES * PER_CLASS)) for epoch in whole}
        assert find_wrong_steps(trained, samples_of=samples) == []
        steps = max(row["step"] for row in trained) + 1
        self.place.run("ftlaunch", "delete", self.name, "--force")
        return Counter(
            losses=len(self.hows), attempts=len(redone), steps=steps, redone=sum(redone.values()),
            **Counter(self.hows),
        )  # fmt: skip


def kill(uid):
    """End the first process of a pod, as no signal from within can: the kit's pods run on this machine."""
    for path in Path("/proc").glob("[0-9]*/cgroup"):
        with contextlib.suppress(OSError):
            if uid in path.read_text() and b"trainer.node" in path.with_name("cmdline").read_bytes():
                os.kill(int(path.parent.name), signal.SIGKILL)
                return
    raise AssertionError(f"expected the node process of the pod {uid} on this machine")


@pytest.mark.table  # minutes
@pytest.mark.timeout(max(600, 60 * LOSSES), func_only=True)
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
    volumes = [
        {"mount": "/data", "claim": "data", "read_only": True},
        {"mount": "/output", "claim": "runs", "sub_path": "{job}"},
    ]
    longer = {
        **LONG, "Global__epochs": 20_000, "Global__save_every_steps": 1, "Launch__code": "my",
        "Launch__extra_modules": ["noting"], "Launch__grace_period": "60s", "Launch__volumes": volumes,
        "Launch__nodes": {"min": 1, "max": NODES, "patience": "5s"},
        "DataLoader__Train__sampler__batch_size": 4,
    }  # fmt: skip
    submit = ("submit", write_job(**longer), "--api", kind.name, "--name")
    if kind is PADDLE_JOB:
        assert "Launch.nodes" in place.run("ftlaunch", *submit, "pair", code=2).stderr
        note(kind, FEWER, how="not there")
        return
    draws, found = random.Random(SEED), Counter()
    with showing(kind, FEWER):
        while found["losses"] < LOSSES:
            wanted = min(JOBS_AT_ONCE, (LOSSES - found["losses"]) // LOSSES_A_JOB or 1)
            jobs = [Pair(place, space, kind, f"pair-{number}") for number in range(wanted)]
            for job in jobs:
                place.run("ftlaunch", *submit, job.name)
            for job in jobs:
                job.await_attempt(after=0)
            for number in range(LOSSES_A_JOB):
                is_first = not found and number < 2
                stays_away = is_first or draws.random() < 0.5
                hows = [("deleted", "killed")[number] if is_first else draws.choice(HOWS) for _ in jobs]
                lose_and_return(jobs, hows, hosts, stays_away=stays_away)
            for job in jobs:
                found += job.check()
            place.wait_for(lambda: not space.leftovers(), what="nothing of the jobs to be left")
            for number in range(wanted):  # names are taken again, and output folders with them
                shutil.rmtree(space.output / f"pair-{number}")
            sys.stdout.write(f"\n{dict(found)}\n")  # shown with -s


def lose_and_return(jobs, hows, hosts, *, stays_away):
    """Take a node from each job; it comes back at once, or once all have gone on without it."""
    begun = [job.attempt() for job in jobs]
    if stays_away:
        hosts("cordon")
    for job, how in zip(jobs, hows, strict=True):
        job.lose(how)
    for job, was in zip(jobs, begun, strict=True):
        job.await_attempt(after=was)
    if stays_away:
        fewer = [job.trains_on(1) for job in jobs]
        for job in jobs:
            assert job.place.status(job.name)["state"] == "Running"
            job.place.wait_for(
                lambda job=job: explained(job.place, job.name)["code"] == "fewer-nodes", what="why to say so"
            )
        hosts("uncordon")
        for job, was in zip(jobs, fewer, strict=True):
            job.await_attempt(after=was)
    for job, was, how in zip(jobs, begun, hows, strict=True):
        now = job.trains_on()
        job.after_kill |= set(range(was + 1, now + 1)) if how in SUDDEN else set()
