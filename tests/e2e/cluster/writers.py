"""A job whose ranks do nothing but write numbered lines and keep a list of what they wrote."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import yaml

from launcher.backends.base import Submission
from launcher.backends.kubernetes import KubernetesBackend
from launcher.plan.handle import Handle
from launcher.render.manifest import parse_manifest
from launcher.runs.paths import project_of
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from tests.e2e.cluster.space import Space
from tests.e2e.conftest import Place

RANKS_PER_NODE = 2
FLOOD_LINES, FLOOD_WIDTH = 12_000, 1000
"""More than the 10 MiB after which a kubelet begins a new file (containerLogMaxSize's default)."""
_WRITER = f"""
import os, pathlib, signal, time
node, told = int(os.environ["FTL_NODE"]), []
signal.signal(signal.SIGTERM, lambda *_: told.append("stop"))
output = pathlib.Path("/output")
life = "%x" % time.time_ns()
kept = open(output / f"lines.{{node}}", "ab", buffering=0)
number = 0
def write(width=0):
    global number
    rank = node * {RANKS_PER_NODE} + number % {RANKS_PER_NODE}
    text = f"{{life}} {{number}} " + "x" * width
    number += 1
    kept.write(f"{{rank}} {{text}}\\n".encode())
    line = f"[a1 r{{rank}}] {{text}}\\n".encode()
    assert os.write(1, line) == len(line)
while not told and not (output / "stop").exists():
    for _ in range({RANKS_PER_NODE}):
        write()
    if (output / f"flood.{{node}}").exists():
        for count in range({FLOOD_LINES}):
            write({FLOOD_WIDTH})
            if count % 100 == 0:
                time.sleep(0.02)
        (output / f"flood.{{node}}").unlink()
    time.sleep(0.005)
raise SystemExit(143 if told else 0)
"""


@dataclass
class Writers:
    """One such job of two pods.

    Attributes:
        name: Of the job.
        killed: Lives that were ended by SIGKILL: their last line may not have been written.
    """

    place: Place
    space: Space
    name: str
    killed: set[str]

    @classmethod
    def submit(cls, place: Place, space: Space, config: str, *, name: str = "lines") -> Writers:
        """Submit what `render` prints, with another program in it, and restarts in place."""
        text = place.run("ftlaunch", "render", config, "--name", name, "--namespace", space.name).stdout
        config_map, job = yaml.safe_load_all(text)
        worker = job["spec"]["paddleReplicaSpecs"]["Worker"]
        worker["restartPolicy"] = "OnFailure"
        worker["template"]["spec"]["containers"][0]["command"] = ["python", "-c", _WRITER]
        manifest = parse_manifest(yaml.safe_dump_all([config_map, job]))
        store = RunStore(place.folder / "state" / "runs")
        record = RunRecord(
            handle=Handle(backend="kubernetes", namespace=space.name, job=name), run_id=manifest.run_id,
            stage=Stage.SUBMITTING, project=str(project_of(place.folder)), config=config,
            command=("submit",), created_s=time.time(),
        )  # fmt: skip
        folder = store.begin(record, config=b"", manifest=manifest.text, git=None)
        backend = KubernetesBackend.connect(kubeconfig=space.kubeconfig)
        backend.submit(Submission(manifest=manifest, run_folder=folder, workdir=place.folder))
        store.finish(record)
        return cls(place=place, space=space, name=name, killed=set())

    def pod(self, node: int) -> str:
        return f"{self.name}-worker-{node}"

    def kept(self, node: int) -> list[str]:
        """Return `rank life number …` of each line that a pod's ranks wrote."""
        path = self.space.output / f"lines.{node}"
        return path.read_text().splitlines() if path.exists() else []

    def lives(self, node: int) -> list[str]:
        """Return the starts of a pod's container, in order."""
        return list(dict.fromkeys(line.split()[1] for line in self.kept(node)))

    def write_on(self, node: int, *, lives: int, lines: int = 100) -> None:
        """Wait until a pod's container was started so often and has written."""

        def has_written() -> bool:
            found = self.lives(node)
            return (
                len(found) >= lives
                and self.kept(node)[-1].split()[1] == found[-1]
                and (sum(line.split()[1] == found[-1] for line in self.kept(node)[-lines:]) >= lines)
            )

        self.place.wait_for(has_written, what=f"start {lives} of {self.pod(node)} to write")

    def kill(self, node: int) -> None:
        """Kill a pod's container as its machine would."""
        kit = self.space.cluster.kit
        assert kit is not None
        name = self.place.wait_for(lambda: self._container(node), what="the container's id")
        host = self.space.get("pod", self.pod(node))["spec"]["nodeName"]
        self.killed.add(self.lives(node)[-1])
        kit.function(f"ctr -a $KC_STATE/{host}/containerd.sock -n k8s.io tasks kill -s SIGKILL {name}")

    def _container(self, node: int) -> str:
        statuses = self.space.get("pod", self.pod(node))["status"].get("containerStatuses") or [{}]
        return str(statuses[0].get("containerID") or "").removeprefix("containerd://")

    def log_files(self, node: int) -> list[Path]:
        """Return the files in which a pod's kubelet keeps its log."""
        kit = self.space.cluster.kit
        assert kit is not None
        pod = self.space.get("pod", self.pod(node))
        folder = f"{self.space.name}_{self.pod(node)}_{pod['metadata']['uid']}"
        state = Path(kit.function("echo $KC_STATE").strip())
        return list((state / pod["spec"]["nodeName"] / "podlogs" / folder / "paddle").iterdir())

    def flood(self, node: int) -> None:
        """Let a pod write so much that its log is rotated, and wait for that."""
        (self.space.output / f"flood.{node}").touch(mode=0o666)
        self.place.wait_for(lambda: len(self.log_files(node)) > 1, what="the log to be rotated")
        self.place.wait_for(
            lambda: not (self.space.output / f"flood.{node}").exists(), what="the flood to end"
        )

    def stop(self) -> None:
        """Let all ranks end."""
        (self.space.output / "stop").touch()

    def misfits(self, shown: list[str]) -> list[str]:
        """Say how `[rank 3] life number …` lines that were shown differ from what the ranks wrote."""
        faults = []
        for node in (0, 1):
            kept = self.kept(node)
            last = {line.split()[1]: line for line in kept}
            unsure = {last[life] for life in self.killed if life in last}
            for rank in range(node * RANKS_PER_NODE, (node + 1) * RANKS_PER_NODE):
                mark = f"[rank {rank}] "
                got = [line.removeprefix(mark) for line in shown if line.startswith(mark)]
                own = [line for line in kept if line.startswith(f"{rank} ")]
                seen = set(got)
                texts = [(line.partition(" ")[2], line in unsure) for line in own]
                wanted = [text for text, may_miss in texts if not may_miss or text in seen]
                if got != wanted:
                    faults.append(_describe(rank, got=got, wanted=wanted))
        return faults


def _describe(rank: int, *, got: list[str], wanted: list[str]) -> str:
    lost = [line for line in wanted if line not in set(got)]
    twice = [line for line in set(got) if got.count(line) > 1] if len(got) != len(set(got)) else []
    at = next(
        (n for n, (a, b) in enumerate(zip(got, wanted, strict=False)) if a != b), min(len(got), len(wanted))
    )
    return (
        f"rank {rank}: {len(wanted)} written, {len(got)} shown; {len(lost)} lost: "
        f"{[x[:40] for x in lost[:3]]}, twice: {[x[:40] for x in twice[:3]]}; they differ from line {at} on: "
        f"{[x[:40] for x in got[at : at + 2]]} for {[x[:40] for x in wanted[at : at + 2]]}"
    )
