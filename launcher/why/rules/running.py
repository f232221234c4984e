"""What a job does that goes on: begins, makes steps, pauses between attempts, waits for its nodes. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from launcher import objects
from launcher.backends.states import JobState
from launcher.why.queries import tail, text_of
from launcher.why.rules.log_patterns import find_failure
from launcher.why.snapshot import Snapshot
from launcher.why.verdict import Resolves, Verdict, evidence
from trainer.protocol.progress import Progress, RankProgress

SILENT_S = 90.0
"""Three progress lines; a step that takes longer than that is worth a word before the hang timeout."""
_NAMED_RANKS = 8
NOTICED_S = 5.0
"""Within which an operator that is awake has acted on a deadline."""
_WAITS = re.compile(
    r"waiting for node [\d, ]+.*\((?P<waited>\d+) s of (?P<limit>\d+) s\)(?:: (?P<reason>.*))?"
)
_FAILED = re.compile(r"the attempt failed: (?P<reason>.*); the next begins in (?P<pause>[\d.]+) s")
_BEGINS = re.compile(r"attempt \d+ begins|^\[a\d+ r\d+\]")
"""What is written only once the nodes have found each other."""


def explain_running(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say how far a job is whose pods run."""
    status, progress = snapshot.status, snapshot.status.progress
    if status.state is not JobState.RUNNING or status.reason:
        return
    if progress is None or not progress.ranks:
        yield Verdict(
            code="running-unheard",
            sentence="its pods run and no rank has reported yet; that takes until the first steps are done",
            evidence=evidence(*[line for log in snapshot.logs.values() for line in tail(log)]),
            fix=f"ftlaunch logs -f {status.handle.job}",
            resolves=Resolves.ITSELF,
        )
        return
    slowest = min(progress.ranks, key=lambda rank: rank.step)
    total = f" of {progress.total_steps}" if progress.total_steps else ""
    rates = [rank.images_per_s for rank in progress.ranks if rank.images_per_s is not None]
    speed = f", {sum(rates):.0f} images/s" if rates else ""
    heard = {rank.rank for rank in progress.ranks}
    unheard = [rank for rank in range(progress.world_size) if rank not in heard]
    how = "all is well: " if not unheard and slowest.step else "" if slowest.step else "it begins: "
    lacks = f" (nothing heard yet of rank {_list_ranks(unheard)})" if unheard else ""
    yield Verdict(
        code="running",
        sentence=(
            f"{how}{len(progress.ranks)} of {progress.world_size} ranks{lacks}, attempt "
            f"{progress.attempt}, epoch {slowest.epoch + 1}, step {slowest.step}{total}{speed}"
        ),
        evidence=evidence(*(_describe(rank) for rank in progress.ranks[:8])),
        resolves=Resolves.ITSELF,
    )


