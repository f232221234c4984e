"""The picture of a running job, as the lines of a screen. Pure: what it shows is handed in."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.backends.states import JobState, JobStatus, PodState
from launcher.cli.graph import sparkline
from launcher.cli.status import describe_progress, rank_rows, time_rows
from launcher.cli.table import cut, paint_state, shorten, width_of, wrap
from launcher.jobs.lifecycle import eta_s
from launcher.jobs.training_log import EpochValues, TrainingLog
from launcher.times import format_duration
from trainer.protocol.printable import paint, printable

_SPARK = 16
_FEWEST_LOG_LINES = 3
_MOST_RANKS, _MOST_PODS = 4, 3
_HELP = "Ctrl-C leaves this view; the job goes on"
_WIDE = 100
"""Columns up to which sentences are written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Picture:
    """What there is to show.

    Attributes:
        status: Of the job.
        log: What was read of its log.
        note: Said beside the log; empty for nothing.
        start: Sentences about when a job of a queue starts.
        now_s: Unix time.
    """

    status: JobStatus
    log: TrainingLog
    note: str = ""
    start: tuple[str, ...] = ()
    now_s: float


def compose(picture: Picture, *, columns: int, rows: int, blocks: bool = True) -> list[str]:
    """Return at most `rows` lines of at most `columns` columns, coloured by `paint`.

    Args:
        picture: What to show.
        columns: Of the screen, from 20.
        rows: Of the screen, from 6.
        blocks: Block elements can be written.
    """
    room = min(columns, _WIDE)
    head = [_title(picture, columns)]
    head += _progress(picture, room, blocks=blocks)
    head += _trouble(picture, room)
    free = rows - len(head) - 3  # a blank line before each of both parts, and the last line
    table = _epochs(picture.log, columns=columns, rows=free - _FEWEST_LOG_LINES)
    lines = [*head, *(["", *table] if table else [])]
    left = rows - len(lines) - 2
    if left > 0 and picture.log.lines:
        lines += [
            "",
            *(paint(cut(printable(line), columns=columns), "faint") for line in _last(picture.log, left)),
        ]
    lines = [shorten(line, columns=columns) for line in lines[: rows - 1]]
    lines += [""] * (rows - 1 - len(lines))
    return [*lines, paint(cut(_HELP, columns=columns), "faint")]


def describe_size(status: JobStatus) -> str:
    """Write `2 nodes × 4 ranks`; of a job without progress its nodes alone."""
    nodes, progress = len(status.pods), status.progress
    text = f"{nodes} node{'s' * (nodes != 1)}" if nodes else ""
    if progress is None or not nodes:
        return text
    each = progress.world_size // nodes
    return f"{text} × {each} rank{'s' * (each != 1)}"


def bar(share: float, *, columns: int) -> str:
    """Draw a share of 1 in the form of all bars of ours."""
    cells = max(1, columns - 2)
    full = min(cells, int(cells * share))
    return f"[{'#' * full}{'-' * (cells - full)}]"


def epoch_table(log: TrainingLog, *, columns: int, rows: int) -> list[str]:
    """Write the epochs as a table: loss, metric of the training, of the evaluation; the best one is marked.

    Of more epochs than fit, the last ones are shown, and the best.
    """
    names = _names(log)
    header = ["EPOCH", *(title for title, _, _ in names)]
    known = [number for number, values in log.epochs.items() if values.train or values.evaluated]
    shown = known[-max(1, rows - 1) :]
    if log.best_epoch in known and log.best_epoch not in shown:
        shown = [log.best_epoch, *shown[1:]] if len(shown) > 1 else shown
    body = [
        [str(number), *(_cell(log.epochs[number], part, name) for _, part, name in names)] for number in shown
    ]
    widths = [max(len(row[index]) for row in [header, *body]) for index in range(len(header))]
    lines = [_row(header, widths)]
    for number, cells in zip(shown, body, strict=True):
        line = _row(cells, widths)
        lines.append(paint(f"{line}  best", "good") if number == log.best_epoch else line)
    return [shorten(line, columns=columns) for line in lines]


def _names(log: TrainingLog) -> list[tuple[str, str, str]]:
    """Return title, part and name of each column that has values."""
    metric = log.metric
    wanted = [("TRAIN LOSS", "train", "loss"), ("EVAL LOSS", "evaluated", "loss")]
    if metric is not None:
        wanted += [
            (f"TRAIN {metric.upper()}", "train", metric),
            (f"EVAL {metric.upper()}", "evaluated", metric),
        ]
    return [(title[:24], part, name) for title, part, name in wanted if log.curve(name, of=part)]


