"""`ftlaunch track`."""

from __future__ import annotations

import click

from launcher.cli.options import echo_document, job_argument, output_option
from launcher.cli.printing import echo, print_note, show_progress
from launcher.cli.studies import find_job_or_best, trial_option
from launcher.documents import make_document
from launcher.errors import CliExit, UsageError
from launcher.jobs.track import PATIENCE_S, Tracked, track_job
from launcher.times import parse_duration
from trainer.protocol.tracking import BUILT_IN


def _read_patience(text: str) -> float:
    seconds = parse_duration(text)
    if seconds is None:
        raise click.BadParameter(f"expected a duration such as 90s, 10m or 24h, got {text!r:.80}")
    return seconds


def _complete_tracker(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    del ctx, param
    return [name for name in BUILT_IN if name.startswith(incomplete)]


@click.command("track")
@job_argument
@trial_option
@click.option(
    "--to", "trackers", multiple=True, metavar="NAME", shell_complete=_complete_tracker,
    help="Name of a tracker: tensorboard, mlflow, wandb, swanlab, visualdl, or one of your own; may be "
    "repeated. By default those of the job's Launch.track.",
)  # fmt: skip
@click.option("--uri", metavar="URI", help="Address of the service, or a folder for files.")
@click.option("--experiment", metavar="NAME", help="Experiment or project there.")
@click.option("--set", "given", multiple=True, metavar="KEY=VALUE", help="Another setting; may be repeated.")
@click.option(
    "--timeout", type=_read_patience, default=f"{PATIENCE_S / 60:.0f}m", show_default=True,
    metavar="DURATION", help="Give up after this time without a row that was taken.",
)  # fmt: skip
@output_option("json", "yaml")
def command(
    *, job: str | None, trial: int | None, trackers: tuple[str, ...], uri: str | None,
    experiment: str | None, given: tuple[str, ...], timeout: float, output: str,
) -> int:  # fmt: skip
    """Send what a job has measured to experiment trackers, also when its pods are gone.

    What is there already is not sent again, so that it may be called at any time, and again where it was cut
    off. Credentials come from the environment (MLFLOW_TRACKING_TOKEN, WANDB_API_KEY, SWANLAB_API_KEY).
    """
    resolved = find_job_or_best(job, trial)
    settings = {"uri": uri, "experiment": experiment, **dict(map(_read_setting, given))}
    found = track_job(
        resolved, trackers, {name: text for name, text in settings.items() if text}, patience_s=timeout,
        progress=show_progress, notes=print_note,
    )  # fmt: skip
    if output != "text":
        echo_document(to_json(resolved.name, found), output)
    else:
        for one in found:
            echo(describe(one))
    return CliExit.DIFFERS if any(one.left or one.problem for one in found) else CliExit.OK


def describe(tracked: Tracked) -> str:
    """Write what came of a target as a line."""
    rows = "nothing new" if not tracked.rows else "1 row" if tracked.rows == 1 else f"{tracked.rows:,} rows"
    where = f" -> {tracked.place}" if tracked.place else ""
    if not tracked.problem and not tracked.left:
        return f"{tracked.target.title}: {rows}{where}"
    left = "1 row is left" if tracked.left == 1 else f"{tracked.left:,} rows are left"
    return f"{tracked.target.title}: {rows}{where}; {left}: {tracked.problem}; call it again to go on"


def to_json(job: str, found: tuple[Tracked, ...]) -> dict[str, object]:
    """Write what came of all targets for programs. Keys are only ever added."""
    items = [
        {
            "tracker": one.target.tracker, "settings": dict(one.target.settings), "place": one.place or None,
            "rows": one.rows, "left": one.left, "problem": one.problem or None,
        }
        for one in found
    ]  # fmt: skip
    return make_document("track", job=job, items=items)


def _read_setting(text: str) -> tuple[str, str]:
    name, found, value = text.partition("=")
    if not found or not name:
        raise UsageError(where="--set", expected="KEY=VALUE", got=repr(text)[:80])
    return name, value
