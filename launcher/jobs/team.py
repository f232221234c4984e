"""What everybody has on a cluster: all jobs, and who holds which GPUs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from launcher.backends.factory import open_backend
from launcher.backends.states import JobState
from launcher.errors import UnreachableError
from launcher.jobs.resolve import ResolvedJob, open_job
from launcher.jobs.settings import current_layers, read_setting
from launcher.runs.paths import runs_dir
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore

if TYPE_CHECKING:
    from launcher.backends.base import Backend, Cluster
    from launcher.config.layers import Layers
    from launcher.team.capacity import Top
    from launcher.team.gather import Team
    from launcher.team.team_jobs import TeamJob


def list_team(
    *,
    namespace: str | None = None,
    all_namespaces: bool = False,
    context: str | None = None,
    users: Collection[str] = (),
    states: Collection[str] = (),
    limit: int | None = None,
    with_progress: bool = True,
) -> Team:
    """Return everybody's jobs of ours on a cluster, newest first, as far as this user may see them.

    Args:
        namespace: Where to look; None for what settings or the context say.
        all_namespaces: Look everywhere; where that is not allowed, in `namespace`, and it is said.
        context: Of the kubeconfig; None for what settings say, else its current one.
        users: Only those of these users; all where it is empty.
        states: Only those that stand so, in lower case; all where it is empty.
        limit: At most so many.
        with_progress: Read the ends of a few running jobs' logs where no annotation tells their progress.

    Raises:
        UnreachableError: The cluster does not answer, or shows no job at all.
    """
    from launcher.team.gather import gather_team, read_logs_progress

    backend, cluster = _open(namespace, context)
    team = gather_team(
        cluster.api, namespace="" if all_namespaces else backend.namespace, fallback=backend.namespace
    )
    jobs = tuple(
        job for job in team.jobs
        if (not users or job.user in users) and (not states or state_of(team, job).lower() in states)
    )[:limit]  # fmt: skip
    if with_progress:
        jobs = read_logs_progress(cluster.logs, jobs)
    return replace(team, jobs=jobs)


def open_team_job(job: TeamJob, *, context: str | None = None, store: RunStore) -> ResolvedJob:
    """Return a job of somebody's, to be asked about and acted on as far as this user may. Sends nothing.

    Args:
        job: As it was listed.
        context: That it was listed by.
        store: Not this machine's runs: of a job that was submitted elsewhere there is no run folder.
    """
    from launcher.kinds.registry import KINDS

    handle = job.status.handle
    record = RunRecord(
        handle=handle, run_id=job.status.run_id, stage=Stage.SUBMITTED, project="", config="", command=(),
        created_s=job.status.created_s, context=context or read_setting(current_layers(), "context"),
        api=next(kind.name for kind in KINDS if kind.resource.kind == job.kind),
    )  # fmt: skip
    return open_job(record, store=store)


def state_of(team: Team, job: TeamJob) -> str:
    """Return how a job stands, in a word; Unknown where only its pods could tell, and may not be seen."""
    state = job.status.state
    hidden = not team.sees_pods and state not in _WITHOUT_PODS and not state.is_terminal
    return "Unknown" if hidden else state.value


_WITHOUT_PODS = (JobState.QUEUED, JobState.SUSPENDED)


@dataclass(frozen=True, kw_only=True, slots=True)
class TeamTop:
    """Who holds which GPUs, and the jobs that this was read from."""

    team: Team
    top: Top


def read_top(
    *, namespace: str | None = None, all_namespaces: bool = True, context: str | None = None
) -> TeamTop:
    """Return who holds which GPUs of a cluster, what is free, and which jobs hold some for nothing.

    Args:
        namespace: Whose jobs to look at, with `all_namespaces` where no others may be seen.
        all_namespaces: Look at jobs of all namespaces.
        context: Of the kubeconfig; None for what settings say, else its current one.

    Raises:
        UnreachableError: The cluster does not answer, or shows no job at all.
    """
    from launcher.team.gather import gather_top

    backend, cluster = _open(namespace, context)
    team, top = gather_top(
        cluster.api, cluster.logs, namespace="" if all_namespaces else backend.namespace,
        fallback=backend.namespace,
    )  # fmt: skip
    return TeamTop(team=team, top=top)


def _open(namespace: str | None, context: str | None) -> tuple[Backend, Cluster]:
    layers = current_layers()
    try:
        backend = _reach(layers, namespace, context)
    except UnreachableError as error:
        issue = error.issue
        if issue.where != "kubeconfig" or issue.got != "none":
            raise
        raise UnreachableError(  # a team's jobs are on a cluster: this machine, which is proposed, has none
            where=issue.where, expected=issue.expected, got=issue.got,
            fix="set KUBECONFIG, or name a file by --kubeconfig",
        ) from error  # fmt: skip
    cluster = backend.cluster
    assert cluster is not None
    return backend, cluster


def _reach(layers: Layers, namespace: str | None, context: str | None) -> Backend:
    return open_backend(  # also where jobs run here by default: those have no team
        "kubernetes",
        runs_folder=runs_dir(),
        namespace=namespace or read_setting(layers, "namespace"),
        context=context or read_setting(layers, "context"),
    )
