"""The runs of this machine for the page: which ones are shown, what is known of them, and what is asked.

A state folder may hold ten thousand runs. What was written since is read again, by the times of files; the
first page is there before all were read once (`RunList.begin`), and holds the newest only.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

from launcher.backends.states import JobState
from launcher.jobs.listing import UNKNOWN, ListedJob, changes_of, look_at, recall
from launcher.jobs.row_text import (
    describe_best,
    describe_changes,
    describe_duration,
    describe_moment,
    describe_progress,
)
from launcher.plan.capabilities import CAPABILITIES
from launcher.plan.handle import BackendKind
from launcher.runs.record import RecordError, RunRecord
from launcher.runs.store import RunStore
from launcher.ui.watch import Watched

PAGE = 50
"""Runs of a page."""
_OLDER = 50
_CHANGES_S = 0.15
"""For what differs from the run before, of a page that somebody waits for: configs are parsed for it."""
_MOST_CHANGES = 2000
_LOOK_S, _LOOK_AFAR_S = 1.0, 5.0
_FIRST_S = 2.0
_READ_AGAIN_S = 20.0
"""A record that is written again lies in a folder that was known; what is shown of it does not change."""
_ENDED = {state.value for state in JobState if state.is_terminal}


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    """Which runs are shown.

    Attributes:
        text: Part of the name, the config's path or the project's; empty for all.
        state: As in the list; empty for all.
        on: Kind of backend; empty for all.
        page: From 1.
    """

    text: str = ""
    state: str = ""
    on: str = ""
    page: int = 1

    @property
    def is_filter(self) -> bool:
        """Whether it leaves any out."""
        return bool(self.text or self.state or self.on)


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A run of the list, as text.

    Attributes:
        job: Its name.
        path: Of its page, below the page's folder.
        state: Empty while it is not known.
        place: Namespace, or the kind of backend.
        started: When it was submitted.
        changes: What differs from the run before; empty where nothing does, or it is not known yet.
    """

    job: str
    path: str
    state: str
    place: str
    progress: str
    best: str
    duration: str
    started: str
    changes: str
    user: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """A page of the list.

    Attributes:
        rows: Of this page.
        total: Runs that the query takes; None while that is not known.
        is_asking: Whether states are not known yet that decide what is shown.
        is_afar: Whether a cluster has to be asked for any of them.
    """

    rows: tuple[Row, ...]
    total: int | None
    is_asking: bool = False
    is_afar: bool = False


