"""`trainer lr-find`."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.cli.bars import progress
from trainer.cli.endings import Ending, end_with
from trainer.cli.options import config_options, output_option, weights_options
from trainer.cli.printing import echo, warn
from trainer.errors import CheckpointError
from trainer.progress import Progress

if TYPE_CHECKING:  # paddle: `--help` does without
    from trainer.engine.lr_finder import LrFindResult

_RULES = {
    "valley": "the middle of the longest way down; proposed",
    "steep": "where the loss falls fastest",
    "minimum": "a tenth of the rate at the lowest loss",
}


@click.command("lr-find")
@config_options
@weights_options
@click.option(
    "--from", "low", type=click.FloatRange(min=0, min_open=True), default=1e-6, show_default=True,
    help="Learning rate of the first step.",
)  # fmt: skip
@click.option(
    "--to", "high", type=click.FloatRange(min=0, min_open=True), default=1.0, show_default=True,
    help="Learning rate of the last step, where the loss does not grow before.",
)  # fmt: skip
@click.option(
    "--steps", type=click.IntRange(min=20), default=100, show_default=True,
    help="Training steps of the test.",
)  # fmt: skip
@click.option(
    "--svg", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
    help="Draw the curve into this file, too; replaced where it is there.",
)  # fmt: skip
@output_option
def command(
    *, path: Path, overrides: tuple[str, ...], extra_modules: tuple[str, ...], strict: bool,
    weights_dir: Path | None, offline: bool, low: float, high: float, steps: int, svg: Path | None,
    output: str,
) -> None:  # fmt: skip
    """Propose a learning rate by a short range test, in which the rate grows until the loss does.

    It trains a few steps on this machine from the weights that training would begin with, and writes nothing
    but the SVG that is asked for.
    """
    if low >= high:
        raise click.UsageError(f"expected --from below --to, got {low:g} and {high:g}")

    def work() -> None:
        from trainer.preparation import find_rate

        if svg is not None and not svg.absolute().parent.is_dir():  # before the test, which takes its time
            raise CheckpointError(
                where=svg, expected="a file to draw the curve into", got="no folder for it", fix="make it"
            )
        with progress() as bar:
            found = find_rate(
                path, set=overrides, low=low, high=high, steps=steps, weights_dir=weights_dir,
                offline=offline, strict=strict, extra_modules=extra_modules,
                say=lambda text: _say(bar, text), warn=warn, progress=bar,
            )  # fmt: skip
        if svg is not None:
            _save(svg, found)
        if output == "json":
            document = {
                "proposal": found.proposal, "proposals": found.proposals, "lowest": found.lowest,
                "grows_from": found.grows_from, "guess": found.guess, "diverged": found.diverged,
                "fall": found.fall, "noise": found.noise,
                "rates": found.rates, "losses": found.losses,
            }  # fmt: skip
            echo(json.dumps(document))
            return
        echo(_draw(found))
        end = "the loss grew" if found.diverged else f"--steps {steps}"
        echo(
            f"tested from {low:g} to {found.rates[-1]:g}, until {end}; lowest loss at {found.lowest:.2g}",
            err=True,
        )
        if found.proposal is None:
            shape = "only grows" if found.rises else "is flat until it grows" if found.diverged else "is flat"
            falls = "" if found.rises else f"it falls by {found.fall:.2g}, and "
            echo(
                f"no proposal: the loss {shape} from {low:g} to {found.rates[-1]:g}, I cannot tell\n"
                f"{falls}the noise of its mean is {found.noise:.2g}; try more steps (--steps), larger\n"
                "batches, or another range (--from, --to)"
            )
            if found.guess is not None:
                echo(
                    f"the loss grows from {found.grows_from:.2g} on; the best rate lies below"
                    " (of the g in the curve), how far\n"
                    f"is not seen: try some around {found.guess:g}, a third of it, by `ftlaunch sweep`"
                    " (it was up to\n"
                    "ten times off in our tests)"
                )
            return
        for name, rate in found.proposals.items():
            echo(f"{name:<8} {rate:9.2e}  {_RULES[name]}")
        echo(f"for one rank with batches of {found.batch}: with N ranks, take N times as much", err=True)
        echo(f"Optimizer.lr.learning_rate: {found.proposal:g}")

    sys.exit(end_with(work, Ending()))


def _say(bar: Progress, text: str) -> None:
    bar.clear()
    echo(text, err=True)


def _draw(found: LrFindResult) -> str:
    from trainer.insight.rate_curve import draw_text

    columns = shutil.get_terminal_size().columns
    return draw_text(found.rates, found.losses, _marks(found), columns=columns)


def _marks(found: LrFindResult) -> dict[str, float]:
    """Return the rates that the curve marks: what is proposed, else from where the loss grows."""
    if not found.proposals and found.grows_from is not None:
        return {"grows from": found.grows_from}
    return dict(found.proposals)


def _save(path: Path, found: LrFindResult) -> None:
    from trainer.insight.rate_curve import draw_svg
    from trainer.protocol.safe_files import replace_file

    try:
        replace_file(path, draw_svg(found.rates, found.losses, _marks(found)).encode())
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CheckpointError(where=path, expected="a file to draw the curve into", got=reason) from error
