"""`ftlaunch version`."""

from __future__ import annotations

import platform
from importlib import metadata

import click

from launcher.cli.options import echo_document, output_option
from launcher.cli.printing import echo
from launcher.documents import make_document

_PACKAGES = ("ftlaunch", "kubernetes")


@click.command("version")
@output_option("json")
def command(output: str) -> None:
    """Print the versions of ftlaunch, Python and the Kubernetes client."""
    versions: dict[str, str | None] = {name: _version(name) for name in _PACKAGES}
    versions["python"] = platform.python_version()
    if output == "json":
        echo_document(make_document("version", **versions), output)
        return
    for name, version in versions.items():
        echo(f"{name} {version or 'not installed'}")


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