def _cell(values: EpochValues, part: str, name: str) -> str:
    value = (values.train if part == "train" else values.evaluated).get(name)
    return "" if value is None else f"{value:.4g}"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))


def _epochs(log: TrainingLog, *, columns: int, rows: int) -> list[str]:
    return epoch_table(log, columns=columns, rows=rows) if log.epochs and rows >= 2 else []


def _last(log: TrainingLog, count: int) -> list[str]:
    return list(log.lines)[-count:]


def _title(picture: Picture, columns: int) -> str:
    status = picture.status
    began = [pod.started_s for pod in status.pods if pod.started_s is not None]
    since = format_duration(
        max(0.0, (status.ended_s or picture.now_s) - min(began, default=status.created_s))
    )
    attempt = status.progress.attempt if status.progress is not None else 1
    again = f"attempt {attempt}" if attempt > 1 else ""
    rest = "  ".join(filter(None, [describe_size(status), again, since]))
    state = status.state.value
    name = cut(status.handle.job, columns=max(1, columns - width_of(f"  {state}  {rest}")))
    return f"{paint(name, 'strong')}  {paint_state(state)}  {rest}"


def _progress(picture: Picture, room: int, *, blocks: bool) -> list[str]:
    progress, log = picture.status.progress, picture.log
    if progress is None or progress.step is None:
        if not log.total_epochs:
            return []
        share = min(1.0, log.position / log.total_epochs)
        head = f"epoch {min(int(log.position) + 1, log.total_epochs)}/{log.total_epochs} "
        return [
            head + bar(share, columns=max(12, room - len(head) - 5)) + f" {share:4.0%}",
            *_sparks(log, room, blocks),
        ]
    lines = []
    if progress.total_steps:
        share, left = progress.step / progress.total_steps, eta_s(picture.status)
        tail = f" {share:4.0%}" + (f", about {format_duration(left)} left" if left else "")
        epochs = f"/{log.total_epochs}" if log.total_epochs else ""
        epoch = f"epoch {progress.ranks[0].epoch + 1}{epochs} " if progress.ranks else ""
        lines.append(epoch + bar(share, columns=max(12, room - len(epoch) - len(tail))) + tail)
    lines.append(cut(describe_progress(progress).strip(), columns=room))
    lines += _sparks(log, room, blocks)
    if progress.evaluated is not None:
        from trainer.protocol.evaluated import describe_evaluated

        lines.append(cut(describe_evaluated(progress.evaluated), columns=room))
    return lines


def _sparks(log: TrainingLog, room: int, blocks: bool) -> list[str]:
    sparks = [
        f"{title} {sparkline(values, columns=_SPARK, blocks=blocks)} {values[-1]:.4g}"
        for title, values in _curves(log)
        if len(values) > 1
    ]
    return [cut("   ".join(sparks), columns=room)] if sparks else []


def _curves(log: TrainingLog) -> list[tuple[str, list[float]]]:
    curves = [("loss", list(log.losses))]
    if log.metric is not None:
        curves.append((log.metric, log.curve(log.metric, of="evaluated")))
    return curves


def _trouble(picture: Picture, room: int) -> list[str]:
    """Write what keeps the job from going on, or slows it down."""
    status, lines = picture.status, []
    for text in filter(None, [status.reason, *picture.start]):
        lines += wrap(printable(text), columns=room)[:3]
    if status.progress is not None and status.state is JobState.RUNNING:
        for text in time_rows(status.progress):
            lines += [paint(line, "warn") for line in wrap(text.strip(), columns=room)[:3]]
        lines += [cut(row, columns=room) for row in rank_rows(status.progress, most=_MOST_RANKS)]
    else:
        if picture.note and not picture.log.lines:
            lines += wrap(printable(picture.note), columns=room)[:2]
        waiting = [pod for pod in status.pods if pod.state is not PodState.RUNNING]
        lines += [
            cut(printable(f"{pod.pod}  {pod.state.value}  {pod.reason}".rstrip()), columns=room)
            for pod in waiting[:_MOST_PODS]
        ]
    return lines


def now_picture(
    status: JobStatus, log: TrainingLog, *, note: str = "", start: tuple[str, ...] = ()
) -> Picture:
    """Make the picture of this moment."""
    return Picture(status=status, log=log, note=note, start=start, now_s=time.time())
