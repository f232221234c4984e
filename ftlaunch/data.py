"""Bringing data to a claim of the cluster, and comparing it there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ftlaunch.boundary import api
from ftlaunch.job import log_note

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from ftlaunch.keywords import ClaimKeywords
    from launcher.jobs.data import Compared, Pushed
    from launcher.jobs.data_report import DataReport


@api
def push_data(
    folder: str | Path, claim: str, *, config: str | Path | None = None, **target: Unpack[ClaimKeywords]
) -> Pushed:
    """Bring all files of a folder to a claim; what is there already with the right hash does not go again.

    Args:
        folder: Of this machine.
        claim: `CLAIM` or `CLAIM:FOLDER`.
        config: Says how list files are read; None guesses that.
        target: Other fields of `launcher.jobs.data.ClaimTarget`: namespace, context, image, user, group.

    Raises:
        UsageError: The folder is empty, or a list names a file that it lacks.
        NotFoundError: There is no such claim.
        UnreachableError: The cluster does not answer or does not let us in.
    """
    from launcher.jobs.data import ClaimTarget, push_folder

    return push_folder(Path(folder), ClaimTarget(name=claim, **target), config=_path(config), notes=log_note)


@api
def check_data(
    folder: str | Path, claim: str, *, config: str | Path | None = None, **target: Unpack[ClaimKeywords]
) -> Compared:
    """Compare all files of a folder with a claim by their hashes; `differ` names those that are not alike.

    Takes and raises what `push_data` does.
    """
    from launcher.jobs.data import ClaimTarget, compare_folder

    return compare_folder(
        Path(folder), ClaimTarget(name=claim, **target), config=_path(config), notes=log_note
    )


@api
def report_claim(
    claim: str,
    *,
    to: str | Path = "data-report",
    config: str | Path | None = None,
    lists: Sequence[str] = (),
    cpu: str = "2",
    memory: str = "2Gi",
    **target: Unpack[ClaimKeywords],
) -> DataReport:
    """Read every image of a data set on a claim, in a pod beside it, and fetch what was found.

    Of images of this machine `report_data` makes such a report.

    Args:
        claim: `CLAIM` or `CLAIM:FOLDER`.
        to: Folder for the files.
        config: Names the lists, and says how they are read.
        lists: Names of the lists in the folder; those that `make_lists` writes where empty.
        cpu: Cores of the pod.
        memory: Memory of the pod.
        target: As for `push_data`; the image is one with the trainer.

    Raises:
        VolumeError: The report cannot be made or fetched.
        UnreachableError: The cluster does not answer or does not let us in.
    """
    from launcher.jobs.data import ClaimTarget
    from launcher.jobs.data_report import DataQuestion, report_data
    from launcher.volumes.place import Scratch

    question = DataQuestion(
        targets=(claim,), on="kubernetes", claim=ClaimTarget(name="", **target), lists=tuple(lists),
        config=_path(config), scratch=Scratch(cpu=cpu, memory=memory),
    )  # fmt: skip
    return report_data(question, to=Path(to), notes=log_note)


def _path(path: str | Path | None) -> Path | None:
    return None if path is None else Path(path)
