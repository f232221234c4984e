"""The parts of a run's page, drawn from what a watch knows, or from what was noted where nobody looks."""

from __future__ import annotations

import datetime
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from launcher.backends.states import JobEvent, JobState, JobStatus
from launcher.jobs.configuration import Configuration
from launcher.jobs.curves import Panel
from launcher.jobs.lifecycle import eta_s
from launcher.jobs.metrics import Score
from launcher.jobs.outcome import Outcome, describe_outcome, ended_early, read_outcome
from launcher.jobs.resolve import ResolvedJob
from launcher.jobs.row_text import describe_moment
from launcher.jobs.training_log import EpochValues
from launcher.times import format_duration
from launcher.ui.charts import chart_of
from launcher.ui.pages import draw_part
from launcher.ui.watch import JobWatch
from trainer.protocol.evaluated import describe_failure
from trainer.protocol.progress import Progress, RankProgress

TABS = (
    ("", "Overview"),
    ("logs", "Logs"),
    ("events", "Events"),
    ("config", "Configuration"),
    ("report", "Report"),
)
_MOST_EPOCHS, _MOST_ROWS, _MOST_LINES = 60, 64, 12
MOST_CHARTS = 6
_SILENT_S = 10.0
_FIRST_NAMES = ("loss", "lr", "images_per_s")


@dataclass(frozen=True, kw_only=True, slots=True)
class Links:
    """Where pages are.

    Attributes:
        root: Of the list, with a slash at its end.
        base: Of the run, with a slash at its end.
    """

    root: str
    base: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Card:
    """A number with what it is."""

    value: str
    text: str
    more: str = ""
    tone: str = ""


def draw_head(job: ResolvedJob, watch: JobWatch | None) -> str:
    """Draw name, state, bar and cards."""
    status = watch.status if watch is not None else None
    noted = read_outcome(job.run_folder)
    outcome = noted
    if status is not None:
        outcome = describe_outcome(job.run_folder, status, reads_metrics=False)
    state = watch.absent if watch is not None and watch.absent else ""
    if not state and outcome is not None:
        state = outcome.state if status is not None or JobState(outcome.state).is_terminal else ""
    score = _score(watch, outcome, noted)
    share = None
    if outcome is not None and outcome.step is not None and outcome.total_steps:
        share = min(1.0, outcome.step / outcome.total_steps)
    is_whole = outcome is not None and (outcome.is_early or share == 1.0)
    return draw_part(
        "head", job=job.name, state=state, handle=str(job.handle), config=job.record.config,
        notes=_notes(watch, status), bar=None if share is None or is_whole else round(1000 * share),
        share="" if share is None else f"{share:.0%}",
        cards=list(_cards(job, status, outcome, score)),
    )  # fmt: skip


def draw_actions(job: ResolvedJob, watch: JobWatch | None, links: Links) -> str:
    """Draw what may be done with the run as it stands."""
    status = watch.status if watch is not None else None
    state = status.state if status is not None else None
    return draw_part(
        "actions", base=links.base, root=links.root, job=job.name,
        before=watch.before if watch is not None else "",
        can_cancel=state is not None and (not state.is_terminal or state is JobState.LOST),
        can_resume=state in (JobState.CANCELLED, JobState.SUSPENDED, JobState.LOST),
    )  # fmt: skip


def draw_verdict(watch: JobWatch | None) -> str:
    """Draw why the job stands so."""
    explanation = watch.explanation if watch is not None else None
    verdicts = explanation.verdicts if explanation is not None else ()
    state = explanation.status.state if explanation is not None else None
    tone = "good" if state in (JobState.SUCCEEDED, JobState.RUNNING) else ""
    if state in (JobState.FAILED, JobState.LOST):
        tone = "bad"
    return draw_part(
        "verdict", verdicts=verdicts, first_tone=tone, skipped=explanation.skipped if explanation else ()
    )


