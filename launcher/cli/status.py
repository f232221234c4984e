"""`ftlaunch status`."""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from launcher.backends.states import JobStatus, PodStatus
from launcher.cli.options import echo_document, job_argument, output_option, plain_option
from launcher.cli.printing import can_show, echo, print_note
from launcher.cli.studies import as_study, watch_study
from launcher.cli.summary import describe_places, describe_score, format_next, next_commands, score_to_json
from launcher.cli.table import paint_state, wrap
from launcher.documents import format_time, make_document
from launcher.errors import CliExit
from launcher.jobs import lifecycle
from launcher.jobs.gpu_hours import note_gpu_time
from launcher.jobs.lifecycle import eta_s
from launcher.jobs.outcome import Outcome, ended_early, note_outcome
from launcher.jobs.resolve import ResolvedJob, find_job
from launcher.jobs.wait import watch
from launcher.times import format_duration
from trainer.protocol.evaluated import describe_evaluated, describe_failure
from trainer.protocol.progress import Progress

if TYPE_CHECKING:  # only jobs of a queue need it
    from launcher.backends.gpu_time import GpuTime
    from launcher.why.forecast import Estimate

MANY, FEW = 32, 10
"""Of more pods or ranks than fit on a screen so many rows are shown."""
_BAR = 40
SILENT_S = 10.0  # what a rank may take for a step before that is worth a word


@click.command("status")
@job_argument
@output_option("wide", "json", "yaml", "name")
@click.option(
    "--watch",
    "-w",
    "watching",
    is_flag=True,
    help="Show it as it changes, until the job has ended.",
)
@plain_option
def command(job: str | None, output: str, watching: bool, plain: bool) -> int | None:
    """Show a job's state, nodes, progress and, at its end, its last checkpoint; or a study's trials."""
    if (study := as_study(job)) is not None:
        if watching and output == "text":
            return watch_study(study, plain=plain)
        from launcher.cli.sweep import show_study

        show_study(study, output=output)
        return None
    found = find_job(job)
    if watching and output == "text" and not plain and can_show():
        from launcher.cli.live import follow_live

        code = follow_live(found)
        return code if code == CliExit.INTERRUPTED else CliExit.OK
    statuses = watch(found, notes=print_note) if watching else (lifecycle.status(found),)
    sha256 = found.record.code_sha256
    for number, status in enumerate(statuses):
        start = None if output == "name" else lifecycle.estimate_start(found, status)
        held = None if output == "name" else note_gpu_time(found, status)
        outcome = None if output == "name" else note_outcome(found, status)
        rest = [] if outcome is None else _rest(found, status, outcome)
        show(
            status, output=output, again=number > 0, start=start, held=held, code=sha256, outcome=outcome,
            rest=rest,
        )  # fmt: skip
    return None


def show(
    status: JobStatus, *, output: str, again: bool, start: Estimate | None = None,
    held: GpuTime | None = None, code: str | None = None, outcome: Outcome | None = None,
    rest: Sequence[str] = (),
) -> None:  # fmt: skip
    """Print a status, when a job of a queue starts, and GPU-hours; on a terminal over the one before.

    `code` is the hash of the user's own, or None; `outcome` says how good the job is; `rest` are lines that
    follow.
    """
    if output in ("json", "yaml"):
        document = to_json(status, start=start, held=held, code=code)
        best = score_to_json(outcome.score) if outcome is not None else None
        echo_document({**document, "best": best}, output)
        return
    if output == "name":
        echo(status.handle.job)
        return
    if again and sys.stdout.isatty():
        click.clear()
    is_wide = output == "wide"
    echo(
        describe(status, whole=is_wide, paint_state=paint_state, start=start)
        + (f"\n  {describe_held(held)}" if held is not None and held.gpu_s else "")
        + (f"\n  run {status.run_id}" if is_wide else "")
        + (f"\n  code SHA-256 {code}" if is_wide and code else "")
        + "".join(f"\n{line}" for line in rest)
    )


def _rest(job: ResolvedJob, status: JobStatus, outcome: Outcome) -> list[str]:
    """Write what the status itself does not know: another best metric than top1, and of a job that ended what
    there is of it.
    """
    is_told = status.progress is not None and status.progress.evaluated is not None
    lines = [] if is_told or outcome.score is None else [f"  {describe_score(outcome.score)}"]
    if status.state.is_terminal:
        lines += [line for line in describe_places(job, status, outcome) if "checkpoint: " not in line]
        lines += format_next(next_commands(job, status, outcome), start="  next: ")
    return lines


