"""`trainer predict`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.cli.answers import FORMS, write_answers
from trainer.cli.bars import progress
from trainer.cli.endings import Ending, end_with, require_packages
from trainer.cli.options import extra_module_option
from trainer.cli.printing import echo, warn
from trainer.jobs import is_job
from trainer.progress import Progress

if TYPE_CHECKING:  # numpy and paddle: `--help` does without
    from trainer.results import Answer, Prediction


@click.command("predict")
@click.argument("images", nargs=-1, metavar="[JOB] [IMAGES]...")
@click.option(
    "-c", "--config", "path", type=click.Path(path_type=Path), help="The config it was trained with."
)
@click.option(
    "--model",
    type=click.Path(path_type=Path),
    metavar="FOLDER",
    help="Folder that `trainer export` wrote; needs no config.",
)
@extra_module_option
@click.option(
    "-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE",
    help="Change a value of the config, such as -o Infer.batch_size=8; may be repeated.",
)  # fmt: skip
@click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE",
    help="Weights to predict with. Default: Global.pretrained_model, else the best checkpoint of the output "
    "folder.",
)  # fmt: skip
@click.option(
    "--labels",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="File of class names, an `id name` line for each class.",
)
@click.option(
    "--batch-size", type=click.IntRange(min=1), metavar="N",
    help="Images at a time. Default: Infer.batch_size.",
)  # fmt: skip
@click.option(
    "--bad-images", type=click.Choice(["fail", "skip"]), default="fail", show_default=True,
    help="What to do with an image that cannot be read: end with exit 3, or name it and go on.",
)  # fmt: skip
@click.option(
    "--output", type=click.Choice(FORMS), default="text", show_default=True,
    help="Form of the answers on standard output.",
)  # fmt: skip
@click.option("--strict", is_flag=True, help="Refuse unknown keys instead of warning of them.")
def command(
    *, images: tuple[str, ...], path: Path | None, model: Path | None, overrides: tuple[str, ...],
    extra_modules: tuple[str, ...], weights: Path | None, labels: Path | None, batch_size: int | None,
    bad_images: str, output: str, strict: bool,
) -> None:  # fmt: skip
    """Say what IMAGES show: files, folders with all below them, or patterns; else Infer.infer_imgs.

    Without -c and --model the first word is JOB, the name of a job that was submitted from this machine, or
    of a study, whose best job is meant.
    """
    if path is not None and model is not None:
        raise click.UsageError("expected one of -c FILE and --model FOLDER; give the one you have")
    job: str | None = None
    if path is None and model is None:
        if not images or (Path(images[0]).exists() and not is_job(images[0])):
            raise click.UsageError(
                "expected one of -c FILE and --model FOLDER, or a job's name first, got none of them; "
                "`ftlaunch list` shows jobs"
            )
        job, images = images[0], images[1:]

    def work() -> None:
        require_packages()
        from trainer.api import find_files, open_predictor
        from trainer.engine.predict import predict
        from trainer.postprocess.build import is_of_one_length

        # Not `trainer.api.predict`: answers are written as they come, so that a folder of any size takes no
        # memory.
        predictor, infer, size = open_predictor(
            path, job=job, model=model, overrides=overrides, weights=weights, labels=labels, strict=strict,
            extra_modules=extra_modules, warn=warn,
        )  # fmt: skip
        files = find_files(images, infer, warn=warn)
        one_length = is_of_one_length(predictor.post_process)
        found = predict(predictor, files, batch_size=batch_size or size, skip_bad=bad_images == "skip")
        bad: list[str] = []
        with progress(wanted=not sys.stdout.isatty()) as bar:  # else the answers themselves show it
            bar.begin("images", len(files))
            for text in write_answers(_good(found, bad, bar), output, one_length=one_length):
                echo(text, nl=False)
        for problem in bad:
            warn(f"skipped: {problem}")
        if bad:
            warn(f"skipped {len(bad)} of {len(files)} images")

    sys.exit(end_with(work, Ending()))


def _good(predictions: Iterable[Prediction], bad: list[str], bar: Progress) -> Iterator[tuple[str, Answer]]:
    """Pass files and their answers on; why others have none goes to `bad`."""
    for prediction in predictions:
        bar.advance()
        if prediction.problem:
            bad.append(prediction.problem)
        else:
            yield str(prediction.file), prediction.answer
