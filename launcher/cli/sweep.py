"""`ftlaunch sweep`: a study's begin, its going on, how it stands, what it came to."""

from __future__ import annotations

import os
import shutil
import sys
import time
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli.options import (
    Subcommands,
    complete_job,
    config_argument,
    echo_document,
    output_option,
    override_option,
    plain_option,
    strict_option,
    trial_options,
)
from launcher.cli.printing import can_show, echo, print_note
from launcher.cli.studies import complete_study
from launcher.cli.sweep_document import study_to_json
from launcher.errors import CliExit
from launcher.jobs.options import SubmitOptions

if TYPE_CHECKING:
    from launcher.sweep.begin import Planned
    from launcher.sweep.driver import Picture
    from launcher.sweep.machine import Sharing
    from launcher.sweep.study import Study

_SAMPLERS, _PRUNERS = ("tpe", "random", "grid"), ("asha", "median", "none")
_RUN = "run"


class _Sweep(Subcommands):
    """`sweep CONFIG` begins a study; what follows is a command where it is the name of one."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = [_RUN, *args]
        return super().parse_args(ctx, args)

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_usage(ctx.command_path, "CONFIG --over KEY=VALUES… | COMMAND")

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        run = self.get_command(ctx, _RUN)
        assert run is not None
        records = [found for item in run.get_params(ctx) if (found := item.get_help_record(ctx)) is not None]
        with formatter.section("Options of CONFIG"):
            formatter.write_dl(records)
        super().format_options(ctx, formatter)


study_argument = click.argument("study", required=False, shell_complete=complete_study)
"""A study's name; without one, the last that was begun is meant."""
_parallel_option = click.option(
    "--parallel", type=click.IntRange(min=1), metavar="N",
    help="Jobs at once; by default 4 on a cluster, and as many as there is room for on this machine.",
)  # fmt: skip
_detach_option = click.option(
    "--detach", is_flag=True, help="Go on in the background, and return once the first jobs are submitted."
)


@click.group("sweep", cls=_Sweep)
def command() -> None:
    """Try several values of a config's keys, each in a job of its own, and keep the best.

    `ftlaunch sweep CONFIG --over KEY=VALUES` begins a study; COMMAND looks at one, or goes on with it.
    """


@command.command(_RUN)
@trial_options
@click.option(
    "--over", multiple=True, metavar="KEY=VALUES",
    help="What is varied: [a,b,c], log(a,b), uniform(a,b) or int(a,b) of a key, or of image_size; "
    "seed=3 and folds=5 repeat each trial. May be repeated.",
)  # fmt: skip
@click.option("--trials", type=click.IntRange(min=1), metavar="N", help="Number of trials.")
@_parallel_option
@click.option("--metric", metavar="NAME", help="Value of the evaluations to compare; by default the first.")
@click.option("--goal", type=click.Choice(("max", "min")), help="Whether more of it is better, or less.")
@click.option(
    "--sampler", type=click.Choice(_SAMPLERS),
    help="How values are chosen; by default all of a small grid, else tpe.",
)  # fmt: skip
@click.option(
    "--prune", type=click.Choice(_PRUNERS), help="Stop trials early that fall behind; by default none."
)
@click.option(
    "--against", metavar="JOB", shell_complete=complete_job,
    help="Job or study of this machine that the best is held against instead of the first trial; the name in "
    "a config means the last of its jobs that succeeded.",
)  # fmt: skip
@click.option("--name", metavar="NAME", help="Exact name of the study; fails where it is taken.")
@click.option("--sweep-seed", "seed", type=click.IntRange(min=0), metavar="N", help="Seed of the draws.")
@click.option(
    "--per-gpu", type=click.IntRange(1, 64), metavar="N", help="Jobs that share a GPU of this machine."
)
@click.option(
    "--container-runtime", "runtime", metavar="docker|podman|PATH", envvar="FTLAUNCH_CONTAINER_RUNTIME",
    help="Container engine of --on docker.",
)  # fmt: skip
@_detach_option
@click.option(
    "--driver", type=click.Choice(("here", "pod")), default="here", show_default=True,
    help="What goes on with the study: a process of this machine, or a pod of the cluster.",
)  # fmt: skip
@click.option(
    "--driver-image", metavar="IMAGE",
    help="Image of --driver pod, with ftlaunch and optuna; by default ftlaunch-driver, from where the "
    "trainer's is.",
)  # fmt: skip
@click.option(
    "--dry-run", "dry", type=click.Choice(("client", "server")),
    help="Check all of it and begin nothing; of --driver pod the objects are printed, and with server "
    "checked by the cluster.",
)  # fmt: skip
@plain_option
@output_option("json", "name")
def run(
    *, path: Path, options: SubmitOptions, detach: bool, driver: str, dry: str | None, plain: bool,
    output: str, **asked: Any,
) -> int:  # fmt: skip
    """Begin a study, and go on with it until all trials have ended."""
    from launcher.errors import UsageError
    from launcher.jobs.notes import Note
    from launcher.sweep import lifecycle
    from launcher.sweep.begin import SweepRequest, describe_first, plan_study, read_request

    if asked["driver_image"] is not None and driver != "pod":
        raise UsageError(where="--driver-image", expected="--driver pod beside it", got=f"--driver {driver}")
    typed = SweepRequest(
        config=path, options=options, command=tuple(click.get_current_context().obj or ()),
        in_pod=driver == "pod", **asked,
    )  # fmt: skip
    planned = plan_study(read_request(path, typed), notes=print_note)
    settings = planned.settings
    print_note(
        Note(
            f"{settings.name}: {settings.trials} trial{'s' * (settings.trials != 1)} by {settings.sampler}"
            + (f", pruned by {settings.prune}" if settings.prune != "none" else "")
            + f"; {planned.sharing.sentence}"
        )
    )
    if first := describe_first(settings):
        print_note(Note(first))
    if planned.sharing.warning:
        print_note(Note(planned.sharing.warning, "note"))
    if dry is not None:
        return _print_dry_run(planned, on_server=dry == "server")
    try:
        study = lifecycle.begin(planned, notes=print_note)
    except KeyboardInterrupt:
        return _interrupted(settings.name)
    detach = detach or study.is_remote
    if output == "name" or (output == "text" and detach):
        echo(study.name)
    if detach:
        return _detach(study, output)
    return _go_on(study, planned.sharing, plain=plain, output=output)


