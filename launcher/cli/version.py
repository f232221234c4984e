"""`ftlaunch version`."""

from __future__ import annotations

import json
import platform
from importlib import metadata

import click

from launcher.cli.options import output_option
from launcher.cli.printing import echo

_PACKAGES = ("ftlaunch", "kubernetes")


@click.command("version")
@output_option("json")
def command(output: str) -> None:
    """Print the versions of ftlaunch, Python and the Kubernetes client."""
    versions: dict[str, str | None] = {name: _version(name) for name in _PACKAGES}
    versions["python"] = platform.python_version()
    if output == "json":
        echo(json.dumps(versions, indent=2))
        return
    for name, version in versions.items():
        echo(f"{name} {version or 'not installed'}")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
