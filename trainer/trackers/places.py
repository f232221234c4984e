"""Where a tracker of files writes."""

from __future__ import annotations

import os
from pathlib import Path

from trainer.protocol.environment import PATH_MAP
from trainer.protocol.pathmap import parse_path_map
from trainer.trackers.tracker import Run


def folder_of(run: Run, name: str) -> Path:
    """Return the folder of a run's files: in `uri`, which a pod may name otherwise, or in the output."""
    uri = run.settings.get("uri")
    if not uri:
        return run.output_dir / name / run.job
    return run.output_dir / parse_path_map(os.environ.get(PATH_MAP)).apply(uri) / run.job
