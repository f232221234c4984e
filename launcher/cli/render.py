"""`ftlaunch render`."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace

import click

from launcher.cli.explaining import explanation, write_table
from launcher.cli.options import Asked, launch_options, output_option
from launcher.cli.prepare import narrate, prepare
from launcher.cli.printing import echo
from launcher.errors import UsageError


@click.command("render")
@launch_options
@click.option("--explain", "explaining", is_flag=True, help="Print where every value comes from instead.")
@click.option(
    "--stable", is_flag=True,
    help="Print the same text for the same config each time, also without --name: for git and for diffs.",
)  # fmt: skip
@output_option("json", default="text")
def command(asked: Asked, explaining: bool, stable: bool, output: str) -> None:
    """Print the manifest that `submit` would act on, byte for byte.

    Each submit draws a new run id. With --name or --stable the printed one is made of the name and the
    config instead, so that two renderings differ only where what is asked for differs.
    """
    if output == "json" and not explaining:
        raise UsageError("--output json: expected --explain beside it")
    if asked.run_id is None and (stable or asked.name):
        asked = replace(asked, run_id=_stable_run_id(asked))
    prepared = prepare(asked)
    narrate(prepared)
    if explaining:
        write_table(explanation(prepared), output=output)
        return
    echo(prepared.manifest.text.encode("utf-8"), nl=False)  # bytes: the terminal's encoding has no say


def _stable_run_id(asked: Asked) -> str:
    """Return 32 hexadecimal digits of the name, or of the config's bytes where there is none."""
    content = b""
    if asked.name is None:
        with suppress(OSError):  # `prepare` says what is wrong with the file
            content = asked.path.read_bytes()
    return hashlib.sha256(f"{asked.name or asked.path.name}\0".encode() + content).hexdigest()[:32]