def _print_dry_run(planned: Planned, *, on_server: bool) -> int:
    """Print what would be sent for a driver in the cluster, and say that nothing was begun."""
    from launcher.sweep.lifecycle import check_driver

    for text in check_driver(planned, on_server=on_server):
        echo(text, nl=False)
    checked = "checked by the cluster; " if on_server and planned.settings.driver_namespace else ""
    echo(f"{planned.settings.name}: {checked}nothing was begun", err=True)
    return CliExit.OK


def _detach(study: Study, output: str) -> int:
    from launcher.sweep import lifecycle

    what = "a pod" if study.is_remote else f"process {lifecycle.detach(study)}"
    if output == "json":
        echo_document(study_to_json(study, lifecycle.look(study)), output)
    echo(
        f"{what} goes on with it; next: ftlaunch sweep status {study.name} · ftlaunch cancel {study.name}",
        err=True,
    )
    return CliExit.OK


@command.command("drive", hidden=True)
@click.argument("folder", type=click.Path(path_type=Path))
def drive(*, folder: Path) -> None:
    """Go on with a study in a pod of the cluster."""
    from launcher.sweep.lifecycle import drive_in_pod

    os.chdir(os.environ.get("FTLAUNCH_WORKDIR", "/workspace"))
    picture = drive_in_pod(folder, pause=time.sleep, notes=print_note)
    ended = sum(trial.state.is_final for trial in picture.trials)
    echo(f"{ended} of {picture.planned} trials have ended")


@command.command("resume")
@study_argument
@click.option("--trials", type=click.IntRange(min=1), metavar="N", help="Number of trials there are to be.")
@_parallel_option
@_detach_option
@plain_option
@output_option("json", "name")
def resume(
    *, study: str | None, trials: int | None, parallel: int | None, detach: bool, plain: bool, output: str
) -> int:
    """Go on with a study whose driver was left or killed, or that was cancelled."""
    from launcher.sweep import lifecycle
    from launcher.sweep.study import find_study

    found = lifecycle.release(find_study(study), trials=trials, parallel=parallel, notes=print_note)
    return resume_study(found, parallel=parallel, detach=detach, plain=plain, output=output)


