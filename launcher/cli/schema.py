"""`ftlaunch schema`."""

from __future__ import annotations

import json

import click

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of a config, for editors and CI."""
    from launcher.spec.load import JobConfig
    from trainer.config.schema import json_schema

    document = {"$schema": DIALECT, **json_schema(JobConfig), "title": "A PaddleClas config for ftlaunch"}
    click.echo(json.dumps(document, indent=2))
