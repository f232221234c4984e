"""`trainer export`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trainer.cli.bars import progress
from trainer.cli.endings import Ending, end_with, require_packages
from trainer.cli.options import refuse_two, run_options
from trainer.cli.printing import echo, warn


@click.command("export")
@run_options
@click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE",
    help="Weights to export. Default: Global.pretrained_model, else the best checkpoint of the output "
    "folder.",
)  # fmt: skip
@click.option(
    "--to",
    "folder",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Where to write the model. Default: Global.save_inference_dir.",
)
@click.option(
    "--compare",
    type=click.IntRange(min=0),
    default=64,
    show_default=True,
    metavar="N",
    help="Images of the validation list to compare it with the trained model on; 0: none.",
)
@click.option(
    "--onnx", is_flag=True, help="Also write inference.onnx, for other runtimes; needs the extra onnx."
)
@click.option(
    "--card",
    is_flag=True,
    help="Also write MODEL_CARD.md and model_card.json: data, settings, numbers of each class, limits, and "
    "what is not known.",
)
@click.option(
    "--report",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    metavar="FOLDER",
    help="Of `trainer eval --report`, of the same weights: numbers and thresholds for the card.",
)
def command(
    *, job: str | None, path: Path | None, overrides: tuple[str, ...], extra_modules: tuple[str, ...],
    strict: bool, weights: Path | None, folder: Path | None, compare: int, onnx: bool,
    card: bool, report: Path | None,
) -> None:  # fmt: skip
    """Write a model that Paddle's inference library reads, and check that it answers as the trained one.

    JOB is the name of a job that was submitted from this machine, or of a study, whose best job is meant;
    else -c names a config.
    """
    refuse_two(job, path)
    if report is not None and not card:
        raise click.UsageError("expected --card beside --report, whose numbers it takes, got none")

    def work() -> None:
        require_packages()
        from trainer.api import export

        with progress() as bar:
            done = export(
                path, folder, job=job, set=overrides, weights=weights, compare=compare, onnx=onnx,
                card=card, report=report, strict=strict, extra_modules=extra_modules, warn=warn, progress=bar,
            )  # fmt: skip
        echo(f"{done.folder}: {', '.join(done.names)} of {done.weights}")
        said = (
            f"compared on {done.compared} images: {_describe_difference(done.largest)}"
            if done.compared
            else "not compared with the trained model: there is no DataLoader.Eval, or --compare is 0"
        )
        warn(said)

    sys.exit(end_with(work, Ending()))


def _describe_difference(largest: float) -> str:
    return f"logits differ by at most {f'{largest:.1e}' if largest else 0} of their size"
