"""How right `status` and `why` are about when a job starts: 30 simulated queues under Kueue's rules.

    python benchmarks/bench_queue_estimate.py [--queues N] [--seed N] [--verbose]

A simulator of its own plays two days of a cohort: jobs arrive at random, in families of one config each, with
lengths, rates and reports that vary; some are of other tools and tell nothing; some have a higher priority;
ClusterQueues borrow, preempt and are strict or not. Now and then the objects that an API server would show
are made from it, and the estimator is asked about jobs that wait; how long they have waited is known in the
end, with all that came later. It shares no code with the estimator, and knows what that cannot.

Printed are, a queue each, the median relative error and the share of "cannot tell", and over all of them how
often a number was given that was wrong by more than half and by more than twice.
"""

from __future__ import annotations

import argparse
import random
import statistics
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from launcher.why.queue_model import JobProgress, QueueView, estimate_of
from trainer.protocol.progress import Progress, RankProgress

GPU = "nvidia.com/gpu"
BEGIN_S = 1_795_000_000.0
LENGTH_S, WARM_S, LOOK_S = 48 * 3600.0, 10 * 3600.0, 45 * 60.0
LEAST_S = 60.0  # a relative error of less is one of nothing


@dataclass
class Family:
    """Jobs of one config."""

    name: str
    gpus: int
    mean_s: float
    priority: int
    queue: int
    tells: bool  # of ours: it reports progress


@dataclass
class Job:
    uid: str
    family: Family
    length_s: float
    submitted_s: float
    done_s: float = 0.0  # of its length, before the present start
    started_s: float | None = None
    finished_s: float | None = None
    first_start_s: float | None = None
    preempted: bool = False
    suffix: str = ""
    training: float = 1.0  # the part of its length that is steps

    @property
    def name(self) -> str:
        return f"{self.family.name}-{self.suffix}"


@dataclass
class Lane:
    """A ClusterQueue."""

    nominal: int
    borrowing: int | None
    lending: int | None
    strict: bool
    within: str
    reclaim: str
    waiting: list[Job] = field(default_factory=list)
    running: list[Job] = field(default_factory=list)

    @property
    def used(self) -> int:
        return sum(job.family.gpus for job in self.running)


