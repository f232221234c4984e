"""SwanLab, by its own client: its servers, one of your own (`uri`), or files (`mode: local` or `offline`).

It cannot be asked what it has; the place in metrics.jsonl counts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import swanlab

from trainer.protocol.tracking import MODES, Ending
from trainer.trackers.tracker import Row, Run, Tracker, TrackerError

PROJECT = "ftlaunch"
_MODES = MODES["swanlab"]


class SwanLab(Tracker):
    """An experiment of a project."""

    def __init__(self) -> None:
        self._run: Any = None
        self._folder = ""
        self._is_online = False
        self._state = "success"

    def start(self, run: Run) -> str:
        """Resume the run of this id, or make it; `experiment` is the project."""
        mode = run.settings.get("mode") or os.environ.get("SWANLAB_MODE") or "online"
        if mode not in _MODES:
            raise TrackerError(f"swanlab: expected mode to be one of {', '.join(_MODES)}, got {mode!r}")
        if mode == "online" and not os.environ.get("SWANLAB_API_KEY"):
            raise TrackerError(
                "swanlab: expected SWANLAB_API_KEY, got none; give `credentials`, a mounted file, or "
                "`mode: local`"
            )
        if run.settings.get("uri"):
            os.environ["SWANLAB_API_HOST"] = run.settings["uri"]
        self._is_online = mode == "online"
        folder = run.state_dir / "swanlab"
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = str(folder)
        self._run = swanlab.init(
            project=run.settings.get("experiment") or PROJECT, workspace=run.settings.get("workspace"),
            name=run.settings.get("name") or run.job, id=run.run_id[:21], resume="allow", mode=mode,
            log_dir=self._folder, config=dict(run.parameters),
        )  # fmt: skip
        return run.run_id[:21]

    def log(self, rows: Sequence[Row]) -> None:
        """Hand over rows."""
        for row in rows:
            self._run.log(dict(row.values), step=row.step)

    def describe(self, facts: Mapping[str, str]) -> None:
        """Put it into the configuration."""
        swanlab.config.update(dict(facts))

    def end(self, ending: Ending) -> None:
        """Note how and why."""
        self._state = "crashed" if ending.state == "failed" else "success"
        if ending.reason and ending.state != "running":
            self.describe({"ftlaunch.reason": ending.reason})

    def close(self) -> None:
        """Wait until all has arrived."""
        swanlab.finish(state=self._state)

    @property
    def place(self) -> str:
        """Address of the run, or its folder."""
        return str(self._run.url) if self._is_online else self._folder
