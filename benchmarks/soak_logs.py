"""Many random fault schedules for following logs: `python -m benchmarks.soak_logs --schedules 10000`."""

from __future__ import annotations

import argparse
import time

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.launcher.logs.schedules import Schedules

_BATCH = 250


def main() -> None:
    """Run batches, each with its own seed; the first failing schedule is shown and ends the run."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--schedules", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    began_s, done, number = time.monotonic(), 0, asked.seed

    class Counted(Schedules):
        lines = 0

        def finish(self) -> None:
            super().finish()
            nonlocal done
            done += 1
            Counted.lines += len(self.viewer.shown)

    while done < asked.schedules:
        chosen = settings(
            max_examples=min(_BATCH, asked.schedules - done), stateful_step_count=12, deadline=None,
            database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck),
        )  # fmt: skip
        try:
            run_state_machine_as_test(seed(number)(Counted), settings=chosen)
        except BaseException:
            print(f"seed {number}: failed after {done} schedules")
            raise
        number += 1
        passed_s = time.monotonic() - began_s
        print(
            f"{done} schedules, seeds {asked.seed} to {number - 1}, {Counted.lines} lines: "
            f"0 lost, 0 twice, 0 out of order ({passed_s:.0f} s)",
            flush=True,
        )


if __name__ == "__main__":
    main()
