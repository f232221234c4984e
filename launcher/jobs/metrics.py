"""What a job has measured so far: the rows of its `metrics.jsonl`, wherever that lies."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from launcher.jobs.resolve import ResolvedJob
from launcher.plan.capabilities import CAPABILITIES
from trainer.protocol import jobfile
from trainer.protocol.environment import WORKSPACE
from trainer.protocol.jobfile import JobFile, parse_job_file
from trainer.protocol.pathmap import PathMap
from trainer.protocol.runfile import load_run_file
from trainer.protocol.safe_files import open_read, read_file
from trainer.protocol.untrusted import FormatError, parse_object

METRICS = "metrics.jsonl"
_MAX_ROW_BYTES = 64 * 1024
_MAX_BYTES = 16 * 1024 * 1024
"""Of a file on this machine: the end of a longer one is read."""
_MAX_NAME = 100
_FLOOR, _AVERAGED, _LOSS = "largest_class", "ema_", "loss"
_BESIDE = ("event", "attempt", "time_s", "epoch", "step")

_HERE = tuple(kind for kind, capabilities in CAPABILITIES.items() if not capabilities.is_cluster)

Row = Mapping[str, object]


@dataclass(frozen=True, kw_only=True, slots=True)
class Score:
    """The best evaluation of a run so far.

    Attributes:
        metric: What chose it: the first metric of the evaluation, such as `top1`.
        value: Of that metric.
        epoch: Epochs completed then, from 1; None where that is not known.
        largest_class: Share of the images that are of the most frequent class, which is the top1 of always
            answering it; None where images have no single label, and where it is not known.
    """

    metric: str
    value: float
    epoch: int | None = None
    largest_class: float | None = None


def read_metrics(job: ResolvedJob) -> list[Row]:
    """Return the rows that the trainer has written, the oldest first; none before the first step.

    Each has `event` (`step`, `eval`, …), `attempt` (from 1) and `time_s` (Unix time) beside its numbers, in
    which null stands for what JSON cannot say. A row that is only half written is left out, and so is what is
    none.

    Raises:
        NotFoundError: The job has no output folder yet.
        VolumeError: It cannot be read, or holds more than 16 MiB of rows.
    """
    from launcher.jobs.checkpoints import open_output  # with it comes YAML

    with open_output(job) as place:
        texts = {line["path"]: line.get("text") or "" for line in place.lines("read", {"files": [METRICS]})}
    return parse_rows(texts.get(METRICS, "").splitlines())


def parse_rows(lines: Iterable[str | bytes]) -> list[Row]:
    """Read rows; what is none, or cut off, is left out."""
    rows: list[Row] = []
    for line in lines:
        try:
            rows.append(parse_object(line, where=METRICS, max_bytes=_MAX_ROW_BYTES))
        except FormatError:  # cut off by a kill, or still being written
            continue
    return rows


def load_job_file(run_folder: Path) -> JobFile | None:
    """Read what a submit has noted of a job for this machine; None where it has not, or it is broken."""
    try:
        data = read_file(run_folder / jobfile.NAME, max_bytes=jobfile.MAX_BYTES)
        return parse_job_file(data, where=jobfile.NAME)
    except (OSError, FormatError):
        return None


def output_here(run_folder: Path, *, is_mounted: bool = False) -> Path | None:
    """Return the output folder of a job of this machine, whose volumes, if it has any, are folders here.

    None for others, and where another run has taken the folder since.

    Args:
        run_folder: Of the job.
        is_mounted: Volumes of a cluster's jobs are mounted here, too, as in their pods.
    """
    file = load_job_file(run_folder)
    if file is None or not (file.folders or file.backend in _HERE or is_mounted):
        return None
    path_map = PathMap({WORKSPACE: file.workdir, **file.folders}, counts_relative=True)
    found = file.output_dir if is_mounted else path_map.apply(file.output_dir)
    if found == file.output_dir and not is_mounted:
        return None
    try:
        run = load_run_file(Path(found))
    except (OSError, FormatError):
        return None
    return Path(found) if run is not None and run.run_id == file.run_id else None


def read_metrics_here(run_folder: Path, *, is_mounted: bool = False) -> list[Row]:
    """Return the rows of a job whose output lies on this machine; none for others, and where none are.

    Starts no program, so that it may be asked often. The arguments are those of `output_here`.
    """
    folder = output_here(run_folder, is_mounted=is_mounted)
    if folder is None:
        return []
    try:
        with open_read(folder / METRICS) as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _MAX_BYTES))
            return parse_rows(file.read(_MAX_BYTES).splitlines())
    except OSError:
        return []


def choose_metric(row: Row) -> str | None:
    """Return the name of the metric that chooses the best of a run, by a row of an evaluation.

    Values stand in the order of the evaluation: losses, the last of which is `loss`, then metrics, the first
    of which chooses (docs/paddleclas.md).
    """
    names = [name for name in row if name not in _BESIDE and len(name) <= _MAX_NAME]
    after = names[names.index(_LOSS) + 1 :] if _LOSS in names else []
    return next((name for name in after if name != _FLOOR and not name.startswith(_AVERAGED)), None)


def find_score(rows: Sequence[Row]) -> Score | None:
    """Return the best evaluation that rows tell of; None before the first, and where nothing was measured.

    Which one that is the trainer has said, where it has saved it as the best (`checkpoint`, `best`): a metric
    may count mistakes. Else it is the largest value, the later one of two equal ones.
    """
    chosen_by_trainer = [
        row.get("epoch") for row in rows if row.get("event") == "checkpoint" and row.get("best")
    ]
    found: dict[int, Score] = {}
    for row in rows:
        metric = choose_metric(row) if row.get("event") == "eval" else None
        epoch, floor = row.get("epoch"), row.get(_FLOOR)
        values = [row.get(metric), row.get(f"{_AVERAGED}{metric}")] if metric else []
        numbers = [float(value) for value in values if is_number(value)]  # type: ignore[arg-type]
        if metric is None or not numbers or not isinstance(epoch, int):
            continue
        found[epoch] = Score(
            metric=metric, value=max(numbers), epoch=epoch,
            largest_class=float(floor) if is_number(floor) else None,  # type: ignore[arg-type]
        )  # fmt: skip
    if not found:
        return None
    named = [epoch for epoch in found if epoch in chosen_by_trainer]
    if named:
        return found[max(named)]
    return max(found.values(), key=lambda score: (score.value, score.epoch or 0))


def is_number(value: object) -> bool:
    """Say whether a value of a row is a finite number; `true` is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
