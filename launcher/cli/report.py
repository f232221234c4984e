"""`ftlaunch report`."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from launcher.cli.options import echo_document, job_argument, output_option
from launcher.cli.printing import echo, print_note, show_progress
from launcher.cli.studies import find_job_or_best, trial_option
from launcher.documents import make_document
from launcher.errors import NotFoundError
from launcher.jobs.report import FetchedReport, fetch_report


@click.command("report")
@job_argument
@trial_option
@click.option(
    "--to", "target", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Target folder; by default JOB-report.",
)  # fmt: skip
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
@output_option("json", "csv")
def command(job: str | None, trial: int | None, target: Path | None, opens: bool, output: str) -> None:
    """Download the report of a job's training: how it goes, and what the model gets wrong.

    That is report.html, report.json, the answers to all images as CSV, and metrics.jsonl. On Kubernetes
    through the job's first pod, else through a pod that mounts its volumes for as long as it takes. --output
    csv prints the answers, json the numbers.
    """
    resolved = find_job_or_best(job, trial)
    found = fetch_report(resolved, to=target, progress=show_progress, notes=print_note)
    if output == "csv":
        _print_answers(found)
    elif output == "json":
        document = make_document(
            "report", job=resolved.name, folder=str(found.folder), page=str(found.page),
            predictions=None if found.predictions is None else str(found.predictions),
            metrics=None if found.metrics is None else str(found.metrics), report=dict(found.document),
        )  # fmt: skip
        echo_document(document, output)
    else:
        echo(str(found.page))
        echo(_name_files(found), err=True)
    if opens and not webbrowser.open(found.page.absolute().as_uri()):
        echo(f"warning: no browser could be started; open {found.page}", err=True)


def _name_files(found: FetchedReport) -> str:
    parts = ["report.json has its numbers"]
    if found.predictions is not None:
        parts.append(f"{found.predictions.name} each image's answer")
    if found.metrics is not None:
        parts.append(f"{found.metrics.name} what each step measured")
    return f"beside it: {', '.join(parts)}"


def _print_answers(found: FetchedReport) -> None:
    if found.predictions is None:
        raise NotFoundError(
            where=found.folder,
            expected="every image's answer as CSV",
            got="none beside the page",
            fix="ask again",
        )
    echo(found.predictions.read_text("utf-8", "replace"), nl=False)