def describe(
    status: JobStatus, *, whole: bool = False, paint_state: Callable[[str], str] = str,
    start: Estimate | None = None,
) -> str:  # fmt: skip
    """Write a status for people; every pod and rank of a large job only with `whole`."""
    lines = [
        f"{status.handle}  {paint_state(status.state.value)}"
        + (f"  {status.reason}" if status.reason else "")
    ]
    if start is not None:
        lines += describe_start(start)
    if status.progress is not None:
        left, is_early = eta_s(status), ended_early(status)
        lines += [] if is_early else progress_bar(status.progress)
        lines.append(
            describe_progress(status.progress, is_early=is_early)
            + (f", about {format_duration(left)} left" if left else "")
        )
        lines += evaluation_rows(status.progress, ended=status.state.is_terminal)
    if status.progress is not None and not status.state.is_terminal:
        lines += time_rows(status.progress)
    lines += rank_rows(status.progress, most=None if whole else MANY)
    lines += pod_rows(status.pods, most=None if whole else MANY)
    end = status.termination
    if end is not None and end.checkpoint:
        lines.append(f"  last checkpoint: {end.checkpoint}")
    return "\n".join(lines)


def describe_start(start: Estimate) -> list[str]:
    """Write when a job of a queue starts, and what that rests on."""
    from launcher.why.queue_model import describe_estimate

    return wrap(describe_estimate(start), start="  when: ")


def describe_held(held: GpuTime) -> str:
    """Write for how long a run has held GPUs."""
    return f"{held.gpu_hours:.2f} GPU-hours" + (f" ({held.estimate})" if held.estimate else "")


def start_to_json(start: Estimate | None) -> dict[str, object] | None:
    """Write when a job of a queue starts for programs. Keys are only ever added."""
    if start is None:
        return None
    from launcher.why.queue_model import describe_estimate

    freed = [
        {"job": item.name, "in_s": round(item.in_s), "amounts": dict(item.amounts)} for item in start.freed
    ]
    return {
        "in_s": _whole(start.in_s), "early_s": _whole(start.early_s), "late_s": _whole(start.late_s),
        "place": start.place or None, "of": start.of or None, "text": describe_estimate(start),
        "reason": start.reason or None, "freed": freed, "unknown": list(start.unknown),
    }  # fmt: skip


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)


