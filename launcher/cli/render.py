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

_STABLE_NOTE = (
    "this rendering holds no secret, so that it is the same each time and can lie in git; the nodes of a job "
    "made from it know each other by the run id alone, which is a label; submit draws a secret"
)


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

    Each submit draws a new run id, and a secret by which the job's nodes know each other. With --name or
    --stable the printed run id is made of the name and the config instead, and there is no secret, so that
    two renderings differ only where what is asked for differs.
    """
    if output == "json" and not explaining:
        raise UsageError(where="--output json", expected="--explain beside it")
    if asked.run_id is not None or stable or asked.name:
        asked = replace(asked, run_id=asked.run_id or _stable_run_id(asked), without_secret=True)
    prepared = prepare(asked)
    narrate(prepared)
    if asked.without_secret and prepared.job.nodes > 1:
        echo(_STABLE_NOTE, err=True)
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
