"""`trainer ckpt`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.cli.bars import progress
from trainer.cli.endings import Ending, end_with, require_packages
from trainer.cli.options import Subcommands, output_option, refuse_two, run_options
from trainer.cli.printing import echo, warn
from trainer.protocol.exits import Exit
from trainer.ranks import read_ranks

if TYPE_CHECKING:
    from trainer.results import AverageResult


@click.group(
    "ckpt", cls=Subcommands, elsewhere={name: f"ftlaunch ckpt {name}" for name in ("ls", "pull", "verify")}
)
def command() -> None:
    """Average the checkpoints of a run; `ftlaunch ckpt` lists and downloads those of a job."""


@command.command("average")
@run_options
@click.option(
    "--best",
    type=click.IntRange(2),
    metavar="N",
    help="Average the N best evaluated ones; 3 where nothing else is asked for.",
)
@click.option("--last", type=click.IntRange(2), metavar="N", help="Average the N furthest ones instead.")
@click.option("--list", "dry_run", is_flag=True, help="Only list which checkpoints would be averaged.")
@output_option
def average_command(
    *, job: str | None, path: Path | None, overrides: tuple[str, ...], extra_modules: tuple[str, ...],
    strict: bool, best: int | None, last: int | None, dry_run: bool, output: str,
) -> None:  # fmt: skip
    """Average the weights of a run's best checkpoints, and keep them if they evaluate better than the best.

    They become averaged.pdparams in the output folder, which --weights takes. Exit code 7 where they are no
    better. JOB is the name of a job that was submitted from this machine; else -c names a config.
    """
    refuse_two(job, path)
    if best is not None and last is not None:
        raise click.UsageError("expected --best or --last, got both; name one")
    ending, accepted = Ending(), True

    def work() -> None:
        nonlocal accepted
        ranks = read_ranks()
        require_packages()
        from trainer.api import average_checkpoints

        with progress(wanted=ranks.is_first) as bar:
            found = average_checkpoints(
                path, job=job, set=overrides, best=best, last=last, dry_run=dry_run, strict=strict,
                extra_modules=extra_modules, warn=warn, progress=bar,
            )  # fmt: skip
        accepted = dry_run or found.weights is not None
        if ranks.is_first:
            echo(json.dumps(_to_json(found)) if output == "json" else _to_text(found))

    code = end_with(work, ending)
    sys.exit(code if code or accepted else Exit.NOT_BETTER)


def _to_json(found: AverageResult) -> dict[str, object]:
    return {
        "checkpoints": [
            {"name": item.name, "folder": str(item.folder), "metric": item.metric}
            for item in found.checkpoints
        ],
        "metric": found.metric, "averaged": found.averaged, "best": found.best,
        "best_weights": str(found.best_weights) if found.best_weights is not None else None,
        "weights": str(found.weights) if found.weights is not None else None,
    }  # fmt: skip


def _to_text(found: AverageResult) -> str:
    if found.averaged is None or found.best is None:
        return "\n".join(
            f"{item.name}\t{'not evaluated' if item.metric is None else f'{item.metric:.5f}'}"
            for item in found.checkpoints
        )
    of = ", ".join(item.name for item in found.checkpoints)
    numbers = f"{found.metric} {found.averaged:.5f}, that of {found.best_weights} {found.best:.5f}"
    said = f"the mean of {of} (running statistics of batch norm too): {numbers}"
    if found.weights is None:
        return f"{said}; not better, so that nothing is written"
    return f"{said}; better\n{found.weights}"