def progress_bar(progress: Progress) -> list[str]:
    """Draw how much of the run is done, in ASCII; nothing where its length is not known."""
    if not progress.total_steps or progress.step is None:
        return []
    done = min(_BAR, _BAR * progress.step // progress.total_steps)
    return [f"  [{'#' * done}{'.' * (_BAR - done)}]"]


def describe_progress(progress: Progress, *, is_early: bool = False) -> str:
    """Write the state of all ranks on one line; of a run that was to end before its last step, `is_early`."""
    if not progress.ranks:
        return "  no rank has reported yet"
    slowest = min(progress.ranks, key=lambda rank: rank.step)
    share = f" ({slowest.step / progress.total_steps:.0%})" if progress.total_steps else ""
    total = f" of {progress.total_steps}{share}" if progress.total_steps else ""
    if is_early:
        total = f", the last one (at most {progress.total_steps} were planned)"
    parts = [f"epoch {slowest.epoch + 1}", f"step {slowest.step}{total}", slowest.phase]
    if slowest.loss is not None:
        parts.append(f"loss {slowest.loss:.4g}")
    rates = [rank.images_per_s for rank in progress.ranks if rank.images_per_s is not None]
    if rates:
        parts.append(f"{sum(rates):.0f} images/s")
    if progress.fewer_nodes:
        parts.append(progress.fewer_nodes)
    if len(progress.ranks) < progress.world_size:
        parts.append(f"{len(progress.ranks)} of {progress.world_size} ranks have reported")
    return "  " + ", ".join(parts)


def evaluation_rows(progress: Progress, *, ended: bool) -> list[str]:
    """Write the last evaluation, and of a run that has ended whether it shows that anything was learned."""
    if progress.evaluated is None:
        return []
    failure = describe_failure(progress.evaluated) if ended else None
    return [f"  {describe_evaluated(progress.evaluated)}", *([f"  {failure}"] if failure else [])]


def time_rows(progress: Progress) -> list[str]:
    """Write what the steps wait for, where that is worth a word."""
    slow, waiting = progress.slow_rank, progress.waiting
    found = [*([slow[1]] if slow is not None else []), *([waiting] if waiting is not None else [])]
    return [f"  {one.sentence}" + (f"; {one.fix}" if one.fix else "") for one in found]


def rank_rows(progress: Progress | None, *, most: int | None = None) -> list[str]:
    """Write each rank's own numbers as a table; nothing where there is only one rank.

    Of more than `most` ranks only those that are furthest behind.
    """
    if progress is None or len(progress.ranks) < 2:
        return []
    ranks = sorted(progress.ranks, key=lambda rank: rank.rank)
    lines = []
    if most is not None and len(ranks) > most:
        ranks = sorted(ranks, key=lambda rank: (-(rank.silent_s // SILENT_S), rank.step))[:FEW]
        lines.append(f"  {len(progress.ranks)} ranks; furthest behind (all: --output wide):")
    lines.append(f"  {'rank':>4} {'node':>4} {'step':>8} {'loss':>10} {'images/s':>9}  doing")
    for rank in ranks:
        loss = "-" if rank.loss is None else f"{rank.loss:.4g}"
        rate = "-" if rank.images_per_s is None else f"{rank.images_per_s:.0f}"
        silent = f", silent for {rank.silent_s:.0f} s" if rank.silent_s >= SILENT_S else ""
        lines.append(
            f"  {rank.rank:>4} {rank.node:>4} {rank.step:>8} {loss:>10} {rate:>9}  {rank.phase}{silent}"
        )
    return lines


def pod_rows(pods: Sequence[PodStatus], *, most: int | None = None) -> list[str]:
    """Write a row a pod; of more than `most` how many are in each state, and the rows that tell something."""
    if most is None or len(pods) <= most:
        return [_pod_row(pod) for pod in pods]
    counts = Counter(pod.state.value for pod in pods)
    usual = counts.most_common(1)[0][0]
    told = [pod for pod in pods if pod.state.value != usual or pod.restarts or pod.exit_code or pod.reason]
    lines = [f"  {len(pods)} pods: " + ", ".join(f"{count} {state}" for state, count in counts.most_common())]
    lines += [_pod_row(pod) for pod in told[:FEW]]
    if len(told) > FEW:
        lines.append(f"  and {len(told) - FEW} more such pods")
    return [*lines, "  all of them: --output wide"]


def _pod_row(pod: PodStatus) -> str:
    return (
        f"  {pod.pod}  {pod.state.value}"
        + (f"  on {pod.host}" if pod.host else "")
        + (f"  restarts {pod.restarts}" if pod.restarts else "")
        + (f"  exit {pod.exit_code}" if pod.exit_code is not None else "")
        + (f"  {pod.reason}" if pod.reason else "")
    )


def to_json(
    status: JobStatus, *, start: Estimate | None = None, held: GpuTime | None = None, code: str | None = None
) -> dict[str, object]:
    """Write a status for programs. Keys are only ever added."""
    progress, end = status.progress, status.termination
    return make_document(
        "status",
        handle=str(status.handle),
        job=status.handle.job,
        run_id=status.run_id,
        code_sha256=code,
        state=status.state.value,
        reason=status.reason,
        created=format_time(status.created_s),
        ended=format_time(status.ended_s),
        exit=end.exit if end is not None else None,
        checkpoint=end.checkpoint if end is not None else None,
        step=progress.step if progress else None,
        total_steps=(progress.total_steps or None) if progress else None,
        eta_s=eta_s(status),
        start=start_to_json(start),
        gpu_hours=round(held.gpu_hours, 4) if held is not None else None,
        gpu_hours_estimate=(held.estimate or None) if held is not None else None,
        absent_nodes=list(progress.absent or ()) if progress else [],
        evaluated=dataclasses.asdict(progress.evaluated) if progress and progress.evaluated else None,
        pods=[
            {
                "pod": pod.pod, "node": pod.node, "state": pod.state.value, "restarts": pod.restarts,
                "exit": pod.exit_code, "reason": pod.reason, "host": pod.host,
            }
            for pod in status.pods
        ],
        ranks=[
            {
                "rank": rank.rank, "node": rank.node, "step": rank.step, "epoch": rank.epoch + 1,
                "phase": rank.phase, "loss": rank.loss, "images_per_s": rank.images_per_s,
                "silent_s": rank.silent_s,
                "times": dataclasses.asdict(rank.times) if rank.times is not None else None,
            }
            for rank in (progress.ranks if progress else ())
        ],
    )  # fmt: skip
