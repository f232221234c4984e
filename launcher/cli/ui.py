"""`ftlaunch ui`."""

from __future__ import annotations

import webbrowser
from typing import TYPE_CHECKING

import click

from launcher.cli.printing import echo
from launcher.errors import UsageError
from launcher.plan.handle import BACKENDS, BackendKind

if TYPE_CHECKING:
    from launcher.ui.server import Started


@click.command("ui")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=0, metavar="N", help="Port; by default a free one."
)
@click.option("--no-open", is_flag=True, help="Print the address, and open no browser.")
@click.option("--on", type=click.Choice(BACKENDS), help="Show only jobs of this backend.")
@click.option(
    "--namespace", metavar="NAME", help="Kubernetes namespace whose jobs are shown too, everybody's."
)
@click.option("--context", metavar="NAME", help="Context of the kubeconfig; by default the current one.")
def command(
    *, port: int, no_open: bool, on: BackendKind | None, namespace: str | None, context: str | None
) -> None:
    """Serve a page over all runs of this machine, for this user's browser alone, until Ctrl-C.

    It listens on 127.0.0.1 and needs no network. From another machine: `ssh -L PORT:127.0.0.1:PORT HOST`.
    """
    from importlib import metadata

    try:
        from launcher.ui.server import serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("starlette", "uvicorn"):
            raise
        from trainer.protocol.installation import install_command

        raise UsageError(
            where="ui", expected="the packages starlette and uvicorn", got=f"no {error.name}",
            fix=install_command("ui"),
        ) from error  # fmt: skip

    def tell(started: Started) -> None:
        echo(started.address)
        echo("this address lets in whoever has it; Ctrl-C ends the page", err=True)
        if not no_open and not webbrowser.open(started.opener.as_uri()):
            echo("no browser could be started: open the address", err=True)

    serve(
        port=port, on=on, namespace=namespace or "", context=context, version=metadata.version("ftlaunch"),
        on_started=tell,
    )  # fmt: skip
