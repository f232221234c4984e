"""`ftlaunch list`."""

from __future__ import annotations

import dataclasses
import shutil
import sys
import time
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.backends.states import JobState
from launcher.cli.options import echo_document, output_option
from launcher.cli.printing import echo
from launcher.cli.studies import as_study, complete_study, list_with_summaries
from launcher.cli.summary import score_to_json
from launcher.cli.table import format_table, shorten
from launcher.documents import format_time, make_document
from launcher.errors import NotFoundError
from launcher.jobs.listing import ListedJob, changes_of, has_jobs, list_jobs, noted_gpu_hours
from launcher.jobs.row_text import (
    describe_best,
    describe_changes,
    describe_duration,
    describe_moment,
    describe_progress,
)
from launcher.plan.capabilities import CAPABILITIES
from launcher.plan.handle import BACKENDS, BackendKind
from launcher.runs.paths import project_of
from launcher.runs.record import RunRecord

if TYPE_CHECKING:
    from launcher.jobs.outcome import Outcome
    from launcher.sweep.study import Study
    from launcher.team.gather import Team
    from launcher.team.team_jobs import TeamJob
    from trainer.protocol.studyfile import Summary

    StudyRow = tuple[Study, Summary | None]

MANY = 50
"""Of more jobs the newest are shown to people, unless a number is asked for."""
_ROOMY = 100
"""Columns from which a terminal holds all that there is of a job."""


@click.command("list")
@click.argument("study", required=False, shell_complete=complete_study)
@click.option("--on", type=click.Choice(BACKENDS), help="Show only jobs of this backend.")
@click.option("--here", is_flag=True, help="Show only jobs submitted from this project.")
@click.option(
    "--state", "wanted", multiple=True, help="Show only jobs in this state; may be repeated.",
    type=click.Choice([state.value.lower() for state in JobState], case_sensitive=False),
)  # fmt: skip
@click.option("--limit", "-n", type=click.IntRange(min=1), help="Show only the newest N jobs.")
@click.option("--all", "everybody", is_flag=True, help="Show everybody's jobs of a namespace of the cluster.")
@click.option("--all-namespaces", "-A", "everywhere", is_flag=True, help="With --all: of all namespaces.")
@click.option("--user", "users", multiple=True, metavar="NAME", help="With --all: only jobs of this user.")
@click.option(
    "--namespace", metavar="NAME", help="With --all: Kubernetes namespace; by default the context's."
)
@click.option("--context", metavar="NAME", help="With --all: context of the kubeconfig.")
@output_option("wide", "json", "yaml", "name")
def command(
    *, study: str | None, on: BackendKind | None, here: bool, wanted: tuple[str, ...], limit: int | None,
    everybody: bool, everywhere: bool, users: tuple[str, ...],
    namespace: str | None, context: str | None, output: str,
) -> None:  # fmt: skip
    """List the jobs that were submitted from this machine, newest first, or with --all everybody's.

    A study of `sweep` is one of them; with its name, the jobs of its trials are listed.
    """
    _require_study(study)
    if everybody or everywhere:
        if here or (on is not None and not CAPABILITIES[on].is_cluster):
            given = "--here" if here else f"--on {on}"
            raise click.UsageError(f"--all: expected no {given} beside it, since it asks a cluster")
        _list_team(
            users=users, states=wanted, limit=limit, everywhere=everywhere, namespace=namespace,
            context=context, output=output,
        )  # fmt: skip
        return
    if users or namespace or context:
        given = "--user" if users else "--namespace" if namespace else "--context"
        raise click.UsageError(f"{given}: expected --all beside it; without it only records of here are read")
    is_table = output in ("text", "wide")
    studies = [] if study is not None else _studies(on=on, here=here, states=wanted)
    rows = list_jobs(
        on=on,
        project=Path.cwd() if here else None,
        states=wanted,
        limit=limit or (MANY + 1 if is_table and not wanted else None),
        with_state=output != "name",
        study=study,
        leave_out=[found.name for found, _ in list_with_summaries()] if is_table and study is None else (),
    )
    if output in ("json", "yaml"):
        echo_document(
            make_document(
                "list", items=[_to_json(row) for row in rows], studies=list(map(_study_to_json, studies))
            ),
            output,
        )
        return
    if output == "name":
        for row in rows:
            echo(row.record.handle.job)
        return
    if not rows and not studies:
        _say_why_empty(is_filtered=bool(on or here or wanted))
        return
    shown = rows if limit else rows[:MANY]
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() and output != "wide" else None
    lines = format_jobs(
        shown,
        wide=output == "wide",
        narrow=columns is not None and columns < _ROOMY,
        studies=studies[: limit or MANY],
    )
    if columns is not None:
        lines = [shorten(line, columns=columns) for line in lines]
    echo("\n".join(lines))
    if len(shown) < len(rows):
        echo(f"these are the newest {MANY}; --limit N shows more, --output name all", err=True)


