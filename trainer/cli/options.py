"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

extra_module_option = click.option(
    "--extra-module", "extra_modules", multiple=True, metavar="FILE|FOLDER|NAME",
    help="Import this first, instead of what Launch.extra_modules names; may be repeated.",
)  # fmt: skip
"""Python that registers names of the user's own."""


class Subcommands(click.Group):
    """Commands below a command. What they do not know is refused with what they know, or where it is instead.

    Args:
        elsewhere: Name that is likely to be tried here -> the command that is meant.
    """

    def __init__(self, *args: Any, elsewhere: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._elsewhere = elsewhere or {}

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Refuse what is no command, as click does, but by name and with what is meant."""
        if args and args[0] not in self.commands and not args[0].startswith("-"):
            from trainer.config.problems import suggest  # with the grammar, which `--help` does without

            meant = self._elsewhere.get(args[0])
            lead = f"; did you mean `{meant}`?" if meant else suggest(args[0], self.commands)
            ctx.fail(f"expected one of {', '.join(sorted(self.commands))}, got {args[0]!r}{lead}")
        return super().resolve_command(ctx, args)


def config_options(command: F) -> F:
    """Add `-c FILE`, `-o KEY=VALUE`, `--extra-module` and `--strict`."""
    for option in (*_SETTINGS, _config_option(required=True)):
        command = option(command)
    return command


def run_options(command: F) -> F:
    """Add what says which run is meant: JOB or `-c FILE`; and `-o`, `--extra-module`, `--strict`."""
    job = click.argument("job", metavar="[JOB]", required=False)
    for option in (*_SETTINGS, _config_option(required=False), job):
        command = option(command)
    return command


def _config_option(*, required: bool) -> Callable[[F], F]:
    return click.option(
        "-c", "--config", "path", required=required, type=click.Path(path_type=Path),
        help="A PaddleClas config.",
    )  # fmt: skip


_SETTINGS: tuple[Callable[[Any], Any], ...] = (
    extra_module_option,
    click.option("--strict", is_flag=True, help="Refuse unknown keys instead of warning of them."),
    click.option(
        "-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE",
        help="Change a value, such as -o Global.epochs=3; list items by index; may be repeated.",
    ),
)  # fmt: skip


def refuse_two(job: str | None, path: Path | None) -> None:
    """Refuse where a run is named twice, or not at all.

    Raises:
        UsageError: It is.
    """
    if job is None and path is None:
        raise click.UsageError("expected a job's name or -c FILE, got neither; `ftlaunch list` shows jobs")
    if job is not None and path is not None:
        raise click.UsageError(
            f"expected a job's name or -c FILE, got both; {job!r} has its config, so leave -c out, or name "
            "its weights beside another config: -c FILE --weights FILE"
        )


weights_dir_option = click.option(
    "--weights-dir", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Where pretrained weights are kept, besides ~/.paddleclas/weights; also FTL_WEIGHTS.",
)  # fmt: skip
"""Where files of weights are looked for."""


output_option = click.option(
    "--output", type=click.Choice(["text", "json"]), default="text", show_default=True,
    help="Form of the results on standard output.",
)  # fmt: skip
"""Text for people, or JSON for programs."""


def weights_options(command: F) -> F:
    """Add `--weights-dir` and `--offline`."""
    for option in (
        click.option("--offline", is_flag=True, help="Download no weights; also FTL_OFFLINE=1."),
        weights_dir_option,
    ):  # fmt: skip
        command = option(command)
    return command
