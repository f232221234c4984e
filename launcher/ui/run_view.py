"""A run's page as it is opened, as it changes while somebody looks, and as it is saved."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from launcher.errors import NotFoundError
from launcher.jobs.configuration import Configuration, is_recorded, read_configuration
from launcher.jobs.logs import LogOptions
from launcher.jobs.metrics import output_here
from launcher.jobs.resolve import ResolvedJob, open_job
from launcher.logs.log_filter import LogFilter, parse_numbers
from launcher.logs.log_format import LogFormat
from launcher.runs.store import RunStore
from launcher.ui.comparison import ComparisonView
from launcher.ui.pages import draw_lines, draw_part
from launcher.ui.run_page import (
    Links,
    draw_actions,
    draw_configuration,
    draw_curves,
    draw_epochs,
    draw_events,
    draw_head,
    draw_ranks,
    draw_tail,
    draw_verdict,
)
from launcher.ui.runs import RunList
from launcher.ui.stream import Attend, View
from launcher.ui.watch import ConfigurationWatch, EventsWatch, Hub, JobWatch, LogWatch, Watched
from trainer.protocol.printable import escape_controls
from trainer.protocol.reportfile import PAGE
from trainer.protocol.safe_files import read_file

_MAX_REPORT = 64 * 1024 * 1024
_LIGHT = ("events", "config", "report")


@dataclass(frozen=True, kw_only=True, slots=True)
class LogWanted:
    """Which lines of a log are shown.

    Attributes:
        find: Text that is in them; empty for all.
        rank: Such as `0,2-3`; empty for all.
        every: Of earlier attempts too.
    """

    find: str = ""
    rank: str = ""
    every: bool = False

    @classmethod
    def read(cls, given: Mapping[str, str]) -> LogWanted:
        """Read what a form has sent."""
        return cls(find=given.get("find", "")[:200], rank=given.get("rank", "")[:50], every="all" in given)

    def words(self) -> list[tuple[str, str]]:
        """Return it as an address has it."""
        found = [("find", self.find), ("rank", self.rank), ("all", "1" if self.every else "")]
        return [(name, value) for name, value in found if value]

    def options(self) -> LogOptions:
        """Return it as `read_logs` takes it.

        Raises:
            ValueError: The ranks are of another form.
        """
        pattern = re.compile(re.escape(self.find), re.IGNORECASE) if self.find else None
        ranks = parse_numbers(self.rank) if self.rank.strip() else None
        return LogOptions(
            log_filter=LogFilter(ranks=ranks, pattern=pattern), form=LogFormat(attempts=self.every),
            all_attempts=self.every,
        )  # fmt: skip


class RunViews:
    """Draws runs, and watches those that are looked at."""

    def __init__(self, store: RunStore, *, hub: Hub[Watched], runs: RunList, fetched: Path) -> None:
        self._store, self._hub, self._runs, self._fetched = store, hub, runs, fetched

    def draw(
        self, job: ResolvedJob, tab: str, wanted: LogWanted, metrics: Sequence[str], links: Links, *,
        is_saved: bool
    ) -> dict[str, str]:  # fmt: skip
        """Return the parts of a page that is opened, asking nobody, or of one that is saved, asking once."""
        watch = self._new_watch(job).read_once() if is_saved else None
        parts = _Drawing(job, tab, metrics, links, saved=is_saved).draw(watch)
        if tab == "logs":
            parts |= self._draw_log(job, wanted, is_saved=is_saved)
        elif tab == "events":
            found = EventsWatch(job).look() if is_saved else None
            parts["body"] = draw_events(found.events if found else None, found.note if found else "")
        elif tab == "config" and is_recorded(job):
            parts["body"] = draw_configuration(read_configuration(job))
        elif tab == "config":
            asked = ConfigurationWatch(job).look() if is_saved else None
            parts["body"] = _draw_asked(asked)
        elif tab == "report":
            parts["report"] = self._draw_report(job, links, is_saved=is_saved)
        return parts

    def attend(
        self, job: ResolvedJob, tab: str, wanted: LogWanted, metrics: Sequence[str], links: Links
    ) -> Attend:
        """Return what watches a run's page while it is looked at."""

        @contextmanager
        def attend(wake: Callable[[], None]) -> Iterator[View]:
            is_light = tab in _LIGHT or tab == "logs"
            with ExitStack() as stack:

                def watch(key: object, make: Callable[[], Watched]) -> Watched:
                    return stack.enter_context(
                        self._hub.attend((job.name, job.record.run_id, key), make, wake)
                    )

                main = watch(("job", is_light), lambda: self._new_watch(job, is_light=is_light).begin())
                assert isinstance(main, JobWatch)
                other: Watched | None = None
                if tab == "logs":
                    other = watch(wanted, lambda: _begin_log(self._reopen(job), wanted))
                elif tab == "events":
                    other = watch("events", lambda: EventsWatch(self._reopen(job)).begin())
                elif tab == "config" and not is_recorded(job):
                    other = watch("config", lambda: ConfigurationWatch(self._reopen(job)).begin())
                yield _RunView(_Drawing(job, tab, metrics, links, saved=False), main, other)

        return attend

    def attend_compared(self, jobs: Sequence[ResolvedJob], metrics: Sequence[str], *, url: str) -> Attend:
        """Return what watches runs that are compared while they are looked at."""

        @contextmanager
        def attend(wake: Callable[[], None]) -> Iterator[View]:
            with ExitStack() as stack:
                watches: list[JobWatch] = []
                for job in jobs:
                    key = (job.name, job.record.run_id, "compared")
                    found = stack.enter_context(self._hub.attend(key, partial(self._begin_one, job), wake))
                    assert isinstance(found, JobWatch)
                    watches.append(found)
                yield ComparisonView(watches, metrics, fetched=self._fetched, url=url)

        return attend

    def _begin_one(self, job: ResolvedJob) -> JobWatch:
        return JobWatch(
            job, reopen=lambda: self._reopen(job), fetched=self._fetched / job.name, is_of_many=True
        ).begin()

    def read_report(self, job: ResolvedJob) -> bytes:
        """Return the page of a run's report.

        Raises:
            NotFoundError: There is none on this machine.
        """
        folder = output_here(job.run_folder)
        for place in (folder, self._fetched / job.name):
            if place is None:
                continue
            try:
                return read_file(place / PAGE, max_bytes=_MAX_REPORT)
            except OSError:
                continue
        raise NotFoundError(
            where=job.name, expected=f"a report ({PAGE}) on this machine", got="none",
            fix="it is written after each evaluation of a training with DataLoader.Eval",
        )  # fmt: skip

    def _draw_report(self, job: ResolvedJob, links: Links, *, is_saved: bool) -> str:
        try:
            page = self.read_report(job)
        except NotFoundError as error:
            fetch = "" if is_saved else f"{links.base}fetch"
            return draw_part("report", reason=str(error), url="", document="", fetch=fetch)
        document = page.decode("utf-8", "replace") if is_saved else ""
        return draw_part("report", reason="", url=f"{links.base}report.html", document=document, fetch="")

    def _draw_log(self, job: ResolvedJob, wanted: LogWanted, *, is_saved: bool) -> dict[str, str]:
        try:
            options = wanted.options()
        except ValueError as error:
            return {"lines": "", "lognote": html.escape(f"Ranks: {error}")}
        if not is_saved:
            return {"lines": "", "lognote": ""}
        watch = LogWatch(job, options, follow=False)
        watch.read()
        return {"lines": draw_lines(watch.lines_from(0)[1]), "lognote": html.escape(watch.note)}

    def _new_watch(self, job: ResolvedJob, *, is_light: bool = False) -> JobWatch:
        return JobWatch(
            job, reopen=lambda: self._reopen(job), fetched=self._fetched / job.name, is_light=is_light,
            before=self._runs.name_before(job.record),
        )  # fmt: skip

    def _reopen(self, job: ResolvedJob) -> ResolvedJob:
        return open_job(job.record, store=job.store)


