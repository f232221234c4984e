"""`ftlaunch completion`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from launcher.cli.printing import echo
from launcher.errors import CliExit

_SHELLS = ("bash", "zsh", "fish")


@click.command("completion")
@click.argument("shell", type=click.Choice(_SHELLS))
@click.pass_context
def command(ctx: click.Context, shell: str) -> CliExit:
    """Print the completion script: `eval "$(ftlaunch completion bash)"`."""
    kind = get_completion_class(shell)
    assert kind is not None  # click has these three
    echo(kind(ctx.find_root().command, {}, "ftlaunch", "_FTLAUNCH_COMPLETE").source())
    return CliExit.OK