def draw_curves(
    job: ResolvedJob, watch: JobWatch | None, names: Sequence[str], links: Links, *, saved: bool
) -> str:
    """Draw the curves of the values that are asked for, or of the usual ones."""
    panels: list[Panel] = []
    known: list[str] = []
    if watch is not None:
        with watch.rows_lock:
            known, metric = watch.measured.names, watch.measured.metric
            wanted = list(names) or ["loss", *([metric] if metric else []), "lr"]
            panels = [watch.measured.panel(job.name, name) for name in wanted[:MOST_CHARTS]]
    charts = [chart for panel in panels if (chart := chart_of(panel)) is not None]
    shown = {chart.title for chart in charts}
    more = [(name, f"{links.base}?metric={quote(name, safe='')}") for name in known if name not in shown]
    empty = (watch.measured_note if watch is not None else "") or (
        "Nothing was measured yet." if watch is not None else "…"
    )
    return draw_part("curves", charts=charts, more=more, empty=empty, is_saved=saved)


def draw_epochs(watch: JobWatch | None) -> str:
    """Draw losses and metric of each epoch, the best one marked."""
    epochs: Mapping[int, EpochValues] = {}
    metric, best = None, None
    if watch is not None:
        with watch.rows_lock:
            epochs, metric = dict(watch.measured.epochs), watch.measured.metric
            score = watch.measured.score
            best = score.epoch if score is not None else None
        if not epochs:
            with watch.tail.lock:
                log = watch.tail.log
                epochs, metric, best = dict(log.epochs), log.metric, log.best_epoch
    columns = [("train loss", "train", "loss"), ("eval loss", "evaluated", "loss")]
    if metric is not None:
        columns += [(f"train {metric}", "train", metric), (f"eval {metric}", "evaluated", metric)]
    columns = [
        (title, part, name) for title, part, name in columns
        if any(name in getattr(values, part) for values in epochs.values())
    ]  # fmt: skip
    rows = [
        {
            "epoch": number, "is_best": number == best,
            "cells": [_number(getattr(values, part).get(name)) for _, part, name in columns],
        }
        for number, values in epochs.items()
        if values.train or values.evaluated
    ]  # fmt: skip
    hidden = max(0, len(rows) - _MOST_EPOCHS)
    kept = [row for row in rows[:hidden] if row["is_best"]] + rows[hidden:]
    return draw_part(
        "epochs", names=[title for title, _, _ in columns], rows=kept, hidden=len(rows) - len(kept)
    )


