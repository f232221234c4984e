"""The group of commands, imported when they are named, and the one place where errors become exit codes."""

from __future__ import annotations

import atexit
import gc
import importlib
import os
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from launcher.cli.printing import echo, echo_error
from launcher.cli.signals import ended_like_ctrl_c
from launcher.errors import CliExit, LaunchError, NotFoundError
from trainer.config.problems import ConfigError, suggest

_SHORT_S = 2.0  # commands that last longer collect garbage
_BROKEN_PIPE = 141  # what a shell reports of a program that SIGPIPE has ended


@dataclass(frozen=True, slots=True)
class _Entry:
    """A command before it is imported: its module holds it as `command`."""

    module: str
    summary: str


COMMANDS = {
    "init": _Entry("launcher.cli.init", "Write a complete config for a folder of images."),
    "validate": _Entry("launcher.cli.validate", "Check a config and report every problem with its line."),
    "render": _Entry("launcher.cli.render", "Print the manifest that submit would act on."),
    "submit": _Entry("launcher.cli.submit", "Submit a job."),
    "sweep": _Entry("launcher.cli.sweep", "Try several values of a config's keys, and keep the best."),
    "list": _Entry("launcher.cli.listing", "List this machine's jobs, or everybody's on a cluster."),
    "top": _Entry("launcher.cli.top", "Show who holds which GPUs of a cluster, and what is free."),
    "status": _Entry("launcher.cli.status", "Show a job's state, nodes and progress."),
    "plot": _Entry("launcher.cli.plot", "Draw what jobs have measured, over one another."),
    "diff": _Entry("launcher.cli.diff", "Show what differs between two jobs, and where their losses part."),
    "ui": _Entry("launcher.cli.ui", "Show all runs on a local page: curves, logs, events, comparisons."),
    "why": _Entry("launcher.cli.why", "Explain why a job is in its state, and what fixes it."),
    "logs": _Entry("launcher.cli.logs", "Show the logs of all ranks, merged, across restarts."),
    "wait": _Entry("launcher.cli.waiting", "Wait until a job has ended; the exit code is the job's."),
    "events": _Entry("launcher.cli.events", "Show the events of a job and its pods."),
    "cancel": _Entry("launcher.cli.cancel", "Save a checkpoint and stop a job."),
    "resume": _Entry("launcher.cli.resume", "Restart a cancelled or suspended job from its last checkpoint."),
    "delete": _Entry("launcher.cli.delete", "Delete a job and its record."),
    "exec": _Entry("launcher.cli.execute", "Run a command in a pod of a job."),
    "doctor": _Entry("launcher.cli.doctor", "Check for everything that a job needs."),
    "ckpt": _Entry("launcher.cli.ckpt", "List, download and verify a job's checkpoints."),
    "report": _Entry("launcher.cli.report", "Download the report of a job's training, and open it."),
    "track": _Entry("launcher.cli.track", "Send what a job has measured to experiment trackers."),
    "data": _Entry("launcher.cli.data", "Upload data to a claim, and verify it there."),
    "trust": _Entry("launcher.cli.trust", "Trust a folder's settings and templates."),
    "schema": _Entry("launcher.cli.schema", "Print the JSON Schema of a config, or of what commands print."),
    "completion": _Entry("launcher.cli.completion", "Print the completion script for a shell."),
    "version": _Entry("launcher.cli.version", "Print versions."),
}


SYNONYMS = {
    "ps": "list", "ls": "list", "jobs": "list", "get": "list", "history": "list",
    "stop": "cancel", "kill": "cancel", "interrupt": "cancel", "pause": "cancel", "suspend": "cancel",
    "rm": "delete", "remove": "delete", "clean": "delete",
    "run": "submit", "start": "submit", "apply": "submit", "create": "submit", "launch": "submit",
    "describe": "why", "explain": "why", "debug": "why", "log": "logs", "tail": "logs", "attach": "logs",
    "continue": "resume", "restart": "resume", "show": "status", "info": "status", "curves": "plot",
    "ssh": "exec", "shell": "exec", "sh": "exec", "check": "validate", "lint": "validate",
    "template": "render", "manifest": "render", "new": "init", "checkpoints": "ckpt", "checkpoint": "ckpt",
    "dashboard": "ui", "web": "ui", "browse": "ui",
    "chart": "plot", "graph": "plot", "compare": "diff", "download": "ckpt", "upload": "data", "push": "data",
    "autocomplete": "completion", "sync": "track", "tensorboard": "track", "mlflow": "track",
    "wandb": "track",
    "tune": "sweep", "search": "sweep", "hpo": "sweep", "study": "sweep",
}  # fmt: skip
"""What other tools of the kind call a command of ours: named in the answer, never run, since `rm` and `stop`
do not mean the same everywhere."""
_OF_THE_TRAINER = (
    "train",
    "eval",
    "predict",
    "export",
    "lr-find",
    "fit-batch",
    "resize",
    "weights",
    "make-lists",
    "data-report",
    "profile",
)


