"""`trainer fit-batch`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.cli.bars import progress
from trainer.cli.endings import Ending, end_with, require_packages
from trainer.cli.options import config_options, output_option, weights_dir_option
from trainer.cli.printing import echo, warn
from trainer.progress import Progress
from trainer.protocol.limits import parse_bytes

if TYPE_CHECKING:  # the grammar: `--help` does without
    from trainer.batch_size import BatchEstimate, FitBatchResult

NOTHING_FITS = 7
"""Exit code, as `ftlaunch` has it for a check that failed."""


def _read_bytes(ctx: click.Context, param: click.Parameter, value: str | None) -> int | None:
    """Read an amount of memory as Kubernetes writes it."""
    if value is None:
        return None
    amount = parse_bytes(value)
    if not amount:
        raise click.BadParameter(f"expected an amount such as 4Gi or 512Mi, got {value!r}", ctx, param)
    return amount


@click.command("fit-batch")
@config_options
@click.option(
    "--most", type=click.IntRange(min=1, max=1 << 20), metavar="N",
    help="Try no larger batch than this; by default 4096.",
)  # fmt: skip
@click.option(
    "--steps", type=click.IntRange(min=2, max=100), default=3, show_default=True,
    help="Training steps of each try.",
)  # fmt: skip
@click.option(
    "--memory", "memory_bytes", callback=_read_bytes, metavar="AMOUNT",
    help="What a batch may take, such as the 4Gi of another pod; by default three quarters of "
    "what is free here.",
)  # fmt: skip
@weights_dir_option
@click.option(
    "--try", "batch", type=click.IntRange(min=1, max=1 << 20), metavar="N",
    help="Try this size only, in this process, and say what it takes.",
)  # fmt: skip
@click.option(
    "--estimate", is_flag=True,
    help="Try nothing: say what the config's own batch takes by the sizes of the network's layers.",
)  # fmt: skip
@output_option
def command(
    *, path: Path, overrides: tuple[str, ...], extra_modules: tuple[str, ...], strict: bool, most: int | None,
    steps: int, memory_bytes: int | None, weights_dir: Path | None, batch: int | None, estimate: bool,
    output: str,
) -> None:  # fmt: skip
    """Find the largest batch of one rank that fits into memory, and the learning rate that goes with it.

    Exit code 7 where not even one image fits.

    Each size is trained for some steps in a process of its own; one that takes more than there is, or is
    ended, does not fit. Nothing is written.
    """
    code = 0

    def work() -> None:
        nonlocal code
        require_packages()
        from trainer import batch_size

        if estimate:
            guess = batch_size.estimate(
                path, set=overrides, strict=strict, extra_modules=extra_modules, warn=warn
            )
            echo(json.dumps(asdict(guess)) if output == "json" else _describe_estimate(guess))
            return
        if batch is not None:
            tried = batch_size.try_batch(
                path, set=overrides, batch=batch, steps=steps, weights_dir=weights_dir, strict=strict,
                extra_modules=extra_modules, say=warn, warn=warn,
            )  # fmt: skip
            echo(json.dumps(asdict(tried)) if output == "json" else batch_size.describe(tried))
            return
        with progress() as bar:
            found = batch_size.fit_batch(
                path, set=overrides, most=most, steps=steps, memory_bytes=memory_bytes,
                weights_dir=weights_dir, strict=strict, extra_modules=extra_modules,
                say=lambda text: _say(bar, text), warn=warn, progress=bar,
            )  # fmt: skip
        echo(json.dumps(asdict(found)) if output == "json" else _describe(found))
        code = 0 if found.batch is not None else NOTHING_FITS

    sys.exit(end_with(work, Ending()) or code)


def _say(bar: Progress, text: str) -> None:
    bar.clear()
    echo(text, err=True)


def _describe_estimate(guess: BatchEstimate) -> str:
    return (
        f"estimated: {guess.device_bytes / 2**20:.0f} MiB with a batch of {guess.batch}; of these "
        f"{guess.weights_bytes / 2**20:.0f} are weights, gradients and the optimizer's, and each image takes "
        f"{guess.image_bytes / 2**20:.2f} MiB; on a CPU the process takes some 370 MiB besides"
    )


def _describe(found: FitBatchResult) -> str:
    limit = f"{found.limit_bytes / 2**20:.0f} MiB ({found.limit})" if found.limit_bytes else "nothing known"
    if found.batch is None:
        return f"not even one image fits; the limit is {limit}"
    more = ", and no more were tried" if found.is_most else ""
    lines = [f"largest batch of a rank that fits: {found.batch}{more}; the limit is {limit}"]
    if found.fastest is not None and found.fastest < found.batch:
        lines.append(f"already {found.fastest} has as many images a second, to a twentieth")
    if found.batch == found.configured:
        return "\n".join(lines)
    lines.append(f"DataLoader.Train.sampler.batch_size: {found.batch}, was {found.configured}")
    if found.rate is not None:
        lines.append(
            f"Optimizer.lr.learning_rate: {found.rate.scaled:g}, was {found.rate.now:g}; with the batch by "
            f"the {found.rate.rule} rule"
        )
    return "\n".join(lines)
