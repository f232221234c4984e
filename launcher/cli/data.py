"""`ftlaunch data`."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

from launcher.cli.options import Subcommands, echo_document, output_option
from launcher.cli.printing import count_progress, echo, print_note, show_progress
from launcher.documents import make_document
from launcher.errors import CliExit
from launcher.jobs.data import ClaimTarget, compare_folder, push_folder
from launcher.plan.handle import BackendKind
from launcher.volumes.place import Scratch

if TYPE_CHECKING:
    from launcher.jobs.data_report import FailOn

F = TypeVar("F", bound=Callable[..., Any])
_SHOWN = 20


@click.group("data", cls=Subcommands)
def command() -> None:
    """Upload a folder to a claim of the cluster, verify what is there, and report what is wrong with it.

    A pod mounts the claim meanwhile, and is deleted afterwards.
    """


def _claim_options(command: F) -> F:
    options = (
        click.argument(
            "folder", metavar="DIR", type=click.Path(path_type=Path, exists=True, file_okay=False)
        ),
        click.argument("target", metavar="CLAIM[:PATH]"),
        click.option(
            "--namespace", metavar="NAME",
            help="Namespace of the claim; by default that of the context.",
        ),
        click.option(
            "--context", metavar="NAME",
            help="Context of the kubeconfig; by default the current one.",
        ),
        click.option(
            "--image", metavar="IMAGE",
            help="Image of the pod, any with Python 3; by default the trainer's.",
        ),
        click.option("-c", "--config", metavar="FILE", type=click.Path(path_type=Path),
                     help="Config that says how the lists are read: delimiter, labels, image_root. "
                     "Without it, that is guessed."),
        click.option("--user", type=click.IntRange(min=1), default=1000, show_default=True,
                     help="User id that files are written as."),
        click.option("--group", type=click.IntRange(min=1), default=1000, show_default=True,
                     help="Group id that files are written as."),
    )  # fmt: skip
    collected: Any = command
    for option in reversed(options):
        collected = option(collected)
    return cast(F, collected)


@command.command("push")
@_claim_options
@output_option("json", "yaml")
def _push(folder: Path, target: str, config: Path | None, output: str, **where: Any) -> None:
    """Upload all files of DIR to a claim; files that are there already with the right hash are skipped.

    List files (`*_list.txt` in DIR, and those that the config names) are refused where a training would
    refuse them, and where a line names a file that DIR lacks.
    """
    done = push_folder(
        folder, ClaimTarget(name=target, **where), config=config, notes=print_note, progress=show_progress
    )
    size = f"{done.sent_bytes / 1e6:.1f} MB"
    echo(f"{done.sent} of {done.files} files went ({size}), the others were there", err=True)
    if output != "text":
        document = make_document(
            "data-push", folder=str(folder), target=target, files=done.files, sent=done.sent,
            sent_bytes=done.sent_bytes,
        )  # fmt: skip
        echo_document(document, output)


@command.command("check")
@_claim_options
@output_option("json", "yaml")
def _check(folder: Path, target: str, config: Path | None, output: str, **where: Any) -> int:
    """Compare all files of DIR with a claim by their hashes. Exit code 7 where one is missing or differs."""
    found = compare_folder(folder, ClaimTarget(name=target, **where), config=config, notes=print_note)
    if output == "text":
        for path in found.differ[:_SHOWN]:
            echo(f"{path}: is not there as it is here")
        if len(found.differ) > _SHOWN:
            echo(f"… and {len(found.differ) - _SHOWN} more")
    else:
        document = make_document(
            "data-check", folder=str(folder), target=target, files=found.files, ok=not found.differ,
            items=[{"path": path} for path in found.differ],
        )  # fmt: skip
        echo_document(document, output)
    there = found.files - len(found.differ)
    echo(f"{there} of {found.files} files are there, with the right hash", err=True)
    return CliExit.DIFFERS if found.differ else CliExit.OK


@command.command("report")
@click.argument("targets", nargs=-1, metavar="[CLAIM[:PATH]|DIR|LIST]...")
@click.option(
    "-c", "--config", metavar="FILE", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Config that names the lists and says how they are read; its volume says which claim.",
)  # fmt: skip
@click.option(
    "--list", "lists", multiple=True, metavar="NAME",
    help="A list in the folder, the training's first, instead of those that make-lists writes; may be "
    "repeated.",
)  # fmt: skip
@click.option(
    "--on", type=click.Choice(["kubernetes", "docker", "local"]),
    help="Where the images are read; by default here what is here, and else beside the claim.",
)  # fmt: skip
@click.option(
    "--to", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False), default=Path("data-report"),
    show_default=True, help="Target folder.",
)  # fmt: skip
@click.option("--open", "opens", is_flag=True, help="Open the page in a browser.")
@click.option(
    "--fail-on", type=click.Choice(["problems", "anything", "never"]), default="problems", show_default=True,
    help="What makes the exit code 7.",
)  # fmt: skip
@click.option("--namespace", metavar="NAME", help="Namespace of the claim; by default that of the context.")
@click.option("--context", metavar="NAME", help="Context of the kubeconfig; by default the current one.")
@click.option("--image", metavar="IMAGE", help="Image with the trainer; by default the trainer's own.")
@click.option(
    "--user", type=click.IntRange(min=1), default=1000, show_default=True, help="User id of the pod."
)
@click.option("--group", type=click.IntRange(min=1), default=1000, show_default=True, help="Its group id.")
@click.option("--cpu", default="2", show_default=True, metavar="CORES", help="Cores of the pod.")
@click.option("--memory", default="2Gi", show_default=True, metavar="BYTES", help="Memory of the pod.")
@click.option(
    "--container-runtime", "runtime", metavar="docker|podman|PATH", envvar="FTLAUNCH_CONTAINER_RUNTIME",
    help="Container engine of --on docker; by default the first of docker and podman.",
)  # fmt: skip
@output_option("json", "yaml")
def _report(
    *,
    targets: tuple[str, ...],
    config: Path | None,
    lists: tuple[str, ...],
    on: BackendKind | None,
    to: Path,
    opens: bool,
    fail_on: FailOn,
    cpu: str,
    memory: str,
    runtime: str | None,
    output: str,
    **claim: Any,
) -> int:
    """Read every image of a data set where it is, and fetch the page that says what is wrong.

    Beside a claim a pod does it, with the trainer's image, the claim mounted read-only. What was found of
    each file is kept on this machine: a report that was interrupted goes on where it was. See `trainer
    data-report`.
    """
    from launcher.jobs.data_report import DataQuestion, report_data

    question = DataQuestion(
        targets=targets, on=on, claim=ClaimTarget(name="", **claim), lists=lists, config=config,
        fail_on=fail_on, runtime=runtime, scratch=Scratch(cpu=cpu, memory=memory),
    )  # fmt: skip
    found = report_data(question, to=to, notes=print_note, counting=count_progress)
    if output == "text":
        for line in _findings(found.document):
            echo(line)
        for path in (*found.cleaned, found.page):
            echo(f"wrote {path}")
    else:
        document = make_document(
            "data-report", folder=str(found.folder), page=str(found.page), ok=not found.failed,
            cleaned=[str(path) for path in found.cleaned], report=dict(found.document),
        )  # fmt: skip
        echo_document(document, output)
    if opens and not webbrowser.open(found.page.absolute().as_uri()):
        echo(f"warning: no browser could be started; open {found.page}", err=True)
    return CliExit.DIFFERS if found.failed else CliExit.OK


def _findings(document: Mapping[str, object]) -> Iterator[str]:
    """Yield a line for each finding of a report, as far as it is one that we know how to read."""
    findings = document.get("findings")
    told = 0
    for finding in findings if isinstance(findings, list) else ():
        if isinstance(finding, dict) and isinstance(finding.get("title"), str):
            told += 1
            kind = "problem" if finding.get("problem") is True else "look at"
            yield f"{kind}: {finding['title']}; {finding.get('fix')}"
    if not told:
        yield "nothing was found that is wrong or odd"
