"""Who may read the page: requests are let in by their host, their origin and a secret, or refused.

The server listens on 127.0.0.1, which keeps other machines out and nobody else: any program and any user of
this machine can connect to it, and any web page that the user has open can send requests there. So each
request is held against four things.

- Its `Host` is an address of this machine. A name that leads to 127.0.0.1 for the moment (DNS rebinding) is
  not.
- Its `Origin` and its `Sec-Fetch-Site`, where a browser sends them, are those of the page itself.
- It carries the cookie, which only the address with the token hands out.
- Its path begins with a folder that is drawn anew each time. Browsers share cookies between all ports of a
  host, so that a page of another user on another port of 127.0.0.1 would be sent ours; a cookie with a path
  goes to that path alone, which nobody else knows.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_HOST = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:[0-9]{1,5})?", re.ASCII | re.IGNORECASE)
_MAX_QUERY = 8192
PAGE_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; "
    "frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_LEAD_ON = """<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0;url={where}">
<title>ftlaunch</title><a href="{where}">Runs</a>
"""
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": PAGE_POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    # not no-referrer: with it browsers send the forms of the page itself with `Origin: null`
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
"""Of every answer, where it has none of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Keys:
    """What is drawn when the page is started, and known to whoever reads its address alone.

    Attributes:
        token: Of the address.
        cookie: What the address is exchanged for.
        form: Sent by the forms that change something.
        folder: First part of every path, without slashes.
    """

    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    cookie: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    form: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    folder: str = field(default_factory=lambda: secrets.token_hex(8))


class Guard:
    """Lets requests through to an application, and answers those itself that may not pass."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or pass on one request."""
        if scope["type"] != "http":
            return  # no WebSocket is spoken here; a server that gets no answer refuses it
        headers = _read_headers(scope)
        refused = self._find_reason(scope, headers)
        if refused:
            await _answer(send, 403, refused, {"content-type": "text/plain; charset=utf-8"})
        elif scope["path"] == "/":
            name = _cookie_name(headers["host"])
            cookie = f"{name}={self._keys.cookie}; Path=/{self._keys.folder}/; HttpOnly; SameSite=Strict"
            # A page that leads on, not a redirect: where that began elsewhere, such as in the file that a
            # browser is started with, the next request is another site's, and goes without the cookie.
            text = _LEAD_ON.format(where=f"/{self._keys.folder}/")
            await _answer(send, 200, text, {"content-type": "text/html; charset=utf-8", "set-cookie": cookie})
        else:
            await self._app(scope, receive, _with_headers(send))

    def _find_reason(self, scope: Scope, headers: Mapping[str, str]) -> str:
        """Return why a request is refused, as a sentence; empty where it is not."""
        host = headers.get("host", "")
        if not _HOST.fullmatch(host):
            return "Host: expected 127.0.0.1 or localhost; open the address that `ftlaunch ui` has printed"
        if headers.get("origin", f"http://{host}").lower() != f"http://{host}".lower():
            return "Origin: expected that of this page"
        if scope["path"] == "/":
            return self._find_entry_reason(scope)
        return self._find_page_reason(scope, headers)

    def _find_page_reason(self, scope: Scope, headers: Mapping[str, str]) -> str:
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            return "expected a request of this page, got one of another"
        if scope["method"] not in ("GET", "HEAD") and "origin" not in headers:
            return "Origin: expected that of this page, got none"
        given = _read_cookie(headers.get("cookie", ""), _cookie_name(headers["host"]))
        is_known = secrets.compare_digest(given.encode(), self._keys.cookie.encode())
        if not is_known or not scope["path"].startswith(f"/{self._keys.folder}/"):
            return "expected a browser that has opened the address that `ftlaunch ui` has printed"
        return ""

    def _find_entry_reason(self, scope: Scope) -> str:
        query = bytes(scope.get("query_string", b""))[:_MAX_QUERY].decode("latin-1")
        given = parse_qs(query).get("token", [""])[0]
        if scope["method"] != "GET" or not secrets.compare_digest(given.encode(), self._keys.token.encode()):
            return "expected the whole address that `ftlaunch ui` has printed, with its token"
        return ""


def _cookie_name(host: str) -> str:
    """Return a name of the port, so that two pages in one browser do not take each other's cookie."""
    return f"ftlaunch-{host.rpartition(':')[2] if host[-1:].isdigit() and ':' in host else '80'}"


def _read_headers(scope: Scope) -> dict[str, str]:
    """Return headers by name; of one that stands twice a value that fits nothing."""
    found: dict[str, str] = {}
    for raw_name, value in scope["headers"]:
        name = raw_name.decode("latin-1").lower()
        # cookies alone may come in several lines
        joined = "; " if name == "cookie" else "\n"
        found[name] = (
            f"{found[name]}{joined}{value.decode('latin-1')}" if name in found else value.decode("latin-1")
        )
    return found


def _read_cookie(header: str, name: str) -> str:
    try:
        found = SimpleCookie(header).get(name)
    except CookieError:
        return ""
    return "" if found is None else found.value


async def _answer(send: Send, status: int, text: str, headers: Mapping[str, str]) -> None:
    body = text.encode()
    given = {**_HEADERS, **headers, "content-length": str(len(body))}
    pairs = [(name.encode(), value.encode()) for name, value in given.items()]
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


def _with_headers(send: Send) -> Send:
    async def add(message: Message) -> None:
        if message["type"] == "http.response.start":
            present = {name.lower() for name, _ in message["headers"]}
            extra = [(k.encode(), v.encode()) for k, v in _HEADERS.items() if k.encode() not in present]
            message = {**message, "headers": [*message["headers"], *extra]}
        await send(message)

    return add