class RunList:
    """Reads run folders, each again only when it was written."""

    def __init__(self, store: RunStore, *, on: BackendKind | None = None) -> None:
        self.store, self._on = store, on
        self._records: dict[str, tuple[int, RunRecord]] = {}
        self._sorted: list[RunRecord] = []
        self._lock = threading.Lock()
        self._is_ready = threading.Event()
        self._folder_ns, self._read_s = -1, float("-inf")
        self._states: dict[str, str] = {}
        self._changes: OrderedDict[str, str] = OrderedDict()

    def begin(self) -> None:
        """Read all records in a thread of their own, once the first page had its moment."""
        reading = threading.Timer(_FIRST_S, self._refresh)
        reading.daemon = True
        reading.start()

    def show(self, query: Query, *, asks: bool = False, within_s: float | None = _CHANGES_S) -> Shown:
        """Return what a query takes.

        Args:
            query: Which.
            asks: Ask how those stand that may have changed.
            within_s: Seconds for what differs from the runs before; None for as long as it takes.
        """
        if not query.is_filter and not self._is_ready.is_set():
            records, older, total = self._first_page(query)
        else:
            self._refresh()
            records, older, total = self._choose(query, asks=asks)
        jobs = (look_at if asks else recall)(records, older=older, store=self.store)
        if asks:
            self._states |= {str(job.record.handle): job.state or UNKNOWN for job in jobs}
        until_s = None if within_s is None else time.monotonic() + within_s
        now_s = time.time()
        rows = tuple(self._row(job, now_s, until_s) for job in jobs)
        return Shown(
            rows=rows, total=total, is_asking=bool(query.state) and not asks,
            is_afar=any(CAPABILITIES[record.handle.backend].is_cluster for record in records),
        )  # fmt: skip

    def name_before(self, record: RunRecord) -> str:
        """Return the name of the run before one: the last one of the same config; empty for the first."""
        self._refresh()
        with self._lock:
            earlier = (
                other
                for other in self._sorted
                if other.config == record.config and other.created_s < record.created_s
            )
            found = next(earlier, None)
        return "" if found is None else found.handle.job

    def _first_page(self, query: Query) -> tuple[list[RunRecord], list[RunRecord], int | None]:
        """Return the newest without reading the others."""
        newest = (record for record in self.store.newest() if self._on in (None, record.handle.backend))
        start = PAGE * (query.page - 1)
        found = list(islice(newest, start + PAGE + _OLDER))
        return found[start : start + PAGE], found[start + PAGE :], None

    def _choose(self, query: Query, *, asks: bool) -> tuple[list[RunRecord], list[RunRecord], int]:
        with self._lock:
            every = list(self._sorted)
        start = PAGE * (query.page - 1)
        end = start + PAGE
        if not query.is_filter:
            return every[start:end], every[end : end + _OLDER], len(every)
        places = [place for place, record in enumerate(every) if _takes(record, query)]
        if query.state:
            if asks:
                self._learn([every[place] for place in places])
            wanted = query.state.lower()
            places = [place for place in places if self._state_of(every[place]).lower() == wanted]
        shown = places[start:end]
        after = shown[-1] + 1 if shown else 0
        return [every[place] for place in shown], every[after : after + _OLDER], len(places)

    def _learn(self, records: Sequence[RunRecord]) -> None:
        """Ask how those stand that may have changed since."""
        open_ones = [record for record in records if self._states.get(str(record.handle)) not in _ENDED]
        for job in look_at(open_ones, store=self.store):
            self._states[str(job.record.handle)] = job.state or UNKNOWN

    def _state_of(self, record: RunRecord) -> str:
        return self._states.get(str(record.handle), "")

    def _refresh(self) -> None:
        """Read the records that are new, where folders came or went, and now and then."""
        try:
            folder_ns = self.store.folder.stat().st_mtime_ns
        except OSError:
            folder_ns = 0
        with self._lock:
            now_s = time.monotonic()
            if folder_ns == self._folder_ns and now_s - self._read_s < _READ_AGAIN_S:
                return
            self._folder_ns, self._read_s = folder_ns, now_s
            before, now = self._records, dict[str, tuple[int, RunRecord]]()
            for written_ns, job in self.store.written():
                known = before.get(job)
                if known is not None and known[0] == written_ns:
                    now[job] = known
                    continue
                record = _load(self.store, job)
                if record is not None and self._on in (None, record.handle.backend):
                    now[job] = (written_ns, record)
            if now.keys() != before.keys() or any(now[job] is not before[job] for job in now):
                self._records = now
                self._sorted = sorted(
                    (record for _, record in now.values()), key=lambda record: -record.created_s
                )
        self._is_ready.set()

    def _row(self, job: ListedJob, now_s: float, until_s: float | None) -> Row:
        record = job.record
        return Row(
            job=record.handle.job,
            path=f"run/{record.handle.job}/",
            state=job.state or self._state_of(record),
            place=record.handle.namespace or record.handle.backend,
            progress=describe_progress(job.outcome),
            best=describe_best(job.outcome),
            duration=describe_duration(job.outcome, now_s),
            started=describe_moment(record.created_s, now_s),
            changes=self._changes_of(job, until_s),
        )

    def _changes_of(self, job: ListedJob, until_s: float | None) -> str:
        if job.before is None:
            return ""
        key = f"{job.record.handle} {job.record.run_id} {job.before.run_id}"
        known = self._changes.get(key)
        if known is None:
            if until_s is not None and time.monotonic() > until_s:
                return ""
            known = self._changes[key] = describe_changes(changes_of(job, store=self.store))
            while len(self._changes) > _MOST_CHANGES:
                self._changes.popitem(last=False)
        return known


class ListWatch(Watched):
    """Looks at the runs of a page.

    Attributes:
        shown: As last seen; None before.
    """

    def __init__(self, runs: RunList, query: Query) -> None:
        super().__init__()
        self._runs, self._query = runs, query
        self.shown: Shown | None = None

    def begin(self) -> ListWatch:
        """Begin to look."""
        self.spawn(self._work, "list")
        return self

    def _work(self) -> None:
        while not self.is_over:
            began_s = time.monotonic()
            self.shown = self._runs.show(self._query, asks=True, within_s=None)
            self.changed()
            took_s = time.monotonic() - began_s
            if self.pause(max(_LOOK_AFAR_S if self.shown.is_afar else _LOOK_S, 4 * took_s)):
                return


def _takes(record: RunRecord, query: Query) -> bool:
    if query.on and record.handle.backend != query.on:
        return False
    text = query.text.lower()
    return not text or any(
        text in part.lower() for part in (record.handle.job, record.config, record.project)
    )


def _load(store: RunStore, job: str) -> RunRecord | None:
    try:
        return store.load(job)
    except (RecordError, OSError):
        return None
