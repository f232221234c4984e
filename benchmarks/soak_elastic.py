"""Takes nodes from running jobs and gives them back, at random: `python -m benchmarks.soak_elastic`.

A round is a job of `--nodes` real node processes on this machine that may train with two of them
(`Launch.nodes: {min: 2, …}`). So many times a node is told to stop, is killed, or comes (back). What ranks
have trained on is noted, and held against what an undisturbed run trains on:

* each step that counts was trained once, on each of its samples once, by whichever nodes were there;
* a node that was told to stop costs no step; one that was killed costs what was not saved: with a save after
  each step, as here, at most one.

Ranks are a stand-in, so that a round takes seconds (`tests/trainer/node/standin.py`); with `--trainer` they
are the real trainer on CPUs (`benchmarks.elastic_rank`), which takes minutes.

The seed is printed. Rounds that passed are noted in `--notes`, and are not run again: whoever types the same
line goes on. A failure leaves its folder, and prints it.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.e2e.conftest import CLASSES, PER_CLASS, config, draw_images
from tests.trainer.node.conftest import Job, wait_for

EVENTS_A_ROUND = 10
_RANK = Path(__file__).with_name("elastic_rank.py")
_EPOCH_STEPS = 25
_BATCH = 2


@dataclass(frozen=True, kw_only=True)
class Round:
    """What came of a round.

    Attributes:
        events: What was done, in order, such as `-2` (told to stop), `!2` (killed), `+2` (came).
        attempts: Starts of the ranks.
        steps: Steps that count.
        told_redone: Most steps that a node cost which was told to stop.
        redone: Most steps that any attempt did again.
        sizes: Numbers of nodes that trained, in order.
        faults: What is wrong; none where all is well.
    """

    events: list[str]
    attempts: int
    steps: int
    told_redone: int
    redone: int
    sizes: list[int]
    faults: list[str]


def read_noted(scratch: Path) -> list[dict[str, Any]]:
    """Return the rows of all ranks and attempts; a line that was cut by a kill is none."""
    rows = []
    for path in sorted(scratch.glob("attempt*/noted.*")):
        for line in path.read_text().splitlines():
            try:
                rows.append(json.loads(line))
            except ValueError:
                continue
    return rows


def find_wrong_steps(rows: list[dict[str, Any]], *, samples_of: dict[int, Counter[int]]) -> list[str]:
    """Hold what was trained on against what it should have been.

    Args:
        rows: Of all ranks.
        samples_of: Number of an epoch -> its samples; only these are looked at.
    """
    counting: dict[int, int] = {}  # step -> the attempt whose work on it was not lost
    for row in rows:
        counting[row["step"]] = max(counting.get(row["step"], 0), row["attempt"])
    found: dict[int, Counter[int]] = {epoch: Counter() for epoch in samples_of}
    for row in rows:
        if row["epoch"] in found and counting[row["step"]] == row["attempt"]:
            found[row["epoch"]].update(row["samples"])
    return [
        f"epoch {epoch + 1}: missing {sorted((wanted - found[epoch]).elements())[:9]}, "
        f"more than once {sorted((found[epoch] - wanted).elements())[:9]}"
        for epoch, wanted in samples_of.items()
        if found[epoch] != wanted
    ]


def count_redone(rows: list[dict[str, Any]]) -> dict[int, int]:
    """Return how many steps each attempt did again that an earlier one had done."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for row in rows:
        attempt, step = row["attempt"], row["step"]
        first[attempt] = min(first.get(attempt, step), step)
        last[attempt] = max(last.get(attempt, step), step)
    redone, reached = {}, -1
    for attempt in sorted(first):
        redone[attempt] = max(0, reached + 1 - first[attempt])
        reached = max(reached, last[attempt])
    return redone


