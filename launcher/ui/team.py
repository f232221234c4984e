"""Everybody's jobs of a namespace for the page, as the user may see them: asked for while somebody looks."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from launcher.errors import LaunchError, NotFoundError
from launcher.jobs.lifecycle import eta_s
from launcher.jobs.resolve import ResolvedJob
from launcher.jobs.team import list_team, open_team_job, state_of
from launcher.runs.store import RunStore
from launcher.team.gather import Team
from launcher.team.team_jobs import TeamJob
from launcher.times import format_duration
from launcher.ui.pages import draw_part
from launcher.ui.watch import Watched

_LOOK_S = 10.0
_MOST_ROWS = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class TeamQuery:
    """Which jobs are shown.

    Attributes:
        user: Part of who submitted it; empty for all.
        state: As in the list; empty for all.
    """

    user: str = ""
    state: str = ""


class TeamList:
    """The jobs of a namespace as they were last listed.

    Attributes:
        namespace: Whose.
        team: As last listed; None before.
        note: Why they could not be listed.
    """

    def __init__(self, namespace: str, context: str | None, *, own: RunStore, folder: Path) -> None:
        """Ask nothing yet.

        Args:
            namespace: Whose jobs.
            context: Of the kubeconfig; None for what settings say.
            own: Runs of this machine, whose pages show more.
            folder: For what is kept of others' jobs while the page runs.
        """
        self.namespace, self.note = namespace, ""
        self.team: Team | None = None
        self._context, self._own, self._store = context, own, RunStore(folder)

    def look(self) -> TeamList:
        """Ask the cluster once."""
        try:
            self.team, self.note = list_team(namespace=self.namespace, context=self._context), ""
        except LaunchError as error:
            self.note = str(error)
        return self

    def open(self, name: str) -> ResolvedJob:
        """Return a job of the namespace.

        Raises:
            NotFoundError: It has none of this name.
        """
        if self._find(name) is None:
            self.look()
        found = self._find(name)
        if found is None:
            raise NotFoundError(
                where=name, expected=f"a job in namespace {self.namespace}", got="none", fix=self.note
            )
        return open_team_job(found, context=self._context, store=self._store)

    def draw_rows(self, query: TeamQuery, *, root: str, is_saved: bool) -> str:
        """Draw a row a job."""
        team = self.team
        rows = [] if team is None else [self._row(team, job) for job in team.jobs if _takes(team, job, query)]
        notes = [
            self.note,
            *(f"not looked at: {item}" for item in (team.skipped if team is not None else ())),
        ]
        return draw_part(
            "team_rows", rows=rows[:_MOST_ROWS], hidden=max(0, len(rows) - _MOST_ROWS), root=root,
            is_saved=is_saved, notes=[note for note in notes if note], is_known=team is not None,
        )  # fmt: skip

    def _find(self, name: str) -> TeamJob | None:
        jobs = self.team.jobs if self.team is not None else ()
        return next((job for job in jobs if job.status.handle.job == name), None)

    def _row(self, team: Team, job: TeamJob) -> dict[str, object]:
        status, progress = job.status, job.status.progress
        share, left = "", eta_s(status)
        if progress is not None and progress.step is not None:
            share = (
                f"{progress.step / progress.total_steps:.0%}" if progress.total_steps else str(progress.step)
            )
        record = self._own.load(status.handle.job)
        is_own = record is not None and record.run_id == status.run_id
        return {
            "job": status.handle.job, "path": f"{'run' if is_own else 'team'}/{status.handle.job}/",
            "user": job.user, "kind": job.kind, "queue": job.queue, "gpus": job.gpus_wanted or "",
            "state": state_of(team, job), "progress": share,
            "left": format_duration(left) if left else "", "hours": f"{job.gpu_time.gpu_hours:.1f}",
            "age": format_duration(max(0.0, team.now_s - status.created_s)),
        }  # fmt: skip


class TeamWatch(Watched):
    """Looks at a namespace every few seconds."""

    def __init__(self, jobs: TeamList) -> None:
        super().__init__()
        self._jobs = jobs

    def begin(self) -> TeamWatch:
        """Begin to look."""
        self.spawn(self._work, "team")
        return self

    def _work(self) -> None:
        while not self.is_over:
            self._jobs.look()
            self.changed()
            if self.pause(_LOOK_S):
                return


class TeamView:
    """What a browser is sent of a namespace."""

    def __init__(self, jobs: TeamList, query: TeamQuery, root: str) -> None:
        self._jobs, self._query, self._root = jobs, query, root

    def draw(self) -> dict[str, str]:
        """See `View.draw`."""
        return {"rows": self._jobs.draw_rows(self._query, root=self._root, is_saved=False)}

    def new_lines(self) -> None:
        """Return none: a list has no log."""


def _takes(team: Team, job: TeamJob, query: TeamQuery) -> bool:
    is_users = query.user.lower() in job.user.lower()
    return is_users and query.state.lower() in ("", state_of(team, job).lower())
