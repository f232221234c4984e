"""A job of 1,000 pods on simulated nodes, and 10,000 suspended jobs, on a real API server and operator.

Namespaces `scale-…` are made, and deleted at the end unless `--keep`. A second call with `--keep` finds the
suspended jobs again.
"""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial, reduce
from operator import add
from pathlib import Path

from scale_meter import Ran, describe, measure

from launcher.kinds.base import JobKind
from launcher.kinds.registry import DEFAULT
from launcher.kube.client import Client, connect
from launcher.kube.errors import AbsentError, ConflictError
from launcher.names import RUN_ID_LABEL, new_run_id
from launcher.objects import CONFIG_MAPS, NAMESPACES, PODS, KubeObject
from launcher.plan.handle import Handle
from launcher.render.manifest import Manifest, parse_manifest
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore

REPOSITORY = Path(__file__).resolve().parents[1]
WORKERS, SUSPENDED, SPREAD = 1000, 10_000, 10
FULL, WIDE = "scale-full", "scale-wide"
"""Where the 10,000 jobs are together, and where a tenth of another 10,000 is."""
BIG, VAST = "big", "vast"
_AT_ONCE = 8
_LAUNCH = """
  node_selector: {type: kwok}
  tolerations: [{key: kwok.x-k8s.io/node, operator: Exists}]
"""
NAMESPACES_MADE = (FULL, *(f"{WIDE}-{index}" for index in range(SPREAD)))
NOBODY = "kueue.x-k8s.io/multikueue"
"""Of `managedBy`: a controller leaves such a job alone, which else makes a Job and a Service of each."""


@dataclass(frozen=True)
class Row:
    """A command, and what does as much of it as kubectl can, or None."""

    title: str
    ours: Callable[[], Ran]
    theirs: Callable[[], Ran] | None


class Bench:
    """Commands against one cluster, of which `launcher` at `checkout` is run."""

    def __init__(self, folder: Path, *, checkout: Path, nodes: int, kind: JobKind = DEFAULT) -> None:
        self.folder, self.checkout, self.nodes, self.kind = folder, checkout, nodes, kind
        self.client = connect()
        self.config = folder / "cfg.yaml"
        text = (REPOSITORY / "examples/quickstart.yaml").read_text()
        text = text.replace("claim: digits", "empty_dir: {}").replace("claim: runs", "empty_dir: {}")
        self.config.write_text(text + _LAUNCH)

    def ours(self, *argv: str, state: str = "big", **more: object) -> Ran:
        environ = {"FTLAUNCH_STATE": str(self.folder / state), "COLUMNS": "120"}
        if words := more.pop("environ", None):
            environ |= words  # type: ignore[operator]
        return measure([sys.executable, "-m", "launcher", *argv], environ=environ, cwd=self.checkout, **more)  # type: ignore[arg-type]

    def kubectl(self, *argv: str, **more: object) -> Ran:
        return measure(["kubectl", *argv], environ={}, cwd=self.folder, **more)  # type: ignore[arg-type]

    def submit(self, name: str, *, namespace: str, gpus: int, nodes: int, state: str = "big") -> Ran:
        ran = self.ours(
            "submit", str(self.config), "--name", name, "--namespace", namespace, "--gpus", str(gpus),
            "--nodes", str(nodes), "--api", self.kind.name, state=state, writes=True,
        )  # fmt: skip
        if ran.code:  # else its pods would be waited for
            raise SystemExit(f"{name}: submit ended with {ran.code}")
        return ran

    def render(self) -> Manifest:
        done = subprocess.run(
            [sys.executable, "-m", "launcher", "render", str(self.config), "--name", "job",
             "--api", self.kind.name],
            capture_output=True, text=True, check=True, cwd=self.checkout,
        )  # fmt: skip
        return parse_manifest(done.stdout)


def make_namespace(client: Client, name: str) -> None:
    """Make a namespace, or keep the one that is there; wait first for one that a run before has deleted."""
    settle(lambda: _has_namespace(client, name))


def _has_namespace(client: Client, name: str) -> bool:
    """Whether it is there now to be used, made here or before: one that is going away takes no job."""
    body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    try:
        client.create(NAMESPACES, body, namespace="")
    except ConflictError:
        try:
            found = client.get(NAMESPACES, name, namespace="")
        except AbsentError:
            return False
        return "deletionTimestamp" not in found["metadata"]
    return True


