from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import pytest

from launcher.names import new_run_id
from launcher.plan.handle import Handle
from launcher.runs.record import RunRecord, Stage
from launcher.runs.store import RunStore
from launcher.ui.app import App, Settings

HOST = "127.0.0.1:8421"


@dataclass
class Answer:
    status_code: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    @property
    def text(self) -> str:
        return self.body.decode()


class Client:
    """Sends single requests to an ASGI application, without a network; all in one event loop."""

    loop = asyncio.new_event_loop()

    def __init__(self, asgi: Any, host: str = HOST) -> None:
        self.asgi, self.host, self.cookie = asgi, host, ""

    def get(self, url: str, headers: Mapping[str, str] = MappingProxyType({})) -> Answer:
        return self.loop.run_until_complete(self.send("GET", url, headers))

    def post(self, url: str, headers: Mapping[str, str] = MappingProxyType({}), **fields: str) -> Answer:
        return self.loop.run_until_complete(self.send("POST", url, headers, body=urlencode(fields).encode()))

    def open(self, token: str) -> Answer:
        answer = self.get(f"/?token={token}")
        self.cookie = answer.headers.get("set-cookie", "").partition(";")[0]
        return answer

    async def send(
        self, method: str, url: str, headers: Mapping[str, str] = MappingProxyType({}), *, body: bytes = b"",
        watch: Callable[[bytes], bool] = lambda _: False,
    ) -> Answer:  # fmt: skip
        """Send a request; the other side is gone once `watch` says so of a piece of the answer."""
        path, _, query = url.partition("?")
        given = {"host": self.host, **({"cookie": self.cookie} if self.cookie else {}), **headers}
        scope = {
            "type": "http", "method": method, "path": path, "query_string": query.encode(), "scheme": "http",
            "headers": [(name.encode(), value.encode()) for name, value in given.items()], "root_path": "",
            "raw_path": path.encode(), "http_version": "1.1", "server": ("127.0.0.1", 8421),
            "client": ("127.0.0.1", 1),
        }  # fmt: skip
        answer, gone = Answer(), asyncio.Event()
        bodies = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> dict[str, Any]:
            if bodies:
                return bodies.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def take(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status_code = message["status"]
                answer.headers = {name.decode(): value.decode() for name, value in message["headers"]}
            else:
                answer.body += message["body"]
                if watch(message["body"]):
                    gone.set()

        await asyncio.wait_for(self.asgi(scope, receive, take), 60)
        return answer


@dataclass
class Page:
    """The application as a browser that has opened its address meets it."""

    app: App
    asgi: Any
    settings: Settings
    client: Client = field(init=False)

    def __post_init__(self) -> None:
        self.client = Client(self.asgi)
        assert self.client.open(self.settings.keys.token).status_code == 200

    @property
    def root(self) -> str:
        return f"/{self.settings.keys.folder}/"

    def get(self, path: str = "", **given: Any) -> Answer:
        return self.client.get(self.root + path, **given)

    def post(self, path: str, **fields: str) -> Answer:
        return self.client.post(self.root + path, {"origin": f"http://{HOST}"}, **fields)

    def follow(self, path: str, until: Callable[[list[tuple[str, Any]]], Any]) -> list[tuple[str, Any]]:
        """Hold a stream open until what has come is enough, and return its events."""
        events: list[tuple[str, Any]] = []

        def watch(piece: bytes) -> bool:
            name, _, data = piece.decode().partition("\ndata: ")
            if data:
                events.append((name.removeprefix("event: "), json.loads(data)))
            return bool(until(events))

        answer = Client.loop.run_until_complete(self.client.send("GET", self.root + path, watch=watch))
        assert answer.status_code == 200
        return events


@pytest.fixture
def open_page(store: RunStore, tmp_path) -> Callable[..., Page]:
    def open_it(**given: Any) -> Page:
        settings = Settings(store=store, fetched=tmp_path / "fetched", version="0.2.0", **given)
        app = App(settings)
        return Page(app=app, asgi=app.build(), settings=settings)

    return open_it


@pytest.fixture
def page(open_page) -> Page:
    return open_page()


@pytest.fixture
def add_run(store: RunStore, tmp_path) -> Callable[..., RunRecord]:
    """Make run folders of jobs that are nowhere."""

    def add(name: str, *, config: bytes = b"", backend: str = "local", created_s: float = 1.0, **given: Any):
        record = RunRecord(
            handle=Handle(backend=backend, namespace="ml" if backend == "kubernetes" else "", job=name),
            run_id=new_run_id(), stage=Stage.SUBMITTED, project=str(tmp_path),
            config=given.pop("path", "cfg.yaml"), command=given.pop("command", ("submit", "cfg.yaml")),
            created_s=created_s,
        )  # fmt: skip
        store.begin(record, config=config, manifest="", git=None)
        return record

    return add
