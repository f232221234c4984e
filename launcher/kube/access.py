"""How to reach a cluster, and as whom: a kubeconfig's context, or the service account inside a cluster."""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from launcher.kube.connections import Connections
from launcher.kube.endpoint import Endpoint, check_url
from launcher.kube.errors import KubeconfigError
from launcher.kube.identity import Identity, read_identity, read_token_file
from launcher.kube.kubeconfig import Entry, Kubeconfig, read_kubeconfig
from launcher.kube.proxy import choose_proxy
from launcher.kube.remarks import remark

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SIDE_BY_SIDE = 8
"""Connections that are kept: `why` and the look before a submit ask so many questions at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """A way into a cluster.

    Attributes:
        endpoint: Where it is.
        identity: Who we are.
        namespace: Where objects go if nobody says otherwise.
        context: Name of the kubeconfig's context; empty inside a cluster.
        login: What to do where the cluster does not know us, for messages.
    """

    endpoint: Endpoint
    identity: Identity
    namespace: str
    context: str
    login: str = ""

    def make_pool(self) -> Connections:
        """Return what sends requests over connections that are kept."""
        return Connections(self.endpoint, kept=SIDE_BY_SIDE)


Reload = Callable[[str | None], Access]
"""Reads the access anew, because the cluster has refused this header `Authorization`, or None has run out."""


def load_access(
    refused: str | None = None,
    *,
    context: str | None,
    kubeconfig: Path | None,
    environ: Mapping[str, str],
    service_account: Path,
) -> Access:
    """Read how to reach a cluster. Sends nothing, but may run the kubeconfig's credential plugin.

    Args:
        refused: The header `Authorization` that the cluster has refused, so that another one is needed.
        context: Of the kubeconfig; None for its current one.
        kubeconfig: None for `$KUBECONFIG`, else ~/.kube/config, else the service account inside a cluster.
        environ: Where `KUBECONFIG`, proxies and the cluster's own variables are looked up.
        service_account: Folder with the token, the CA's certificate and the namespace.

    Raises:
        KubeconfigError: There is no configuration, or it cannot be used.
        CredentialsError: The plugin or provider gives no credentials.
    """
    if kubeconfig is not None:
        # `PATH:PATH` is one argument here and there, as in KUBECONFIG
        places = [kubeconfig] if kubeconfig.exists() else _split(str(kubeconfig))
    else:
        places = _split(environ.get("KUBECONFIG") or "~/.kube/config")
    found = read_kubeconfig(places, context=context)
    if found is not None:
        return _use(found, environ=environ, refused=refused)
    if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in environ:
        if environ.get("KUBECONFIG"):
            remark(f"{environ['KUBECONFIG']}: there is no such kubeconfig; the pod's service account is used")
        return _use_service_account(service_account, environ=environ)
    shown = str(kubeconfig or environ.get("KUBECONFIG") or "~/.kube/config")
    raise KubeconfigError(
        where="kubeconfig", expected=f"a file at {shown!r}", got="none", fix="set KUBECONFIG or --on local"
    )


def _split(places: str) -> list[Path]:
    return [Path(place).expanduser() for place in places.split(os.pathsep) if place]


def _use(found: Kubeconfig, *, environ: Mapping[str, str], refused: str | None) -> Access:
    for text in found.ignored:
        remark(text)
    context, cluster, user = found.context, found.cluster, found.user
    url = cluster.text("server")
    check_url(url, where=f"{cluster.where}: server")
    authority, skips = cluster.content("certificate-authority"), cluster.flag("insecure-skip-tls-verify")
    if authority is not None and b"-----BEGIN CERTIFICATE-----" not in authority:
        # an empty one would leave the choice to the authorities of this machine
        raise cluster.refuse("certificate-authority", "PEM", got="other content", fix="write it again")
    if authority is not None and skips:  # client-go refuses it as well (transport.TLSConfigFor)
        raise cluster.refuse(
            "insecure-skip-tls-verify", "it, or certificate-authority", got="both", fix="remove one of them"
        )
    where = f"{cluster.where}: proxy-url"
    endpoint = Endpoint(
        url=url,
        tls_server_name=cluster.text("tls-server-name") or None,
        verifies=not skips,
        authority=None if authority is None else _ascii(authority),
        proxy=choose_proxy(url=url, named=cluster.text("proxy-url"), where=where, environ=environ),
    )
    _check(endpoint, where=f"{cluster.where}: certificate-authority")
    login = describe_login(
        user.fields if user is not None else {},
        name=user.name if user is not None else "",
        context=context.name,
    )
    identity = read_identity(
        user, endpoint=endpoint, cluster=_describe(cluster, endpoint), login=login, refused=refused
    )
    if identity.certificate is not None:
        endpoint = replace(endpoint, certificate=identity.certificate)
        assert user is not None
        _check(endpoint, where=f"{user.where}: client-certificate and client-key")
    return Access(
        endpoint=endpoint, identity=identity, namespace=context.text("namespace") or "default",
        context=context.name, login=login,
    )  # fmt: skip


def _ascii(certificates: bytes) -> str:
    """Return PEM as the ssl module takes it; between certificates there may be words in any language."""
    return certificates.decode("ascii", "ignore")


def _check(endpoint: Endpoint, *, where: str) -> None:
    """Have a certificate that is none refused before anything is sent."""
    try:
        endpoint.make_context()
    except (ssl.SSLError, ValueError) as error:
        said = getattr(error, "reason", None) or "other content"
        raise KubeconfigError(where=where, expected="PEM", got=said, fix="write it again") from error


def _describe(cluster: Entry, endpoint: Endpoint) -> dict[str, object]:
    """Return a cluster in the words of `ExecCredential` (client.authentication.k8s.io/v1, `spec.cluster`)."""
    config = None
    extensions = cluster.fields.get("extensions")
    for extension in extensions if isinstance(extensions, list) else ():
        if isinstance(extension, dict) and extension.get("name") == "client.authentication.k8s.io/exec":
            config = extension.get("extension")
    authority = endpoint.authority
    described = {
        "server": endpoint.url,
        "tls-server-name": endpoint.tls_server_name,
        "insecure-skip-tls-verify": not endpoint.verifies or None,
        "certificate-authority-data": authority and base64.b64encode(authority.encode()).decode("ascii"),
        "proxy-url": cluster.text("proxy-url") or None,
        "config": config,
    }
    return {key: value for key, value in described.items() if value is not None}


def _use_service_account(folder: Path, *, environ: Mapping[str, str]) -> Access:
    """Read what every pod of a service account has, as k8s.io/client-go/rest does (InClusterConfig)."""
    where = str(folder)
    fix = "mount the service account's or set KUBECONFIG"
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "")
    url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
    check_url(url, where="KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT")
    try:
        authority = _ascii((folder / "ca.crt").read_bytes())
        namespace = (folder / "namespace").read_text(encoding="utf-8").strip()
        token = folder / "token"
        token.stat()
    except (OSError, ValueError) as error:
        raise KubeconfigError(where=where, expected="a mounted token", said=error, fix=fix) from error
    read_token_file(token, where=where)
    endpoint = Endpoint(
        url=url, authority=authority, proxy=choose_proxy(url=url, named="", where="", environ=environ)
    )
    _check(endpoint, where=f"{where}: ca.crt")

    def fields() -> tuple[tuple[str, str], ...]:  # the kubelet writes a new token there every hour
        return (("Authorization", f"Bearer {read_token_file(token, where=where)}"),)

    return Access(
        endpoint=endpoint, identity=Identity(fields=fields), namespace=namespace, context="",
        login=f"the token in {folder} is refused: start the pod again",
    )  # fmt: skip


_LOGINS = {
    "aws": "aws sso login",
    "aws-iam-authenticator": "aws sso login",
    "gcloud": "gcloud auth login",
    "gke-gcloud-auth-plugin": "gcloud auth login",
    "kubelogin": "az login",
    "oci": "oci session authenticate",
    "doctl": "doctl auth init",
}
"""Credential plugins, and what logs their users in (the vendors' guides to kubectl access)."""


def describe_login(user: Mapping[str, Any], *, name: str, context: str) -> str:
    """Say what to run.

    Args:
        user: As a kubeconfig has it; never shown.
        name: Of the user in the kubeconfig.
        context: Of the kubeconfig.
    """
    plugin = user.get("exec")
    if isinstance(plugin, Mapping) and plugin:
        command = str(plugin.get("command", ""))
        if known := _LOGINS.get(PurePath(command).name):
            return f"run `{known}`"
        # its arguments may hold a secret, so they are not shown
        return f"log in with what gives the tokens: run {PurePath(command).name!r} as the kubeconfig does"
    if user.get("client-certificate-data") or user.get("client-certificate"):
        return (
            f"the client certificate of user {name!r} is refused: get a new one, and run "
            f"`kubectl config set-credentials {name} --client-certificate=FILE --client-key=FILE`"
        )
    if user.get("tokenFile"):
        return f"the token in {user['tokenFile']} is refused: write a new one there"
    if user.get("token"):
        return f"get a new token, and run `kubectl config set-credentials {name} --token=TOKEN`"
    return f"give context {context!r} a user: run `kubectl config set-credentials {name or 'me'} --help`"
