"""`trainer profile`."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from trainer.cli.bars import progress
from trainer.cli.endings import Ending, end_with, require_packages
from trainer.cli.options import config_options, output_option, weights_options
from trainer.cli.printing import echo, warn
from trainer.progress import Progress

if TYPE_CHECKING:  # paddle: `--help` does without
    from trainer.engine.profiling import Profile

_WIDTH = 30


@click.command("profile")
@config_options
@weights_options
@click.option(
    "--steps", type=click.IntRange(1, 1000), default=20, show_default=True, help="Steps that are measured."
)
@click.option(
    "--trace", type=click.Path(path_type=Path, dir_okay=False), default=Path("trace.json"),
    show_default=True, help="File for chrome://tracing or ui.perfetto.dev.",
)  # fmt: skip
@output_option
def command(
    *, path: Path, overrides: tuple[str, ...], extra_modules: tuple[str, ...], strict: bool,
    weights_dir: Path | None, offline: bool, steps: int, trace: Path, output: str,
) -> None:  # fmt: skip
    """Train some steps on this machine, and say where their time goes.

    It begins with the weights that training would begin with, and writes nothing but the trace.
    """

    def work() -> None:
        require_packages()
        from trainer.preparation import profile_steps

        with progress() as bar:
            found = profile_steps(
                path, set=overrides, steps=steps, trace=trace, weights_dir=weights_dir, offline=offline,
                strict=strict, extra_modules=extra_modules, say=lambda text: _say(bar, text), warn=warn,
                progress=bar,
            )  # fmt: skip
        if output == "json":
            echo(json.dumps({**asdict(found), "trace": str(found.trace)}))
            return
        echo(_describe(found))

    sys.exit(end_with(work, Ending()))


def _say(bar: Progress, text: str) -> None:
    bar.clear()
    echo(text, err=True)


def _describe(found: Profile) -> str:
    rate = found.batch / found.step_s
    lines = [f"a step of {found.batch} images: {1e3 * found.step_s:.1f} ms, {rate:.0f} images a second"]
    for name, seconds in found.parts.items():
        share = seconds / found.step_s
        bar = "█" * round(_WIDTH * min(1.0, share))
        lines.append(f"  {name:<16}{1e3 * seconds:9.2f} ms {share:6.1%}  {bar}".rstrip())
    lines.append("operators, with what they call:")
    longest = max((len(of.name) for of in found.operators), default=0)
    lines += [
        f"  {of.name:<{longest}}{1e3 * of.seconds:9.2f} ms {of.calls:8.1f} calls a step"
        for of in found.operators
    ]
    if found.verdict:
        lines.append(found.verdict)
    lines.append(f"wrote {found.trace}: open it in chrome://tracing or ui.perfetto.dev")
    return "\n".join(lines)
