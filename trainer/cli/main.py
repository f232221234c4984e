"""The group of commands, loaded when they are named, and the one place where errors become exit codes."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass

import click

from trainer.cli.printing import echo, echo_error
from trainer.config.problems import suggest
from trainer.paddle_noise import silence
from trainer.protocol.exits import Exit


@dataclass(frozen=True, slots=True)
class _Entry:
    """A command before it is imported: its module holds it as `command`."""

    module: str
    summary: str


_COMMANDS = {
    "train": _Entry("trainer.cli.train", "Train, evaluate and save checkpoints as the config says."),
    "eval": _Entry("trainer.cli.evaluate", "Evaluate weights and print losses and metrics."),
    "predict": _Entry("trainer.cli.predict", "Predict the classes of images."),
    "export": _Entry(
        "trainer.cli.export", "Export a model for inference, and compare it with the trained one."
    ),
    "check": _Entry("trainer.cli.check", "Check a config, its lists, images and weights without training."),
    "data-report": _Entry(
        "trainer.cli.data_report", "Say what is wrong or odd with the images and labels of a data set."
    ),
    "lr-find": _Entry("trainer.cli.lr_find", "Propose a learning rate by a short range test."),
    "fit-batch": _Entry("trainer.cli.fit_batch", "Find the largest batch that fits into memory."),
    "profile": _Entry("trainer.cli.profiling", "Say where the time of a training's steps goes."),
    "resize": _Entry("trainer.cli.resize", "Set the image size in all places of a config."),
    "ckpt": _Entry("trainer.cli.ckpt", "Average the checkpoints of a run."),
    "weights": _Entry("trainer.cli.weights", "List, fetch, inspect and convert pretrained weights."),
    "make-lists": _Entry("trainer.cli.lists", "Write training and validation lists for a folder of images."),
}


_SYNONYMS = {
    "test": "eval", "evaluate": "eval", "val": "eval", "validate": "check", "lint": "check",
    "infer": "predict", "inference": "predict", "classify": "predict",
    "fit": "train", "run": "train", "finetune": "train", "fine-tune": "train", "resume": "train",
    "convert": "export", "onnx": "export", "to-onnx": "export", "save": "export",
    "lr_find": "lr-find", "lr-finder": "lr-find", "find-lr": "lr-find", "lr-range-test": "lr-find",
    "fit_batch": "fit-batch", "batch-size": "fit-batch", "scale-batch-size": "fit-batch",
    "split": "make-lists", "make_lists": "make-lists", "lists": "make-lists", "list": "weights",
    "data_report": "data-report", "report": "data-report", "data": "data-report", "duplicates": "data-report",
    "average": "ckpt", "swa": "ckpt", "checkpoint": "ckpt", "checkpoints": "ckpt",
    "benchmark": "profile", "bench": "profile",
    "download": "weights", "pretrained": "weights", "fetch": "weights",
}  # fmt: skip
"""What other tools, PaddleClas's own scripts among them, call a command of ours: named, never run."""
_OF_THE_LAUNCHER = (
    "submit",
    "status",
    "logs",
    "render",
    "init",
    "doctor",
    "why",
    "cancel",
    "delete",
    "wait",
    "top",
)


def _lead_on(name: str) -> str:
    """Say which command is probably meant; empty where nothing is near."""
    if name in _SYNONYMS:
        meant = _SYNONYMS[name]
        return f"; did you mean {meant!r}? {_COMMANDS[meant].summary}"
    if name in _OF_THE_LAUNCHER:
        return f"; did you mean `ftlaunch {name}`?"
    return suggest(name, _COMMANDS)


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(_COMMANDS[cmd_name].module).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] == "help":  # as with git and kubectl: `trainer help train`
            args = [*args[1:2], "--help"]
            if args == ["--help"]:
                echo(ctx.get_help())
                ctx.exit()
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"expected one of {', '.join(_COMMANDS)}, got {args[0]!r}{_lead_on(args[0])}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in _COMMANDS.items()])


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(package_name="ftlaunch", prog_name="trainer")
def group() -> None:
    """Fine-tune a vision model as a PaddleClas config says."""


def main() -> None:
    """Run the command line and exit."""
    os.environ.setdefault("GLOG_minloglevel", "1")  # paddle's C++ side: warnings and worse
    silence()
    try:
        code = group(prog_name="trainer", standalone_mode=False)
        sys.stdout.flush()  # here, where a closed pipe can still be met quietly
    except click.ClickException as error:
        echo_error(error)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(Exit.INTERRUPTED)
    except BrokenPipeError:  # `trainer … | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    sys.exit(code if isinstance(code, int) else 0)
