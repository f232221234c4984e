"""Why a job ended, where neither cluster nor pods tell it any more: from the log that node 0 kept.

The last thing that a node process says of itself is its end: `the data was refused: …`. Together with the
lines before it that is what a pod that is still there would tell, so the rules of `why` see one that speaks.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from launcher.backends.states import JobState, JobStatus, PodState, PodStatus
from launcher.jobs.logs import read_node_file
from launcher.jobs.metrics import output_here
from launcher.jobs.notes import Note
from launcher.jobs.resolve import ResolvedJob
from launcher.jobs.saved_logs import fetch_saved
from launcher.logs.log_filter import LogFilter
from launcher.times import STAMP_BYTES
from launcher.why.explain import explain
from launcher.why.explanation import Explanation
from launcher.why.gather import LOG_BYTES
from launcher.why.snapshot import Skipped, Snapshot
from trainer.protocol.exits import MEANINGS, Exit
from trainer.protocol.tags import parse_line
from trainer.protocol.termination import Termination

_LAST = 200
_PAUSED = (Exit.STOPPED, Exit.INTERRUPTED)


def explain_saved_end(job: ResolvedJob, status: JobStatus | None) -> Explanation | None:
    """Say why a job ended by what node 0 kept of its log; None where that tells nothing.

    Args:
        job: Which.
        status: Of a job that failed and whose pods tell nothing; None where the job itself is gone.
    """
    node_file = read_node_file(job)
    if node_file is None or node_file.keep_logs_bytes is None:
        return None
    told: list[Note] = []
    files = fetch_saved(
        job, output_dir=node_file.output_dir, log_filter=LogFilter(nodes=frozenset({0}), tail=_LAST),
        is_gone=True, here=output_here(job.run_folder) if status is None else None, notes=told.append,
    )  # fmt: skip
    lines = [line for file in files for line in file.lines()][-_LAST:]
    end = find_end(lines)
    if end is None or (status is not None and not end.exit):
        return None
    pod = PodStatus(
        pod="node 0", node=0, state=PodState.FAILED if end.exit else PodState.SUCCEEDED, exit_code=end.exit,
        termination=end,
    )  # fmt: skip
    if status is None:
        states = {Exit.DONE: JobState.SUCCEEDED, **dict.fromkeys(_PAUSED, JobState.CANCELLED)}
        status = JobStatus(
            handle=job.handle, run_id=job.record.run_id, state=states.get(Exit(end.exit), JobState.FAILED),
            pods=(), created_s=job.record.created_s,
        )  # fmt: skip
    status = replace(status, pods=(pod,))
    log = b"\n".join(lines)[-LOG_BYTES:].decode("utf-8", "replace")
    snapshot = Snapshot(now_s=time.time(), status=status, job={}, logs={pod.pod: log})
    skipped = tuple(Skipped(what="pods", reason=note.text) for note in told)
    return Explanation(status=status, verdicts=explain(snapshot), skipped=skipped)


def find_end(lines: Sequence[bytes]) -> Termination | None:
    """Return the end that a node process told last; None where it went without a word.

    Args:
        lines: Of a pod, each as `RFC3339Nano text`.
    """
    for line in reversed(lines):
        found = parse_line(line[STAMP_BYTES + 1 :])
        if found.tag is None or found.tag.rank is not None:
            continue
        text = found.text.decode("utf-8", "replace")
        for code, meaning in MEANINGS.items():
            if text == meaning or text.startswith(f"{meaning}: "):
                reason = text.removeprefix(meaning).removeprefix(": ") or meaning
                return Termination(exit=int(code), attempt=found.tag.attempt, reason=reason)
    return None
