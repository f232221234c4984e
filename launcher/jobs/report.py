"""The report of a job's training, fetched from where the job writes it, while it runs and afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.errors import NotFoundError
from launcher.jobs.checkpoints import open_output
from launcher.jobs.metrics import METRICS
from launcher.jobs.notes import Note, Notes, Progress, ignore, no_progress
from launcher.jobs.resolve import ResolvedJob
from launcher.volumes import transfer
from launcher.volumes.place import FileDiffersError, Place, VolumeError
from launcher.volumes.transfer import File
from trainer.protocol.reportfile import DOCUMENT, PAGE, predictions_name
from trainer.protocol.safe_files import read_file, replace_file
from trainer.protocol.untrusted import FormatError, parse_object

_MAX_BYTES = 16 * 1024 * 1024
_TRIES = 4
"""A training writes page, numbers and answers one after the other; each is whole, but they may change."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchedReport:
    """A report that is here now.

    Attributes:
        folder: Where its files are.
        page: For people.
        document: Its numbers, as the trainer wrote them (docs/evaluation-report.md).
        predictions: Every image's answer as CSV; None where the page is newer than that.
        metrics: The rows of the run; None where there are none, or more than 16 MiB of them.
    """

    folder: Path
    page: Path
    document: Mapping[str, object]
    predictions: Path | None
    metrics: Path | None


def fetch_report(
    job: ResolvedJob, *, to: Path | None = None, progress: Progress = no_progress, notes: Notes = ignore
) -> FetchedReport:
    """Fetch page, numbers, answers and metrics of a job's last report.

    Args:
        job: Which.
        to: Folder for the files; None for `JOB-report` in the current one.
        progress: Told of bytes as they come.
        notes: Told what did not come, and why.

    Raises:
        NotFoundError: There is no report yet.
        VolumeError: It cannot be read.
    """
    folder = to or Path(f"{job.name}-report")
    with open_output(job) as place:
        if not _pull(place, [PAGE, DOCUMENT], folder, progress):
            raise NotFoundError(
                where=job.name, expected=f"a report ({PAGE})", got="none",
                fix="it is written after each evaluation of a training with DataLoader.Eval, unless "
                "Global.report is false",
            )  # fmt: skip
        document = _read_document(folder / DOCUMENT)
        name = _name_predictions(document)
        predictions = None
        if name is not None and _pull(place, [name], folder, progress):
            predictions = folder / name
        elif name is not None:
            notes(Note(f"{name} is no longer there: the training has gone on; ask again", "note"))
        metrics = _fetch_metrics(place, folder, notes)
    return FetchedReport(
        folder=folder, page=folder / PAGE, document=document, predictions=predictions, metrics=metrics
    )


def _pull(place: Place, names: list[str], folder: Path, progress: Progress) -> bool:
    """Fetch files as they are now; returns whether all are there.

    A file that is replaced between being looked at and being sent is another one: it is asked for again.
    """
    for left in reversed(range(_TRIES)):
        files = _stat(place, names)
        if len(files) < len(names):
            return False
        try:
            with progress(sum(file.size for file in files)) as tell:
                transfer.pull(place, files, within="", to=folder, progress=tell)
        except (FileDiffersError, VolumeError):
            if not left or _stat(place, names) == files:
                raise
        else:
            break
    return True


def _stat(place: Place, names: list[str]) -> list[File]:
    found = place.lines("stat", {"files": names, "hashes": True})
    return [
        File(path=line["path"], size=line["size"], sha256=line["sha256"])
        for line in found
        if "size" in line and "path" in line and line["path"] in names
    ]


def _read_document(path: Path) -> Mapping[str, object]:
    try:
        return parse_object(read_file(path, max_bytes=_MAX_BYTES), where=DOCUMENT, max_bytes=_MAX_BYTES)
    except (FormatError, OSError) as error:
        raise VolumeError(str(error), where=path) from error


def _name_predictions(document: Mapping[str, object]) -> str | None:
    training = document.get("training")
    epoch = training.get("epoch") if isinstance(training, Mapping) else None
    if not isinstance(epoch, int) or isinstance(epoch, bool) or not 0 <= epoch < 10**9:
        return None
    return predictions_name(epoch)


def _fetch_metrics(place: Place, folder: Path, notes: Notes) -> Path | None:
    """Fetch the rows as a text: a file that grows has no hash that holds."""
    try:
        lines = [line for line in place.lines("read", {"files": [METRICS]}) if line.get("path") == METRICS]
    except VolumeError as error:
        notes(Note(f"{METRICS} stays where it is: {error}", "note"))
        return None
    if not lines:
        return None
    replace_file(folder / METRICS, (lines[0].get("text") or "").encode("utf-8", "replace"))
    return folder / METRICS
