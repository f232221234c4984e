"""The quick start's data: handwritten digits as image files, and the result of training on them.

scikit-learn ships 1,797 of the digits of the UCI machine learning repository (Alpaydin and Kaynak, 1998;
BSD-licensed there), 8 x 8 pixels with 17 grey levels.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import click

SIDE = 32  # pixels; the smallest that the network's five halvings leave something of
VAL_EVERY = 5  # every fifth digit is held out


@click.group()
def group() -> None:
    """Make the quick start's images, or show what training on them gave."""


@group.command()
@click.argument("folder", type=click.Path(path_type=Path))
def images(folder: Path) -> None:
    """Write FOLDER/train/<digit>/*.png and FOLDER/val/<digit>/*.png."""
    import cv2
    from sklearn.datasets import load_digits

    digits = load_digits()
    for part in ("train", "val"):
        shutil.rmtree(folder / part, ignore_errors=True)
        for digit in range(10):
            (folder / part / str(digit)).mkdir(parents=True)
    for index, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        part = "val" if index % VAL_EVERY == 0 else "train"
        image = cv2.resize((pixels * (255 / 16)).astype("uint8"), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / part / str(digit) / f"{index:04d}.png"), image)
    click.echo(f"{len(digits.images)} images in {folder}")


@group.command()
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--at-least", default=0.9, show_default=True, help="Top-1 that counts as a success.")
def result(output: Path, at_least: float) -> None:
    """Show the metric of the training in OUTPUT, where its checkpoints lie, and what to try next."""
    rows = [json.loads(line) for line in (output / "metrics.jsonl").read_text().splitlines()]
    evaluations = [row for row in rows if row["event"] == "eval"]
    if not evaluations:
        click.echo(f"{output}: expected an evaluation, got none; look at `ftlaunch logs`", err=True)
        sys.exit(1)
    best = max(evaluations, key=lambda row: row["top1"])
    click.echo(
        f"\ntop-1 {best['top1']:.1%} on held-out digits after epoch {best['epoch']}\n"
        f"checkpoints: {output}/best_model.pdparams and latest.pdparams, "
        f"whole and hashed in {output}/.ftlaunch/checkpoints\n"
        "next: `ftlaunch logs`, `ftlaunch status`; two nodes: `ftlaunch submit examples/quickstart.yaml "
        "--on local --nodes 2 --overwrite`;\n"
        "      what a cluster would get: `ftlaunch render examples/quickstart.yaml --gpus 4`"
    )
    if best["top1"] < at_least:
        click.echo(f"expected a top-1 of at least {at_least:.0%}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    group()
