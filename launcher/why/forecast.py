"""When a waiting job starts: what runs, what waits before it and what there is, played forward. Pure.

How it works. The running jobs' remaining times, the waiting jobs in their order and the room (quotas of
Kueue's ClusterQueues) are played forward from one end of a job to the next: whenever something is
freed, those that wait are let in as the room's rules say, until the one that is asked about is. That time is
the estimate.

What is not known is not guessed. A remaining time is a span (early, likely, late), or unknown; the play is
run three times: with everything ending early and unknown jobs ending at once, as is likely, and with
everything ending late and unknown jobs never. Only where the first and the last agree, within `AGREE`, is
there an estimate: then nothing that is unknown matters for it. Else the answer is that it cannot be told,
with what would have to be known, and with the two ends as bounds where there are any. A single play with
typical values was rejected: it gives a number always, and nobody could see which of them rests on nothing.

Not known to anybody are jobs that will be submitted later: one with a higher priority moves the estimate, as
people must be told.

The rules of Kueue that are played (kueue.sigs.k8s.io, concepts "Cluster Queue", "Cohort", "Preemption", and
pkg/scheduler of v0.19): order by priority, then by creation; BestEffortFIFO lets one that fits pass those
that do not, StrictFIFO does not; a ClusterQueue of a cohort borrows what others do not use, within
borrowingLimit and lendingLimit, and of several heads those that need not borrow come first; a higher
priority preempts in its own ClusterQueue, and its own quota is reclaimed from borrowers, as far as the
ClusterQueue says so. Not played: fair sharing, admission checks, trees of cohorts, quotas of a cohort's own
and topologies. Where one of them decides there is no estimate (`queue_model`).
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

AGREE, AGREE_S = 1.75, 120.0
"""The late end may be so many times the early one, or so many seconds later, for an estimate to be given."""
MAX_EVENTS = 20_000
"""Ends of jobs and preemptions that are played at most."""

Amounts = Mapping[str, float]
Key = tuple[str, str]
"""Flavour and resource."""
Case = Literal["early", "likely", "late"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """A length of time in seconds, as far as it is known: 0 <= early <= likely <= late."""

    early_s: float
    likely_s: float
    late_s: float

    def of(self, case: Case) -> float:
        """Return the length in a case."""
        return {"early": self.early_s, "likely": self.likely_s, "late": self.late_s}[case]


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """A job as a queue sees it.

    Attributes:
        uid: What tells it from others.
        name: For people.
        queue: ClusterQueue that it is in.
        asked: What all its pods ask for together, by resource.
        pods: How many they are; they are equal.
        priority: A larger one comes first.
        since_s: Since when it waits, Unix time; the older one comes first.
        held: What it holds, by flavour and resource; None while it waits.
        length: How long it still runs, or would once it is let in; None where that is not known.
        unknown: Why that is not known, such as `reports no progress`.
    """

    uid: str
    name: str
    queue: str = ""
    asked: Amounts
    pods: int = 1
    priority: int = 0
    since_s: float = 0.0
    held: Mapping[Key, float] | None = None
    length: Span | None = None
    unknown: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Freed:
    """A job whose end the estimate rests on.

    Attributes:
        amounts: By resource.
        in_s: Seconds from now.
    """

    name: str
    amounts: Amounts
    in_s: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """When a job starts.

    Attributes:
        in_s: Seconds from now; None where it cannot be told.
        early_s: Not before; None where nothing is known.
        late_s: Not after, as long as nobody comes before it; None where there is no such end.
        place: From 1, among those of its queue that wait.
        of: How many these are.
        freed: What frees room for it, in order; the last ones before it starts.
        reason: Why it cannot be told; empty where it can.
        queue: Name of the queue that `place` is of, for people.
        unknown: Names of jobs that would have to be known.
    """

    in_s: float | None
    early_s: float | None
    late_s: float | None
    place: int
    of: int
    freed: tuple[Freed, ...] = ()
    reason: str = ""
    queue: str = ""
    unknown: tuple[str, ...] = ()


class Room(Protocol):
    """What there is, with what is held of it; changed while it is played."""

    def fits(self, work: Work) -> Mapping[Key, float] | None:
        """Return what a job would hold if it were let in now; None where there is no room."""

    def borrows(self, work: Work, held: Mapping[Key, float]) -> bool:
        """Say whether it would hold more than its queue's own."""

    def take(self, work: Work, held: Mapping[Key, float]) -> None:
        """Let it in."""

    def give(self, work: Work, held: Mapping[Key, float]) -> None:
        """Take it out."""

    def is_strict(self, queue: str) -> bool:
        """Say whether one that does not fit holds up those behind it."""

    def victims(self, work: Work, running: Iterable[Work]) -> Sequence[Work]:
        """Return those whose place a job takes; none where it may not, or where that is not enough."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """What a ClusterQueue has of a resource in a flavour.

    Attributes:
        nominal: Of its own.
        borrowing: At most so much more of its cohort's; None for no limit.
        lending: At most so much of its own to its cohort; None for all of it.
    """

    nominal: float
    borrowing: float | None = None
    lending: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ClusterQueue:
    """A ClusterQueue.

    Attributes:
        cohort: Empty for none.
        groups: Resources that are given together, and the flavours that have them, in the order in which they
            are tried.
        is_strict: StrictFIFO.
        within: Its `preemption.withinClusterQueue`.
        reclaim: Its `preemption.reclaimWithinCohort`.
    """

    name: str
    cohort: str = ""
    groups: tuple[tuple[frozenset[str], tuple[tuple[str, Mapping[str, Quota]], ...]], ...]
    is_strict: bool = False
    within: str = "Never"
    reclaim: str = "Never"


class QuotaRoom:
    """Quotas of ClusterQueues and cohorts. A `Room`."""

    def __init__(self, queues: Iterable[ClusterQueue]) -> None:
        """Nothing is held yet."""
        self.queues = {queue.name: queue for queue in queues}
        self._used: dict[tuple[str, Key], float] = {}
        self._quotas: dict[tuple[str, Key], Quota] = {
            (queue.name, (flavor, resource)): quota
            for queue in self.queues.values()
            for _, flavors in queue.groups
            for flavor, quotas in flavors
            for resource, quota in quotas.items()
        }
        self._members: dict[str, list[str]] = {}
        for queue in self.queues.values():
            if queue.cohort:
                self._members.setdefault(queue.cohort, []).append(queue.name)

    def fits(self, work: Work) -> Mapping[Key, float] | None:
        """See `Room`: in each group of resources the first flavour that has them all."""
        queue = self.queues.get(work.queue)
        if queue is None:
            return None
        held: dict[Key, float] = {}
        left = {resource for resource, amount in work.asked.items() if amount > 0}
        for resources, flavors in queue.groups:
            wanted = sorted(left & resources)
            if not wanted:
                continue
            found = next(
                (
                    flavor for flavor, _ in flavors
                    if all(
                        work.asked[name] <= self.available(queue.name, (flavor, name)) + 1e-9
                        for name in wanted
                    )
                ),
                None,
            )  # fmt: skip
            if found is None:
                return None
            held.update({(found, name): work.asked[name] for name in wanted})
            left -= resources
        return None if left else held

    def available(self, queue: str, key: Key) -> float:
        """Return what a ClusterQueue could still give of a resource, with what it may borrow.

        What a queue does not lend is its alone; the rest of all queues is one pool of the cohort.
        """
        quota = self._quotas.get((queue, key))
        if quota is None:
            return 0.0
        used = self._used.get((queue, key), 0.0)
        members = self._members.get(self.queues[queue].cohort, [])
        if not members:
            return quota.nominal - used
        pool = 0.0
        for name in members:
            other = self._quotas.get((name, key))
            if other is not None:
                pool += other.nominal - _own(other)
                pool -= max(0.0, self._used.get((name, key), 0.0) - _own(other))
        free = max(0.0, _own(quota) - used) + pool
        return free if quota.borrowing is None else min(free, quota.nominal + quota.borrowing - used)

    def borrows(self, work: Work, held: Mapping[Key, float]) -> bool:
        """See `Room`."""
        return any(
            self._used.get((work.queue, key), 0.0) + amount > self._nominal(work.queue, key) + 1e-9
            for key, amount in held.items()
        )

    def take(self, work: Work, held: Mapping[Key, float]) -> None:
        """See `Room`."""
        for key, amount in held.items():
            at = (work.queue, key)
            self._used[at] = self._used.get(at, 0.0) + amount

    def give(self, work: Work, held: Mapping[Key, float]) -> None:
        """See `Room`."""
        for key, amount in held.items():
            at = (work.queue, key)
            self._used[at] = max(0.0, self._used.get(at, 0.0) - amount)

    def is_strict(self, queue: str) -> bool:
        """See `Room`."""
        found = self.queues.get(queue)
        return found is not None and found.is_strict

    def victims(self, work: Work, running: Iterable[Work]) -> Sequence[Work]:
        """See `Room`: as few as are enough, those of borrowing queues first, then by low priority and age."""
        queue = self.queues.get(work.queue)
        if queue is None or (queue.within == "Never" and queue.reclaim == "Never"):
            return ()
        cohort = set(self._members.get(queue.cohort, ()))
        candidates = [other for other in running if self._may_preempt(work, other, queue, cohort)]
        candidates.sort(key=lambda other: (other.queue == work.queue, other.priority, -other.since_s))
        taken: list[Work] = []
        for other in candidates:
            assert other.held is not None
            if other.queue != work.queue and not self.borrows(other, dict.fromkeys(other.held, 0.0)):
                continue  # what it holds is its queue's own by now
            self.give(other, other.held)
            taken.append(other)
            if self._fits_by_right(work, taken):
                break
        enough = self._fits_by_right(work, taken)
        for other in taken:
            assert other.held is not None
            self.take(other, other.held)
        return tuple(taken) if enough else ()

    def _fits_by_right(self, work: Work, taken: Sequence[Work]) -> bool:
        """Say whether it fits; what is taken from another queue must be the job's queue's own quota."""
        held = self.fits(work)
        if held is None:
            return False
        return all(other.queue == work.queue for other in taken) or not self.borrows(work, held)

    @staticmethod
    def _may_preempt(work: Work, other: Work, queue: ClusterQueue, cohort: set[str]) -> bool:
        lower = other.priority < work.priority
        if other.queue == work.queue:
            newer = other.priority == work.priority and other.since_s > work.since_s
            return (queue.within != "Never" and lower) or (
                queue.within == "LowerOrNewerEqualPriority" and newer
            )
        return other.queue in cohort and (
            queue.reclaim == "Any" or (queue.reclaim == "LowerPriority" and lower)
        )

    def _nominal(self, queue: str, key: Key) -> float:
        quota = self._quotas.get((queue, key))
        return 0.0 if quota is None else quota.nominal


def _own(quota: Quota) -> float:
    """Return what a queue does not lend."""
    return 0.0 if quota.lending is None else max(0.0, quota.nominal - quota.lending)


@dataclass(slots=True)
class _Play:
    """One play: what has ended when, until the job that is asked about was let in."""

    start_s: float | None = None
    ended: list[tuple[float, Work]] = field(default_factory=list)


def estimate_start(make_room: Callable[[], Room], works: Sequence[Work], *, uid: str) -> Estimate:
    """Say when a job that waits starts.

    Args:
        make_room: Returns all that there is, with nothing held.
        works: All that run or wait, and share it.
        uid: Of the one that is asked about, which waits.

    Raises:
        KeyError: It is not among them.
    """
    target = next((work for work in works if work.uid == uid), None)
    if target is None:
        raise KeyError(uid)
    line = sorted((work for work in works if work.held is None and work.queue == target.queue), key=_order)
    place, of = [work.uid for work in line].index(uid) + 1, len(line)
    plays = {case: _play(make_room(), works, target, case) for case in _CASES}
    early_s, likely, late_s = plays["early"].start_s, plays["likely"], plays["late"].start_s
    if early_s is None:
        return Estimate(
            in_s=None, early_s=None, late_s=None, place=place, of=of,
            reason="it would not start even if all that runs had ended",
        )  # fmt: skip
    if late_s is not None and likely.start_s is not None:
        low_s, high_s = min(early_s, late_s), max(early_s, late_s)
        if high_s <= max(low_s * AGREE, low_s + AGREE_S):
            return Estimate(
                in_s=likely.start_s, early_s=low_s, late_s=high_s, place=place, of=of,
                freed=_freed(likely, target),
            )  # fmt: skip
    unknown = [work for work in works if work.length is None and work.uid != uid]
    before = sorted(unknown, key=lambda work: (work.held is None, work.queue != target.queue, _order(work)))
    why = f"{before[0].name} {before[0].unknown or 'says no end'}" if before else "its bounds are far apart"
    if len(before) > 1:
        why += f", and {len(before) - 1} more are not known either"
    return Estimate(
        in_s=None, early_s=early_s or None, late_s=late_s, place=place, of=of, reason=why,
        unknown=tuple(work.name for work in before),
    )  # fmt: skip


_CASES: tuple[Case, ...] = ("early", "likely", "late")


def _order(work: Work) -> tuple[float, float, str]:
    return (-work.priority, work.since_s, work.uid)


def _play(room: Room, works: Sequence[Work], target: Work, case: Case) -> _Play:
    play = _Play()
    running: dict[str, Work] = {}
    ends: list[tuple[float, str]] = []
    until: dict[str, float] = {}
    left = {work.uid: _length(work, case) for work in works}

    def begin(work: Work, held: Mapping[Key, float], now_s: float) -> None:
        running[work.uid] = _with_held(work, held)
        until[work.uid] = now_s + left[work.uid]
        if math.isfinite(until[work.uid]):
            heapq.heappush(ends, (until[work.uid], work.uid))

    for work in works:
        if work.held is not None:
            room.take(work, work.held)
            begin(work, work.held, 0.0)
    waiting = sorted((work for work in works if work.held is None), key=_order)
    now_s = 0.0
    for _ in range(MAX_EVENTS):
        while (chosen := _next(room, waiting, running)) is not None:
            work, held, victims = chosen
            for victim in victims:  # it saves, waits again, and goes on from there
                assert victim.held is not None
                room.give(victim, victim.held)
                del running[victim.uid]
                left[victim.uid] = max(0.0, until.pop(victim.uid) - now_s)
                waiting.append(_with_held(victim, None))
            waiting = sorted((other for other in waiting if other.uid != work.uid), key=_order)
            if work.uid == target.uid:
                play.start_s = now_s
                return play
            room.take(work, held)
            begin(work, held, now_s)
        while ends and (ends[0][1] not in running or until.get(ends[0][1]) != ends[0][0]):
            heapq.heappop(ends)  # of one that was preempted
        if not ends:
            return play
        now_s = ends[0][0]
        while ends and ends[0][0] <= now_s:
            _, name = heapq.heappop(ends)
            if name in running and until.get(name) == now_s:
                ended = running.pop(name)
                assert ended.held is not None
                room.give(ended, ended.held)
                play.ended.append((now_s, ended))
    return play


def _next(
    room: Room, waiting: Sequence[Work], running: Mapping[str, Work]
) -> tuple[Work, Mapping[Key, float], Sequence[Work]] | None:
    """Return the next job that is let in, what it then holds, and whose place it takes.

    Each queue offers one, the first that fits or, where it is strict, its head; of these, those that need not
    borrow come first.
    """
    offered: dict[str, tuple[Work, Mapping[Key, float]]] = {}
    closed: set[str] = set()
    heads: dict[str, Work] = {}
    for work in waiting:
        heads.setdefault(work.queue, work)
        if work.queue in offered or work.queue in closed:
            continue
        held = room.fits(work)
        if held is not None:
            offered[work.queue] = (work, held)
        elif room.is_strict(work.queue):
            closed.add(work.queue)
    if offered:
        work, held = min(offered.values(), key=lambda item: (room.borrows(*item), _order(item[0])))
        return work, held, ()
    for work in sorted(heads.values(), key=_order):
        victims = room.victims(work, running.values())
        if victims:
            for victim in victims:
                room.give(victim, victim.held or {})
            held = room.fits(work)
            for victim in victims:
                room.take(victim, victim.held or {})
            if held is not None:
                return work, held, victims
    return None


def _length(work: Work, case: Case) -> float:
    if work.length is not None:
        return max(0.0, work.length.of(case))
    return 0.0 if case == "early" else math.inf


def _with_held(work: Work, held: Mapping[Key, float] | None) -> Work:
    return replace(work, held=held)


def _freed(play: _Play, target: Work, most: int = 3) -> tuple[Freed, ...]:
    """Return the last ends before the start that gave back something the job needs."""
    found = []
    for at_s, work in play.ended:
        amounts: dict[str, float] = {}
        for (_, resource), amount in (work.held or {}).items():
            if target.asked.get(resource, 0.0) > 0:
                amounts[resource] = amounts.get(resource, 0.0) + amount
        if amounts:
            found.append(Freed(name=work.name, amounts=amounts, in_s=at_s))
    return tuple(found[-most:])
