"""`trainer predict`."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.cli.endings import Ending, end_with
from trainer.cli.options import extra_module_option, load
from trainer.protocol.pathmap import PathMap

if TYPE_CHECKING:  # numpy and paddle: `--help` does without
    from trainer.config.infer import InferSection
    from trainer.engine.predict import Prediction, Predictor


@click.command("predict")
@click.argument("images", nargs=-1)
@click.option(
    "-c", "--config", "path", type=click.Path(path_type=Path), help="The config it was trained with."
)
@click.option(
    "--model", type=click.Path(path_type=Path), metavar="FOLDER", help="What `trainer export` wrote."
)
@extra_module_option
@click.option("-o", "--override", "overrides", multiple=True, metavar="KEY=VALUE", help="Change a value.")
@click.option(
    "--weights", type=click.Path(path_type=Path), metavar="FILE",
    help="Weights; else Global.pretrained_model, else the best of the output folder.",
)  # fmt: skip
@click.option(
    "--labels", type=click.Path(path_type=Path), metavar="FILE", help="`id name` lines: class names."
)
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", help="Else Infer.batch_size.")
@click.option("--bad-images", type=click.Choice(["fail", "skip"]), default="fail", show_default=True)
@click.option("--output", type=click.Choice(["text", "json", "csv"]), default="text", show_default=True)
@click.option("--strict", is_flag=True, help="Refuse unknown keys instead of warning of them.")
def command(
    *, images: tuple[str, ...], path: Path | None, model: Path | None, overrides: tuple[str, ...],
    extra_modules: tuple[str, ...], weights: Path | None, labels: Path | None, batch_size: int | None,
    bad_images: str, output: str, strict: bool,
) -> None:  # fmt: skip
    """Say what IMAGES show: files, folders with all below them, or patterns; else Infer.infer_imgs."""
    if (path is None) == (model is None):
        raise click.UsageError("expected one of -c FILE and --model FOLDER; give the one you have")

    def work() -> None:
        from trainer.engine.predict import load_trained, predict

        if model is not None:
            from trainer.engine.export import load_exported

            predictor, size = load_exported(model, labels=labels)
            infer = None
        else:
            assert path is not None
            config = load(
                path, overrides, strict=strict, extra_modules=extra_modules, path_map=PathMap()
            ).config
            infer, size = config.infer, config.infer.batch_size if config.infer else 1
            predictor = load_trained(config, weights=weights, labels=labels)
        files = _find(images, infer)
        found = predict(predictor, files, batch_size=batch_size or size, skip_bad=bad_images == "skip")
        hidden = not sys.stderr.isatty() or len(files) < 2
        with click.progressbar(found, length=len(files), file=sys.stderr, hidden=hidden) as shown:
            predictions = list(shown)
        click.echo(_format(predictions, predictor, output), nl=False)
        bad = [prediction.problem for prediction in predictions if prediction.problem]
        for problem in bad:
            click.echo(f"skipped: {problem}", err=True)
        if bad:
            click.echo(f"skipped {len(bad)} of {len(files)} images", err=True)

    sys.exit(end_with(work, Ending()))


def _find(images: tuple[str, ...], infer: InferSection | None) -> list[Path]:
    from trainer.data.images import find_images, read_image_list
    from trainer.data.lists import DataError

    if images:
        return find_images(images)
    if infer is not None and infer.infer_list:
        return read_image_list(Path(infer.infer_list), root=Path(infer.infer_imgs or "."))
    if infer is not None and infer.infer_imgs:
        return find_images([infer.infer_imgs])
    raise DataError(["expected images, got none; name files or a folder, or set Infer.infer_imgs"])


def _format(predictions: Sequence[Prediction], predictor: Predictor, output: str) -> str:
    good = [prediction for prediction in predictions if not prediction.problem]
    if output == "json":
        rows = [{"file_name": str(item.file), **item.answer} for item in good]
        return json.dumps(rows, ensure_ascii=False, indent=1) + "\n"
    if output == "csv":
        written = io.StringIO()
        keys = list(dict.fromkeys(key for item in good for key in item.answer))
        table = csv.writer(written, lineterminator="\n")
        table.writerow(["file_name", *keys])
        for item in good:
            cells = [" ".join(str(part) for part in item.answer.get(key, ())) for key in keys]
            table.writerow([str(item.file), *cells])
        return written.getvalue()
    del predictor
    return "".join(f"{item.file}: {_describe(item)}\n" for item in good)


def _describe(prediction: Prediction) -> str:
    found = prediction.answer
    if "class_ids" not in found:
        return ", ".join(str(part) for part in found.get("attributes") or found["probabilities"])
    names = found.get("label_names") or [f"class {index}" for index in found["class_ids"]]
    return (
        ", ".join(f"{name} {score:.3f}" for name, score in zip(names, found["scores"], strict=True)) or "none"
    )
