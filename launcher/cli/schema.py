"""`ftlaunch schema`."""

from __future__ import annotations

import json

import click

from launcher.cli.printing import echo
from launcher.documents import LOG_LINE, VERSIONS, load_schema


@click.command("schema")
@click.argument(
    "kind", required=False, metavar="[KIND]", type=click.Choice(["config", *sorted([*VERSIONS, LOG_LINE])])
)
def command(kind: str | None) -> None:
    """Print the JSON Schema of a config, for editors and CI, or of what commands print with --output json.

    KIND is a command, its words joined by a dash, such as `status` or `ckpt-ls`; `error` is what any of them
    prints where it fails; `logs` is a line of `logs --output json`.
    """
    from launcher.jobs.new_config import schema_document

    echo(json.dumps(schema_document() if kind in (None, "config") else load_schema(kind), indent=2))
