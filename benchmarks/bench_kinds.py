"""From the start of `submit` to all pods Running, by kind of job object, on nodes simulated by kwok.

    KUBECONFIG=… python benchmarks/bench_kinds.py [--api KIND]… [--workers N]… [--rounds N]

Needs what `bench_scale.py` needs, and the controllers of the kinds. Each job is deleted before the next is
submitted. Pods are counted twice a second.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import scale_cluster

from launcher.kinds.registry import KINDS, kind_named

WORKERS = (2, 100, 1000)
WITHIN_S = 900.0


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--api", action="append", choices=[kind.name for kind in KINDS])
    parser.add_argument("--workers", action="append", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    nodes = scale_cluster.find_nodes() if os.environ.get("KUBECONFIG") else 0
    if not nodes:
        print("bench_kinds: NOT RUN: expected KUBECONFIG with nodes of kwok (label type=kwok), got none")
        return
    client = scale_cluster.connect()
    scale_cluster.make_namespace(client, scale_cluster.FULL)
    try:
        for name in given.api or [kind.name for kind in KINDS]:
            with tempfile.TemporaryDirectory() as folder:
                bench = scale_cluster.Bench(
                    Path(folder), checkout=scale_cluster.REPOSITORY, nodes=nodes, kind=kind_named(name)
                )
                for workers in given.workers or WORKERS:
                    measure(bench, workers, rounds=given.rounds)
    finally:
        made = scale_cluster.FULL
        subprocess.run(["kubectl", "delete", "namespace", made, "--wait=false"], check=False)


def measure(bench: scale_cluster.Bench, workers: int, *, rounds: int) -> None:
    """Print medians: until `submit` was back, and until all pods ran, both from its start."""
    submits, runs = [], []
    for index in range(rounds):
        job = f"n{workers}-{index}"
        began_s = time.perf_counter()
        ran = bench.submit(job, namespace=scale_cluster.FULL, gpus=1, nodes=workers)
        if ran.code:
            print(f"{bench.kind.name}: submit ended with {ran.code}", flush=True)
            return
        submits.append(ran.wall_s)
        while count(bench, job) < workers:
            if time.perf_counter() - began_s > WITHIN_S:
                print(
                    f"{bench.kind.name}: {count(bench, job)} of {workers} after {WITHIN_S:.0f} s", flush=True
                )
                return
            time.sleep(0.5)
        runs.append(time.perf_counter() - began_s)
        bench.ours("delete", job, "--force", writes=True)
        scale_cluster.settle(lambda: count(bench, job) == 0)  # noqa: B023
    load = os.getloadavg()[0]
    print(
        f"{bench.kind.name}: {workers} workers Running after {statistics.median(runs):.1f} s "
        f"({', '.join(f'{run_s:.1f}' for run_s in runs)}), submit {statistics.median(submits):.1f} s, "
        f"load {load:.0f}",
        flush=True,
    )


def count(bench: scale_cluster.Bench, job: str) -> int:
    """Count pods that run or ran: kwok completes those of a Job as soon as they run."""
    phases = ("Running", "Succeeded")
    return sum(scale_cluster.count_pods(bench, job, phase, namespace=scale_cluster.FULL) for phase in phases)


if __name__ == "__main__":
    main()