def format_jobs(
    rows: list[ListedJob], *, wide: bool, narrow: bool = False, studies: Sequence[StudyRow] = ()
) -> list[str]:
    """Write a row a job; on a `narrow` terminal without the place where all run, so that changes are seen."""
    header = ["JOB", "ON", "STATE", "PROGRESS", "BEST", "TIME", "SENT", "SINCE THE RUN BEFORE"]
    now_s = time.time()
    table = [
        [
            row.record.handle.job, row.record.handle.namespace or row.record.handle.backend, row.state or "",
            describe_progress(row.outcome), describe_best(row.outcome), describe_duration(row.outcome, now_s),
            describe_moment(row.record.created_s, now_s, whole=wide), describe_changes(changes_of(row)),
        ]
        for row in rows
    ]  # fmt: skip
    if studies:
        created = [row.record.created_s for row in rows] + [found.settings.created_s for found, _ in studies]
        whole = [*table, *(_study_cells(found, summary, now_s, whole=wide) for found, summary in studies)]
        table = [cells for _, cells in sorted(zip(created, whole, strict=True), key=lambda pair: -pair[0])]
    if narrow and len({cells[1] for cells in table}) == 1:
        header, table = [header[0], *header[2:]], [[cells[0], *cells[2:]] for cells in table]
    if wide:
        header += ["GPU-HOURS", "RUN ID", "CONFIG"]
        known = {row.record.handle.job: row.record for row in rows}
        table = [[*cells, *_wide_cells(known.get(cells[0]))] for cells in table]
    return format_table(header, table, right="GPU-HOURS")


def _wide_cells(record: RunRecord | None) -> list[str]:
    if record is None:  # a study
        return ["", "", ""]
    hours = noted_gpu_hours(record)
    return ["" if hours is None else f"{hours:.1f}", record.run_id, record.config]


def _require_study(name: str | None) -> None:
    if name is not None and as_study(name) is None:
        raise NotFoundError(
            where=name, expected="a study of this machine", got="none",
            fix="`ftlaunch list` shows them; of a job, `ftlaunch status`",
        )  # fmt: skip


def _studies(*, on: BackendKind | None, here: bool, states: Collection[str]) -> list[StudyRow]:
    home = str(project_of(Path.cwd())) if here else None
    return [
        (study, summary)
        for study, summary in list_with_summaries()
        if on in (None, study.settings.on)
        and (home is None or home == str(project_of(Path(study.settings.workdir))))
        and (not states or (summary is not None and summary.state.lower() in states))
    ]


def _study_cells(study: Study, summary: Summary | None, now_s: float, *, whole: bool) -> list[str]:
    settings = study.settings
    far = f"{summary.ended}/{summary.planned} trials" if summary is not None else ""
    best = ""
    if summary is not None and summary.best is not None and summary.winner is not None:
        best = f"{settings.metric or 'value'} {summary.best:.3g} t{summary.winner + 1}"
    state = summary.state if summary is not None else "Paused"
    return [
        study.name,
        settings.on,
        state,
        far,
        best,
        "",
        describe_moment(settings.created_s, now_s, whole=whole),
        "a study",
    ]


def _study_to_json(row: StudyRow) -> dict[str, object]:
    study, summary = row
    return {
        "name": study.name, "state": summary.state if summary else "Paused", "config": study.settings.config,
        "created": format_time(study.settings.created_s), "planned": summary.planned if summary else None,
        "ended": summary.ended if summary else None, "best": summary.best if summary else None,
        "metric": study.settings.metric or None,
    }  # fmt: skip


