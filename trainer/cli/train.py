"""`trainer train`."""

from __future__ import annotations

import secrets
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.cli.bars import progress
from trainer.cli.endings import Ending, end_with, require_packages
from trainer.cli.options import config_options, load, make_store, weights_options
from trainer.cli.printing import echo
from trainer.protocol.jobnames import job_name, to_dns_label
from trainer.protocol.lastrun import point_latest
from trainer.ranks import read_ranks

if TYPE_CHECKING:  # pydantic: `--help` does without
    from trainer.config.document import Document
    from trainer.config.mounts import MountsHere


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
        here: list[MountsHere] = []
        loaded = load(
            path,
            overrides,
            strict=strict,
            extra_modules=extra_modules,
            path_map=ranks.path_map,
            quiet=not ranks.is_first,
            new_run=None if resume == "latest" else _name_run,
            here=here,
        )
        from trainer.engine.run import TrainingProgress, run_training

        reached = TrainingProgress()
        try:
            with progress(wanted=ranks.is_first) as bar:
                run_training(
                    loaded.config, ranks, resume=resume, overwrite=overwrite, reached=reached,
                    weights=make_store(weights_dir, offline=offline),
                    claimed=lambda: _link_latest(here), progress=bar,
                )  # fmt: skip
        finally:
            ending.step, ending.checkpoint = reached.step, reached.checkpoint

    sys.exit(end_with(work, ending))


def _name_run(document: Document) -> str:
    """Name a run that no job has named, as jobs are named."""
    launch = document.values.get("Launch")
    named = launch.get("name") if isinstance(launch, dict) else None
    prefix = named if isinstance(named, str) else Path(document.name).stem
    return job_name(to_dns_label(prefix), run_id=secrets.token_hex(16))


def _link_latest(here: list[MountsHere]) -> None:
    """Have `latest` lead to the folder of this run, where each run has its own."""
    for found in here:
        if found.run_folder is not None and (problem := point_latest(found.run_folder, found.sub_path)):
            echo(f"note: {problem}", err=True)
