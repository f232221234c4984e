"""Kills real two-rank runs, and stops the store at each call: `python -m benchmarks.soak_durability`.

Three parts, each of which can be left out:

* the store alone (`benchmarks.soak_store`): more than a thousand stops;
* `--kills N` runs for each of `VICTIMS`, killed at a random moment. Each is a job on this machine, of two
  nodes or of one node with two ranks: a supervisor, node processes, ranks, each with two readers, and rank 0
  with its writer. It saves every third step beside the training. What a user has to do after a kill is done
  (`ftlaunch resume` where the supervisor is gone), the job is waited for, and its weights, its optimizer's
  state and all numbers of its metrics have to be those of the undisturbed run, bit for bit;
* `--sizes N` runs that go from two ranks to one and back (`benchmarks.soak_samples`): each epoch trains on
  every sample once.

The seed is printed. What was run with a seed is noted in `--notes`, and is not run again: whoever types the
same line goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.soak_samples import find_wrong_epochs
from benchmarks.soak_store import memory
from benchmarks.soak_store import soak as soak_store
from tests.e2e.conftest import Place, config, draw_images
from trainer.checkpoints.pdfiles import read_pdfile

EPOCHS, PER_EPOCH = 10, 2
WITHIN_S = 300.0
VOLATILE = frozenset(
    {"attempt", "time_s", "images_per_s", "reader_s", "step_s", "copy_s", "peers_s", "write_s"}
)
VICTIMS = (
    "rank", "ranks", "reader", "writer", "node", "node 0", "supervisor", "SIGTERM to a node",
    "SIGTERM to node 0", "SIGTERM to all nodes",
)  # fmt: skip
_ROW = "{:>3}  {:5}  {:21}  {:27}  {:>7}  {:18}  {:>6}  {:>4}  {}"


@dataclass(frozen=True, kw_only=True)
class Kill:
    """What is done to a run, and when.

    Attributes:
        nodes: Of one rank each; 1 stands for one node of two ranks.
        step: The run is hit after this step; None for some time after the submit.
        delay_s: After that step, or after the submit.
        pick: From 0 to 1, which of several processes.
    """

    nodes: int
    victim: str
    step: int | None
    delay_s: float
    pick: float

    @property
    def moment(self) -> str:
        """In words."""
        since = "the submit" if self.step is None else f"step {self.step}"
        return f"{self.delay_s:.2f} s after {since}"


def draw(draws: random.Random, victim: str, *, whole_s: float) -> Kill:
    """Draw when a kill comes; a third of them fall anywhere in the `whole_s` of a run, its start too."""
    nodes = draws.choice((1, 2))
    anywhere = draws.random() < 1 / 3
    return Kill(
        nodes=nodes,
        victim=victim,
        step=None if anywhere else draws.randrange(1, EPOCHS * PER_EPOCH),
        delay_s=draws.uniform(0.0, whole_s) if anywhere else draws.uniform(0.0, 0.25),
        pick=draws.random(),
    )


class Run:
    """One job in a folder of its own."""

    def __init__(self, folder: Path, images: Path, *, nodes: int) -> None:
        folder.mkdir(parents=True)
        (folder / "data").symlink_to(images)
        self.place = Place(folder)
        self._nodes = nodes
        document = config(
            Global__epochs=EPOCHS, Global__deterministic=True, Arch__dropout_prob=0.2,
            Global__save_every_steps=3, DataLoader__Train__sampler__batch_size=16,
            DataLoader__Train__loader__num_workers=2,
        )  # fmt: skip
        document["DataLoader"]["Train"]["dataset"]["transform_ops"].insert(
            2, {"RandFlipImage": {"flip_code": 1}}
        )
        (folder / "cfg.yaml").write_text(yaml.safe_dump(document, sort_keys=False))

    def submit(self) -> None:
        """Begin, and return at once."""
        ranks = ("--nodes", str(self._nodes), "--procs-per-node", str(3 - self._nodes))
        self.place.run("ftlaunch", "submit", "cfg.yaml", "--on", "local", "--name", "soak", *ranks)

    def state(self) -> str:
        """As `status` says."""
        return str(self.place.status("soak")["state"])

    def finish(self) -> str:
        """Wait for the end, resuming where nobody looks after the job any more; return its state."""
        until_s = time.monotonic() + WITHIN_S
        while time.monotonic() < until_s:
            self.place.run("ftlaunch", "wait", "soak", "--timeout", "60s", code=None, timeout_s=120)
            state = self.state()
            if state in ("Lost", "Cancelled"):
                self.place.run("ftlaunch", "resume", "soak", code=None)
            elif state in ("Succeeded", "Failed"):
                return state
        return f"{self.state()} after {WITHIN_S:.0f} s"

    def last_step(self) -> int:
        """Of the rows of metrics so far."""
        return max((int(row["step"]) for row in self._rows() if row["event"] == "step"), default=0)

    def strike(self, kill: Kill) -> str:
        """Kill what is meant, and return what was hit."""
        targets, number = self._targets(kill), signal.SIGTERM if "SIGTERM" in kill.victim else signal.SIGKILL
        hit = []
        for pid in targets:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue
            hit.append(pid)
        return f"{len(hit)} of {len(targets)}" if targets else "nothing was there"

    def results(self) -> dict[str, Any]:
        """Everything that has to be the same: arrays, and the last row of each step, evaluation and epoch."""
        rows = {}
        for row in self._rows():
            if row["event"] in ("step", "eval", "epoch"):
                key = f"{row['event']} {row.get('epoch')} {row.get('step')}"
                rows[key] = {name: value for name, value in row.items() if name not in VOLATILE}
        output = self.place.folder / "output"
        arrays = {
            f"{end} {name}": array
            for end in ("pdparams", "pdopt")
            for name, array in _flatten(read_pdfile(output / f"latest.{end}"))
        }
        return {"rows": rows, "arrays": arrays}

    def clear(self) -> None:
        """Take the job away, whatever runs of it."""
        self.place.run("ftlaunch", "delete", "soak", "--force", code=None)

    def attempts(self) -> int:
        """How often all ranks were started, as far as they wrote anything."""
        return max((int(row["attempt"]) for row in self._rows()), default=0)

    def _rows(self) -> list[dict[str, Any]]:
        path = self.place.folder / "output/metrics.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return [json.loads(line) for line in lines]

    def _targets(self, kill: Kill) -> list[int]:
        found = sorted(_processes(self.place.folder))
        ranks = [pid for pid, said in found if "-m trainer train" in said]
        nodes = [pid for pid, said in found if "-m trainer.node" in said]
        first = [pid for pid in nodes if _variable(pid, "FTL_NODE") == "0"]
        match kill.victim:
            case "ranks":
                return ranks
            case "reader":
                return _one(
                    [pid for pid, said in found if "-m trainer.data.reader_process" in said], kill.pick
                )
            case "writer":
                return [pid for pid, said in found if "-m trainer.checkpoints.writer" in said]
            case "SIGTERM to all nodes":
                return nodes
            case "supervisor":
                return sorted({_parent(pid) for pid in nodes})
            case "rank":
                return _one(ranks, kill.pick)
            case "node 0" | "SIGTERM to node 0":
                return first
            case _:
                return _one(nodes, kill.pick)


def _one(pids: list[int], pick: float) -> list[int]:
    return [pids[int(pick * len(pids))]] if pids else []


def _processes(folder: Path) -> Iterable[tuple[int, str]]:
    """Yield number and command line of what runs in a folder: no other job is ever hit."""
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (path / "cwd").readlink() == folder:
                yield int(path.name), (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()


def _variable(pid: int, name: str) -> str | None:
    with contextlib.suppress(OSError):
        for entry in (Path("/proc") / str(pid) / "environ").read_bytes().split(b"\0"):
            if entry.startswith(name.encode() + b"="):
                return entry.partition(b"=")[2].decode()
    return None


def _parent(pid: int) -> int:
    # proc(5): the command in parentheses may hold anything; behind it come state and parent.
    return int((Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])


def _flatten(value: Any, name: str = "") -> Iterable[tuple[str, Any]]:
    """Yield the leaves of tables and lists in one another."""
    if isinstance(value, dict):
        for key in value:
            yield from _flatten(value[key], f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            yield from _flatten(item, f"{name}[{index}]")
    else:
        yield name, value


def find_differences(expected: Mapping[str, Any], found: Mapping[str, Any]) -> list[str]:
    """Name what is not the same to the last bit."""
    arrays, rows = {*expected["arrays"], *found["arrays"]}, {*expected["rows"], *found["rows"]}
    return [
        name
        for name in sorted(arrays)
        if not _is_same(expected["arrays"].get(name), found["arrays"].get(name))
    ] + [f"row {key}" for key in sorted(rows) if expected["rows"].get(key) != found["rows"].get(key)]


def _is_same(one: Any, other: Any) -> bool:
    if one is None or other is None:
        return one is other
    first, second = np.asarray(one), np.asarray(other)
    return first.dtype == second.dtype and first.shape == second.shape and first.tobytes() == second.tobytes()


def hit(run: Run, kill: Kill) -> tuple[str, str, int]:
    """Carry out one kill; return what was hit, the state at the end, and the step that was hit."""
    began_s = time.monotonic()
    run.submit()
    if kill.step is not None:
        while run.last_step() < kill.step and time.monotonic() - began_s < WITHIN_S:
            time.sleep(0.01)
        began_s = time.monotonic()
    time.sleep(max(0.0, began_s + kill.delay_s - time.monotonic()))
    step = run.last_step()
    struck = run.strike(kill)
    return struck, run.finish(), step


def soak_kills(folder: Path, images: Path, asked: argparse.Namespace, notes: dict[str, str]) -> int:
    """Kill runs; return how many did not end as the undisturbed one."""
    expected, whole_s = {}, 0.0
    for nodes in (1, 2) if asked.nodes is None else (asked.nodes,):
        run, began_s = Run(folder / f"undisturbed{nodes}", images, nodes=nodes), time.monotonic()
        run.submit()
        if (state := run.finish()) != "Succeeded":
            print(f"the undisturbed run of {nodes} nodes: {state}; see {run.place.folder}")
            return 1
        whole_s, expected[nodes] = time.monotonic() - began_s, run.results()
        run.clear()
    print(f"undisturbed: {whole_s:.0f} s, {EPOCHS * PER_EPOCH} steps; all kills are held against that\n")
    print(_ROW.format("", "nodes", "killed", "when", "at step", "hit", "starts", "s", "end"))
    for index, victim in enumerate(name for _ in range(asked.kills) for name in asked.victims or VICTIMS):
        number = f"kill {index + 1} {victim}"
        if number in notes:
            continue
        kill = draw(random.Random(f"{asked.seed} {number}"), victim, whole_s=asked.whole_s or whole_s)
        kill = replace(kill, nodes=asked.nodes or kill.nodes)
        run, began_s = Run(folder / f"kill{index + 1}", images, nodes=kill.nodes), time.monotonic()
        struck, state, step = hit(run, kill)
        wrong = find_differences(expected[kill.nodes], run.results()) if state == "Succeeded" else [state]
        passed_s = f"{time.monotonic() - began_s:.0f}"
        end = "the same" if not wrong else f"{', '.join(wrong[:4])}: {run.place.folder}"
        cells = (index + 1, kill.nodes, kill.victim, kill.moment, step, struck, run.attempts(), passed_s, end)
        print(_ROW.format(*cells), flush=True)
        note(asked, notes, number, end)
        run.clear()
        if not wrong:
            shutil.rmtree(run.place.folder)
    ends = [end for name, end in notes.items() if name.startswith("kill ")]
    same = ends.count("the same")
    print(f"\n{same} of {len(ends)} killed runs ended bit for bit like the undisturbed one")
    return len(ends) - same


def soak_sizes(folder: Path, images: Path, asked: argparse.Namespace, notes: dict[str, str]) -> int:
    """Change the number of ranks within epochs; return in how many an epoch was not exact."""
    for index in range(asked.sizes):
        number = f"sizes {index + 1}"
        if number in notes:
            continue
        draws = random.Random(f"{asked.seed} {number}")
        first = draws.randrange(1, 10)
        second = first + draws.randrange(1, 10)
        wrong = find_wrong_epochs(folder / f"sizes{index + 1}", images, stops=(first, second))
        print(f"2 → 1 → 2 ranks after steps {first} and {second}: {'; '.join(wrong) or 'exact'}", flush=True)
        note(asked, notes, number, "; ".join(wrong) or "exact")
    ends = [end for name, end in notes.items() if name.startswith("sizes ")]
    print(f"{ends.count('exact')} of {len(ends)} runs from two ranks to one and back were exact")
    return len(ends) - ends.count("exact")


def note(asked: argparse.Namespace, notes: dict[str, str], name: str, end: str) -> None:
    """Remember how something ended, for whoever goes on with this seed."""
    notes[name] = end
    asked.notes.parent.mkdir(parents=True, exist_ok=True)
    asked.notes.write_text(json.dumps(notes, indent=1))


def main(argv: Sequence[str] | None = None) -> int:
    """Run; 1 where something was torn, lost or different."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=15, help="runs for each of what is killed")
    parser.add_argument("--sizes", type=int, default=15, help="runs whose number of ranks changes")
    parser.add_argument(
        "--every", type=int, default=1, help="stop the store at every so many calls; 0: never"
    )
    parser.add_argument("--victims", nargs="*", choices=VICTIMS, help="kill only these")
    parser.add_argument("--nodes", type=int, choices=(1, 2), help="run only jobs of so many nodes")
    parser.add_argument("--whole-s", type=float, help="seconds within which kills fall; a run's, as measured")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--notes", type=Path, help="what was run; by default build/soak-durability-SEED.json")
    asked = parser.parse_args(argv)
    asked.seed = random.SystemRandom().randrange(2**32) if asked.seed is None else asked.seed
    asked.notes = asked.notes or Path(f"build/soak-durability-{asked.seed}.json")
    print(f"soak-durability: KILLS={asked.kills} SEED={asked.seed}, noted in {asked.notes}", flush=True)
    notes = json.loads(asked.notes.read_text()) if asked.notes.is_file() else {}
    folder = Path(tempfile.mkdtemp(prefix="soak-durability-")).resolve()
    images = folder / "images"
    draw_images(images)
    subprocess.run(
        [sys.executable, "-m", "trainer", "make-lists", str(images)], check=True, capture_output=True
    )
    failed = 0
    if asked.every and "the store" not in notes:
        with tempfile.TemporaryDirectory(prefix="soak-store-", dir=memory()) as place:
            stops, wrong = soak_store(Path(place), every=asked.every)
        note(asked, notes, "the store", f"{stops} stops, {wrong} wrong")
        failed += wrong
    if asked.kills:
        failed += soak_kills(folder, images, asked, notes)
    if asked.sizes:
        failed += soak_sizes(folder, images, asked, notes)
    print(f"soak-durability: {failed} torn, lost or different (SEED={asked.seed})")
    if not failed:
        shutil.rmtree(folder)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