class World:
    """Two days of a cohort."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.lanes = [self._make_lane() for _ in range(rng.choice((1, 1, 2, 3)))]
        total = sum(lane.nominal for lane in self.lanes)
        self.families = [self._make_family(index) for index in range(rng.randint(5, 14))]
        demand = statistics.mean(item.gpus * item.mean_s for item in self.families)
        self.gap_s = demand / total / rng.uniform(0.95, 1.2)  # a little more comes than there is room for
        self.finished: list[Job] = []
        self.all: list[Job] = []
        self.now_s = 0.0

    def _make_lane(self) -> Lane:
        rng = self.rng
        return Lane(
            nominal=rng.choice((8, 16, 24, 32)), borrowing=rng.choice((None, None, 0, 8)),
            lending=rng.choice((None, None, 8)), strict=rng.random() < 0.25,
            within=rng.choice(("Never", "LowerPriority")), reclaim=rng.choice(("Never", "Never", "Any")),
        )  # fmt: skip

    def _make_family(self, index: int) -> Family:
        rng = self.rng
        queue = rng.randrange(len(self.lanes))
        gpus = rng.choice((1, 2, 4, 8, 8, 16))
        return Family(
            name=f"model{index}", gpus=min(gpus, self.lanes[queue].nominal),
            mean_s=min(6 * 3600.0, max(600.0, rng.lognormvariate(8.6, 0.8))),
            priority=100 if rng.random() < 0.12 else 0, queue=queue, tells=rng.random() < 0.93,
        )  # fmt: skip

    def arrive(self) -> None:
        rng = self.rng
        family = rng.choice(self.families)
        job = Job(
            uid=f"w{len(self.all)}", family=family, length_s=family.mean_s * rng.lognormvariate(0, 0.07),
            submitted_s=self.now_s, training=rng.uniform(0.95, 0.995),
            suffix="".join(rng.choices("bcdfghjklm0123456789", k=5)),
        )  # fmt: skip
        self.all.append(job)
        self.lanes[family.queue].waiting.append(job)

    def next_end(self) -> tuple[float, Job] | None:
        going = [
            (job.started_s + job.length_s - job.done_s, job)
            for lane in self.lanes for job in lane.running if job.started_s is not None
        ]  # fmt: skip
        return min(going, key=lambda item: item[0], default=None)

    def end(self, job: Job) -> None:
        self.lanes[job.family.queue].running.remove(job)
        job.finished_s = self.now_s
        self.finished.append(job)

    # Kueue's cycle: a head a queue, those within their quota first

    def cycle(self) -> None:
        while self._round():
            pass

    def _round(self) -> bool:
        heads: list[tuple[Lane, Job]] = []
        for lane in self.lanes:
            lane.waiting.sort(key=lambda job: (-job.family.priority, job.submitted_s))
            for job in lane.waiting:
                if self.room(lane) >= job.family.gpus:
                    heads.append((lane, job))
                    break
                if self.preempt(lane, job):
                    return True
                if lane.strict:
                    break
        heads.sort(
            key=lambda head: (
                head[0].used + head[1].family.gpus > head[0].nominal,
                -head[1].family.priority, head[1].submitted_s,
            )
        )  # fmt: skip
        if not heads:
            return False
        self.start(*heads[0])
        return True

    def room(self, lane: Lane) -> int:
        def kept(one: Lane) -> int:  # never lent
            return 0 if one.lending is None else max(0, one.nominal - one.lending)

        if len(self.lanes) == 1:
            return lane.nominal - lane.used
        shared = sum(one.nominal - kept(one) for one in self.lanes)
        taken = sum(max(0, one.used - kept(one)) for one in self.lanes)
        room = max(0, kept(lane) - lane.used) + shared - taken
        return room if lane.borrowing is None else min(room, lane.nominal + lane.borrowing - lane.used)

    def preempt(self, lane: Lane, job: Job) -> bool:
        own = [
            (lane, other) for other in lane.running
            if lane.within == "LowerPriority" and other.family.priority < job.family.priority
        ]  # fmt: skip
        others = [
            (other_lane, other) for other_lane in self.lanes
            if other_lane is not lane and lane.reclaim == "Any"
            for other in other_lane.running if other_lane.used > other_lane.nominal
        ]  # fmt: skip
        order = sorted(others, key=lambda item: (item[1].family.priority, -(item[1].started_s or 0)))
        order += sorted(own, key=lambda item: (item[1].family.priority, -(item[1].started_s or 0)))
        gone: list[tuple[Lane, Job]] = []
        reclaims = False
        for other_lane, other in order:
            if other_lane is not lane and other_lane.used <= other_lane.nominal:
                continue
            other_lane.running.remove(other)
            gone.append((other_lane, other))
            reclaims = reclaims or other_lane is not lane
            fits = self.room(lane) >= job.family.gpus
            if fits and (not reclaims or lane.used + job.family.gpus <= lane.nominal):
                break
        else:
            for other_lane, other in gone:
                other_lane.running.append(other)
            return False
        for other_lane, other in gone:
            assert other.started_s is not None
            saved = max(0.0, other.done_s + self.now_s - other.started_s - self.rng.uniform(0, 120))
            other.done_s, other.started_s, other.preempted = saved, None, True
            other_lane.waiting.append(other)
        self.start(lane, job)
        return True

    def start(self, lane: Lane, job: Job) -> None:
        lane.waiting.remove(job)
        lane.running.append(job)
        job.started_s = self.now_s
        if job.first_start_s is None:
            job.first_start_s = self.now_s

    # what an API server would show

    def view(self) -> QueueView:
        reported = {
            ("ml", job.name): self._pace(job)
            for lane in self.lanes for job in lane.running if job.family.tells
        }  # fmt: skip
        kept = [job for job in self.finished if self.now_s - (job.finished_s or 0) < 24 * 3600]
        shown = [*kept, *(job for lane in self.lanes for job in (*lane.running, *lane.waiting))]
        return QueueView(
            now_s=BEGIN_S + self.now_s,
            workloads=tuple(map(self._workload, shown)),
            local_queues=tuple(
                {"metadata": {"name": f"l{index}", "namespace": "ml"}, "spec": {"clusterQueue": f"c{index}"}}
                for index in range(len(self.lanes))
            ),
            cluster_queues=tuple(self._cluster_queue(index, lane) for index, lane in enumerate(self.lanes)),
            reported=reported,
            ours=frozenset(("ml", job.name) for job in shown if job.family.tells),
        )

    def _pace(self, job: Job) -> JobProgress:
        rng = self.rng
        assert job.started_s is not None
        elapsed_s = self.now_s - job.started_s
        training_s = job.length_s * job.training  # the rest is the last evaluation, and saving
        step_s, total = 0.4, max(10, round(training_s / 0.4))
        step = min(total, round((job.done_s + elapsed_s) / step_s))
        if elapsed_s < 90 or step < 1:
            return JobProgress(progress=None, began_s=BEGIN_S + job.started_s)
        rank = RankProgress(
            rank=0, node=0, step=step, epoch=0, phase="train", loss=1.0, images_per_s=None, silent_s=0.3
        )
        seen_s = step_s * rng.lognormvariate(0, 0.08)  # over the last minutes
        told_s = self.now_s - rng.uniform(0, 30)
        progress = Progress(
            time_s=BEGIN_S + told_s, attempt=2 if job.preempted else 1, world_size=1, total_steps=total,
            ranks=(rank,), step_s=seen_s,
        )  # fmt: skip
        return JobProgress(progress=progress, began_s=BEGIN_S + job.started_s)

    def _workload(self, job: Job) -> dict[str, Any]:
        conditions = []
        if job.started_s is not None:
            conditions.append(_condition("QuotaReserved", job.started_s))
        if job.preempted and job.started_s is None:
            conditions.append({**_condition("Evicted", self.now_s), "reason": "Preempted"})
        if job.finished_s is not None:
            conditions.append(_condition("Finished", job.finished_s))
        amount = {GPU: str(job.family.gpus)}
        admission = {
            "clusterQueue": f"c{job.family.queue}",
            "podSetAssignments": [{"name": "node", "flavors": {GPU: "f"}, "resourceUsage": amount}],
        }
        return {
            "metadata": {
                "name": f"w-{job.name}", "namespace": "ml", "uid": job.uid,
                "creationTimestamp": _text(job.submitted_s),
                "ownerReferences": [
                    {"kind": "Job", "apiVersion": "batch/v1", "name": job.name, "uid": f"j{job.uid}"}
                ],
            },
            "spec": {"queueName": f"l{job.family.queue}", "priority": job.family.priority, "active": True},
            "status": {
                "conditions": conditions, **({"admission": admission} if job.started_s is not None else {}),
            },
            "pods": 1, "requests": {**amount, "pods": "1"},
        }  # fmt: skip

    def _cluster_queue(self, index: int, lane: Lane) -> dict[str, Any]:
        quota: dict[str, Any] = {"name": GPU, "nominalQuota": lane.nominal}
        if len(self.lanes) > 1:
            limits = {"borrowingLimit": lane.borrowing, "lendingLimit": lane.lending}
            quota |= {key: value for key, value in limits.items() if value is not None}
        return {
            "metadata": {"name": f"c{index}"},
            "spec": {
                "cohortName": "all" if len(self.lanes) > 1 else "",
                "queueingStrategy": "StrictFIFO" if lane.strict else "BestEffortFIFO",
                "preemption": {"withinClusterQueue": lane.within, "reclaimWithinCohort": lane.reclaim},
                "resourceGroups": [
                    {"coveredResources": [GPU], "flavors": [{"name": "f", "resources": [quota]}]}
                ],
            },
            "status": {"pendingWorkloads": len(lane.waiting), "reservingWorkloads": len(lane.running)},
        }  # fmt: skip


def _text(at_s: float) -> str:
    moment = datetime.fromtimestamp(BEGIN_S + at_s, tz=timezone.utc)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _condition(kind: str, at_s: float) -> dict[str, str]:
    return {"type": kind, "status": "True", "reason": kind, "lastTransitionTime": _text(at_s)}


@dataclass
class Asked:
    """An estimate, and what came of it."""

    job: Job
    at_s: float
    in_s: float | None
    early_s: float | None
    late_s: float | None
    reason: str
    passed: bool = False  # by a job that was submitted later, which nobody could know


def simulate(seed: int) -> list[tuple[float | None, float, Asked]]:
    """Return estimates, what was true, and what was asked."""
    rng = random.Random(seed)
    world = World(rng)
    asked: list[Asked] = []
    starts: dict[str, list[float]] = {}
    arrival_s, look_s = 0.0, WARM_S
    while world.now_s < LENGTH_S:
        ending = world.next_end()
        moments = [arrival_s, look_s, *([ending[0]] if ending else [])]
        world.now_s = min(moments)
        if ending and ending[0] <= world.now_s:
            world.end(ending[1])
        elif arrival_s <= world.now_s:
            world.arrive()
            arrival_s = world.now_s + rng.expovariate(1 / world.gap_s)
        else:
            look_s += LOOK_S
            waiting = [job for lane in world.lanes for job in lane.waiting]
            view = world.view() if waiting else None
            for job in rng.sample(waiting, min(4, len(waiting))):
                estimate = estimate_of(view, {"metadata": {"uid": f"j{job.uid}"}}) if view else None
                assert estimate is not None
                asked.append(
                    Asked(
                        job=job, at_s=world.now_s, in_s=estimate.in_s, early_s=estimate.early_s,
                        late_s=estimate.late_s, reason=estimate.reason,
                    )
                )  # fmt: skip
            continue
        before = {job.uid for lane in world.lanes for job in lane.running}
        world.cycle()
        for lane in world.lanes:
            for job in lane.running:
                if job.uid not in before:
                    starts.setdefault(job.uid, []).append(world.now_s)
    found = []
    for item in asked:
        later = [at_s for at_s in starts.get(item.job.uid, []) if at_s > item.at_s]
        if later and later[0] - item.at_s >= LEAST_S:
            item.passed = any(
                job.submitted_s > item.at_s and job.first_start_s is not None and job.first_start_s < later[0]
                for job in world.all
            )
            found.append((item.in_s, later[0] - item.at_s, item))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--queues", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--verbose", action="store_true", help="print each estimate")
    given = parser.parse_args()
    medians, errors, silent, total = [], [], 0, 0
    unforeseen: list[float] = []
    for index in range(given.queues):
        answers = simulate(given.seed * 1000 + index)
        own = [abs(in_s - true_s) / true_s for in_s, true_s, _ in answers if in_s is not None]
        total += len(answers)
        silent += len(answers) - len(own)
        errors += own
        unforeseen += [
            abs(in_s - true_s) / true_s
            for in_s, true_s, item in answers if in_s is not None and not item.passed
        ]  # fmt: skip
        if own:
            medians.append(statistics.median(own))
        told = f"{statistics.median(own):6.1%}" if own else "     -"
        untold = f"{1 - len(own) / len(answers):4.0%}" if answers else "   -"
        print(f"queue {index:2}: {len(answers):3} asked, median error {told}, cannot tell {untold}")
        if given.verbose:
            for in_s, true_s, item in answers:
                said = f"{in_s / 60:6.0f}" if in_s is not None else "     -"
                print(f"    said {said} min, was {true_s / 60:6.0f} min  {item.reason}")
    print(f"\n{total} asked in {given.queues} queues, {silent / total:.0%} of them: cannot tell")
    print(
        f"median relative error: {statistics.median(errors):.1%}; median of the queues' medians:"
        f" {statistics.median(medians):.1%}; worst queue: {max(medians):.1%}"
    )
    for bound in (0.5, 2.0):
        wrong = sum(error > bound for error in errors) / len(errors)
        own_fault = sum(error > bound for error in unforeseen) / max(1, len(unforeseen))
        print(
            f"wrong by more than {bound:.0%}: {wrong:.1%} of the estimates;"
            f" {own_fault:.1%} of those that no later job has passed"
        )


if __name__ == "__main__":
    main()
