"""Who we are to a cluster: what of a kubeconfig's user stands in every request, and what is refused.

As client-go does it (k8s.io/client-go/tools/clientcmd/client_config.go and validation.go,
k8s.io/client-go/transport): `tokenFile` before `token`, which only fills in where the file cannot be read;
a certificate beside either; impersonation on top; one of token, password, plugin and provider. Credentials
never go over plain HTTP.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from launcher.kube.endpoint import Endpoint
from launcher.kube.errors import CredentialsError, KubeconfigError
from launcher.kube.http import Fields
from launcher.kube.kubeconfig import Entry
from launcher.kube.plugin import ask_plugin, read_plugin
from launcher.kube.remarks import remark
from launcher.times import format_unix_time

_SECRETS = (
    "token", "tokenFile", "username", "password", "auth-provider", "exec", "client-certificate",
    "client-certificate-data",
)  # fmt: skip
_TOKEN_BYTES = 32768  # what an API server takes of headers, all in all, is 1 MiB; proxies take far less
_FIELD_BYTE = re.compile(rb"[!#$&'*+.^_`|~0-9A-Za-z-]")  # of RFC 9110's token, without the percent sign


@dataclass(frozen=True, kw_only=True, slots=True)
class Identity:
    """Who we are.

    Attributes:
        fields: Makes the headers that say so; asks nobody, but may read a file.
        certificate: Ours and its key, as PEM, or None.
        until_s: Unix time when the token runs out; None where that is not known.
    """

    fields: Callable[[], Fields]
    certificate: tuple[bytes, bytes] | None = field(default=None, repr=False)
    until_s: float | None = None

    @property
    def holds(self) -> bool:
        """Whether it has not run out."""
        return self.until_s is None or time.time() < self.until_s


NOBODY = Identity(fields=tuple)


def read_identity(
    user: Entry | None, *, endpoint: Endpoint, cluster: dict[str, object], login: str, refused: str | None
) -> Identity:
    """Read a kubeconfig's user. May run its plugin.

    Args:
        user: None for nobody.
        endpoint: Where the identity is shown.
        cluster: The cluster in the words of `ExecCredential`.
        login: What to run where nobody is logged in.
        refused: The header `Authorization` that the cluster has refused, or None.

    Raises:
        KubeconfigError: Something of it cannot be used.
        PluginError: The plugin gives nothing.
    """
    if user is None:
        return NOBODY
    impersonation = _read_impersonation(user)
    if not endpoint.is_tls:
        _withhold(user, endpoint)
        return Identity(fields=lambda: impersonation)
    ways = [key for key in ("exec", "auth-provider") if user.fields.get(key)]
    named = [key for key in ("token", "username") if user.fields.get(key)]
    if len(ways) > 1 or len(named) > 1:
        raise KubeconfigError(
            where=user.where,
            expected="one way of saying who you are",
            got=" and ".join(ways + named),
            fix="remove one of them",
        )
    certificate = _read_certificate(user)
    plugged, provider = user.within("exec"), user.within("auth-provider")
    given_here = user.fields.get("tokenFile") or named
    if given_here and ways:  # as with kubectl (client-go/plugin/pkg/client/auth/exec, RoundTrip)
        remark(f"{user.where}: {ways[0]} has no effect beside a token or username, which is used")
    if user.fields.get("tokenFile") or user.fields.get("token"):
        fields = _bearer_of(user, impersonation)
    elif named:
        pair = f"{user.text('username')}:{user.text('password')}".encode()
        basic = ("Authorization", f"Basic {base64.b64encode(pair).decode('ascii')}")
        fields = lambda: (basic, *impersonation)  # noqa: E731
    elif plugged is not None:
        bearer = refused.partition(" ")[2] if refused is not None else None
        given = ask_plugin(read_plugin(plugged, cluster=cluster, login=login), refused=bearer)
        return Identity(
            fields=_fixed(given.token, impersonation, where=plugged.where),
            certificate=given.certificate or certificate, until_s=given.until_s,
        )  # fmt: skip
    elif provider is not None:
        token, until_s = _read_provider(provider)
        fields = _fixed(token, impersonation, where=provider.where)
        return Identity(fields=fields, certificate=certificate, until_s=until_s)
    else:
        fields = lambda: impersonation  # noqa: E731
    return Identity(fields=fields, certificate=certificate)


def read_token_file(path: Path, *, where: str) -> str:
    """Return the token that a file holds, without the space around it.

    Raises:
        KubeconfigError: It cannot be read, or holds none.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_TOKEN_BYTES + 1).decode("latin-1").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise KubeconfigError(
            where=where, expected=f"a token in {path}", got=reason, fix="write one there"
        ) from error
    if not text:
        raise KubeconfigError(
            where=where, expected=f"a token in {path}", got="an empty file", fix="write one there"
        )
    check_token(text, where=f"{where} ({path})")
    return text


