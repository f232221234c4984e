"""A job of 1,000 pods and 10,000 suspended jobs: what commands ask of the API server, their time and memory.

    KUBECONFIG=… python benchmarks/bench_scale.py [--api KIND] [--jobs N] [--jobs-only] [--only WORD]…
                                                  [--keep FOLDER] [--checkout FOLDER]

With a cluster that has the training operator and nodes simulated by kwok (label `type=kwok`, 8 GPUs each; 125
of them for 1,000 workers) it measures there, beside kubectl; requests and bytes are the API server's count.
Without, it says so and measures against an HTTP server that holds the objects (`scale_fake.py`).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import tempfile
from pathlib import Path

import scale_cluster
import scale_fake

from launcher.kinds.registry import DEFAULT, KINDS, kind_named

NEEDED = (
    "bench_scale: NOT RUN on a cluster: expected KUBECONFIG with the training operator and nodes of kwok "
    "(label type=kwok), got none; this is the fake server"
)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = [kind.name for kind in KINDS if not kind.pods_beside]  # whose jobs are one object each
    parser.add_argument("--api", default=DEFAULT.name, choices=kinds, help="kind of the jobs")
    parser.add_argument("--jobs", type=int, default=scale_cluster.SUSPENDED, help="suspended jobs, twice")
    parser.add_argument(
        "--jobs-only", action="store_true", help="no job of 1,000 pods: needs no nodes of kwok"
    )
    parser.add_argument("--only", action="append", default=[], help="rows whose title has this in it")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep jobs and records for the next time")
    parser.add_argument(
        "--checkout", type=Path, default=scale_cluster.REPOSITORY, help="whose launcher to run"
    )
    given = parser.parse_args()
    nodes = scale_cluster.find_nodes() if os.environ.get("KUBECONFIG") else 0
    if not nodes and not (given.jobs_only and os.environ.get("KUBECONFIG")):
        print(NEEDED)
        scale_fake.main()
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        kind = kind_named(given.api)
        bench = scale_cluster.Bench(folder, checkout=given.checkout, nodes=nodes, kind=kind)
        try:
            measure(bench, given.only, jobs=given.jobs, jobs_only=given.jobs_only)
        finally:
            if given.keep is None:
                made = scale_cluster.NAMESPACES_MADE
                subprocess.run(["kubectl", "delete", "namespace", *made, "--wait=false"], check=False)


def measure(bench: scale_cluster.Bench, only: list[str], *, jobs: int, jobs_only: bool) -> None:
    print(f"{bench.nodes} simulated nodes, load {os.getloadavg()[0]:.0f}", flush=True)
    if not jobs_only:
        for line in scale_cluster.of_the_big_job(bench, only):
            print(line, flush=True)
    scale_cluster.fill(bench, jobs)
    for line in scale_cluster.of_many_jobs(bench, only, jobs):
        print(line, flush=True)


if __name__ == "__main__":
    main()
