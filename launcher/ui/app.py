"""The addresses of the page, and what answers each."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlencode

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.types import ASGIApp

from launcher.backends.states import JobState
from launcher.errors import LaunchError, NotFoundError, UsageError
from launcher.jobs import lifecycle
from launcher.jobs.listing import GONE, UNKNOWN
from launcher.jobs.report import fetch_report
from launcher.jobs.resolve import ResolvedJob, find_job
from launcher.plan.handle import BACKENDS, BackendKind
from launcher.runs.store import RunStore
from launcher.times import format_unix_time
from launcher.ui.comparison import MOST_COMPARED, draw_comparison
from launcher.ui.guard import Guard, Keys
from launcher.ui.pages import draw_page, draw_part, read_asset
from launcher.ui.run_page import TABS, Links
from launcher.ui.run_view import LogWanted, RunViews
from launcher.ui.runs import PAGE, ListWatch, Query, RunList, Shown
from launcher.ui.stream import EventStream
from launcher.ui.team import TeamList, TeamQuery, TeamView, TeamWatch
from launcher.ui.watch import Hub, Watched

_MAX_FORM = 4096
_ASSETS = {"ui.css": "text/css", "ui.js": "text/javascript"}
STATES = [*(state.value for state in JobState), GONE, UNKNOWN]


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """What the page is started with.

    Attributes:
        store: Run folders of this machine.
        fetched: Folder for what is fetched from elsewhere while the page runs.
        version: Of ftlaunch.
        on: Only runs of this kind of backend; None for all.
        namespace: Of Kubernetes, whose jobs of everybody are shown too; empty for none.
        context: Of the kubeconfig; None for what settings say.
        keys: Secrets of this start.
    """

    store: RunStore
    fetched: Path
    version: str
    on: BackendKind | None = None
    namespace: str = ""
    context: str | None = None
    keys: Keys = field(default_factory=Keys)


class App:
    """Answers what the guard has let in.

    Attributes:
        hub: What is looked at now.
        ended: Set when the server ends, so that open streams end.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._root = f"/{settings.keys.folder}/"
        self._actions = {**_ACTIONS, "fetch": _fetch_into(settings.fetched)}
        self.hub: Hub[Watched] = Hub()
        self.ended = asyncio.Event()
        self.runs = RunList(settings.store, on=settings.on)
        self.team = None
        if settings.namespace:
            self.team = TeamList(
                settings.namespace, settings.context, own=settings.store, folder=settings.fetched / "team"
            )
        self._views = RunViews(settings.store, hub=self.hub, runs=self.runs, fetched=settings.fetched)

    def build(self) -> ASGIApp:
        """Return the application behind its guard."""
        run = [
            Route("/", self._run), Route("/stream", self._run_stream),
            Route("/report.html", self._report_file),
            Route("/{verb:str}", self._act, methods=["POST"]),
            Route("/{tab:str}", self._run),
        ]  # fmt: skip
        team = [
            Route("/", self._team), Route("/stream", self._team_stream), Mount("/{job:str}", routes=run),
        ]  # fmt: skip
        inner = [
            Route("/", self._list), Route("/stream", self._list_stream), Route("/compare", self._compare),
            Route("/compare/stream", self._compare_stream),
            Route("/{asset:str}", self._asset), Mount("/run/{job:str}", routes=run),
        ]  # fmt: skip
        if self.team is not None:
            inner.insert(0, Mount("/team", routes=team))
        routes = [Mount(f"/{self._settings.keys.folder}", routes=inner)]
        handlers: Mapping[object, Callable[[Request, Exception], Awaitable[Response]]] = {
            LaunchError: self._refuse,
        }
        app = Starlette(routes=routes, exception_handlers=handlers)
        return Guard(app, self._settings.keys)

    async def _asset(self, request: Request) -> Response:
        name = request.path_params["asset"]
        if name not in _ASSETS:
            raise NotFoundError(where=name, expected="a page", got="none of that name")
        return Response(read_asset(name), media_type=_ASSETS[name])

    async def _list(self, request: Request) -> Response:
        query, is_saved = _read_query(request), "save" in request.query_params
        shown = await asyncio.to_thread(
            self.runs.show, query, asks=is_saved, within_s=None if is_saved else 0.15
        )
        parts = self._list_parts(shown, query, is_saved=is_saved)
        words = urlencode({key: value for key, value in _words(query).items() if value})
        return self._page(
            "runs", request, title="Runs", here="runs", parts=parts, query=query, states=STATES,
            backends=BACKENDS, stream=f"{self._root}stream?{words}",
        )  # fmt: skip

    async def _list_stream(self, request: Request) -> ASGIApp:
        query = _read_query(request)

        @contextmanager
        def attend(wake: Callable[[], None]) -> Iterator[_ListView]:
            def make() -> Watched:
                return ListWatch(self.runs, query).begin()

            with self.hub.attend(("list", query), make, wake) as watch:
                assert isinstance(watch, ListWatch)
                yield _ListView(self, watch, query)

        return EventStream(attend, self.ended)

    def _list_parts(self, shown: Shown, query: Query, *, is_saved: bool = False) -> dict[str, str]:
        empty = "…" if shown.is_asking else "No run is so." if query.is_filter else "No run yet."
        first = PAGE * (query.page - 1) + 1 if shown.rows else 0
        last = first + len(shown.rows) - 1
        has_more = len(shown.rows) == PAGE and (shown.total is None or last < shown.total)
        links = {
            page: self._root + "?" + urlencode({**_words(query), "page": page})
            for page in (query.page - 1, query.page + 1)
        }
        return {
            "rows": draw_part("rows", rows=shown.rows, root=self._root, is_saved=is_saved, empty=empty),
            "pager": draw_part(
                "pager", first=first, last=last, total=shown.total, is_saved=is_saved,
                before=links[query.page - 1] if query.page > 1 else "",
                after=links[query.page + 1] if has_more else "",
            ),
        }  # fmt: skip

    async def _team(self, request: Request) -> Response:
        assert self.team is not None
        query, is_saved = _read_team_query(request), "save" in request.query_params
        if is_saved:
            await asyncio.to_thread(self.team.look)
        rows = await asyncio.to_thread(self.team.draw_rows, query, root=self._root, is_saved=is_saved)
        words = urlencode({"user": query.user, "state": query.state})
        return self._page(
            "team", request, title=f"Namespace {self.team.namespace}", here="team", parts={"rows": rows},
            query=query, states=STATES, stream=f"{self._root}team/stream?{words}",
        )  # fmt: skip

    async def _team_stream(self, request: Request) -> ASGIApp:
        query, team = _read_team_query(request), self.team
        assert team is not None

        @contextmanager
        def attend(wake: Callable[[], None]) -> Iterator[TeamView]:
            with self.hub.attend("team", lambda: TeamWatch(team).begin(), wake):
                yield TeamView(team, query, self._root)

        return EventStream(attend, self.ended)

    async def _compare(self, request: Request) -> Response:
        jobs, url = await asyncio.to_thread(self._find_compared, request)
        metrics = request.query_params.getlist("metric")
        is_saved = "save" in request.query_params
        parts = await asyncio.to_thread(
            draw_comparison, jobs, metrics, fetched=self._settings.fetched, url=url, is_saved=is_saved
        )
        names = [job.name for job in jobs]
        words = urlencode([*(("job", name) for name in names), *(("metric", name) for name in metrics)])
        return self._page(
            "compare", request, title=" and ".join(names), here="", parts=parts, names=names,
            stream=f"{self._root}compare/stream?{words}",
        )  # fmt: skip

    async def _compare_stream(self, request: Request) -> ASGIApp:
        jobs, url = await asyncio.to_thread(self._find_compared, request)
        metrics = request.query_params.getlist("metric")
        return EventStream(self._views.attend_compared(jobs, metrics, url=url), self.ended)

    def _find_compared(self, request: Request) -> tuple[list[ResolvedJob], str]:
        """Return the runs that are compared, and the address of their page without metrics."""
        names = list(dict.fromkeys(request.query_params.getlist("job")))[:MOST_COMPARED]
        if len(names) < 2:
            raise UsageError(where="compare", expected="two or more runs", got=str(len(names)))
        words = urlencode([("job", name) for name in names])
        jobs = [find_job(name, store=self._settings.store) for name in names]
        return jobs, f"{self._root}compare?{words}"

    async def _run(self, request: Request) -> Response:
        tab = request.path_params.get("tab", "")
        job = await asyncio.to_thread(self._find, request)
        if tab in self._actions:
            return self._confirm(request, job, tab)
        if tab not in dict(TABS):
            raise NotFoundError(where=tab, expected="a part of a run", got="none of that name")
        is_saved, links = "save" in request.query_params, self._links(request)
        wanted = LogWanted.read(request.query_params)
        metrics = request.query_params.getlist("metric")
        parts = await asyncio.to_thread(self._views.draw, job, tab, wanted, metrics, links, is_saved=is_saved)
        words = urlencode([("tab", tab), *wanted.words(), *(("metric", name) for name in metrics)])
        return self._page(
            "run", request, title=f"{job.name} {tab}".rstrip(), here="run", parts=parts, base=links.base,
            tabs=TABS, tab=tab, wanted=wanted, stream=f"{links.base}stream?{words}",
        )  # fmt: skip

    async def _run_stream(self, request: Request) -> ASGIApp:
        job = await asyncio.to_thread(self._find, request)
        tab, metrics = request.query_params.get("tab", ""), request.query_params.getlist("metric")
        wanted = LogWanted.read(request.query_params)
        return EventStream(self._views.attend(job, tab, wanted, metrics, self._links(request)), self.ended)

    async def _report_file(self, request: Request) -> Response:
        job = await asyncio.to_thread(self._find, request)
        page = await asyncio.to_thread(self._views.read_report, job)
        policy = (
            "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
        )
        return HTMLResponse(page, headers={"content-security-policy": policy})

    def _confirm(self, request: Request, job: ResolvedJob, verb: str) -> Response:
        action, links = self._actions[verb], self._links(request)
        return self._page(
            "confirm", request, title=f"{action.verb} {job.name}?", here="run", parts={}, text=action.text,
            verb=f"{action.verb} {job.name}", action=f"{links.base}{verb}", back=links.base, stream="",
            save="", form_key=self._settings.keys.form,
        )  # fmt: skip

    async def _act(self, request: Request) -> Response:
        verb = request.path_params["verb"]
        job = await asyncio.to_thread(self._find, request)
        form = await _read_form(request)
        given = form.get("form", [""])[0]
        if verb not in self._actions or not secrets.compare_digest(
            given.encode(), self._settings.keys.form.encode()
        ):
            return HTMLResponse("expected a form of this page", status_code=403)
        await asyncio.to_thread(self._actions[verb].act, job)
        return RedirectResponse(self._links(request).base + self._actions[verb].then, status_code=303)

    async def _refuse(self, request: Request, error: Exception) -> Response:
        status = 404 if isinstance(error, NotFoundError) else 409
        return self._page(
            "message", request, title="That did not work", here="", parts={}, text=str(error),
            back=self._root, back_text="All runs", stream="", save="", status=status,
        )  # fmt: skip

    def _page(self, name: str, request: Request, /, *, status: int = 200, **given: object) -> Response:
        is_saved = "save" in request.query_params
        title = str(given["title"])
        mark = "&" if request.url.query else "?"
        known: dict[str, object] = {
            "root": self._root, "namespace": self._settings.namespace, "version": self._settings.version,
            "saved_at": format_unix_time(time.time()), "save": f"{request.url.path}"
            + (f"?{request.url.query}" if request.url.query else "") + f"{mark}save=1",
        }  # fmt: skip
        parts = given.pop("parts")
        assert isinstance(parts, dict)
        text = draw_page(name, parts=parts, is_saved=is_saved, **{**known, **given})
        headers = {}
        if is_saved:
            kept = "".join(sign if sign.isalnum() or sign in "-." else "-" for sign in title)[:100]
            headers["content-disposition"] = f'attachment; filename="ftlaunch-{kept}.html"'
        return HTMLResponse(text, status_code=status, headers=headers)

    def _find(self, request: Request) -> ResolvedJob:
        if self.team is not None and request.url.path.startswith(f"{self._root}team/"):
            return self.team.open(request.path_params["job"])
        return find_job(request.path_params["job"], store=self._settings.store)

    def _links(self, request: Request) -> Links:
        """Return where the pages of a request's run are: in `run/`, or in `team/`."""
        path = request.url.path.removeprefix(self._root)
        base = "/".join(path.split("/")[:2])
        return Links(root=self._root, base=f"{self._root}{base}/")