def draw_ranks(watch: JobWatch | None) -> str:
    """Draw a row a rank and a pod; of many those that are furthest behind."""
    status = watch.status if watch is not None else None
    progress = status.progress if status is not None else None
    ranks = sorted(progress.ranks, key=lambda rank: rank.rank) if progress is not None else []
    hidden = max(0, len(ranks) - _MOST_ROWS)
    if hidden:
        ranks = sorted(ranks, key=lambda rank: (-(rank.silent_s // _SILENT_S), rank.step))[:_MOST_ROWS]
    pods = status.pods if status is not None else ()
    is_running = status is not None and status.state is JobState.RUNNING
    return draw_part(
        "ranks", ranks=[_rank(rank) for rank in ranks], more_ranks=hidden, pods=pods[:_MOST_ROWS],
        more_pods=max(0, len(pods) - _MOST_ROWS), waits=_waits(progress) if is_running else [],
    )  # fmt: skip


def draw_tail(watch: JobWatch | None) -> str:
    """Draw the last lines of node 0's log."""
    if watch is None:
        return ""
    with watch.tail.lock:
        lines, note = list(watch.tail.log.lines)[-_MOST_LINES:], watch.tail.note
    return draw_part("tail", lines=lines, note="" if lines else note)


def draw_events(events: Sequence[JobEvent] | None, note: str) -> str:
    """Draw the events as a table, the newest first."""
    rows = None
    if events is not None:
        now_s = time.time()
        rows = [
            {
                "moment": _moment(event.time_s, now_s), "is_warning": event.is_warning, "about": event.about,
                "reason": event.reason, "message": " ".join(event.message.split()), "count": event.count,
            }
            for event in reversed(events)
        ]  # fmt: skip
    return draw_part("events", events=rows, note=note)


def draw_configuration(found: Configuration) -> str:
    """Draw each value with where it comes from."""
    return draw_part("config", values=[*found.options, *found.values], facts=found.made_of, notes=found.notes)


def _cards(
    job: ResolvedJob, status: JobStatus | None, outcome: Outcome | None, score: Score | None
) -> Sequence[Card]:
    cards: list[Card] = []
    now_s = time.time()
    if outcome is not None and outcome.step is not None:
        total = f"of {outcome.total_steps:,}" if outcome.total_steps else ""
        if outcome.total_steps and not outcome.is_early:
            cards.append(
                Card(value=f"{min(1.0, outcome.step / outcome.total_steps):.0%}", text="done",
                     more=f"step {outcome.step:,} {total}")
            )  # fmt: skip
        else:
            cards.append(
                Card(value=f"{outcome.step:,}", text="steps", more="ended early" if outcome.is_early else "")
            )
    left = eta_s(status) if status is not None else None
    if left:
        cards.append(Card(value=format_duration(left), text="left, about"))
    if outcome is not None and (outcome.ended_s is not None or (status and not status.state.is_terminal)):
        seconds = outcome.ran_s(now_s)
        cards.append(Card(value=format_duration(seconds), text="took" if outcome.ended_s else "so far"))
    progress = status.progress if status is not None else None
    rates = (
        [rank.images_per_s for rank in progress.ranks if rank.images_per_s is not None] if progress else []
    )
    if rates and status is not None and not status.state.is_terminal:
        cards.append(Card(value=f"{sum(rates):,.0f}", text="images a second"))
    if score is not None:
        epoch = f"after epoch {score.epoch}" if score.epoch else ""
        cards.append(
            Card(value=f"{score.value:.4g}", text=f"best {score.metric}", more=epoch, tone=_tone(score))
        )
        if score.largest_class is not None and score.metric == "top1":
            cards.append(
                Card(value=f"{score.largest_class:.3g}", text="by always answering", more="the largest class")
            )
    if status is not None and status.pods:
        nodes, world = len(status.pods), progress.world_size if progress is not None else 0
        ranks = f"{world} rank{'s' * (world != 1)}" if world else ""
        cards.append(Card(value=str(nodes), text=f"node{'s' * (nodes != 1)}", more=ranks))
    cards.append(Card(value=describe_moment(job.record.created_s, now_s), text="sent"))
    return cards


def _tone(score: Score) -> str:
    if score.largest_class is None or score.metric != "top1":
        return ""
    return "good" if score.value > score.largest_class else "bad"


def _score(watch: JobWatch | None, outcome: Outcome | None, noted: Outcome | None) -> Score | None:
    measured = None
    if watch is not None:
        with watch.rows_lock:
            measured = watch.measured.score
    return next(
        (score for score in (measured, outcome and outcome.score, noted and noted.score) if score), None
    )


def _notes(watch: JobWatch | None, status: JobStatus | None) -> list[str]:
    notes = [watch.note, watch.start_note] if watch is not None else []
    if status is not None:
        notes.append("" if ended_early(status) else status.reason)
        evaluated = status.progress.evaluated if status.progress is not None else None
        if status.state.is_terminal and evaluated is not None:
            notes.append(describe_failure(evaluated) or "")
    return [note for note in notes if note]


def _waits(progress: Progress | None) -> list[str]:
    if progress is None:
        return []
    slow, waiting = progress.slow_rank, progress.waiting
    found = [*([slow[1]] if slow is not None else []), *([waiting] if waiting is not None else [])]
    return [one.sentence + (f"; {one.fix}" if one.fix else "") for one in found]


def _rank(rank: RankProgress) -> dict[str, object]:
    return {
        "rank": rank.rank, "node": rank.node, "step": f"{rank.step:,}", "phase": rank.phase,
        "loss": _number(rank.loss), "rate": "" if rank.images_per_s is None else f"{rank.images_per_s:,.0f}",
        "is_silent": rank.silent_s >= _SILENT_S,
        "silent": f"{rank.silent_s:.0f} s" if rank.silent_s >= 1 and rank.phase != "done" else "",
    }  # fmt: skip


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _moment(unix_s: float, now_s: float) -> str:
    then = datetime.datetime.fromtimestamp(unix_s).astimezone()
    is_today = then.date() == datetime.datetime.fromtimestamp(now_s).astimezone().date()
    return then.strftime("%H:%M:%S" if is_today else "%m-%d %H:%M:%S")
