"""Watches over HTTP, and the bell that rings by them."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from launcher.backends.kubernetes.watch import JobWatch
from launcher.kube.client import Client, connect
from launcher.kube.errors import DeniedError, ExpiredError, NoAnswerError
from launcher.kube.watch import WatchEvent
from launcher.objects import PODS
from launcher.plan.handle import Handle
from tests.launcher.kube.api_server import Answer, ApiServer
from tests.launcher.kube.test_client import write_kubeconfig

JOB = Handle(backend="kubernetes", namespace="ml", job="flowers")


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as running:
        yield running


@pytest.fixture
def client(server: ApiServer, tmp_path: Path) -> Client:
    kubeconfig = write_kubeconfig(tmp_path, url=server.url, user={"token": "secret"})
    return connect(kubeconfig=kubeconfig, environ={})


def event(kind: str, version: int, **more: Any) -> bytes:
    item = {"metadata": {"name": "w-0", "resourceVersion": str(version)}, **more}
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def test_changes_come_with_their_versions_wherever_the_answer_is_cut(
    client: Client, server: ApiServer
) -> None:
    text = event("ADDED", 4) + event("MODIFIED", 7) + event("BOOKMARK", 9)
    server.answer = lambda _: Answer(pieces=(text[:30], text[30:100], text[100:]))
    changes = list(client.watch(PODS, namespace="ml", labels="a=b", version="3", timeout_s=60))
    assert [(change.kind, change.version) for change in changes] == [
        ("ADDED", "4"), ("MODIFIED", "7"), ("BOOKMARK", "9"),
    ]  # fmt: skip
    (asked,) = server.asked
    assert asked.query == {
        "watch": "true", "allowWatchBookmarks": "true", "timeoutSeconds": "60", "labelSelector": "a=b",
        "resourceVersion": "3",
    }  # fmt: skip
    assert "as=PartialObjectMetadata" in asked.headers["Accept"]


GONE = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old resource version"}


@pytest.mark.parametrize("answer", [
    Answer(code=410, body=json.dumps(GONE).encode()),
    Answer(pieces=(json.dumps({"type": "ERROR", "object": GONE}).encode() + b"\n",)),
], ids=["as a status", "as an event"])  # fmt: skip
def test_a_beginning_that_is_too_old_is_told_apart(client: Client, server: ApiServer, answer: Answer) -> None:
    server.answer = lambda _: answer
    with pytest.raises(ExpiredError):
        list(client.watch(PODS, namespace="ml", version="1"))


def test_a_missing_rule_is_told_apart(client: Client, server: ApiServer) -> None:
    server.answer_status(403, 'pods is forbidden: User "ann" cannot watch resource "pods" in API group ""')
    with pytest.raises(DeniedError, match='"verbs": \\["watch"\\]'):
        list(client.watch(PODS, namespace="ml"))


@pytest.mark.parametrize("answer", [
    Answer(pieces=(event("ADDED", 4),), reset=True), Answer(pieces=(b"<html>\n",)),
    Answer(pieces=(b"[1]\n",)),
], ids=["cut off", "a web page", "another document"])  # fmt: skip
def test_a_watch_that_breaks_off_is_no_answer(client: Client, server: ApiServer, answer: Answer) -> None:
    server.answer = lambda _: answer
    with pytest.raises(NoAnswerError):
        list(client.watch(PODS, namespace="ml"))


class Watched:
    """Plays a cluster whose watches end as a test says; a watch without a script stays silent."""

    def __init__(self, script: dict[str, list[Callable[[], Iterator[WatchEvent]]]]) -> None:
        self.script = script
        self.asked: list[tuple[str, str]] = []

    def watch(self, resource: Any, *, version: str = "", **_: Any) -> Iterator[WatchEvent]:
        self.asked.append((resource.plural, version))
        steps = self.script.get(resource.plural)
        if not steps:
            threading.Event().wait()
        else:
            yield from steps.pop(0)()


def change(kind: str, version: int) -> WatchEvent:
    return WatchEvent(kind, {"metadata": {"resourceVersion": str(version)}})


def fails(error: Exception) -> Callable[[], Iterator[WatchEvent]]:
    def step() -> Iterator[WatchEvent]:
        raise error
        yield

    return step


def waited_s(bell: JobWatch) -> float:
    began_s = time.monotonic()
    bell.wait(0.0, most_s=30.0)
    return time.monotonic() - began_s


def test_a_change_rings_and_a_bookmark_does_not() -> None:
    go = threading.Event()

    def step() -> Iterator[WatchEvent]:
        yield change("BOOKMARK", 5)
        go.wait()
        yield change("MODIFIED", 6)

    cluster: Any = Watched({"pods": [step]})
    bell = JobWatch(cluster, JOB, heartbeat_s=0.2)
    assert waited_s(bell) >= 0.2  # the heartbeat alone
    long = JobWatch(Watched({"pods": [step]}), JOB, heartbeat_s=60.0)  # type: ignore[arg-type]  # plays one method
    go.set()
    assert waited_s(long) < 30.0


def test_it_goes_on_from_the_last_version_and_from_the_beginning_where_that_has_expired() -> None:
    cluster: Any = Watched({"pods": [
        lambda: iter([change("ADDED", 5), change("BOOKMARK", 8)]),
        fails(ExpiredError("too old")),
        lambda: iter([change("ADDED", 9)]),
    ]})  # fmt: skip
    JobWatch(cluster, JOB)
    until_s = time.monotonic() + 10
    while len(cluster.asked) < 5 and time.monotonic() < until_s:
        time.sleep(0.01)
    assert [version for plural, version in cluster.asked if plural == "pods"] == ["", "8", "", "9"]


def test_where_watching_is_not_allowed_its_caller_polls() -> None:
    cluster: Any = Watched({"pods": [fails(DeniedError("no rule"))]})
    bell = JobWatch(cluster, JOB, heartbeat_s=60.0)
    assert waited_s(bell) < 30.0
    assert waited_s(bell) < 1.0
