"""`trainer data-report`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.cli.bars import progress
from trainer.cli.endings import Ending, end_with
from trainer.cli.options import extra_module_option
from trainer.cli.printing import echo, hush_decoders, warn
from trainer.progress import Progress

if TYPE_CHECKING:
    from trainer.insight.data_health import Finding
    from trainer.insight.data_report import WrittenReport

FOUND = 7
"""Exit code where something was found, as `ftlaunch` has it for a check that failed."""
_SHOWN = 3
_LINE_EVERY_S = 0.25


@click.command("data-report")
@click.argument("lists", nargs=-1, type=click.Path(path_type=Path), metavar="[LIST|FOLDER]...")
@click.option(
    "-c",
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="A PaddleClas config, which names the lists.",
)
@click.option(
    "-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE",
    help="Change a value of the config; may be repeated.",
)  # fmt: skip
@click.option(
    "--root", type=click.Path(path_type=Path, file_okay=False),
    help="Folder that the paths of the lists are relative to; each list's own where it is not given.",
)  # fmt: skip
@click.option(
    "-O", "--output-dir", "folder", type=click.Path(path_type=Path, file_okay=False),
    default=Path("data-report"), show_default=True, help="Folder for the page, the JSON and cleaned lists.",
)  # fmt: skip
@click.option(
    "--fail-on", type=click.Choice(["problems", "anything", "never"]), default="problems", show_default=True,
    help=f"What makes the exit code {FOUND}.",
)  # fmt: skip
@click.option(
    "--output", "form", type=click.Choice(["text", "json", "jsonl"]), default="text", show_default=True,
    help="Print sentences, or what report.json says; jsonl prints how far it is, a line each, and at last "
    "the files.",
)  # fmt: skip
@click.option(
    "--label-doubts", is_flag=True,
    help="Hold every label against a small classifier that has not seen it, without a trained network.",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="Refuse unknown keys of the config instead of warning of them.")
@extra_module_option
def command(
    *,
    lists: tuple[Path, ...],
    path: Path | None,
    overrides: tuple[str, ...],
    root: Path | None,
    folder: Path,
    fail_on: str,
    form: str,
    label_doubts: bool,
    strict: bool,
    extra_modules: tuple[str, ...],
) -> None:
    """Read every image of a data set, and report what is wrong or odd.

    Names images that cannot be read, that are in two lists, or that have two labels; near copies; classes out
    of balance; dark, blurred and turned pictures. LIST is a list file, the training's first; FOLDER has
    train_list.txt and val_list.txt. What was found of a file is remembered until the file changes.
    """
    if (path is None) == (not lists):
        got = "both" if lists else "neither"
        raise click.UsageError(
            f"expected list files, a folder with them, or -c FILE, got {got}; "
            "`trainer make-lists FOLDER` writes lists for a folder of images"
        )
    if path is None and (overrides or extra_modules or strict):
        raise click.UsageError(
            "-o, --extra-module and --strict change how a config is read: name it by -c FILE"
        )
    if path is not None and root is not None:
        raise click.UsageError("expected --root beside list files; a config has its image_root")
    code = 0

    def work() -> None:
        nonlocal code
        from trainer.data_reporting import report_data

        with hush_decoders(), _lines() if form == "jsonl" else progress() as bar:
            written = report_data(
                lists, config=path, set=overrides, root=root, output=folder, label_doubts=label_doubts,
                strict=strict, extra_modules=extra_modules, warn=warn, progress=bar,
            )  # fmt: skip
        wanted = {"problems": written.health.problems, "anything": written.health.findings, "never": ()}
        code = FOUND if wanted[fail_on] else 0
        if form == "json":
            echo(written.json.read_text(encoding="utf-8").rstrip("\n"))
        elif form == "jsonl":
            files = [written.page.name, written.json.name, *(path.name for path in written.cleaned.values())]
            echo(json.dumps({"event": "written", "files": files, "exit": code}))
        else:
            _say(written)

    sys.exit(end_with(work, Ending()) or code)


class _Lines(Progress):
    """Prints how far the work is, for who watches from elsewhere: at most some lines a second."""

    def __init__(self) -> None:
        self._doing, self._total, self._done, self._said_s = "", 0, 0, 0.0

    def begin(self, label: str, total: int) -> None:
        """Say what begins."""
        self._doing, self._total, self._done, self._said_s = label, total, 0, 0.0
        self.advance(0)

    def advance(self, count: int = 1) -> None:
        """Count, and say so now and then."""
        self._done += count
        now_s = time.monotonic()
        if now_s - self._said_s >= _LINE_EVERY_S or self._done >= self._total:
            self._said_s = now_s
            said = {"event": "progress", "doing": self._doing, "done": self._done, "total": self._total}
            echo(json.dumps(said))
            sys.stdout.flush()


@contextmanager
def _lines() -> Iterator[Progress]:
    yield _Lines()


def _say(written: WrittenReport) -> None:
    health = written.health
    counted = " and ".join(f"{count} of {name}" for name, count in health.splits.items())
    count = len(health.classes)
    classes = f", {count} class{'' if count == 1 else 'es'}" if count else ""
    echo(f"images: {counted}{classes}")
    for finding in health.findings:
        echo(f"{'problem' if finding.is_problem else 'look at'}: {finding.title}; {finding.fix}")
        for line in _examples(finding):
            echo(f"  {line}")
    if not health.findings:
        echo("nothing was found that is wrong or odd")
    for split, cleaned in written.cleaned.items():
        count = len(health.leave_out[split])
        echo(f"wrote {cleaned}: {split} without {count} line{'' if count == 1 else 's'}")
    if written.cleaned:
        echo("put a cleaned list in the place of the one it was made of, or name it as cls_label_path")
    echo(f"wrote {written.page} and {written.json.name}")


def _examples(finding: Finding) -> list[str]:
    said = []
    for place, group in enumerate(finding.groups[:_SHOWN]):
        detail = finding.details.get(place)
        same = "; ".join(of.named for of in group[:_SHOWN])
        said.append(f"{same}{f': {detail}' if detail else ''}")
    if len(finding.groups) > _SHOWN:
        said.append("…")
    return said