def fill(bench: Bench, jobs: int) -> None:
    """Make the suspended jobs and their ConfigMaps, and the records of their submits."""
    plain, resource = bench.render(), bench.kind.resource
    places = [(FULL, index) for index in range(jobs)]
    places += [(f"{WIDE}-{index % SPREAD}", index) for index in range(jobs)]
    for namespace in {namespace for namespace, _ in places}:
        make_namespace(bench.client, namespace)
    stores = {state: RunStore(bench.folder / state / "runs") for state in ("full", "wide")}

    def one(place: tuple[str, int]) -> None:
        namespace, index = place
        run_id, name = new_run_id(), f"job-{index:05}" if namespace == FULL else f"wide-{index:05}"
        try:
            job, config_map = copies(plain, kind=bench.kind, name=name, run_id=run_id)
            made = bench.client.create(resource, job, namespace=namespace)
            reference = {
                "apiVersion": resource.api_version, "kind": resource.kind, "name": name,
                "uid": made["metadata"]["uid"],
            }  # fmt: skip
            config_map["metadata"]["ownerReferences"] = [reference]
            bench.client.create(CONFIG_MAPS, config_map, namespace=namespace)
        except ConflictError:
            made = bench.client.get(resource, name, namespace=namespace)
            run_id = made["metadata"]["labels"][RUN_ID_LABEL]
        handle = Handle(backend="kubernetes", namespace=namespace, job=name)
        record = RunRecord(
            handle=handle, run_id=run_id, stage=Stage.SUBMITTED, project=str(bench.checkout),
            config="cfg.yaml", command=("submit",), created_s=1e9 + 60 * index, context=bench.client.context,
            api=bench.kind.name,
        )  # fmt: skip
        store = stores["full" if namespace == FULL else "wide"]
        if store.load(name) is None:
            folder = store.begin(record, config=bench.config.read_bytes(), manifest=plain.text, git=None)
            os.utime(folder / "record.json", (record.created_s, record.created_s))

    began = time.perf_counter()
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for _ in pool.map(one, places):
            pass
    print(f"{len(places)} suspended jobs are there after {time.perf_counter() - began:.0f} s", flush=True)


def copies(plain: Manifest, *, kind: JobKind, name: str, run_id: str) -> tuple[KubeObject, KubeObject]:
    job, config_map = copy.deepcopy((plain.job, plain.config_map))
    for item in (job, config_map):
        item["metadata"]["name"] = item["metadata"]["name"].replace("job", name, 1)
        item["metadata"]["labels"][RUN_ID_LABEL] = run_id
    if kind is DEFAULT:
        job["spec"]["runPolicy"]["suspend"] = True
    else:
        job["spec"] |= {"suspend": True, "managedBy": NOBODY}
    return job, config_map


def settle(look: Callable[[], bool], *, within_s: float = 900.0) -> float:
    """Wait until something is so; return after how long it was."""
    began = time.perf_counter()
    while not look():
        if time.perf_counter() - began > within_s:
            raise TimeoutError
        time.sleep(1.0)
    return time.perf_counter() - began


def count_pods(bench: Bench, job: str, phase: str, *, namespace: str) -> int:
    fields = f"status.phase={phase}"
    labels = bench.kind.pod_selector(job)
    return len(bench.client.list(PODS, namespace=namespace, labels=labels, fields=fields, metadata_only=True))


def of_the_big_job(bench: Bench, only: Sequence[str]) -> Iterator[str]:
    """Submit a job of 1,000 pods, look at it in every way, and end it."""
    workers = min(WORKERS, 8 * bench.nodes)
    make_namespace(bench.client, FULL)
    try:
        bench.client.get(bench.kind.resource, BIG, namespace=FULL)
    except AbsentError:
        began = time.perf_counter()
        ran = bench.submit(BIG, namespace=FULL, gpus=1, nodes=workers)
        yield describe(f"submit of {workers} workers", ran)
        settle(lambda: count_pods(bench, BIG, "Running", namespace=FULL) == workers)
        yield f"from the start of submit to {workers} pods Running: {time.perf_counter() - began:.0f} s"
    yield from run(looks_at_the_big_job(bench, workers), only)
    if wanted("why, cannot fit", only):
        pods = bench.nodes + 100
        bench.submit(VAST, namespace=FULL, gpus=8, nodes=pods)
        settle(lambda: count_pods(bench, VAST, "Pending", namespace=FULL) >= pods - 8)  # a few may fit
        yield describe(f"why, cannot fit: {pods} pods, each a whole node", bench.ours("why", VAST))
        yield describe("status of the same", bench.ours("status", VAST))
        bench.ours("delete", VAST, "--force", writes=True)
    if wanted("cancel", only):
        yield describe("cancel", bench.ours("cancel", BIG, writes=True))
        settle(lambda: not count_pods(bench, BIG, "Running", namespace=FULL))
        yield describe("status, cancelled", bench.ours("status", BIG))
        yield describe("delete", bench.ours("delete", BIG, writes=True))