class _ReaderGoneError(Exception):
    """Nobody reads what is written. Not an OSError, of which click makes an exit with 1."""


class _Lazy(click.Group):
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError as error:
            raise _ReaderGoneError from error

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command = importlib.import_module(COMMANDS[cmd_name].module).command
        assert isinstance(command, click.Command)
        for called in (command, *(command.commands.values() if isinstance(command, click.Group) else ())):
            _add_global_options(called)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] == "help":  # as with git and kubectl: `ftlaunch help submit`
            args = [*args[1:2], "--help"]
            if args == ["--help"]:
                echo(ctx.get_help())
                ctx.exit()
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            known = ", ".join(COMMANDS)
            ctx.fail(f"expected one of {known}, got {args[0]!r}{_lead_on(args[0])}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        names = [
            CompletionItem(name, help=entry.summary)
            for name, entry in COMMANDS.items()
            if name.startswith(incomplete)
        ]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]


def _add_global_options(command: click.Command) -> None:
    """Let options of all commands stand behind each of them too, as with kubectl."""
    named = {option.name for option in command.params}
    if "kubeconfig" in named or command.context_settings.get("ignore_unknown_options"):  # as `exec` has it
        return
    command.params += [_kubeconfig_option(hidden=True), _verbose_option(hidden=True)]


def _lead_on(name: str) -> str:
    """Say which command is probably meant; empty where nothing is near."""
    if name in SYNONYMS:
        meant = SYNONYMS[name]
        return f"; did you mean {meant!r}? {COMMANDS[meant].summary}"
    if name in _OF_THE_TRAINER:
        return f"; did you mean `trainer {name}`?"
    return suggest(name, COMMANDS)


def _kubeconfig_option(*, hidden: bool = False) -> click.Option:
    return click.Option(
        ["--kubeconfig"], type=click.Path(), metavar="FILE", hidden=hidden, expose_value=False, is_eager=True,
        callback=_set_kubeconfig, help="Instead of $KUBECONFIG and ~/.kube/config; works with every command.",
    )  # fmt: skip


def _verbose_option(*, hidden: bool = False) -> click.Option:
    """Return `-v`, which may stand before every command and behind it."""
    return click.Option(
        ["-v", "--verbose"], is_flag=True, hidden=hidden, expose_value=False, is_eager=True,
        callback=_set_verbosity,
        help="Show requests, retries and watches on stderr; FTLAUNCH_LOG=debug does so for all commands.",
    )  # fmt: skip


def _set_verbosity(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    del parameter
    if value or os.environ.get("FTLAUNCH_LOG"):
        from launcher.cli.verbosity import listen  # with logging, which `--help` does without

        listen(ctx, verbose=value)


def _set_kubeconfig(ctx: click.Context, parameter: click.Parameter, value: str | None) -> None:
    """Hand the file on as `KUBECONFIG`, to exec plug-ins too, until the command has ended."""
    del parameter
    if value is None:
        return
    before = os.environ.get("KUBECONFIG")
    os.environ["KUBECONFIG"] = value

    def restore() -> None:
        os.environ.pop("KUBECONFIG", None)
        if before is not None:
            os.environ["KUBECONFIG"] = before

    ctx.call_on_close(restore)


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="ftlaunch", prog_name="ftlaunch")
@click.pass_context
def group(ctx: click.Context) -> None:
    """Launch PaddleClas fine-tuning jobs on Kubernetes, or on this machine.

    Results go to stdout, everything else to stderr.
    """
    from launcher.kube.remarks import tell_to  # with it comes logging, which `--help` does without

    tell_to(lambda text: echo(f"note: {text}", err=True))
    ctx.call_on_close(lambda: tell_to(None))


