"""Curves of jobs."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ftlaunch.arguments import as_texts
from ftlaunch.boundary import api
from ftlaunch.job import Job, known_job

if TYPE_CHECKING:
    from launcher.jobs.curves import Plot


@api
def plot(jobs: Collection[Job | str] | Job | str, *, metrics: Collection[str] | str = ()) -> Plot:
    """Return what jobs have measured, as values, as SVG, and as a picture in a notebook.

    Args:
        jobs: One or several, or their names; drawn over one another.
        metrics: One or several, such as `loss`, `lr`, `eval.top1`; empty for the loss and the metric that
            chooses the best.

    Raises:
        NotFoundError: There is no such job, or one has measured nothing yet.
        UsageError: No job has measured a value of that name.
    """
    from launcher.jobs.curves import plot_jobs

    several = (jobs,) if isinstance(jobs, Job | str) else jobs
    return plot_jobs([known_job(job)._job for job in several], as_texts(metrics))
