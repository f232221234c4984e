"""What training writes for people and for tools: PaddleClas-like lines, and metrics.jsonl.

The line's form follows PaddleClas d178931 (ppcls/engine/train/utils.py). Unlike there, `lr` is the one that
the step used, values and `ips` are those of all ranks together.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

from trainer.engine.scalars import Scalars
from trainer.progress import NO_PROGRESS, Progress
from trainer.protocol.printable import escape_controls
from trainer.protocol.safe_files import open_append

_LOG = "train.log"
_MAX_WAITING = 1 << 20
Value: TypeAlias = float | str | Sequence[str] | None
"""Of a row of metrics.jsonl."""


class RunLog:
    """Writes lines to `train.log`, tells them to whoever listens, and writes rows to metrics.jsonl."""

    def __init__(
        self, output_dir: Path | None, *, metrics: Path | None, attempt: int, say: Callable[[str], None],
        scalars: Scalars | None = None,
    ) -> None:  # fmt: skip
        """Open the files for appending.

        Args:
            output_dir: Folder of `train.log`, or None for no file.
            metrics: metrics.jsonl, or None for no rows.
            attempt: Goes into every row.
            say: Told every line, without the time.
            scalars: Takes every row too; closed with it.

        Raises:
            OSError: They cannot be opened.
        """
        self._attempt, self._listener = attempt, say
        self.progress: Progress = NO_PROGRESS
        """Steps aside for every line."""
        self._scalars = scalars
        self._log = _Lines(output_dir / _LOG) if output_dir is not None else None
        try:
            self._rows = _Lines(metrics) if metrics is not None else None
        except OSError:
            if self._log is not None:
                self._log.close()
            raise

    def say(self, text: str) -> None:
        """Write a line; ranks but 0 say nothing."""
        self.announce(text)

    def announce(self, text: str) -> None:
        """Write a line that every rank has to say for itself."""
        self.progress.clear()
        self._listener(text)
        if self._log is not None:
            self._warn(self._log.write(format_line(text) + "\n"))

    def row(self, event: str, *, at_s: float | None = None, **values: Value) -> None:
        """Append an object to metrics.jsonl; numbers that JSON does not have become null.

        Args:
            event: What it is of.
            at_s: Unix time of that, where it is not now.
            values: By name.
        """
        if self._scalars is not None:
            self._scalars.take(event, values)
        if self._rows is None:
            return
        document = {
            "event": event,
            "attempt": self._attempt,
            "time_s": round(time.time() if at_s is None else at_s, 3),
        }
        document |= {key: _plain(value) for key, value in values.items()}
        self._warn(self._rows.write(json.dumps(document, allow_nan=False) + "\n"))

    def _warn(self, text: str | None) -> None:
        if text is not None:
            self.progress.clear()
            self._listener(f"warning: {text}")

    def close(self) -> None:
        """Close the files."""
        if self._scalars is not None:
            self._scalars.close()
        for file in (self._log, self._rows):
            if file is not None:
                self._warn(file.close())


class SilentRunLog(RunLog):
    """That of every rank but 0: it has no files."""

    def __init__(self, say: Callable[[str], None] = lambda _: None) -> None:
        super().__init__(None, metrics=None, attempt=0, say=say)

    def say(self, text: str) -> None:
        """Say nothing."""


def format_line(text: str) -> str:
    """Write a line as it stands in `train.log`: the local time before it, as PaddleClas does."""
    now = datetime.datetime.now().strftime("%Y/%m/%d %H:%M:%S")
    return f"[{now}] trainer INFO: {escape_controls(text)}"


def format_values(values: Mapping[str, float]) -> str:
    """Write `top1: 0.28125, loss: 1.59763`, five decimals as PaddleClas."""
    return ", ".join(f"{key}: {value:.5f}" for key, value in values.items())


def format_duration(seconds: float) -> str:
    """Write a time to go, such as `0:02:21`."""
    return str(datetime.timedelta(seconds=round(seconds))) if math.isfinite(seconds) else "unknown"


class _Lines:
    """A file that lines are appended to.

    A full disk ends no training here: the next checkpoint does, or says that it goes on. Lines that could not
    be written wait, `_MAX_WAITING` bytes of them, and are written with the next one that can be.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = open_append(path)
        self._waiting = b""
        self._is_told = False

    def write(self, text: str) -> str | None:
        """Append; return what there is to say of it, once until lines are written again."""
        data, done = self._waiting + text.encode(), 0
        try:
            while done < len(data):
                done += os.write(self._file.fileno(), data[done:])
        except OSError as error:
            self._keep(data, done)
            was_told, self._is_told = self._is_told, True
            said = f"{self._path}: {error.strerror}; its lines wait until they can be written"
            return None if was_told else said
        self._waiting, self._is_told = b"", False
        return None

    def _keep(self, data: bytes, done: int) -> None:
        """Keep what was not written; half of a line is taken back, which nobody could read."""
        whole = data.rfind(b"\n", 0, done) + 1
        try:
            os.ftruncate(self._file.fileno(), os.fstat(self._file.fileno()).st_size - (done - whole))
        except OSError:
            whole = done
        self._waiting = data[whole:]
        if len(self._waiting) > _MAX_WAITING:
            self._waiting = self._waiting[-_MAX_WAITING:].partition(b"\n")[2]

    def close(self) -> str | None:
        """Close; return what there is to say of lines that could not be written."""
        lost = self._waiting.count(b"\n")
        self._file.close()
        return f"{self._path}: {lost} lines could not be written" if lost else None


def _plain(value: Value) -> Value:
    return None if isinstance(value, float) and not math.isfinite(value) else value
