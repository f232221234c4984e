"""Curves of jobs."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from ftlaunch.job import Job, find_job

if TYPE_CHECKING:
    from launcher.jobs.curves import Plot


def plot(jobs: Collection[Job | str], *, metrics: Collection[str] = ()) -> Plot:
    """Return what jobs have measured, as values, as SVG, and as a picture in a notebook.

    Args:
        jobs: Or their names; drawn over one another.
        metrics: Such as `loss`, `lr`, `eval.top1`; empty for the loss and the metric that chooses the best.

    Raises:
        NotFoundError: There is no such job, or one has measured nothing yet.
        UsageError: No job has measured a value of that name.
    """
    from launcher.jobs.curves import plot_jobs

    found = [(find_job(job) if isinstance(job, str) else job)._job for job in jobs]
    return plot_jobs(found, tuple(metrics))