@dataclass(frozen=True, slots=True)
class _Drawing:
    """Draws the parts of a tab that a job's watch knows."""

    job: ResolvedJob
    tab: str
    metrics: Sequence[str]
    links: Links
    saved: bool

    def __init__(
        self, job: ResolvedJob, tab: str, metrics: Sequence[str], links: Links, *, saved: bool
    ) -> None:
        for name, value in zip(
            ("job", "tab", "metrics", "links", "saved"), (job, tab, metrics, links, saved), strict=True
        ):
            object.__setattr__(self, name, value)

    def draw(self, watch: JobWatch | None) -> dict[str, str]:
        parts = {"head": draw_head(self.job, watch), "actions": draw_actions(self.job, watch, self.links)}
        if self.tab == "":
            parts |= {
                "verdict": draw_verdict(watch),
                "curves": draw_curves(self.job, watch, self.metrics, self.links, saved=self.saved),
                "epochs": draw_epochs(watch),
                "ranks": draw_ranks(watch),
                "tail": draw_tail(watch),
            }
        return parts


class _RunView:
    """What a browser is sent of a run."""

    def __init__(self, drawing: _Drawing, watch: JobWatch, other: Watched | None) -> None:
        self._drawing, self._watch, self._other = drawing, watch, other
        self._next = 0

    def draw(self) -> dict[str, str]:
        """See `View.draw`."""
        parts = self._drawing.draw(self._watch)
        if isinstance(self._other, EventsWatch):
            parts["body"] = draw_events(self._other.events, self._other.note)
        elif isinstance(self._other, ConfigurationWatch):
            parts["body"] = _draw_asked(self._other)
        elif isinstance(self._other, LogWatch):
            parts["lognote"] = html.escape(escape_controls(self._other.note))
        return parts

    def new_lines(self) -> tuple[int, list[str]] | None:
        """See `View.new_lines`."""
        if not isinstance(self._other, LogWatch):
            return None
        first, lines = self._other.lines_from(self._next)
        self._next = first + len(lines)
        return first, [escape_controls(line) for line in lines]


def _draw_asked(watch: ConfigurationWatch | None) -> str:
    """Draw the configuration of a job that was submitted elsewhere; `…` before it is known."""
    if watch is None or (watch.found is None and not watch.note):
        return "<p>…</p>"
    nothing = Configuration(values=(), options=(), made_of=(), notes=(watch.note,))
    return draw_configuration(watch.found or nothing)


def _begin_log(job: ResolvedJob, wanted: LogWanted) -> LogWatch:
    try:
        return LogWatch(job, wanted.options()).begin()
    except ValueError as error:
        watch = LogWatch(job, LogOptions())
        watch.note = f"Ranks: {error}"
        return watch
