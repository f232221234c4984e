"""Asks all rules about a snapshot and puts what they say in order.

Each rule looks at the snapshot alone and knows of no other, so that one can be added or tested without the
rest. Several may hold at once: a claim is missing, and because of that no node is found, and because of that
the job waits. Which one is the answer is therefore not decided by rules, but by one order, that of `CODES`:
causes stand before what they cause. A rule that would have to ask "unless another one holds" is a sign of a
wrong order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from launcher.why.codes import CODES
from launcher.why.rules import (
    admission,
    claims,
    containers,
    endings,
    images,
    lifecycle,
    nodes,
    queueing,
    running,
    scheduling,
)
from launcher.why.snapshot import Snapshot
from launcher.why.verdict import Resolves, Verdict, without_repeats

Rule = Callable[[Snapshot], Iterator[Verdict]]

OF_ANY_JOB: tuple[Rule, ...] = (
    lifecycle.explain_end,
    lifecycle.explain_submitted,
    endings.explain_failure,
    endings.explain_coming_failure,
    endings.explain_crash_loop,
    running.explain_pause,
    running.explain_rendezvous,
    running.explain_silence,
    running.explain_times,
    running.explain_running,
    running.explain_fewer_nodes,
)
"""Those that need a job's status and logs only."""
OF_A_CLUSTERS_JOB: tuple[Rule, ...] = (
    lifecycle.explain_wishes,
    lifecycle.explain_stuck_pods,
    lifecycle.explain_no_controller,
    lifecycle.explain_missing_runtime,
    lifecycle.explain_missing_pods,
    lifecycle.explain_starting,
    queueing.explain_queue,
    admission.explain_refused_pods,
    nodes.explain_lost_node,
    nodes.explain_evictions,
    claims.explain_claims,
    scheduling.explain_unscheduled,
    images.explain_image,
    containers.explain_mounts,
    containers.explain_container,
    running.explain_deadline,
)
LIFECYCLE = (
    "failed", "scheduling", "pods-missing", "container-starting", "restarting", "running-unheard", "running",
    "submitted",
)  # fmt: skip
"""Codes that say how far a job is, and not why."""
_ORDER = {code: index for index, code in enumerate(CODES)}


def explain(snapshot: Snapshot) -> tuple[Verdict, ...]:
    """Return the verdicts on a job, the answer first; never none."""
    rules = (*OF_ANY_JOB, *(OF_A_CLUSTERS_JOB if snapshot.job else ()), lifecycle.explain_restart)
    verdicts = [verdict for rule in rules for verdict in rule(snapshot)]
    if not verdicts:
        status = snapshot.status
        sentence = f"it is {status.state.value}" + (f": {status.reason}" if status.reason else "")
        verdicts = [
            Verdict(
                code=_PLAIN.get(status.state.value, "submitted"), sentence=sentence, resolves=Resolves.ITSELF
            )
        ]
    return rank(verdicts)


def rank(verdicts: list[Verdict]) -> tuple[Verdict, ...]:
    """Put verdicts in the order of `CODES`, each code once but for those of several claims.

    What only says how far the job is goes where something else says why.
    """
    seen: set[tuple[str, str]] = set()
    kept = []
    telling = [verdict for verdict in verdicts if verdict.code not in LIFECYCLE]
    # Python's sort is stable: of several verdicts of one code the first rule's stays first.
    for verdict in sorted(telling or verdicts, key=lambda verdict: _ORDER[verdict.code]):
        key = (verdict.code, verdict.sentence if verdict.code.startswith("claim-") else "")
        if key not in seen:
            seen.add(key)
            kept.append(without_repeats(verdict))
    return tuple(kept)


_PLAIN = {"Running": "running", "Starting": "container-starting", "Restarting": "restarting"}