class Soak:
    """Rounds of one seed."""

    def __init__(self, *, nodes: int, real: bool) -> None:
        self._nodes = nodes
        self._real = real

    def run(self, folder: Path, draws: random.Random) -> Round:
        """Run a round."""
        job = Job(
            folder, nodes=self._nodes, procs_per_node=1, min_nodes=2, patience_s=0.5, max_restarts=1000,
            rendezvous_timeout_s=300.0, grace_s=60.0,
        )  # fmt: skip
        try:
            return self._run(job, draws)
        finally:
            job.close()

    def _run(self, job: Job, draws: random.Random) -> Round:
        plan, env, samples = self._prepare(job)
        running = {node: job.start(node, plan=plan, env=env)[0] for node in range(self._nodes)}
        coordinator, events = running.pop(0), []
        self._await_attempt(job, coordinator, after=0)
        for _ in range(EVENTS_A_ROUND):
            time.sleep(draws.uniform(0.1, 1.5) * (4 if self._real else 1))
            before = job.run_file.starts
            away = sorted(set(range(1, self._nodes)) - running.keys())
            if away and (len(running) == 1 or draws.random() < 0.5):
                node = draws.choice(away)
                running[node] = job.start(node, plan=plan, env=env)[0]
                events.append(f"+{node}")
                if draws.random() < 0.7:
                    self._await_attempt(job, coordinator, after=before)
                continue
            node = draws.choice(sorted(running))
            kill = draws.random() < 0.5
            trains = node in parse_nodes((job.run_file.nodes or ())[-1].nodes)
            running[node].process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)
            running.pop(node).exit(timeout_s=120.0)
            events.append(f"{'!' if kill else '-'}{node}")
            if draws.random() < 0.7 and trains:  # one that waited is missed by nobody
                self._await_attempt(job, coordinator, after=before)
        for one in (coordinator, *running.values()):
            one.process.send_signal(signal.SIGTERM)
        for one in (coordinator, *running.values()):
            one.exit(timeout_s=120.0)
        return self._judge(job, coordinator.text, events, samples)

    def _prepare(self, job: Job) -> tuple[dict[str, Any], dict[str, str], Counter[int] | None]:
        if not self._real:
            plan = {"steps": 10**6, "epoch_steps": _EPOCH_STEPS, "saves": True, "notes": True}
            return plan, {}, None
        draw_images(job.folder)
        document = config(
            Global__epochs=1000, Global__output_dir="/output", Global__save_every_steps=1,
            Global__eval_during_train=False, DataLoader__Train__sampler__batch_size=_BATCH,
        )  # fmt: skip
        count = write_lists(job.folder, document)
        path = job.folder / "cfg.yaml"
        path.write_text(yaml.safe_dump(document))
        return {"config": str(path)}, {"FTL_TEST_RANK": str(_RANK)}, Counter(range(count))

    def _await_attempt(self, job: Job, coordinator: Any, *, after: int) -> None:
        """Wait until a later attempt has trained a step; a node that comes may have to wait for an epoch."""

        def trains() -> bool:
            assert coordinator.process.poll() is None, coordinator.text[-4000:]
            begun = [int(path.parent.name[7:]) for path in job.scratch.glob("attempt*/noted.0")]
            return max(begun, default=0) > after

        wait_for(trains, timeout_s=300.0, what=f"attempt {after + 1} to train")

    def _judge(self, job: Job, log: str, events: list[str], samples: Counter[int] | None) -> Round:
        rows, run = read_noted(job.scratch), job.run_file
        redone, steps = count_redone(rows), 1 + max(row["step"] for row in rows)
        if samples is None:
            parts = _EPOCH_STEPS * self._nodes
            whole = range(steps // _EPOCH_STEPS)
            wanted = {epoch: Counter(range(epoch * parts, (epoch + 1) * parts)) for epoch in whole}
        else:
            wanted = dict.fromkeys(range(max(row["epoch"] for row in rows)), samples)
        faults = find_wrong_steps(rows, samples_of=wanted)
        killed = {
            number + 1
            for number in range(1, run.starts)
            if any(f"[a{number} n0] node " in line and "disappeared" in line for line in log.splitlines())
        }
        told = max((count for attempt, count in redone.items() if attempt not in killed), default=0)
        if told:
            faults.append(f"{told} steps were done again though nobody was killed")
        if not self._real and max(redone.values()) > 1:
            faults.append(f"{max(redone.values())} steps were done again")
        if run.fingerprints and not any(event.startswith("!") for event in events):
            faults.append(f"restarts were counted: {run.fingerprints}")
        sizes = [len(parse_nodes(one.nodes)) for one in run.nodes or ()]
        return Round(
            events=events, attempts=run.starts, steps=steps, told_redone=told,
            redone=max(redone.values()), sizes=sizes, faults=faults,
        )  # fmt: skip


def write_lists(folder: Path, document: dict[str, Any]) -> int:
    """Write the lists of drawn images, have a config name them, and return how many train."""
    for split, part in (("Train", "train"), ("Eval", "val")):
        paths = sorted((folder / part).glob("class*/*.jpg"))
        listed = folder / f"{part}_list.txt"
        listed.write_text("".join(f"{path} {path.parent.name[5:]}\n" for path in paths))
        document["DataLoader"][split]["dataset"] |= {"image_root": "/", "cls_label_path": str(listed)}
    return CLASSES * PER_CLASS


def parse_nodes(text: str) -> set[int]:
    """Return the nodes of `0-2,5`."""
    ends = [part.split("-") for part in text.split(",")]
    return {node for end in ends for node in range(int(end[0]), int(end[-1]) + 1)}


def main(arguments: list[str]) -> int:
    """Run the rounds that are left; 1 where one failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--events", type=int, default=100, help="losses and returns in all")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--nodes", type=int, default=4)
    parser.add_argument("--trainer", action="store_true", help="real ranks")
    parser.add_argument("--notes", type=Path, default=Path("build/soak-elastic.jsonl"))
    wanted = parser.parse_args(arguments)
    key = {"seed": wanted.seed, "nodes": wanted.nodes, "trainer": wanted.trainer}
    print(f"soak-elastic: --events {wanted.events} --seed {wanted.seed} --nodes {wanted.nodes}")
    lines = wanted.notes.read_text().splitlines() if wanted.notes.exists() else []
    passed = {
        note["round"] for note in map(json.loads, lines) if all(note[name] == key[name] for name in key)
    }
    wanted.notes.parent.mkdir(parents=True, exist_ok=True)
    soak, events, steps, worst = Soak(nodes=wanted.nodes, real=wanted.trainer), 0, 0, 0
    for number in range(-(-wanted.events // EVENTS_A_ROUND)):
        if number in passed:
            continue
        folder = Path(tempfile.mkdtemp(prefix="soak-elastic-"))
        began_s = time.monotonic()
        found = soak.run(folder, random.Random(f"{wanted.seed}/{wanted.nodes}/{number}"))
        took_s = time.monotonic() - began_s
        print(
            f"{number:>3}  {' '.join(found.events):42}  nodes {'-'.join(map(str, found.sizes)):32}  "
            f"{found.steps:>5} steps  redone at most {found.redone}  {took_s:5.0f} s  "
            f"{'; '.join(found.faults) or 'ok'}",
            flush=True,
        )
        if found.faults:
            print(f"left: {folder}")
            return 1
        shutil.rmtree(folder)
        events, steps, worst = events + len(found.events), steps + found.steps, max(worst, found.redone)
        with wanted.notes.open("a") as notes:
            notes.write(json.dumps({**key, "round": number, **asdict(found)}) + "\n")
    print(f"{events} losses and returns, {steps} steps, each on its samples once; at most {worst} done again")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
