"""Weights & Biases, by its own client: its servers, one of your own (`uri`), or files for `wandb sync`.

That client hands rows to a program of its own and does not say when they have arrived. What the service has
is known at the next start: the summary of a resumed run holds the last step of each kind. So each life begins
anew with the first row, and passes over what is there. Without a connection (`mode: offline`) nothing can be
asked; there the place in metrics.jsonl counts.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import wandb

from trainer.protocol.tracking import MODES, Ending
from trainer.trackers.tracker import Row, Run, Tracker, TrackerError

PROJECT = "ftlaunch"
_KINDS = ("train", "eval", "epoch", "times")
_MODES = MODES["wandb"]


class WeightsAndBiases(Tracker):
    """A run of a project."""

    def __init__(self) -> None:
        self._run: Any = None
        self._there: dict[str, int] = {}
        self._exit = 0

    def start(self, run: Run) -> str:
        """Resume the run of this id, or make it; `experiment` is the project."""
        mode = run.settings.get("mode") or os.environ.get("WANDB_MODE") or "online"
        if mode not in _MODES:
            raise TrackerError(f"wandb: expected mode to be one of {', '.join(_MODES)}, got {mode!r}")
        if run.settings.get("uri"):
            os.environ["WANDB_BASE_URL"] = run.settings["uri"]
        if mode == "online" and not (os.environ.get("WANDB_API_KEY") or (Path.home() / ".netrc").is_file()):
            raise TrackerError(
                "wandb: expected WANDB_API_KEY, got none; give `credentials`, a mounted file, or "
                "`mode: offline`"
            )
        run.state_dir.mkdir(parents=True, exist_ok=True)
        self._run = wandb.init(
            id=run.run_id[:16], name=run.settings.get("name") or run.job, resume="allow", mode=mode,
            project=run.settings.get("experiment") or os.environ.get("WANDB_PROJECT") or PROJECT,
            entity=run.settings.get("entity"), dir=str(run.state_dir), config=dict(run.parameters),
            settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False),
        )  # fmt: skip
        for kind in _KINDS:
            self._run.define_metric(f"{kind}/step")
            self._run.define_metric(f"{kind}/*", step_metric=f"{kind}/step")
        if mode == "offline":
            return run.known or run.run_id[:16]
        summary = self._run.summary
        self._there = {
            kind: int(step) for kind in _KINDS if (step := summary.get(f"{kind}/step")) is not None
        }
        return f"{run.run_id[:16]}#{uuid.uuid4().hex[:8]}"

    def log(self, rows: Sequence[Row]) -> None:
        """Hand over rows, each with the step of its kind."""
        for row in rows:
            self._run.log({**row.values, f"{_kind(row)}/step": row.step, "epoch": row.epoch})
            self._there[_kind(row)] = row.step

    def missing(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Return those behind the last that the service had at the start, or was handed since."""
        return [row for row in rows if row.step > self._there.get(_kind(row), -1)]

    def describe(self, facts: Mapping[str, str]) -> None:
        """Put it into the summary."""
        self._run.summary.update(dict(facts))

    def artifact(self, path: Path) -> None:
        """Show a page with the run."""
        self._run.log({path.stem: wandb.Html(path.read_text("utf-8"), inject=False)})

    def end(self, ending: Ending) -> None:
        """Note how and why."""
        self._exit = 1 if ending.state == "failed" else 0
        if ending.reason and ending.state != "running":
            self.describe({"ftlaunch.reason": ending.reason})

    def close(self) -> None:
        """Wait until all has arrived."""
        self._run.finish(exit_code=self._exit)

    @property
    def place(self) -> str:
        """Address of the run's page."""
        return str(getattr(self._run, "url", None) or getattr(self._run, "dir", "")) if self._run else ""


def _kind(row: Row) -> str:
    return next(iter(row.values)).partition("/")[0]
