"""Why it failed, or why a container ends again and again: exit codes, last words, last lines. Pure.

The first pod that failed with words of its own decides, as it does for `status`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from launcher.backends.states import JobState, PodState, PodStatus
from launcher.objects import conditions_of
from launcher.why.queries import tail
from launcher.why.rules.log_patterns import (
    DATA_DENIED,
    OF_EXIT,
    OF_FOREIGN_EXIT,
    UNKNOWN,
    Failure,
    find_failure,
    find_most_telling,
)
from launcher.why.snapshot import Snapshot
from launcher.why.verdict import Resolves, Verdict, evidence
from trainer.protocol.exits import Exit, describe_exit

_ATTEMPT = re.compile(r"\[a(\d+) ")
_LINES = 200
"""Of a log's end, in which words are looked for."""
_SAYS_ALL = (
    Exit.CONFIG, Exit.DATA, Exit.DIVERGED, Exit.RENDEZVOUS, Exit.DEADLINE, Exit.STOP_IF, Exit.STOPPED
)  # fmt: skip
"""Codes whose words are better than anything in the log."""


def explain_failure(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say why a job has failed."""
    if snapshot.status.state is JobState.FAILED:
        yield _explain_end_of(snapshot, find_culprit(snapshot.status.pods), resolves=Resolves.BY_CHANGE)


def explain_coming_failure(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say what has failed of a job whose peers go on for now, where the controller does not end them."""
    if snapshot.status.state is not JobState.RUNNING or not snapshot.status.reason:
        return
    failed = [
        pod for pod in snapshot.status.pods
        if pod.state is PodState.FAILED and not snapshot.kind.is_retried(pod.exit_code)
    ]  # fmt: skip
    for pod in failed[:1]:
        verdict = _explain_end_of(snapshot, pod, resolves=Resolves.BY_CHANGE)
        yield replace(verdict, sentence=f"{verdict.sentence}; its peers go on until they notice")


def explain_crash_loop(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say why a container of a job that goes on ends again and again."""
    if snapshot.status.state.is_terminal:
        return
    looping = [
        pod
        for pod in snapshot.status.pods
        if pod.restarts and pod.exit_code and pod.state in (PodState.PENDING, PodState.RUNNING)
    ]
    for pod in looping[:1]:
        verdict = _explain_end_of(snapshot, pod, resolves=Resolves.LATER)
        if verdict.code == UNKNOWN.code:
            sentence = f"{pod.pod} ends again and again, last with exit code {pod.exit_code}"
            yield Verdict(
                code="crash-loop",
                sentence=sentence,
                evidence=verdict.evidence,
                fix=verdict.fix,
                resolves=Resolves.LATER,
            )
        else:
            yield verdict


def find_culprit(pods: tuple[PodStatus, ...]) -> PodStatus | None:
    """Return the pod that decided: the first with words about a failure, else the first that failed."""
    spoken = [pod for pod in pods if pod.termination is not None and pod.termination.exit]
    failed = [pod for pod in pods if pod.exit_code or pod.state is PodState.FAILED]
    return next(iter([*spoken, *failed]), None)


def _explain_end_of(snapshot: Snapshot, pod: PodStatus | None, *, resolves: Resolves) -> Verdict:
    job = snapshot.status.handle.job
    if pod is None:
        return Verdict(
            code=UNKNOWN.code,
            sentence=_words_of_inner(snapshot) or snapshot.status.reason or UNKNOWN.head,
            fix=UNKNOWN.fix.format(job=job),
            resolves=resolves,
        )
    code = pod.termination.exit if pod.termination is not None else pod.exit_code
    words = pod.termination.reason if pod.termination is not None else pod.reason
    log = snapshot.logs.get(pod.pod, "")
    failure, line = _find(pod, code=code, words=words, log=log)
    checkpoint = pod.termination.checkpoint if pod.termination is not None else None
    said = line or words or (f"exit code {code}" if code is not None else "")
    return Verdict(
        code=failure.code,
        sentence=f"{failure.head}: {said}" if said and said != failure.head else failure.head,
        evidence=evidence(
            f"{pod.pod}: exit code {code}{_describe_code(pod, code)}" if code is not None else "",
            pod.reason if pod.reason != words else "",
            words if line else "",
            *(tail(log, lines=3) if not line else ()),
            f"last checkpoint: {checkpoint}" if checkpoint else "",
        ),
        fix=failure.fix_on(snapshot.status.handle.backend).format(job=job),
        resolves=resolves,
    )


def _words_of_inner(snapshot: Snapshot) -> str:
    """Return why the Job inside has failed, of which a JobSet only says that it has."""
    for job in snapshot.inner_jobs or ():
        if (failed := conditions_of(job).get("Failed")) is not None:
            return f"{failed.reason}: {failed.message}"
    return ""


def _find(pod: PodStatus, *, code: int | None, words: str, log: str) -> tuple[Failure, str]:
    """Return what a pod's end means, and the line of its log that says so, or an empty one.

    What the node process wrote about the end is better than any pattern over a log, which may hold an older
    or a harmless error; the log is better than words that only say that a rank died; and the exit code alone
    is what is left where nobody wrote anything. An exit code that names its reason (`_SAYS_ALL`) makes the
    log unnecessary.
    """
    said = find_failure(f"{pod.reason}\n{words}")
    if said is not None and not said.is_vague:
        # Reading and writing are refused in the same words of errno; the exit code says which of them it was.
        is_data = said.code == "output-denied" and code == Exit.DATA
        return (DATA_DENIED if is_data else said), ""
    if code not in _SAYS_ALL:
        told = find_most_telling(_last_attempt(log))
        if told is not None and not told[0].is_vague:
            return told
    # Without a message of ours the code is another program's, or the shell's: 1 is not our "internal" there.
    table = OF_EXIT if pod.termination is not None else OF_FOREIGN_EXIT
    meant = table.get(code if code is not None else -1, UNKNOWN)
    return (meant if said is None or code in _SAYS_ALL else said), ""


def _last_attempt(log: str) -> list[str]:
    """Return the last lines of a log, those of earlier attempts left out."""
    lines = tail(log, lines=_LINES)
    tags = [match[1] for line in lines if (match := _ATTEMPT.match(line))]
    return [
        line for line in lines if not tags or not _ATTEMPT.match(line) or line.startswith(f"[a{tags[-1]} ")
    ]


def _describe_code(pod: PodStatus, code: int | None) -> str:
    if code is None:
        return ""
    is_ours = pod.termination is not None or code > 128
    return f" ({describe_exit(code)})" if is_ours else ""
