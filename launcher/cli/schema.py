"""`ftlaunch schema`."""

from __future__ import annotations

import json

import click

from launcher.cli.printing import echo

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of a config, for editors and CI."""
    echo(json.dumps(schema_document(), indent=2))


def schema_document() -> dict[str, object]:
    """Return the JSON Schema of a config."""
    from launcher.config.load import JobConfig
    from trainer.config.schema import json_schema

    return {"$schema": DIALECT, **json_schema(JobConfig), "title": "A PaddleClas config for ftlaunch"}