def resume_study(study: Study, *, parallel: int | None, detach: bool, plain: bool, output: str) -> int:
    """Go on with a study that may go on."""
    from launcher.sweep import lifecycle

    if study.is_remote:
        lifecycle.drive_by_pod(study)
        return _detach(study, output)
    if Path.cwd() != Path(study.settings.workdir):
        echo(f"note: goes on in {study.settings.workdir}, where the study's paths lead", err=True)
        os.chdir(study.settings.workdir)
    if others := study.drivers():
        echo(f"note: process {others[0]} goes on with it too; both look after the same trials", err=True)
    if detach:
        return _detach(study, output)
    sharing = lifecycle.share_again(study, parallel=parallel)
    echo(f"{study.name}: {sharing.sentence}", err=True)
    return _go_on(study, sharing, plain=plain, output=output)


def _go_on(study: Study, sharing: Sharing, *, plain: bool, output: str) -> int:
    """Drive a study, with a live view on a terminal and a line an event elsewhere."""
    from launcher.cli.signals import ended_like_ctrl_c
    from launcher.cli.sweep_view import LiveStudy, PlainStudy, StudyView
    from launcher.sweep import lifecycle

    live = output == "text" and not plain and can_show()
    view: StudyView = LiveStudy(study) if live else PlainStudy(study)
    try:
        with ended_like_ctrl_c(), view:
            picture = lifecycle.go_on(study, sharing, pause=view.pause, notes=view.say, on_step=view.tell)
    except KeyboardInterrupt:
        return _interrupted(study.name)
    if output == "json":
        echo_document(study_to_json(study, picture), output)
    else:
        print_study_end(study, picture)
    return exit_code(study, picture)


def _interrupted(name: str) -> int:
    from launcher.jobs.notes import Note

    text = (
        f"the trials that run go on, and no new one begins; `ftlaunch sweep resume {name}` goes on, "
        f"`ftlaunch cancel {name}` stops them"
    )
    echo("", err=True)
    print_note(Note(text))
    return CliExit.INTERRUPTED


def exit_code(study: Study, picture: Picture) -> int:
    """Return the exit code that stands for how a study has ended."""
    from launcher.sweep.lifecycle import state_of

    codes = {"Succeeded": CliExit.OK, "Cancelled": CliExit.CANCELLED, "Failed": CliExit.JOB_FAILED}
    return codes.get(state_of(study, picture), CliExit.OK)


def print_study_end(study: Study, picture: Picture) -> None:
    """Say how a study stands or ended: its table on standard output, the rest on standard error."""
    from launcher.cli.summary import format_next
    from launcher.cli.sweep_picture import describe_study
    from launcher.cli.table import line_columns, wrap
    from launcher.sweep.results import count_epochs, describe_gain, describe_kept, find_winner, weights_of
    from launcher.sweep.study import PAGE, WINNER

    settings = study.settings
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 200
    echo("\n".join(describe_study(study, picture, columns=columns, now_s=time.time())))
    winner = find_winner(picture.trials, goal=settings.goal)
    if winner is None:
        echo("\n".join(format_next(next_commands(study, picture, is_here=False))), err=True)
        return
    page = study.folder / PAGE
    lines = ["", *wrap(describe_gain(picture.trials, settings), columns=line_columns())]
    full = len(picture.trials) * settings.epochs
    if settings.prune != "none" and full:
        lines.append(f"epochs trained: {count_epochs(picture.trials)} of {full}")
    if picture.is_over or (study.folder / WINNER).is_file():
        lines.append(f"config of the best: {study.folder / WINNER}")
        lines += wrap(describe_kept(study), columns=line_columns()) if describe_kept(study) else []
    if page.is_file():
        lines.append(f"page: {page}")
    weights = weights_of(study, winner)
    if weights is not None:
        lines.append(f"its weights: {weights}")
    lines += format_next(next_commands(study, picture, is_here=weights is not None))
    echo("\n".join(lines), err=True)


def next_commands(study: Study, picture: Picture, *, is_here: bool) -> list[str]:
    """Return what is usually typed next.

    Args:
        study: Which.
        picture: How it stands.
        is_here: The best trial's weights lie on this machine.
    """
    from launcher.sweep.lifecycle import state_of
    from launcher.sweep.results import find_winner

    name, state = study.name, state_of(study, picture)
    if state == "Running":
        return [f"ftlaunch logs -f {name}", f"ftlaunch cancel {name}"]
    if state in ("Paused", "Cancelled"):
        return [f"ftlaunch sweep resume {name}"]
    if find_winner(picture.trials, goal=study.settings.goal) is None:
        return [f"ftlaunch why {name}"]
    use = f"trainer predict {name} IMAGES" if is_here else f"ftlaunch ckpt pull {name} --checkpoint best"
    return [f"ftlaunch sweep best {name} --to FILE", f"ftlaunch sweep report {name} --open", use]


