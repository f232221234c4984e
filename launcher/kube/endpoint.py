"""Where an API server is and how it is reached: the one place that decides address, TLS and proxy.

Whoever talks to a cluster gets an `Endpoint`: single requests (`connections`), followed logs (`asking`) and
programs in pods (`shell`). What they are known by is in `identity`.
"""

from __future__ import annotations

import socket
import ssl
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from launcher.kube.errors import KubeconfigError
from launcher.kube.proxy import Proxy, is_loopback


@dataclass(frozen=True, kw_only=True, slots=True)
class Endpoint:
    """An API server.

    Attributes:
        url: As the user names it: http or https, perhaps with a path that goes before all others.
        tls_server_name: Whom its certificate is for, where that is not the host.
        verifies: Whether its certificate is checked at all.
        authority: Certificates, as PEM, that vouch for it; None for those of this machine.
        certificate: Ours and its key, each as PEM, or None.
        proxy: On the way there, or None.
    """

    url: str
    tls_server_name: str | None = None
    verifies: bool = True
    authority: str | None = None
    certificate: tuple[bytes, bytes] | None = field(default=None, repr=False)
    proxy: Proxy | None = None

    @property
    def is_tls(self) -> bool:
        """Whether what is sent is encrypted."""
        return self.url.startswith("https://")

    @property
    def is_loopback(self) -> bool:
        """Whether it is on this machine."""
        return is_loopback(self.host)

    @property
    def host(self) -> str:
        """Name or address, without brackets."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """Named, or the scheme's own."""
        return urlsplit(self.url).port or (443 if self.is_tls else 80)

    @property
    def netloc(self) -> str:
        """Host and port as the header `Host` has them."""
        return urlsplit(self.url).netloc

    @property
    def root(self) -> str:
        """The path that goes before all others, without a slash at its end."""
        return urlsplit(self.url).path.rstrip("/")

    @property
    def server_name(self) -> str:
        """Whom the server's certificate has to name."""
        return self.tls_server_name or self.host

    @property
    def _asks_proxy(self) -> bool:
        """Whether requests themselves go to the proxy, as they do where nothing is encrypted."""
        return self.proxy is not None and not self.is_tls and self.proxy.scheme in ("http", "https")

    def target(self, path: str) -> str:
        """Return what a request's first line names: a path, or for a proxy the URL (RFC 9112, 3.2.2)."""
        return f"{self.url.rstrip('/')}{path}" if self._asks_proxy else f"{self.root}{path}"

    def headers(self) -> tuple[tuple[str, str], ...]:
        """Return what every request begins with."""
        proxied = self.proxy.headers() if self._asks_proxy and self.proxy is not None else ()
        return (("Host", self.netloc), *proxied)

    def dial(self, *, timeout_s: float, tunnel: bool = False) -> socket.socket:
        """Return a connection, without TLS.

        Args:
            timeout_s: Of each step.
            tunnel: Have an HTTP proxy connect, although it could be asked itself.

        Raises:
            OSError: None comes about.
        """
        if self.proxy is None:
            sock = socket.create_connection((self.host, self.port), timeout_s)
        elif self._asks_proxy and not tunnel:
            sock = self.proxy.connect_itself(timeout_s=timeout_s)
        else:
            sock = self.proxy.connect(self.host, self.port, timeout_s=timeout_s)
        sock.settimeout(timeout_s)
        return sock

    def make_context(self) -> ssl.SSLContext | None:
        """Return the TLS settings; None where the server speaks plain HTTP.

        Raises:
            ssl.SSLError: A certificate is none.
        """
        if not self.is_tls:
            return None
        context = ssl.create_default_context(cadata=self.authority)
        if not self.verifies:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate is not None:
            with tempfile.TemporaryDirectory() as folder:  # OpenSSL's Python reads files only
                names = Path(folder, "certificate"), Path(folder, "key")
                for name, content in zip(names, self.certificate, strict=True):
                    name.write_bytes(content)
                context.load_cert_chain(
                    *names, password=""
                )  # else it asks on the terminal for an encrypted key's
        return context


def check_url(url: str, *, where: str) -> None:
    """Check a server's URL.

    Raises:
        KubeconfigError: It is none.
    """
    try:
        parts = urlsplit(url)
        is_sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        is_sound = is_sound and not (parts.query or parts.fragment) and url.isascii() and url.isprintable()
    except ValueError:
        is_sound = False
    if not is_sound or " " in url or "\\" in url:
        raise KubeconfigError(
            where=where, expected="https://HOST:PORT", got=f"{url!r:.200}", fix="write the server's URL"
        )
    if parts.username is not None or parts.password is not None:
        raise KubeconfigError(
            where=where,
            expected="https://HOST:PORT",
            got="a user and password in it",
            fix="write them as username and password of the kubeconfig's user",
        )
