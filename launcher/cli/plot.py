"""`ftlaunch plot`."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import click

from launcher.cli.graph import Curve, mark_of, plot, takes_blocks
from launcher.cli.options import complete_job, echo_document, output_option
from launcher.cli.printing import echo
from launcher.cli.studies import as_study, jobs_to_plot, plot_trials
from launcher.documents import make_document
from launcher.errors import UsageError
from launcher.jobs.curves import Panel, Plot, plot_jobs, thin, title_of
from launcher.jobs.resolve import find_job
from trainer.protocol.printable import paint, printable, wants_colour
from trainer.protocol.safe_files import replace_file

_MOST_COLUMNS, _FEWEST_COLUMNS = 100, 40
_ROWS, _FEWEST_ROWS = 14, 7


@click.command("plot")
@click.argument("jobs", nargs=-1, metavar="[JOB]...", shell_complete=complete_job)
@click.option(
    "--metric", "-m", "metrics", multiple=True, metavar="NAME",
    help="What to draw, such as loss, lr, or eval.top1; may be repeated. By default loss and best metric.",
)  # fmt: skip
@click.option("--svg", type=click.Path(path_type=Path), metavar="FILE", help="Write a picture instead.")
@output_option("json", "yaml")
def command(*, jobs: tuple[str, ...], metrics: tuple[str, ...], svg: Path | None, output: str) -> None:
    """Draw what jobs have measured, step by step, over one another; of a study its metric by epochs."""
    drawn = _read(jobs, metrics, whole=output != "text")
    if svg is not None:
        try:
            replace_file(svg, drawn.svg().encode())
        except OSError as error:
            raise UsageError(
                where=f"--svg {svg}", expected="a file that can be written", got=error.strerror
            ) from error
        echo(f"written: {svg}", err=True)
        if output == "text":
            return
    if output != "text":
        echo_document(to_json(drawn), output)
        return
    size = shutil.get_terminal_size(fallback=(80, 2 * (_ROWS + 6)))
    columns = min(_MOST_COLUMNS, max(_FEWEST_COLUMNS, size.columns))
    rows = fit_rows(drawn, lines=size.lines)
    echo("\n\n".join("\n".join(draw(panel, columns=columns, rows=rows)) for panel in drawn.panels))


def fit_rows(drawn: Plot, *, lines: int) -> int:
    """Return the rows of each panel's picture, so that all panels are seen at once where that can be.

    Args:
        drawn: Whose panels stand below one another, each with a head, a legend and an empty line.
        lines: Of the terminal, of which the prompt takes one.
    """
    beside = sum(2 + len(panel.curves) for panel in drawn.panels)
    return max(_FEWEST_ROWS, min(_ROWS, (lines - 1 - beside) // max(1, len(drawn.panels))))


def _read(names: tuple[str, ...], metrics: tuple[str, ...], *, whole: bool) -> Plot:
    """Read what is drawn; for the name of a study its trials, those alone that are drawn unless `whole`."""
    if len(names) == 1 and not metrics and (study := as_study(names[0])) is not None:
        return plot_trials(study, whole=whole)
    found = [find_job(job) for name in names or (None,) for job in jobs_to_plot(name)]
    return plot_jobs(list({str(job.handle): job for job in found}.values()), metrics)


def draw(panel: Panel, *, columns: int, rows: int = _ROWS) -> list[str]:
    """Draw a panel with its legend."""
    blocks, colour = takes_blocks(sys.stdout), wants_colour(sys.stdout)
    alone = len(panel.curves) == 1
    curves = [Curve(name=title_of(curve, panel), points=tuple(thin(curve.points))) for curve in panel.curves]
    legend = [
        f"  {mark_of(index, blocks=blocks, colour=colour, alone=alone)} {printable(curve.name)}: "
        f"{measured.points[-1][1]:.4g} at {panel.along} {measured.points[-1][0]}"
        + (f"; restarted at step {', '.join(map(str, measured.restarts[-3:]))}" if measured.restarts else "")
        for index, (curve, measured) in enumerate(zip(curves, panel.curves, strict=True))
    ]
    head = paint(printable(panel.metric), "strong")
    return [head, *plot(curves, columns=columns, rows=rows, blocks=blocks, colour=colour), *legend]


def to_json(drawn: Plot) -> dict[str, object]:
    """Write what was measured for programs. Keys are only ever added."""
    panels = [
        {
            "metric": panel.metric,
            "along": panel.along,
            "curves": [
                {
                    "job": curve.job, "part": curve.part, "points": [list(point) for point in curve.points],
                    "restarts": list(curve.restarts),
                }
                for curve in panel.curves
            ],
        }
        for panel in drawn.panels
    ]  # fmt: skip
    return make_document("plot", panels=panels)
