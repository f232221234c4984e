"""Fetching over HTTP from a server on loopback that misbehaves."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import trustme

from trainer.errors import WeightsError
from trainer.models.download import DownloadError, Fetching, fetch
from trainer.models.weights_store import WeightsStore

CONTENT = bytes(range(256)) * 64


@dataclass
class Server:
    """Answers each request by the next of `moods`, then well.

    Attributes:
        moods: `cut` (half of it), `503`, `404`, `short` (says a byte more than it sends), `long_range`.
        ranges: Whether it knows `Range`.
        asked: The `Range` of each request.
    """

    moods: list[str] = field(default_factory=list)
    ranges: bool = True
    asked: list[str | None] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append(wanted)
            mood = state.moods.pop(0) if state.moods else "well"
            if mood in ("404", "503"):
                self.send_error(int(mood))
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and state.ranges else 0
            if start >= len(CONTENT):
                self.send_error(416)
                return
            rest = CONTENT[start:]
            self.send_response(206 if start else 200)
            if start:
                first = start + 1 if mood == "odd range" else start
                self.send_header("Content-Range", f"bytes {first}-{len(CONTENT) - 1}/{len(CONTENT)}")
            self.send_header("Content-Length", str(len(rest) + (mood == "short")))
            self.end_headers()
            self.wfile.write(rest[: len(rest) // 2] if mood == "cut" else rest)

    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    state.url = f"http://127.0.0.1:{served.server_port}/dygraph/net_pretrained.pdparams"
    yield state
    served.shutdown()
    thread.join()
    served.server_close()


@dataclass
class People:
    """Collects what was said and how long was slept."""

    said: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def fetching(self, **changes: float) -> Fetching:
        """Sleeping moves the clock and nothing else."""
        return Fetching(say=self.said.append, sleep=self.slept.append, now=lambda: sum(self.slept), **changes)


@pytest.mark.parametrize("ranges", [True, False], ids=["ranges", "no-ranges"])
@pytest.mark.parametrize("moods", [[], ["cut"], ["cut", "503", "cut"], ["short"], ["503"] * 4], ids="-".join)
def test_whatever_happens_on_the_way_the_file_arrives_whole(
    server: Server, tmp_path: Path, moods: list[str], ranges: bool
):
    server.moods, server.ranges = list(moods), ranges
    target = tmp_path / "cache" / "net.pdparams"
    fetch(server.url, target, People().fetching())
    assert target.read_bytes() == CONTENT
    record = json.loads(target.with_name("net.pdparams.json").read_text())
    assert record == {
        "url": server.url, "size": len(CONTENT), "sha256": hashlib.sha256(CONTENT).hexdigest(),
    }  # fmt: skip
    assert not target.with_name("net.pdparams.part").exists()


def test_after_a_cut_only_the_rest_is_asked_for(server: Server, tmp_path: Path):
    server.moods = ["cut"]
    fetch(server.url, tmp_path / "net.pdparams", People().fetching())
    assert server.asked == [None, f"bytes={len(CONTENT) // 2}-"]


def test_what_an_earlier_process_left_is_gone_on_with(server: Server, tmp_path: Path):
    (tmp_path / "net.pdparams.part").write_bytes(CONTENT[:100])
    fetch(server.url, tmp_path / "net.pdparams", People().fetching())
    assert server.asked == ["bytes=100-"]
    assert (tmp_path / "net.pdparams").read_bytes() == CONTENT


def test_a_rest_that_is_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path):
    (tmp_path / "net.pdparams.part").write_bytes(CONTENT + b"more")
    fetch(server.url, tmp_path / "net.pdparams", People().fetching())
    assert (tmp_path / "net.pdparams").read_bytes() == CONTENT


def test_a_server_that_stays_busy_is_given_up_with_its_answer(server: Server, tmp_path: Path):
    server.moods, people = ["503"] * 9, People()
    with pytest.raises(DownloadError, match=r"answered 503 .*; tried 5 times"):
        fetch(server.url, tmp_path / "net.pdparams", people.fetching())
    assert people.slept == [1.0, 2.0, 4.0, 8.0]
    assert not (tmp_path / "net.pdparams").exists()


def test_a_file_that_is_not_there_is_not_tried_again(server: Server, tmp_path: Path):
    server.moods = ["404"]
    with pytest.raises(DownloadError, match="answered 404"):
        fetch(server.url, tmp_path / "net.pdparams", People().fetching())
    assert server.asked == [None]


def test_an_answer_from_another_place_of_the_file_is_refused(server: Server, tmp_path: Path):
    server.moods = ["cut", "odd range"]
    with pytest.raises(DownloadError, match="expected bytes from"):
        fetch(server.url, tmp_path / "net.pdparams", People().fetching())


def test_another_process_that_fetches_is_waited_for_with_words_and_not_for_ever(tmp_path: Path):
    people, target = People(), tmp_path / "net.pdparams"
    with target.with_name("net.pdparams.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(DownloadError, match="waited 60 s for another process"):
            fetch("http://127.0.0.1:9/net", target, people.fetching(wait_s=60.0))
    assert any("waiting for another process" in line for line in people.said)


def test_addresses_of_other_kinds_are_refused(tmp_path: Path):
    with pytest.raises(DownloadError, match="expected an address with http or https"):
        fetch("file:///etc/passwd", tmp_path / "net.pdparams", People().fetching())


def test_the_store_downloads_once_and_notices_a_file_that_changed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    store = WeightsStore(folders=(tmp_path / "cache",))
    paths = {store.obtain(server.url, say=People().said.append) for _ in range(2)}
    assert paths == {tmp_path / "cache/net_pretrained.pdparams"}
    assert len(server.asked) == 1
    with next(iter(paths)).open("ab") as file:
        file.write(b"x")
    with pytest.raises(WeightsError, match=r"as downloaded, got .* delete it"):
        store.obtain(server.url, say=People().said.append)


def test_the_store_takes_a_copy_from_any_folder_before_it_downloads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    copy = tmp_path / "home/.paddleclas/weights/net_pretrained.pdparams"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(b"")
    store = WeightsStore(folders=(tmp_path / "empty",))
    assert store.obtain("https://nowhere.invalid/net_pretrained.pdparams", say=print) == copy


def test_offline_says_which_file_to_put_where(tmp_path: Path):
    store = WeightsStore(folders=(tmp_path,), offline=True)
    with pytest.raises(WeightsError, match=rf"downloads are off; put it at {tmp_path}/net\.pdparams, or"):
        store.obtain("https://nowhere.invalid/a/net.pdparams", say=print)


@pytest.mark.parametrize("ending", ["part", "json", "json.tmp", "lock"])
@pytest.mark.parametrize("kind", ["link", "hard link"])
def test_no_file_that_a_link_leads_to_is_written(server: Server, tmp_path: Path, ending: str, kind: str):
    victim, shared = tmp_path / "victim", tmp_path / "shared"
    victim.write_text("precious")
    shared.mkdir()
    place = shared / f"net.pdparams.{ending}"
    place.symlink_to(victim) if kind == "link" else place.hardlink_to(victim)
    with contextlib.suppress(OSError):  # a lock that is a link is not taken
        fetch(server.url, shared / "net.pdparams", People().fetching())
        assert (shared / "net.pdparams").read_bytes() == CONTENT
    assert victim.read_text() == "precious"


def test_a_redirection_from_an_encrypted_connection_to_a_plain_one_is_not_followed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", server.url)
            self.end_headers()

    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    served = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    served.socket = context.wrap_socket(served.socket, server_side=True)
    thread = threading.Thread(target=served.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        with pytest.raises(DownloadError, match=r"expected a redirection to https://, got 'http://127"):
            fetch(f"https://127.0.0.1:{served.server_port}/x", tmp_path / "x", People().fetching())
    finally:
        served.shutdown()
        thread.join()
        served.server_close()
    assert server.asked == []


class TestAdviceOutlivesTheJob:
    URL = "https://nowhere.invalid/a/net.pdparams"

    def advice(self, **store: Any) -> str:
        with pytest.raises(WeightsError) as refused:
            WeightsStore(offline=True, **store).obtain(self.URL, say=print)
        return str(refused.value).partition("downloads are off; ")[2].partition(", or set")[0]

    def test_a_users_home_is_named(self, tmp_path: Path):
        assert self.advice(user_home=tmp_path) == f"put it at {tmp_path}/.paddleclas/weights/net.pdparams"

    def test_a_home_that_goes_with_its_container_is_not(self):
        assert (
            self.advice(home_is_lost=True) == "put net.pdparams on a volume and name that as Launch.weights"
        )

    def test_a_volume_that_is_mounted_read_only_is(self):
        mounted = (Path("/dev/null/weights"),)
        assert self.advice(home_is_lost=True, folders=mounted) == (
            "put net.pdparams on the volume that is mounted at /dev/null/weights"
        )

    def test_a_container_of_docker_is_told_of_its_machine(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(os, "access", lambda *_: False)  # mounted read-only
        advice = self.advice(home_is_lost=True, folders=(Path("/ftlaunch/weights"),))
        assert advice == "put net.pdparams into ~/.paddleclas/weights of the machine that submits"
