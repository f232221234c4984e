"""`ftlaunch why`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from launcher.cli.options import echo_document, job_argument, output_option
from launcher.cli.printing import echo, print_note
from launcher.cli.status import describe_start, start_to_json
from launcher.cli.studies import as_study, why_study
from launcher.cli.table import break_advice, paint_state, wrap
from launcher.documents import make_document
from launcher.jobs.lifecycle import explain, watch_reasons
from launcher.jobs.resolve import find_job
from trainer.protocol.printable import paint

if TYPE_CHECKING:
    from launcher.why.explanation import Explanation
    from launcher.why.verdict import Resolves, Verdict

_FIX = "  fix: "
_PROSPECTS = {
    "itself": "",
    "later": "goes on by itself once that has passed",
    "by-change": "stays so until somebody acts",
}


@click.command("why")
@job_argument
@click.option(
    "--watch",
    "-w",
    "watching",
    is_flag=True,
    help="Show it again whenever it changes, until the job has ended.",
)
@output_option("json", "yaml")
def command(job: str | None, watching: bool, output: str) -> None:
    """Explain why a job is in its state: one sentence, the evidence, and what fixes it."""
    if (study := as_study(job)) is not None:
        why_study(study, output=output)
        return
    found = find_job(job)
    if not watching:
        show(explain(found), output=output, again=False)
        return
    for number, explanation in enumerate(watch_reasons(found, notes=print_note)):
        show(explanation, output=output, again=number > 0)


def show(explanation: Explanation, *, output: str, again: bool) -> None:
    """Print an explanation; on a terminal over the one before."""
    if output in ("json", "yaml"):
        echo_document(to_json(explanation), output)
        return
    if again and sys.stdout.isatty():
        click.clear()
    echo(describe(explanation))


def describe(explanation: Explanation) -> str:
    """Write an explanation for people: the first verdict in full, the others on a line each."""
    status = explanation.status
    first, *others = explanation.verdicts
    lines = [f"{status.handle}  {paint_state(status.state)}", *describe_verdict(first)]
    for other in others:
        lines += wrap(f"{other.sentence} [{other.code}]", start="  also: ")
    if explanation.start is not None:
        lines += describe_start(explanation.start)
    for skipped in explanation.skipped:
        lines += wrap(str(skipped), start="  not looked at: ")
    return "\n".join(lines)


def describe_verdict(verdict: Verdict) -> list[str]:
    """Write a verdict in full."""
    prospect = verdict.prospect or _prospect(verdict.resolves)
    lines = wrap(f"{verdict.sentence} [{verdict.code}]")
    lines += wrap(prospect, start="  ") if prospect else []
    for line in verdict.evidence:
        lines += wrap(line, start="  because: ")
    if verdict.fix:
        first, *rest = break_advice(verdict.fix, start=" " * len(_FIX))
        lines += [f"{_FIX}{paint(first.lstrip(), 'strong')}", *(paint(line, "strong") for line in rest)]
    return lines


def to_json(explanation: Explanation) -> dict[str, object]:
    """Write an explanation for programs. Keys are only ever added."""
    status = explanation.status
    verdicts = [_verdict_to_json(verdict) for verdict in explanation.verdicts]
    return make_document(
        "why",
        handle=str(status.handle),
        job=status.handle.job,
        run_id=status.run_id,
        state=status.state.value,
        **verdicts[0],
        also=verdicts[1:],
        skipped=[{"what": item.what, "reason": item.reason} for item in explanation.skipped],
        start=start_to_json(explanation.start),
    )


def _verdict_to_json(verdict: Verdict) -> dict[str, object]:
    return {
        "code": verdict.code, "sentence": verdict.sentence, "evidence": list(verdict.evidence),
        "fix": verdict.fix, "resolves": verdict.resolves.value,
    }  # fmt: skip


def _prospect(resolves: Resolves) -> str:
    return _PROSPECTS[resolves.value]