def check_token(token: str, *, where: str) -> None:
    """Check that a token is one: it stands in a header, where a line break would begin another one.

    Raises:
        KubeconfigError: It is none.
    """
    found = re.search(r"[^\x21-\x7e]", token)
    if found is not None or len(token) > _TOKEN_BYTES:
        got = f"one of {len(token)} characters" if found is None else f"the character {found[0]!r} in it"
        raise KubeconfigError(
            where=where,
            expected="a token of visible ASCII characters",
            got=got,
            fix="write it again, on one line",
        )


def _bearer(token: str) -> tuple[str, str]:
    return "Authorization", f"Bearer {token}"


def _fixed(token: str, impersonation: Fields, *, where: str) -> Callable[[], Fields]:
    if not token:
        return lambda: impersonation
    check_token(token, where=f"{where}: token")
    return lambda: (_bearer(token), *impersonation)


def _bearer_of(user: Entry, impersonation: Fields) -> Callable[[], Fields]:
    """Return what makes the header of `tokenFile`, read anew each time, and of `token`."""
    token, path, where = user.text("token"), user.path("tokenFile"), f"{user.where}: tokenFile"
    if token:
        check_token(token, where=f"{user.where}: token")
    if path is None:
        return lambda: (_bearer(token), *impersonation)

    def read() -> Fields:
        try:
            return _bearer(read_token_file(path, where=where)), *impersonation
        except KubeconfigError as error:
            if not token:
                raise
            remark(f"{error}; `token` is used in its place")
            return _bearer(token), *impersonation

    read()  # what is wrong with it is said now
    return read


def _withhold(user: Entry, endpoint: Endpoint) -> None:
    """Say that over plain HTTP nobody is told who we are, as with kubectl."""
    kept = [key for key in _SECRETS if user.fields.get(key)]
    if not kept:
        return
    if not endpoint.is_loopback:
        raise KubeconfigError(
            where=user.where,
            expected="https:// in the cluster's `server`",
            got=f"{endpoint.url}: everybody on the way would read {' and '.join(kept)}",
            fix="write https://, or use a context without a user",
        )
    remark(f"{user.where}: {' and '.join(kept)} is not sent to {endpoint.url}: it is not encrypted (https)")


def _read_certificate(user: Entry) -> tuple[bytes, bytes] | None:
    certificate, key = user.content("client-certificate"), user.content("client-key")
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "client-key" if key is None else "client-certificate"
        raise user.refuse(missing, "one beside the other", got="none", fix=f"add {missing} or {missing}-data")
    return certificate, key


def _read_impersonation(user: Entry) -> Fields:
    """Return the headers of `as` and what goes with it (kubernetes.io, "User impersonation")."""
    name, uid, groups = user.text("as"), user.text("as-uid"), user.texts("as-groups")
    extra = user.mapping("as-user-extra") or {}
    if not name:
        if uid or groups or extra:
            raise user.refuse("as", "a user beside as-uid, as-groups and as-user-extra", got="none")
        return ()
    fields = [("Impersonate-User", name)]
    if uid:
        fields.append(("Impersonate-Uid", uid))
    fields += [("Impersonate-Group", group) for group in groups]
    for key, values in extra.items():
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise user.refuse("as-user-extra", f"a list of text for {key!r:.60}", got="something else")
        fields += [(f"Impersonate-Extra-{_escape(key)}", value) for value in values]
    for header, value in fields:
        if not value.isprintable():
            raise KubeconfigError(
                where=user.where,
                expected=f"no line breaks or control characters in {header[:80]}",
                got=f"{value!r:.80}",
                fix="mend it there",
            )
    return tuple((header, value.encode().decode("latin-1")) for header, value in fields)


def _escape(key: str) -> str:
    """Write a key as part of a header's name (k8s.io/client-go/transport, headerKeyEscape)."""
    return "".join(
        chr(byte) if _FIELD_BYTE.fullmatch(bytes([byte])) else f"%{byte:02X}" for byte in key.encode()
    )


def _read_provider(provider: Entry) -> tuple[str, float | None]:
    """Return the token of an auth-provider, of which client-go has kept `oidc` alone.

    The token is not renewed here: that would mean writing into the kubeconfig, as kubectl does.
    """
    name = provider.text("name")
    if name != "oidc":
        raise provider.refuse(
            "name", "oidc", got=repr(name)[:60],
            fix="kubectl has no other any more: use a credential plugin, such as gke-gcloud-auth-plugin",
        )  # fmt: skip
    settings = provider.within("config")
    token = settings.text("id-token") if settings is not None else ""
    renew = "run `kubectl auth whoami`, which gets a new one"
    if not token:
        raise CredentialsError(where=provider.where, expected="an id-token", got="none", fix=renew)
    until_s = _read_expiry(token)
    if until_s is not None and time.time() >= until_s:
        ended = format_unix_time(until_s)
        raise CredentialsError(
            where=provider.where, expected="an id-token that holds", got=f"one until {ended}", fix=renew
        )
    return token, until_s


def _read_expiry(token: str) -> float | None:
    """Return `exp` of a JSON Web Token (RFC 7519, 4.1.4), or None; only the cluster can check it."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return None
    exp = claims.get("exp") if isinstance(claims, dict) else None
    return float(exp) if isinstance(exp, int | float) and 0 < exp < 1e11 else None
