"""`trainer eval`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Literal

import click

from trainer.cli.bars import progress
from trainer.cli.endings import Ending, end_with, require_packages
from trainer.cli.options import output_option, refuse_two, run_options
from trainer.cli.printing import echo, warn
from trainer.cli.tables import format_classes, format_folders
from trainer.ranks import read_ranks


def _read_views(ctx: click.Context, option: click.Parameter, text: str | None) -> tuple[str, ...]:
    del ctx, option
    if text is None:
        return ()
    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not names or set(names) - {"flip", "scales"}:
        raise click.UsageError(f"--tta: expected flip, scales, or both with a comma between, got {text!r}")
    return names


@click.command("eval")
@run_options
@click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE", multiple=True,
    help="Weights to evaluate, or a pattern such as 'output/epoch_*.pdparams'; of several, each is a row and "
    "the best is marked. Default: Global.pretrained_model, else the best checkpoint of the output folder.",
)  # fmt: skip
@click.option(
    "--ensemble", is_flag=True, help="Also evaluate the mean of the probabilities of all --weights."
)
@click.option(
    "--tta", metavar="flip,scales", callback=_read_views,
    help="Also look at each image mirrored, and smaller and larger, and take the mean.",
)  # fmt: skip
@click.option(
    "--report", type=click.Path(path_type=Path, file_okay=False), metavar="FOLDER",
    help="Write report.html, report.json and predictions.csv into FOLDER: what the model gets wrong.",
)  # fmt: skip
@click.option(
    "--wrong", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Write the wrong answers into FILE as CSV, the surest first, with names of classes.",
)  # fmt: skip
@click.option(
    "--list", "listed", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Evaluate on this list instead of the one of DataLoader.Eval, such as test_list.txt.",
)  # fmt: skip
@click.option("--per-class", is_flag=True, help="Print a table of the classes, the most harmful first.")
@click.option(
    "--by", type=click.Choice(["folder"]), help="Print a table of the folders of images, the worst first."
)
@output_option
def command(
    *,
    job: str | None,
    path: Path | None,
    overrides: tuple[str, ...],
    extra_modules: tuple[str, ...],
    strict: bool,
    weights: tuple[Path, ...],
    ensemble: bool,
    tta: tuple[Literal["flip", "scales"], ...],
    report: Path | None,
    wrong: Path | None,
    listed: Path | None,
    per_class: bool,
    by: str | None,
    output: str,
) -> None:
    """Evaluate weights on DataLoader.Eval and print losses and metrics.

    JOB is the name of a job that was submitted from this machine, or of a study, whose best job is meant;
    else -c names a config.
    """
    refuse_two(job, path)
    several = ensemble or bool(tta) or len(weights) > 1 or any(set("*?[") & set(str(one)) for one in weights)
    ending = Ending()

    def select() -> None:
        ranks = read_ranks()
        ending.outcome = ranks.outcome
        require_packages()
        from trainer.cli.selection import refuse_few, refuse_tables, write_selection
        from trainer.comparison import compare_weights

        refuse_tables(
            listed=listed is not None, per_class=per_class, by=by is not None, wrong=wrong is not None
        )
        files = refuse_few(weights, ensemble=ensemble, reports=report is not None)
        with progress(wanted=ranks.is_first) as bar:
            found = compare_weights(
                path, files, job=job, set=overrides, ensemble=ensemble, tta=tta, report=report, strict=strict,
                extra_modules=extra_modules, warn=warn, progress=bar,
            )  # fmt: skip
        if ranks.is_first:
            for line in write_selection(found, output):
                echo(line)
            if report is not None:
                echo(f"wrote {report / 'report.html'}", err=output == "json")

    def work() -> None:
        ranks = read_ranks()
        ending.outcome = ranks.outcome
        require_packages()
        from trainer.api import evaluate
        from trainer.data.bad_images import format_left_out
        from trainer.engine.run_log import format_values
        from trainer.protocol.evaluated import describe_evaluated

        with progress(wanted=ranks.is_first) as bar:
            found = evaluate(
                path, job=job, set=overrides, weights=next(iter(weights), None), report=report,
                listed=listed, per_class=per_class, by_folder=by is not None, wrong=wrong, strict=strict,
                extra_modules=extra_modules, warn=warn, progress=bar,
            )  # fmt: skip
        if found.bad_images and ranks.is_first:
            warn(format_left_out(found.bad_images))
        if ranks.is_first:
            beside = found.evaluated
            floor = {"largest_class": beside.largest_class} if beside is not None else {}
            document: dict[str, object] = {"weights": str(found.weights), **found.values, **floor}
            if per_class:
                document["classes"] = [asdict(of) for of in found.classes]
            if by is not None:
                document["folders"] = [asdict(of) for of in found.folders]
            text = (
                json.dumps(document)
                if output == "json"
                else f"{found.weights}: {format_values(found.values)}"
            )
            echo(text)
            if beside is not None and output == "text":
                echo(describe_evaluated(beside))
            if output == "text":
                for line in (*format_classes(found.classes), *format_folders(found.folders)):
                    echo(line)
            if wrong is not None:
                echo(f"wrote {wrong}", err=output == "json")
            if report is not None:
                echo(f"wrote {report / 'report.html'}", err=output == "json")

    sys.exit(end_with(select if several else work, ending))