group.params += [_kubeconfig_option(), _verbose_option()]


def main() -> None:
    """Run the command line and exit."""
    gc.set_threshold(50_000, 20, 20)  # each look goes through all that was imported
    gc.disable()  # imports leave no garbage, and looking for it takes a fortieth of `submit`
    enable = threading.Timer(_SHORT_S, gc.enable)
    enable.daemon = True
    enable.start()
    with ended_like_ctrl_c():
        code = run(sys.argv[1:])
    _end(code)


def _end(code: int) -> NoReturn:
    """End the process and leave its memory to the system: to take it apart is a tenth of a `submit`.

    What is registered for the exit runs.
    """
    own = threading.main_thread()
    if any(not thread.daemon for thread in threading.enumerate() if thread is not own):
        sys.exit(code)  # which waits for them
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code. A command returns its code, or None for success."""
    try:
        return _run(arguments)
    except (BrokenPipeError, _ReaderGoneError):  # `ftlaunch … | head`, `ftlaunch … 2>&1 | head`
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):  # what they still hold must not complain at the end
            os.dup2(nowhere, stream.fileno())
        return _BROKEN_PIPE


def _run(arguments: Sequence[str]) -> int:
    try:
        code = group.main(
            args=list(arguments), prog_name="ftlaunch", standalone_mode=False, obj=tuple(arguments)
        )
        sys.stdout.flush()  # here, where a closed pipe can still be met quietly
    except click.ClickException as error:
        echo_error(error)
        _echo_error_document(error, error.exit_code, arguments, message=error.format_message())
        return error.exit_code
    except (ConfigError, LaunchError) as error:
        if isinstance(error, NotFoundError):
            error = _name_study(error)
        echo(str(error), err=True)
        code = error.exit_code if isinstance(error, LaunchError) else CliExit.USAGE
        _echo_error_document(error, code, arguments)
        return code
    except (click.Abort, KeyboardInterrupt) as error:
        _echo_error_document(error, CliExit.INTERRUPTED, arguments, message="interrupted")
        return CliExit.INTERRUPTED
    except (BrokenPipeError, _ReaderGoneError):
        raise
    except Exception as error:
        if os.environ.get("FTLAUNCH_DEBUG"):
            raise
        echo(
            f"ftlaunch: unexpected {type(error).__name__}: {error}; this is a bug: "
            "FTLAUNCH_DEBUG=1 shows where it happened",
            err=True,
        )
        _echo_error_document(error, CliExit.INTERNAL, arguments)
        return CliExit.INTERNAL
    return code if isinstance(code, int) else CliExit.OK


def _name_study(error: NotFoundError) -> NotFoundError:
    """Return what says of a study's name, where a job's was wanted, what to type instead."""
    from launcher.cli.studies import as_study
    from launcher.runs.store import WANTED

    name = error.issue.where
    if error.issue.expected != WANTED or (study := as_study(name)) is None:
        return error
    return NotFoundError(
        where=name, expected="a job", got="a study of several",
        fix=f"name one of them, such as {study.name}-t001: `ftlaunch list {study.name}` has them",
    )  # fmt: skip


def _echo_error_document(
    error: BaseException, code: int, arguments: Sequence[str], *, message: str = ""
) -> None:
    """Print an error as a document on stdout where one was asked for: a program reads one stream.

    What was asked for is found in the words of the command line, which may be just what is wrong.
    """
    form = _asked_form(arguments)
    if form is None:
        return
    import json

    from launcher.cli.options import echo_document
    from launcher.documents import describe_error

    document = describe_error(error, exit_code=code, message=message)
    if "logs" in arguments[:1]:  # a line each
        echo(json.dumps(document, ensure_ascii=False))
    else:
        echo_document(document, form)


def _asked_form(arguments: Sequence[str]) -> str | None:
    """Return json or yaml where a command line asks for it; what it hands on to a pod is not looked at."""
    words = list(arguments)
    if "exec" in words[:1]:
        return None
    if "--" in words:
        words = words[: words.index("--")]
    forms = [word.removeprefix("--output=") for word in words if word.startswith("--output=")]
    forms += [value for word, value in pairwise(words) if word == "--output"]
    return next((form for form in forms if form in ("json", "yaml")), None)
