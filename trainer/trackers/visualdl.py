"""VisualDL's files, in the run's output folder or where `uri` says.

Its writer is opened for each batch and closed behind it: only then is known that all stands in the file.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from visualdl import LogReader, LogWriter

from trainer.protocol.safe_files import make_folders
from trainer.trackers.places import folder_of
from trainer.trackers.tracker import Row, Run, Tracker

FOLDER = "visualdl"


class VisualDL(Tracker):
    """Writes scalars into one file a run."""

    def __init__(self) -> None:
        self._folder, self._name = Path(), ""

    def start(self, run: Run) -> str:
        """Take up the run's file, or begin one; its name is the run's id."""
        self._folder = folder_of(run, FOLDER)
        make_folders(
            self._folder, root=run.output_dir if self._folder.is_relative_to(run.output_dir) else self._folder
        )
        mark = run.run_id[:12]
        there = sorted(self._folder.glob(f"vdlrecords.*.{mark}.log"))
        self._name = there[-1].name if there else f"vdlrecords.{int(time.time()):010d}.{mark}.log"
        if not there:
            with self._writer() as writer:
                writer.add_text("parameters", "\n".join(f"{k}: {v}" for k, v in run.parameters.items()), 0)
        return self._name

    def log(self, rows: Sequence[Row]) -> None:
        """Write rows, and close the file."""
        with self._writer() as writer:
            for row in rows:
                for tag, value in row.values.items():
                    writer.add_scalar(tag=tag, value=value, step=row.step, walltime=int(row.time_s * 1000))

    def missing(self, rows: Sequence[Row]) -> Sequence[Row]:
        """Look which of them stand in the file."""
        path = self._folder / self._name
        if not path.is_file():
            return rows
        reader = LogReader(file_path=str(path))
        known = set(reader.get_tags().get("scalar", ()))
        there = {
            tag: {point.id for point in reader.get_data("scalar", tag)} if tag in known else set[int]()
            for tag in {tag for row in rows for tag in row.values}
        }
        left = [
            replace(row, values={tag: v for tag, v in row.values.items() if row.step not in there[tag]})
            for row in rows
        ]
        return [row for row in left if row.values]

    @property
    def place(self) -> str:
        """The folder."""
        return str(self._folder)

    def _writer(self) -> LogWriter:
        return LogWriter(logdir=str(self._folder), file_name=self._name)
