"""What a job has measured so far: the rows of its `metrics.jsonl`, wherever that lies."""

from __future__ import annotations

from collections.abc import Mapping

from launcher.jobs.checkpoints import open_output
from launcher.jobs.resolve import ResolvedJob
from trainer.protocol.untrusted import FormatError, parse_object

METRICS = "metrics.jsonl"
_MAX_ROW_BYTES = 64 * 1024


def read_metrics(job: ResolvedJob) -> list[Mapping[str, object]]:
    """Return the rows that the trainer has written, the oldest first; none before the first step.

    Each has `event` (`step`, `eval`, …), `attempt` (from 1) and `time_s` (Unix time) beside its numbers, in
    which null stands for what JSON cannot say. A row that is only half written is left out, and so is what is
    none.

    Raises:
        NotFoundError: The job has no output folder yet.
        VolumeError: It cannot be read, or holds more than 16 MiB of rows.
    """
    with open_output(job) as place:
        texts = {line["path"]: line.get("text") or "" for line in place.lines("read", {"files": [METRICS]})}
    rows: list[Mapping[str, object]] = []
    for line in texts.get(METRICS, "").splitlines():
        try:
            rows.append(parse_object(line, where=METRICS, max_bytes=_MAX_ROW_BYTES))
        except FormatError:  # cut off by a kill, or still being written
            continue
    return rows
