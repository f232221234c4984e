"""`ftlaunch submit`."""

from __future__ import annotations

from pathlib import Path

import click

from launcher.cli.options import complete_job, echo_document, launch_options, output_option, plain_option
from launcher.cli.printing import can_show, echo, print_note
from launcher.documents import format_time, make_document
from launcher.errors import CliExit
from launcher.jobs.options import SubmitOptions
from launcher.jobs.resolve import ResolvedJob
from launcher.jobs.submit import dry_run, submit
from launcher.runs.record import RunRecord


@click.command("submit")
@launch_options
@click.option(
    "--like", metavar="JOB", shell_complete=complete_job,
    help="Take config and options of an earlier job, with what is typed now on top, instead of CONFIG.",
)  # fmt: skip
@click.option(
    "--dry-run", "dry", type=click.Choice(["client", "server"]),
    help="Print the manifest and submit nothing; server also has it checked where it would run.",
)  # fmt: skip
@click.option(
    "--follow/--detach", "-f", "follow", default=False,
    help="Show the job until it has ended: live on a terminal, else its log; the exit code is the job's.",
)  # fmt: skip
@click.option(
    "--wait",
    "waiting",
    is_flag=True,
    help="Wait until the job has ended, and show its progress; the exit code is the job's.",
)
@click.option(
    "--container-runtime", "runtime", metavar="docker|podman|PATH", envvar="FTLAUNCH_CONTAINER_RUNTIME",
    help="Container engine of --on docker; by default the first of docker and podman.",
)  # fmt: skip
@click.option(
    "--preflight/--no-preflight", default=True,
    help="Check first that the cluster has what the job needs: claims, quota, room.",
)  # fmt: skip
@plain_option
@output_option("json")
def command(
    *,
    path: Path,
    options: SubmitOptions,
    dry: str | None,
    follow: bool,
    waiting: bool,
    plain: bool,
    output: str,
) -> int:
    """Submit a job: to a Kubernetes cluster, or as containers or processes to this machine."""
    if dry is not None:
        found = dry_run(path, options, on_server=dry == "server", notes=print_note)
        for sentence in found.checked:
            echo(sentence, err=True)
        echo(
            found.prepared.manifest.text.encode("utf-8"), nl=False
        )  # bytes: the terminal's encoding has no say
        return CliExit.OK

    def print_job(job: ResolvedJob) -> None:
        if output == "json":
            echo_document(_to_json(job.record), output)
        else:
            echo(str(job.handle))

    job = submit(
        path,
        options,
        notes=print_note,
        on_sent=print_job,
        command=tuple(click.get_current_context().obj or ()),
    )
    if (follow or waiting) and not plain and can_show():
        from launcher.cli.live import follow_live

        return follow_live(job)
    if follow:
        from launcher.cli.logs import follow_log

        return follow_log(job)
    if waiting:
        return _wait(job)
    echo("next: ftlaunch logs -f · ftlaunch status · ftlaunch wait", err=True)  # of the last job
    return CliExit.OK


def _wait(job: ResolvedJob) -> int:
    from launcher.cli.summary import print_end
    from launcher.cli.waitline import say_goes_on, wait_aloud
    from launcher.jobs.wait import exit_code

    try:
        ended = wait_aloud(job)
    except KeyboardInterrupt:
        return say_goes_on(job)
    print_end(job, ended)
    return exit_code(ended)


def _to_json(record: RunRecord) -> dict[str, object]:
    """Write what was submitted for programs. Keys are only ever added."""
    handle = record.handle
    return make_document(
        "submit", handle=str(handle), backend=handle.backend, namespace=handle.namespace or None,
        job=handle.job, run_id=record.run_id, context=record.context, created=format_time(record.created_s),
    )  # fmt: skip
