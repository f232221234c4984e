"""A rank that trains as `python -m trainer train` does, and notes the samples of each of its batches.

    python benchmarks/elastic_rank.py PLAN_JSON

A plan is {config, scratch, step_s}. It writes what `tests/trainer/node/standin.py` writes, of real batches:
`attempt<N>/noted.<rank>` below `scratch`, a row a batch. `benchmarks.soak_elastic` reads it.
"""

from __future__ import annotations

import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any

from trainer.engine.step import Stepper
from trainer.ranks import read_ranks


def main(plan: dict[str, Any]) -> None:
    """Train."""
    ranks = read_ranks()
    folder = Path(plan["scratch"]) / f"attempt{ranks.attempt}"
    folder.mkdir(parents=True, exist_ok=True)
    noted = (folder / f"noted.{ranks.rank}").open("a")
    real_step = Stepper.step

    def step(stepper: Stepper, fed: Any, *, step: int) -> Any:
        time.sleep(float(plan.get("step_s", 0.0)))
        taken, batch = real_step(stepper, fed, step=step), fed.batch
        samples = [int(index) for index, valid in zip(batch.indices, batch.valid, strict=True) if valid]
        row = {"attempt": ranks.attempt, "epoch": batch.epoch, "step": step, "samples": samples}
        noted.write(json.dumps(row) + "\n")
        noted.flush()
        return taken

    Stepper.step = step  # type: ignore[method-assign, assignment]
    sys.argv = ["trainer", "train", "-c", plan["config"], "--resume", "auto"]
    runpy.run_module("trainer", run_name="__main__")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
