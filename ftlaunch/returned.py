"""Classes of what functions return, each read from its module when it is first asked for.

`import ftlaunch` needs none of them, and some stand beside what is slow to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.backends.states import JobEvent, JobStatus, PodState, PodStatus
    from launcher.errors import Issue
    from launcher.jobs.changes import Change
    from launcher.jobs.checkpoints import Pulled
    from launcher.jobs.comparison import Comparison, Parting
    from launcher.jobs.curves import MeasuredCurve, Panel, Plot
    from launcher.jobs.data import Compared, Pushed
    from launcher.jobs.data_report import DataReport
    from launcher.jobs.examination import Examination
    from launcher.jobs.lifecycle import Cancelled
    from launcher.jobs.metrics import Score
    from launcher.jobs.notes import Note
    from launcher.jobs.report import FetchedReport
    from launcher.jobs.team import TeamTop
    from launcher.jobs.track import Tracked
    from launcher.team.gather import Team
    from launcher.volumes.checkpoints import CheckpointInfo
    from launcher.why.explanation import Explanation
    from trainer.batch_size import FitBatchResult
    from trainer.config.resize import Change as ResizeChange
    from trainer.data.make_lists import ListsReport
    from trainer.engine.lr_finder import LrFindResult
    from trainer.engine.profiling import Profile
    from trainer.insight.data_report import WrittenReport
    from trainer.progress import Progress
    from trainer.results import (
        AverageResult,
        CheckResult,
        EvaluateResult,
        ExportResult,
        Prediction,
        PredictResult,
        SelectionResult,
        TrainResult,
    )

PLACES = {
    "AverageResult": "trainer.results",
    "Cancelled": "launcher.jobs.lifecycle",
    "Change": "launcher.jobs.changes",
    "CheckResult": "trainer.results",
    "CheckpointInfo": "launcher.volumes.checkpoints",
    "Compared": "launcher.jobs.data",
    "Comparison": "launcher.jobs.comparison",
    "DataReport": "launcher.jobs.data_report",
    "EvaluateResult": "trainer.results",
    "Examination": "launcher.jobs.examination",
    "Explanation": "launcher.why.explanation",
    "ExportResult": "trainer.results",
    "FetchedReport": "launcher.jobs.report",
    "FitBatchResult": "trainer.batch_size",
    "Issue": "launcher.errors",
    "JobEvent": "launcher.backends.states",
    "JobStatus": "launcher.backends.states",
    "ListsReport": "trainer.data.make_lists",
    "LrFindResult": "trainer.engine.lr_finder",
    "MeasuredCurve": "launcher.jobs.curves",
    "Note": "launcher.jobs.notes",
    "Panel": "launcher.jobs.curves",
    "Parting": "launcher.jobs.comparison",
    "Plot": "launcher.jobs.curves",
    "PodState": "launcher.backends.states",
    "PodStatus": "launcher.backends.states",
    "PredictResult": "trainer.results",
    "Prediction": "trainer.results",
    "Profile": "trainer.engine.profiling",
    "Progress": "trainer.progress",
    "Pulled": "launcher.jobs.checkpoints",
    "Pushed": "launcher.jobs.data",
    "ResizeChange": "trainer.config.resize:Change",
    "Score": "launcher.jobs.metrics",
    "SelectionResult": "trainer.results",
    "Team": "launcher.team.gather",
    "TeamTop": "launcher.jobs.team",
    "Tracked": "launcher.jobs.track",
    "TrainResult": "trainer.results",
    "WrittenReport": "trainer.insight.data_report",
}
"""The module of each, and its name there where that is another one."""

__all__ = [
    "AverageResult",
    "Cancelled",
    "Change",
    "CheckResult",
    "CheckpointInfo",
    "Compared",
    "Comparison",
    "DataReport",
    "EvaluateResult",
    "Examination",
    "Explanation",
    "ExportResult",
    "FetchedReport",
    "FitBatchResult",
    "Issue",
    "JobEvent",
    "JobStatus",
    "ListsReport",
    "LrFindResult",
    "MeasuredCurve",
    "Note",
    "Panel",
    "Parting",
    "Plot",
    "PodState",
    "PodStatus",
    "PredictResult",
    "Prediction",
    "Profile",
    "Progress",
    "Pulled",
    "Pushed",
    "ResizeChange",
    "Score",
    "SelectionResult",
    "Team",
    "TeamTop",
    "Tracked",
    "TrainResult",
    "WrittenReport",
]


def __getattr__(name: str) -> type:
    """Return a class by its name, for `ftlaunch` too, which has this function.

    Raises:
        AttributeError: There is none; tells the nearest name, or that it is a method of a job.
    """
    from importlib import import_module

    place = PLACES.get(name)
    if place is None:
        raise AttributeError(f"module 'ftlaunch' has no attribute {name!r}{_hint(name)}")
    module, _, other = place.partition(":")
    found: type = getattr(import_module(module), other or name)
    return found


def __dir__() -> list[str]:
    """Return what is public of `ftlaunch`."""
    import ftlaunch

    return sorted(ftlaunch.__all__)


def _hint(name: str) -> str:
    import ftlaunch
    from trainer.config.problems import suggest

    if name.startswith("_"):  # Python itself asks for such ones
        return ""
    if hasattr(ftlaunch.Job, name):
        return f"; it is a method of a job: find_job(...).{name}"
    return suggest(name, ftlaunch.__all__)
