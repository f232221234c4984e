"""The proxy between us and an API server: which one, as client-go chooses it, and a connection through it.

client-go takes `proxy-url` of the kubeconfig's cluster (k8s.io/client-go/tools/clientcmd), else what the
variables say, as Go's net/http reads them (golang.org/x/net/http/httpproxy): HTTPS_PROXY or HTTP_PROXY by
the server's scheme, never ALL_PROXY, never for loopback, and not for what NO_PROXY names.
"""

from __future__ import annotations

import base64
import ipaddress
import re
import select
import socket
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from launcher.kube.errors import KubeconfigError
from launcher.kube.http import ResponseParser, format_request
from trainer.protocol.installation import install_command

_PORTS = {"http": 80, "https": 443, "socks5": 1080, "socks5h": 1080}
_PIECE = 65536


class ProxyError(OSError):
    """A proxy does not let us through; says what to do."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Proxy:
    """A proxy.

    Attributes:
        scheme: http, https (TLS to the proxy), socks5 or socks5h; with both of the latter the proxy looks
            names up.
        host: Its name or address.
        port: Its port.
        user: Who we are to it, or empty.
        password: For the proxy; empty where it asks for none. Never shown.
        source: Where it was named, for messages.
    """

    scheme: str
    host: str
    port: int
    user: str = ""
    password: str = field(default="", repr=False)
    source: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{_bracket(self.host)}:{self.port}"

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return what an HTTP proxy is told of us (RFC 7617)."""
        if not self.user and not self.password:
            return ()
        pair = base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")
        return (("Proxy-Authorization", f"Basic {pair}"),)

    def connect(self, host: str, port: int, *, timeout_s: float) -> socket.socket:
        """Return a connection to a server through this proxy.

        Raises:
            OSError: None comes about; a `ProxyError` where the proxy says why.
        """
        if self.scheme.startswith("socks"):
            return self._connect_socks(host, port, timeout_s=timeout_s)
        sock = self.connect_itself(timeout_s=timeout_s)
        try:
            self._ask_for_tunnel(sock, f"{_bracket(host)}:{port}")
        except BaseException:
            sock.close()
            raise
        return sock

    def connect_itself(self, *, timeout_s: float) -> socket.socket:
        """Return a connection to the proxy; where it speaks TLS, one that a thread carries over it."""
        try:
            sock = socket.create_connection((self.host, self.port), timeout_s)
        except OSError as error:
            raise ProxyError(f"the proxy {self} cannot be reached: {error}; see {self.source}") from error
        if self.scheme != "https":
            return sock
        try:
            return _carry(ssl.create_default_context().wrap_socket(sock, server_hostname=self.host))
        except OSError as error:
            sock.close()
            raise ProxyError(
                f"the proxy {self} speaks no TLS that we trust: {error}; see {self.source}"
            ) from error

    def _ask_for_tunnel(self, sock: socket.socket, target: str) -> None:
        """Have the proxy connect (RFC 9110, 9.3.6). The server does not speak first: no byte is lost."""
        headers = (("Host", target), ("User-Agent", "ftlaunch"), *self.headers())
        sock.sendall(format_request("CONNECT", target, headers=headers))
        parser = ResponseParser()
        while not parser.status:
            data = sock.recv(_PIECE)
            if not data:
                raise ProxyError(f"the proxy {self} closed the connection; see {self.source}")
            try:
                rest = parser.take(data)
            except ValueError as error:
                raise ProxyError(f"the proxy {self} answered with {error}; see {self.source}") from error
        if parser.status == 407:
            fix = "mend the user and password" if self.user else "name them as http://USER:PASSWORD@HOST:PORT"
            raise ProxyError(f"the proxy {self} wants a user and password (407); {fix} in {self.source}")
        if not 200 <= parser.status < 300:
            raise ProxyError(
                f"the proxy {self} answered {parser.status} to CONNECT {target}; see {self.source}"
            )
        if rest:
            raise ProxyError(
                f"the proxy {self} sent {len(rest)} bytes that nobody asked for; see {self.source}"
            )

    def _connect_socks(self, host: str, port: int, *, timeout_s: float) -> socket.socket:
        from python_socks import ProxyError as SocksError
        from python_socks import ProxyTimeoutError, ProxyType
        from python_socks.sync import Proxy as Socks

        proxy = Socks.create(
            ProxyType.SOCKS5, self.host, self.port, self.user or None, self.password or None, rdns=True
        )
        try:
            return proxy.connect(host, port, timeout=timeout_s)
        except (SocksError, ProxyTimeoutError, OSError) as error:
            raise ProxyError(f"the proxy {self} does not connect: {error}; see {self.source}") from error


