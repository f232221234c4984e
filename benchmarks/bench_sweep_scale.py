"""A study of 1,000 trials on a cluster: what `list`, `status` and `why` ask of it, and their CPU time.

The API server is a process beside, as in `scale_fake.py`: an HTTP server that holds objects of about real
size and pages lists. All trials but four have ended, each with a curve of nine epochs; their jobs are all
there still, and so are their records on this machine. Once the driver is a process here, once a pod.
Bars: the same number of requests as for a study of 50 trials, and less than 2 s of CPU.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import multiprocessing
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.scale_fake import NAMESPACE, Used, call, job, metadata, serve_lists, write_kubeconfig
from launcher.jobs.driver_job import COMPONENT
from launcher.names import RUN_ID_LABEL, SWEEP_LABEL
from launcher.plan.handle import Handle
from launcher.runs.record import RunRecord, Stage, format_record
from launcher.sweep.study import JOURNAL, Settings, Study, begin_study
from launcher.sweep.trial_jobs import jobs_of
from launcher.sweep.trials import Trials, TrialState

RATE = "Optimizer.lr.learning_rate"
EPOCHS, RUNNING, MOST_CPU_S = 9, 4, 2.0


def main() -> int:
    asked = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    asked.add_argument("--trials", type=int, nargs=2, default=(50, 1000), metavar=("FEW", "MANY"))
    options = asked.parse_args()
    met = True
    for driver in ("here", "pod"):
        found = [_measure(count, driver) for count in options.trials]
        for few, many in zip(*found, strict=True):
            met = met and few.requests == many.requests and many.cpu_s < MOST_CPU_S
    print("met" if met else "NOT MET")
    return 0 if met else 1


def _measure(count: int, driver: str) -> list[Used]:
    """Make a study of so many trials, and print what each command takes."""
    ready: Any = multiprocessing.Queue()
    with tempfile.TemporaryDirectory() as name:
        folder, state = Path(name), Path(name) / "state"
        state.mkdir()
        os.environ["FTLAUNCH_STATE"] = str(state)
        began_s = time.process_time()
        study = _make(folder, count, in_pod=driver == "pod")
        size = (study.folder / JOURNAL).stat().st_size
        packed = len(gzip.compress((study.folder / JOURNAL).read_bytes(), compresslevel=6))
        print(f"{count} trials, driver {driver}: journal {size:,} bytes, {packed:,} compressed; "
              f"made in {time.process_time() - began_s:.0f} s CPU", flush=True)  # fmt: skip
        server = multiprocessing.Process(target=serve, args=(ready, study, count), daemon=True)
        server.start()
        url = ready.get()
        write_kubeconfig(state, url)
        commands = (["list"], ["list", "rates", "-n", "20"], ["status", "rates"], ["why", "rates"])
        found = []
        for argv in commands:
            found.append(call(argv, url))
            print(f"  {' '.join(argv):18} {found[-1]}", flush=True)
        server.terminate()
    return found


def _make(folder: Path, count: int, *, in_pod: bool) -> Study:
    settings = Settings(
        name="rates", study_id="0123456789abcdef" * 2, config=str(folder / "cfg.yaml"), workdir=str(folder),
        created_s=time.time(), over=(f"{RATE}=log(1e-4,1)",), on="kubernetes", options={}, sampler="random",
        prune="none", metric="top1", goal="max", trials=count, parallel=RUNNING, epochs=EPOCHS,
        driver_namespace=NAMESPACE if in_pod else "", driver_context="scale" if in_pod else "",
    )  # fmt: skip
    study = begin_study(settings, b"Global: {output_dir: /output}\n")
    trials = Trials(study)
    for number in range(count):
        trial = trials.claim()
        assert trial is not None
        curve = {epoch: (number % 97 + epoch) / 107 for epoch in range(1, EPOCHS + 1)}
        trials.report(number, curve if number < count - RUNNING else {1: curve[1]})
        if number < count - RUNNING:
            trials.end(number, TrialState.COMPLETE, values={"": max(curve.values())})
        (its_job,) = jobs_of(study, number)
        record = RunRecord(
            handle=Handle(backend="kubernetes", namespace=NAMESPACE, job=its_job.name), run_id=its_job.run_id,
            study=study.name, stage=Stage.SUBMITTED, project=str(Path.cwd()), config="cfg.yaml", command=(),
            created_s=1e9 + number, context="scale",
        )  # fmt: skip
        run = folder / "state" / "runs" / its_job.name
        run.mkdir(parents=True)
        (run / "record.json").write_text(format_record(record))
    return study


def serve(ready: Any, study: Study, count: int) -> None:
    """Hold the trials' jobs and what a driver has published, and answer."""
    jobs = []
    for number in range(count):
        (mine,) = jobs_of(study, number)
        item = job(mine.name, number, replicas=1, suspend=False)
        item["metadata"]["labels"] |= {RUN_ID_LABEL: mine.run_id, SWEEP_LABEL: study.name}
        if number < count - RUNNING:
            item["status"]["conditions"][0] |= {"type": "Succeeded", "reason": "PaddleJobSucceeded"}
        jobs.append(item)
    labels = {"app.kubernetes.io/component": COMPONENT, SWEEP_LABEL: study.name}
    names = "\n".join(sorted(item["metadata"]["name"] for item in jobs)).encode()
    files = {JOURNAL: (study.folder / JOURNAL).read_bytes(), "jobs": names}
    maps = [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("rates-driver", 0, labels=labels)},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata("rates-study", 1, labels=labels),
         "data": {"api": "paddlejob"},
         "binaryData": {n: base64.b64encode(gzip.compress(data)).decode() for n, data in files.items()}},
    ]  # fmt: skip
    driver = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata("rates-driver", 2),
              "status": {"active": 1, "ready": 1}}  # fmt: skip
    lists = {"paddlejobs": jobs, "configmaps": maps, "jobs": [driver], "pods": [], "events": []}
    serve_lists(ready, lists)


if __name__ == "__main__":
    sys.exit(main())