def looks_at_the_big_job(bench: Bench, workers: int) -> Iterator[Row]:
    ours, kubectl = bench.ours, bench.kubectl
    plural = bench.kind.resource.plural
    pods, job = (
        ("get", "pods", "-n", FULL, "-l", bench.kind.pod_selector(BIG)),
        ("get", plural, "-n", FULL, BIG),
    )
    yield Row("status", lambda: ours("status", BIG), lambda: kubectl(*job) + kubectl(*pods))
    yield Row(
        "status, JSON", lambda: ours("status", BIG, "--output", "json"),
        lambda: kubectl(*job, "-o", "json") + kubectl(*pods, "-o", "json"),
    )  # fmt: skip
    yield Row(
        "status --watch, 30 s", lambda: ours("status", BIG, "--watch", limit_s=30.0),
        lambda: kubectl(*pods, "--watch", limit_s=30.0),
    )  # fmt: skip
    yield Row(
        "why",
        lambda: ours("why", BIG),
        lambda: kubectl("describe", plural, "-n", FULL, BIG) + kubectl(*pods),
    )
    yield Row("events", lambda: ours("events", BIG), lambda: kubectl("get", "events", "-n", FULL))
    logs = ("logs", *pods[2:], f"--max-log-requests={workers}", "--prefix", "--tail=-1")
    yield Row("logs, whole", lambda: ours("logs", BIG), lambda: kubectl(*logs, limit_s=400.0))
    yield Row("logs -f, connected", lambda: ours("logs", "-f", BIG, sockets=workers), None)


def looks_at_many_jobs(bench: Bench, jobs: int) -> Iterator[Row]:
    """Look at 10,000 suspended jobs in one namespace, and at as many in ten."""
    ours, kubectl = partial(bench.ours, state="full"), bench.kubectl
    all_of = ("get", bench.kind.resource.plural)
    yield Row(f"list of {jobs} jobs", lambda: ours("list"), lambda: kubectl(*all_of, "-n", FULL))
    yield Row(
        f"list of {jobs} jobs in {SPREAD} namespaces", lambda: bench.ours("list", state="wide"),
        lambda: reduce(add, (kubectl(*all_of, "-n", f"{WIDE}-{index}") for index in range(SPREAD))),
    )  # fmt: skip
    yield Row("list of the 20 newest", lambda: ours("list", "-n", "20"), None)
    yield Row(
        "status of one",
        lambda: ours("status", "job-00001"),
        lambda: kubectl(*all_of, "-n", FULL, "job-00001"),
    )
    yield Row("status without a name", lambda: ours("status"), None)
    words = {
        "_FTLAUNCH_COMPLETE": "bash_complete", "COMP_WORDS": "ftlaunch status job-0001", "COMP_CWORD": "2",
        "FTLAUNCH_STATE": str(bench.folder / "full"),
    }  # fmt: skip
    script = str(Path(sys.executable).with_name("ftlaunch"))
    # kubectl's own asks the cluster for all objects whole, and had not ended after three minutes
    yield Row("completion of a name", lambda: measure([script], environ=words, cwd=bench.checkout), None)
    yield Row("doctor", lambda: ours("doctor", "--namespace", FULL), None)


def of_many_jobs(bench: Bench, only: Sequence[str], jobs: int) -> Iterator[str]:
    yield from run(looks_at_many_jobs(bench, jobs), only)
    if wanted("submit among them", only):
        name = f"one-{os.getpid()}"
        ran = bench.submit(name, namespace=FULL, gpus=1, nodes=1, state="full")
        yield describe("submit among them", ran)
        bench.ours("delete", name, "--force", state="full", writes=True)


def wanted(title: str, only: Sequence[str]) -> bool:
    return not only or any(word in title for word in only)


def run(rows: Iterable[Row], only: Sequence[str]) -> Iterator[str]:
    for row in rows:
        if wanted(row.title, only):
            peer = row.theirs() if row.theirs is not None else None
            if peer is not None:
                yield describe(f"  kubectl: {row.title}", peer)
            yield describe(row.title, row.ours(), peer)


def find_nodes() -> int:
    """Return how many simulated nodes the cluster has."""
    done = subprocess.run(
        ["kubectl", "get", "nodes", "-l", "type=kwok", "-o", "json"],
        capture_output=True,
        text=True,
        check=False,
    )
    return len(json.loads(done.stdout)["items"]) if done.returncode == 0 else 0
