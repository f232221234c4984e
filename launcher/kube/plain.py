"""Kubeconfigs that say everything themselves: a server, certificates, a token; nothing to be run or asked.

The Kubernetes library reads all others. It is not imported here: that takes longer than submitting a job.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from launcher.kube.exchange import Pool

_CLUSTER_KEYS = {
    "server", "certificate-authority", "certificate-authority-data", "insecure-skip-tls-verify",
    "tls-server-name", "extensions",
}  # fmt: skip
_USER_KEYS = {
    "client-certificate", "client-certificate-data", "client-key", "client-key-data", "token", "tokenFile",
    "extensions",
}  # fmt: skip
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")


SIDE_BY_SIDE = 8
"""Connections that are kept: `why` and the look before a submit ask so many questions at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainConfiguration:
    """A way into a cluster. What the library's configuration has as well has its name here.

    Attributes:
        host: URL of the API server.
        tls_server_name: Whom its certificate is for, where that is not the host.
        verify_ssl: Whether it is checked at all.
        authority: Certificates, as PEM, that vouch for it; None for those of this machine.
        certificate: Ours and its key, each as PEM, or None.
        token: What we are known by, or empty.
        proxy: None: never through one.
    """

    host: str
    tls_server_name: str | None
    verify_ssl: bool
    authority: str | None
    certificate: tuple[bytes, bytes] | None
    token: str
    proxy: None = None

    def auth_settings(self) -> Mapping[str, Mapping[str, str]]:
        """Return what stands in the header `Authorization`, in the library's form."""
        return {"BearerToken": {"value": f"Bearer {self.token}"}} if self.token else {}

    def make_context(self) -> ssl.SSLContext:
        """Return the TLS settings."""
        context = ssl.create_default_context(cadata=self.authority)
        if not self.verify_ssl:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate is not None:
            with tempfile.TemporaryDirectory() as folder:  # OpenSSL's Python reads files only
                names = Path(folder, "certificate"), Path(folder, "key")
                for name, content in zip(names, self.certificate, strict=True):
                    name.write_bytes(content)
                context.load_cert_chain(*names)
        return context

    def make_pool(self) -> Pool:
        """Return what sends requests over connections that are kept."""
        from launcher.kube.connections import Connections

        return Connections(
            self.host, context=self.make_context(), tls_server_name=self.tls_server_name, kept=SIDE_BY_SIDE
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Plain:
    """A context of a kubeconfig."""

    configuration: PlainConfiguration
    namespace: str
    context: str
    user: Mapping[str, object]
    user_name: str


class _NotPlainError(Exception):
    """The library reads it, or says what is wrong with it."""


def read_plain(place: str, *, context: str | None) -> Plain | None:
    """Read a kubeconfig where that is enough; None for whatever is not plain, broken ones among it.

    Args:
        place: One file; lists of several are merged by the library.
        context: None for the current one.
    """
    if any(os.environ.get(name) or os.environ.get(name.upper()) for name in _PROXY_VARIABLES):
        return None
    try:
        return _read(Path(place).expanduser(), context=context)
    except (_NotPlainError, OSError, UnicodeError, binascii.Error, ssl.SSLError):
        return None


def _read(path: Path, *, context: str | None) -> Plain:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        document = yaml.load(path.read_bytes(), Loader=loader)  # noqa: S506  # both are safe
    except yaml.YAMLError as error:
        raise _NotPlainError from error
    config = _mapping(document)
    name = context or _text(config, "current-context")
    chosen = _pick(config, "contexts", name, "context")
    cluster = _pick(config, "clusters", _text(chosen, "cluster"), "cluster")
    user_name = _text(chosen, "user") if chosen.get("user") else ""
    user = _pick(config, "users", user_name, "user") if user_name else {}
    if set(cluster) - _CLUSTER_KEYS or set(user) - _USER_KEYS or ("token" in user and "tokenFile" in user):
        raise _NotPlainError
    host = _text(cluster, "server")
    skips = cluster.get("insecure-skip-tls-verify", False)
    if not host.startswith(("https://", "http://")) or not isinstance(skips, bool):
        raise _NotPlainError
    folder = path.absolute().parent
    authority = _content(cluster, "certificate-authority", folder)
    certificate, key = _content(user, "client-certificate", folder), _content(user, "client-key", folder)
    if (certificate is None) != (key is None):
        raise _NotPlainError
    token = (folder / _text(user, "tokenFile")).read_text().strip() if "tokenFile" in user else ""
    configuration = PlainConfiguration(
        host=host,
        tls_server_name=_text(cluster, "tls-server-name") if "tls-server-name" in cluster else None,
        verify_ssl=not skips,
        authority=None if authority is None else authority.decode("ascii"),
        certificate=None if certificate is None or key is None else (certificate, key),
        token=_text(user, "token") if "token" in user else token,
    )
    configuration.make_context()  # a certificate that is none is the library's to refuse
    namespace = _text(chosen, "namespace") if chosen.get("namespace") else "default"
    return Plain(
        configuration=configuration, namespace=namespace, context=name, user=user, user_name=user_name
    )


def _pick(config: Mapping[str, object], kind: str, name: str, key: str) -> Mapping[str, object]:
    listed = config.get(kind)
    found = [
        item for item in listed if isinstance(item, dict) and item.get("name") == name
    ] if isinstance(listed, list) else []  # fmt: skip
    if len(found) != 1:
        raise _NotPlainError
    return _mapping(found[0].get(key))


def _mapping(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _NotPlainError
    return value


def _text(mapping: Mapping[str, object], key: str) -> str:
    value = mapping.get(key)
    if not isinstance(value, str) or not value:
        raise _NotPlainError
    return value


def _content(mapping: Mapping[str, object], key: str, folder: Path) -> bytes | None:
    """Return what `<key>-data` holds or the file `<key>` names, relative to the kubeconfig's folder."""
    if f"{key}-data" in mapping:
        return base64.b64decode(_text(mapping, f"{key}-data"), validate=True)
    return (folder / _text(mapping, key)).read_bytes() if key in mapping else None