def choose_proxy(*, url: str, named: str, where: str, environ: Mapping[str, str]) -> Proxy | None:
    """Return the proxy on the way to a server, or None.

    Args:
        url: Of the server.
        named: The kubeconfig's `proxy-url`, or empty.
        where: Of `proxy-url`, for messages.
        environ: Variables.

    Raises:
        KubeconfigError: It is none that we can use; says what to install where something is missing.
    """
    if named:
        return parse_proxy(named, source=where)
    server = urlsplit(url)
    host, port = server.hostname or "", server.port or _PORTS[server.scheme]
    name = f"{server.scheme.upper()}_PROXY"
    variable = name if environ.get(name) else name.lower()
    text = environ.get(variable, "")
    # Go ignores HTTP_PROXY of a CGI program: its visitor has named it ("httpoxy", CVE-2016-5386)
    if not text or (name == "HTTP_PROXY" and environ.get("REQUEST_METHOD")):
        return None
    if is_loopback(host) or _is_excepted(
        host, port, environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    ):
        return None
    return parse_proxy(text if "://" in text else f"http://{text}", source=f"${variable}")


def parse_proxy(text: str, *, source: str) -> Proxy:
    """Read a proxy's URL; see `choose_proxy`."""
    try:
        url = urlsplit(text)
        port = url.port
    except ValueError:
        url, port = urlsplit(""), None
    # its user and password are not repeated in messages
    wanted = "http://, https:// or socks5:// with a host and port"
    if url.scheme not in _PORTS or not url.hostname or re.search(r"[\x00-\x20\x7f]", text):
        raise KubeconfigError(
            where=source,
            expected=f"a proxy as {wanted}",
            got=f"{_without_credentials(text)!r:.100}",
            fix="mend it",
        )
    if url.path.strip("/") or url.query or url.fragment:
        raise KubeconfigError(
            where=source, expected=f"a proxy as {wanted}", got="a path behind it", fix="remove the path"
        )
    proxy = Proxy(
        scheme=url.scheme, host=url.hostname, port=port or _PORTS[url.scheme], source=source,
        user=unquote(url.username or ""), password=unquote(url.password or ""),
    )  # fmt: skip
    if url.scheme.startswith("socks"):
        try:
            import python_socks  # noqa: F401
        except ImportError as error:
            raise KubeconfigError(
                where=source,
                expected=f"the package python-socks for the proxy {proxy}, which is not installed",
                fix=f"run `{install_command('socks')}`",
            ) from error
    return proxy


def is_loopback(host: str) -> bool:
    """Whether a host is this machine, by its name or address; nothing is looked up."""
    with suppress(ValueError):
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    return host.lower() == "localhost"


def _is_excepted(host: str, port: int, no_proxy: str) -> bool:
    """Read NO_PROXY: `*`, addresses, networks, domains and what is below them, `.domain`; with a port."""
    entries = [part.strip().lower() for part in no_proxy.split(",")]
    return "*" in entries or any(_covers(entry, host.lower().rstrip("."), port) for entry in entries if entry)


def _covers(entry: str, host: str, port: int) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(entry.strip("[]"), strict=False)
    name, colon, number = entry.rpartition(":")
    if colon and number.isascii() and number.isdigit():
        if number != str(port):
            return False
        entry = name.strip("[]")
    entry = entry.removeprefix("*") if entry.startswith("*.") else entry
    return host == entry or host.endswith(entry if entry.startswith(".") else f".{entry}")


def _without_credentials(text: str) -> str:
    return re.sub(r"(?s)^([^/@]*://)?.*@", r"\1…@", text)


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _carry(proxy: ssl.SSLSocket) -> socket.socket:
    """Return one end of a pair whose other end a thread joins with a TLS connection.

    What is sent through the proxy is TLS itself, and neither `ssl.wrap_socket` nor asyncio takes a TLS
    connection for the bottom of another one. So both get a plain socket; proxies that speak TLS are rare.
    """
    ours, theirs = socket.socketpair()
    ours.settimeout(proxy.gettimeout())
    threading.Thread(target=_pump, args=(theirs, proxy), daemon=True, name="proxy").start()
    return ours


def _pump(theirs: socket.socket, proxy: ssl.SSLSocket) -> None:
    """Carry both ways until either ends.

    One thread does both, because one TLS connection is not for two at once; so it must not wait in a read.
    That the connection has bytes does not mean that there is something to hand on: they may be TLS's own.
    """
    with theirs, proxy, suppress(OSError, ValueError):
        proxy.setblocking(False)
        while True:
            ready = [proxy] if proxy.pending() else select.select([theirs, proxy], [], [])[0]
            if proxy in ready:
                with suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    data = proxy.recv(_PIECE)
                    if not data:
                        return
                    theirs.sendall(data)
            if theirs in ready:
                data = theirs.recv(_PIECE)
                if not data:
                    return
                _send_all(proxy, data)


def _send_all(proxy: ssl.SSLSocket, data: bytes) -> None:
    left = memoryview(data)
    while left:
        try:
            left = left[proxy.send(left) :]
        except ssl.SSLWantReadError:
            select.select([proxy], [], [])
        except ssl.SSLWantWriteError:
            select.select([], [proxy], [])
