"""`trainer train`."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from trainer.cli.bars import progress
from trainer.cli.endings import Ending, end_with, require_packages
from trainer.cli.options import config_options, weights_options
from trainer.cli.printing import print_log, warn
from trainer.ranks import read_ranks


@click.command("train")
@config_options
@weights_options
@click.option(
    "--resume", default="auto", show_default=True, metavar="auto|latest|never|PATH",
    help="Go on from: this job's own checkpoint (auto), whatever run the output folder holds (latest), "
    "or a PaddleClas checkpoint (its path without .pdparams).",
)  # fmt: skip
@click.option("--overwrite", is_flag=True, help="Take an output folder that another run filled.")
def command(
    *, path: Path, overrides: tuple[str, ...], extra_modules: tuple[str, ...], strict: bool,
    resume: str, overwrite: bool, weights_dir: Path | None, offline: bool,
) -> None:  # fmt: skip
    """Train, evaluate and save checkpoints as the config says."""
    ending = Ending()

    def work() -> None:
        ranks = read_ranks()
        ending.outcome = ranks.outcome
        require_packages()
        from trainer.api import train
        from trainer.engine.run import TrainingProgress
        from trainer.engine.signals import StopSignal

        reached = TrainingProgress()
        try:
            with progress(wanted=ranks.is_first) as bar:
                train(
                    path, set=overrides, resume=resume, overwrite=overwrite, strict=strict,
                    extra_modules=extra_modules, weights_dir=weights_dir, offline=offline,
                    say=print_log, warn=warn, progress=bar, stop=StopSignal(second_kills=True),
                    reached=reached,
                )  # fmt: skip
        finally:
            ending.step, ending.checkpoint = reached.step, reached.checkpoint
            ending.reason = reached.early_end or ending.reason

    sys.exit(end_with(work, ending))