class _ListView:
    """What a browser is sent of a list."""

    def __init__(self, app: App, watch: ListWatch, query: Query) -> None:
        self._app, self._watch, self._query = app, watch, query
        self._names: list[str] | None = None

    def draw(self) -> dict[str, str]:
        """Return the rows one by one, or all of them where others are shown than before."""
        shown = self._watch.shown
        if shown is None:
            return {}
        parts = self._app._list_parts(shown, self._query)
        names = [row.job for row in shown.rows]
        rows = {
            f"row:{row.job}": draw_part("row", row=row, root=self._app._root, is_saved=False)
            for row in shown.rows
        }
        if names != self._names:
            self._names = names
            return parts | rows
        return {"pager": parts["pager"]} | rows

    def new_lines(self) -> None:
        """Return none: a list has no log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Action:
    verb: str
    text: str
    act: Callable[[ResolvedJob], object]
    then: str = ""


_ACTIONS = {
    "cancel": _Action(
        verb="Cancel", act=lifecycle.cancel,
        text="It saves a checkpoint and stops, and does not come back by itself. It can be resumed.",
    ),
    "resume": _Action(
        verb="Resume", act=lifecycle.resume, text="It is started again, from its last checkpoint.",
    ),
}  # fmt: skip


def _fetch_into(folder: Path) -> _Action:
    return _Action(
        verb="Fetch the report of",
        text="It is read through the job's first pod while that runs, else through a pod that mounts the "
        "job's volumes for as long as it takes. It is kept until this page ends.",
        act=lambda job: fetch_report(job, to=folder / job.name),
        then="report",
    )


def _read_query(request: Request) -> Query:
    given = request.query_params
    page = given.get("page", "1")
    return Query(
        text=given.get("q", "")[:200], state=_one_of(STATES, given.get("state", "")),
        on=_one_of(BACKENDS, given.get("on", "")),
        page=max(1, int(page)) if page.isascii() and page.isdigit() and len(page) < 7 else 1,
    )  # fmt: skip


def _read_team_query(request: Request) -> TeamQuery:
    given = request.query_params
    return TeamQuery(user=given.get("user", "")[:100], state=_one_of(STATES, given.get("state", "")))


def _one_of(known: Sequence[str], word: str) -> str:
    """Return a word as it is known; empty where it is not, so that nobody is asked in vain."""
    return next((one for one in known if one.lower() == word.lower()), "")


def _words(query: Query) -> dict[str, object]:
    return {"q": query.text, "state": query.state, "on": query.on, "page": query.page}


async def _read_form(request: Request) -> dict[str, list[str]]:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > _MAX_FORM:
            return {}
    return parse_qs(body.decode("utf-8", "replace"))