@command.command("status")
@study_argument
@output_option("wide", "json", "yaml", "name")
def status(*, study: str | None, output: str) -> None:
    """Show how a study stands: its trials, the best so far, and what there is of it."""
    from launcher.sweep.study import find_study

    show_study(find_study(study), output=output)


def show_study(study: Study, *, output: str) -> None:
    """Print how a study stands."""
    from launcher.cli.sweep_picture import describe_study
    from launcher.sweep.lifecycle import look

    if output == "name":
        echo(study.name)
        return
    picture = look(study)
    if output in ("json", "yaml"):
        echo_document(study_to_json(study, picture), output)
    elif output == "wide":
        echo("\n".join(describe_study(study, picture, columns=400, now_s=time.time(), wide=True)))
    else:
        print_study_end(study, picture)


@command.command("best")
@study_argument
@click.option(
    "--to", type=click.Path(path_type=Path), metavar="FILE", help="Write it there instead of printing it."
)
def best_config(*, study: str | None, to: Path | None) -> None:
    """Print the config of the best trial, with its values put in."""
    from launcher.errors import NotFoundError
    from launcher.sweep.lifecycle import look
    from launcher.sweep.results import find_winner, write_winner
    from launcher.sweep.study import find_study

    found = find_study(study)
    winner = find_winner(look(found).trials, goal=found.settings.goal)
    if winner is None:
        raise NotFoundError(where=found.name, expected="a trial that has ended by itself", got="none")
    text = write_winner(found, winner)
    _hand_out(text, to, said=f"the config of trial {winner.number + 1}", joined=": ")


@command.command("report")
@study_argument
@click.option("--to", type=click.Path(path_type=Path), metavar="FILE", help="Write the page there.")
@click.option("--open", "opens", is_flag=True, help="Open it in a browser.")
def report(*, study: str | None, to: Path | None, opens: bool) -> None:
    """Write a study's page as it stands now: values against the metric, what decides, curves, all trials."""
    from launcher.errors import UsageError
    from launcher.sweep.lifecycle import look
    from launcher.sweep.page import write_page
    from launcher.sweep.study import find_study

    found = find_study(study)
    path = write_page(found, look(found))
    if to is not None:
        try:
            to.write_bytes(path.read_bytes())
        except OSError as error:
            raise UsageError(where=f"--to {to}", expected="a file to write", said=error) from error
        path = to
    echo(str(path))
    if opens and not webbrowser.open(path.absolute().as_uri()):
        echo(f"warning: no browser could be started; open {path}", err=True)


@command.command("suggest")
@config_argument
@override_option
@strict_option
@click.option(
    "--measure", "measures", is_flag=True,
    help="Find the learning rate by `trainer lr-find` on this machine first, which takes a minute or so.",
)  # fmt: skip
@click.option(
    "--to", type=click.Path(path_type=Path), metavar="FILE", help="Write it there instead of printing it."
)
def suggest(*, path: Path, overrides: tuple[str, ...], strict: bool, measures: bool, to: Path | None) -> None:
    """Propose a small first study for a config, as a file that `sweep` takes."""
    from launcher.sweep.suggest import format_suggestion
    from launcher.sweep.suggest import suggest as propose

    options = SubmitOptions(overrides=overrides, strict=strict)
    # beside the file that is written the config has another path than from here
    named = path if to is None else Path(os.path.relpath(path.resolve(), to.resolve().parent))
    text = format_suggestion(propose(path, options, measures=measures, named=named))
    _hand_out(text, to, said=f"next: ftlaunch sweep {to}", joined="; ")


def _hand_out(text: str, to: Path | None, *, said: str, joined: str) -> None:
    """Print a config, or write it to a file that is new and say what it is."""
    from launcher.errors import UsageError

    if to is None:
        echo(text, nl=False)
        return
    if to.exists():
        raise UsageError(where=f"--to {to}", expected="a file that is not there yet", got="one that is")
    try:
        to.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(where=f"--to {to}", expected="a file to write", said=error) from error
    echo(f"{to}{joined}{said}", err=True)