def _list_team(
    *, users: tuple[str, ...], states: tuple[str, ...], limit: int | None, everywhere: bool,
    namespace: str | None, context: str | None, output: str,
) -> None:  # fmt: skip
    from launcher.jobs.team import list_team

    team = list_team(
        namespace=namespace, all_namespaces=everywhere, context=context, users=users, states=states,
        limit=limit, with_progress=output != "name",
    )  # fmt: skip
    if output in ("json", "yaml"):
        skipped = [{"what": item.what, "reason": item.reason} for item in team.skipped]
        items = [_team_job_to_json(team, job) for job in team.jobs]
        echo_document(make_document("list", items=items, skipped=skipped), output)
        return
    if output == "name":
        for job in team.jobs:
            echo(job.status.handle.job)
    elif team.jobs:
        echo("\n".join(_team_table(team, wide=output == "wide")))
    else:
        where = f"namespace {team.namespace}" if team.namespace else "any namespace"
        narrowed = " that is so" if users or states else ""
        echo(f"no job of ftlaunch{narrowed} is in {where}", err=True)
    for item in team.skipped:
        echo(f"not looked at: {item}", err=True)


def _team_table(team: Team, *, wide: bool) -> list[str]:
    from launcher.cli.top import format_hours
    from launcher.jobs.team import state_of
    from launcher.times import format_duration

    many = not team.namespace
    header = ["JOB", "USER", "KIND", "QUEUE", "GPUS", "STATE", "PROGRESS", "GPU-HOURS", "AGE"]
    rows = [
        [
            job.status.handle.job, job.user, job.kind, job.queue, str(job.gpus_wanted), state_of(team, job),
            _progress(job), format_hours(job.gpu_time.gpu_hours, bool(job.gpu_time.estimate)),
            format_duration(team.now_s - job.status.created_s),
        ]
        for job in team.jobs
    ]  # fmt: skip
    if many:
        header.insert(0, "NAMESPACE")
        rows = [[job.status.handle.namespace, *row] for job, row in zip(team.jobs, rows, strict=True)]
    if wide:
        header += ["RUN ID", "REASON"]
        rows = [
            [*row, job.status.run_id, job.status.reason] for job, row in zip(team.jobs, rows, strict=True)
        ]
    return format_table(header, rows, right="GPUS GPU-HOURS")


def _progress(job: TeamJob) -> str:
    from launcher.jobs.lifecycle import eta_s
    from launcher.times import format_duration

    progress = job.status.progress
    if progress is None or progress.step is None:
        return ""
    if not progress.total_steps:
        return f"step {progress.step}"
    left = eta_s(job.status)
    return f"{progress.step / progress.total_steps:.0%}" + (f", {format_duration(left)} left" if left else "")


def _team_job_to_json(team: Team, job: TeamJob) -> dict[str, object]:
    from launcher.jobs.lifecycle import eta_s
    from launcher.jobs.team import state_of

    status, progress = job.status, job.status.progress
    return {
        "handle": str(status.handle),
        "job": status.handle.job,
        "state": state_of(team, job),
        "run_id": status.run_id,
        "config": None,
        "project": None,
        "study": None,
        "created": format_time(status.created_s),
        "ended": format_time(status.ended_s),
        "namespace": status.handle.namespace,
        "user": job.user or None,
        "object": job.kind,
        "queue": job.queue or None,
        "nodes": job.nodes,
        "gpus": job.gpus_wanted,
        "gpus_held": job.gpus_held,
        "gpu_hours": round(job.gpu_time.gpu_hours, 3),
        "gpu_hours_estimate": job.gpu_time.estimate or None,
        "step": progress.step if progress else None,
        "total_steps": (progress.total_steps or None) if progress else None,
        "eta_s": eta_s(status),
        "reason": status.reason,
    }


def _say_why_empty(*, is_filtered: bool) -> None:
    if is_filtered and has_jobs():
        echo("no job of this machine is so; `ftlaunch list` shows all", err=True)
    else:
        echo("no jobs of this machine; `ftlaunch submit --help`", err=True)


def _to_json(row: ListedJob) -> dict[str, object]:
    record = row.record
    return {
        "handle": str(record.handle),
        "job": record.handle.job,
        "state": row.state,
        "run_id": record.run_id,
        "config": record.config,
        "project": record.project,
        "study": record.study,
        "created": format_time(record.created_s),
        "gpu_hours": noted_gpu_hours(record),
        **_outcome_to_json(row.outcome),
        "before": row.before.handle.job if row.before is not None else None,
        "changes": [dataclasses.asdict(change) for change in changes_of(row)],
    }


def _outcome_to_json(outcome: Outcome | None) -> dict[str, object]:
    if outcome is None:
        return {"step": None, "total_steps": None, "began": None, "ended": None, "best": None}
    return {
        "step": outcome.step, "total_steps": outcome.total_steps or None,
        "began": format_time(outcome.began_s), "ended": format_time(outcome.ended_s),
        "best": score_to_json(outcome.score),
    }  # fmt: skip