def explain_fewer_nodes(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say that a job trains without some of its nodes, which is no failure of it."""
    status, progress = snapshot.status, snapshot.status.progress
    if status.state is not JobState.RUNNING or progress is None or not progress.absent:
        return
    yield Verdict(
        code="fewer-nodes",
        sentence=f"it trains with {progress.fewer_nodes}; they are let in where an epoch ends",
        evidence=evidence(status.reason) if status.reason else (),
        resolves=Resolves.ITSELF,
    )


def explain_silence(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say which rank the others wait for, before the node process calls it hung."""
    progress = snapshot.status.progress
    if snapshot.status.state is not JobState.RUNNING or progress is None or not progress.ranks:
        return
    since_s = max(0.0, snapshot.now_s - progress.time_s)
    hung_rank = _find_silent(progress, since_s=since_s)
    if hung_rank is None:
        return
    silent_s = hung_rank.silent_s + since_s
    job = snapshot.status.handle.job
    yield Verdict(
        code="rank-silent",
        sentence=(
            f"rank {hung_rank.rank} (node {hung_rank.node}) has been silent for {silent_s:.0f} s, in "
            f"{hung_rank.phase} after step {hung_rank.step}; the others wait for it"
        ),
        evidence=evidence(*(_describe(rank) for rank in progress.ranks[:8])),
        fix=f"ftlaunch logs {job} --rank {hung_rank.rank} --tail 50",
        resolves=Resolves.LATER,
    )


def explain_times(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say what the steps of a job that gets on wait for: images, or one rank."""
    progress = snapshot.status.progress
    if snapshot.status.state is not JobState.RUNNING or progress is None:
        return
    shown = evidence(*(_describe_times(rank) for rank in progress.ranks[:8] if rank.times is not None))
    job = snapshot.status.handle.job
    if (slow := progress.slow_rank) is not None:
        rank, finding = slow
        yield Verdict(
            code="rank-slow", sentence=finding.sentence, evidence=shown,
            fix=finding.fix or f"ftlaunch logs {job} --rank {rank} --tail 50", resolves=Resolves.BY_CHANGE,
        )  # fmt: skip
    if (waiting := progress.waiting) is not None:
        yield Verdict(
            code="images-slow", sentence=waiting.sentence, evidence=shown, fix=waiting.fix,
            resolves=Resolves.BY_CHANGE,
        )  # fmt: skip


def explain_rendezvous(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say that nodes wait for each other, and what keeps them."""
    if snapshot.status.state.is_terminal:
        return
    for pod, log in snapshot.logs.items():
        line = _last_of(log, _WAITS, unless=_BEGINS)
        match = _WAITS.search(line)
        if match is None:
            continue
        failure = find_failure(line)
        is_dns = failure is not None and failure.code == "dns-failed"
        yield Verdict(
            code="dns-failed" if is_dns and failure is not None else "rendezvous-waiting",
            sentence=f"{pod} waits for the other nodes for {match['waited']} s of {match['limit']} s"
            + (f": {match['reason']}" if match["reason"] else ""),
            evidence=evidence(f"{pod}: {line}"),
            fix=(
                failure.fix_on(snapshot.status.handle.backend)
                if is_dns and failure is not None
                else f"ftlaunch status {snapshot.status.handle.job}"
            ),
            resolves=Resolves.LATER,
        )
        return


def explain_pause(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say why the last attempt failed while the next one has not begun."""
    if snapshot.status.state.is_terminal:
        return
    for pod, log in snapshot.logs.items():
        match = _FAILED.search(_last_of(log, _FAILED, unless=_BEGINS))
        if match is None:
            continue
        failure = find_failure(match["reason"])
        yield Verdict(
            code=failure.code if failure is not None else "attempt-pausing",
            sentence=(
                f"the last attempt failed and the next begins within {match['pause']} s: {match['reason']}"
            ),
            evidence=evidence(f"{pod}: {match[0]}"),
            fix=failure.fix_on(snapshot.status.handle.backend).format(job=snapshot.status.handle.job)
            if failure is not None
            else "",
            resolves=Resolves.LATER if failure is not None else Resolves.ITSELF,
        )
        return


def explain_deadline(snapshot: Snapshot) -> Iterator[Verdict]:
    """Say that the controller has not noticed a deadline, of those that look only when a pod changes."""
    limit_s = snapshot.kind.late_deadline_of(snapshot.job)
    began_s = objects.unix_time((snapshot.job.get("status") or {}).get("startTime"))
    if snapshot.status.state.is_terminal or limit_s is None or began_s is None:
        return
    over_s = snapshot.now_s - began_s - limit_s
    if over_s > NOTICED_S:
        job = snapshot.status.handle.job
        yield Verdict(
            code="deadline-asleep",
            sentence=(
                f"its activeDeadlineSeconds of {limit_s:.0f} s passed {over_s:.0f} s ago, and the operator "
                "notices only when a pod changes; it then deletes the pods with their logs"
            ),
            evidence=evidence(f"{job}: startTime {snapshot.job['status']['startTime']}"),
            fix=f"ftlaunch cancel {job} saves and stops it now; Launch.deadline does so by itself",
            resolves=Resolves.LATER,
        )


def _last_of(log: str, pattern: re.Pattern[str], *, unless: re.Pattern[str]) -> str:
    """Return the last line of a log that matches, unless a later one says that it is over."""
    for line in reversed(log.splitlines()):
        text = text_of(line)
        if unless.search(text):
            return ""
        if pattern.search(text):
            return text
    return ""


def _find_silent(progress: Progress, *, since_s: float) -> RankProgress | None:
    """Return the rank that the others wait for: as the node process finds a hung one."""
    silent = [rank for rank in progress.ranks if rank.silent_s + since_s >= SILENT_S]
    outside = [rank for rank in silent if rank.phase != "compute"]
    return min(outside or silent, key=lambda rank: rank.step, default=None)


def _list_ranks(ranks: Sequence[int]) -> str:
    more = len(ranks) - _NAMED_RANKS
    return ", ".join(map(str, ranks[:_NAMED_RANKS])) + (f" and {more} more" if more > 0 else "")


def _describe_times(rank: RankProgress) -> str:
    times = rank.times
    assert times is not None
    parts = (
        ("images", times.wait_s), ("copy", times.copy_s), ("compute", times.compute_s),
        ("other ranks", times.peers_s), ("fetch", times.fetch_s),
    )  # fmt: skip
    shares = ", ".join(f"{name} {seconds / times.step_s:.0%}" for name, seconds in parts if times.step_s)
    return f"rank {rank.rank} (node {rank.node}): {times.step_s:.3g} s a step: {shares}"


def _describe(rank: RankProgress) -> str:
    loss = f", loss {rank.loss:.4g}" if rank.loss is not None else ""
    return f"rank {rank.rank} (node {rank.node}): step {rank.step}, {rank.phase}{loss}"
