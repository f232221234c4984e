"""How to reach a cluster, and as whom: a kubeconfig's context, or the service account inside a cluster.

The library reads kubeconfigs as kubectl does: lists of files, credential plugins, token refresh, client
certificates, `tls-server-name`, `proxy-url`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.kube.errors import KubeconfigError
from launcher.kube.exchange import LibraryPool, Pool
from launcher.kube.login import describe_login
from launcher.kube.plain import read_plain

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """A way into a cluster.

    Attributes:
        configuration: The library's, or one that looks like it.
        make_pool: Makes the connections for it.
        namespace: Where objects go if nobody says otherwise.
        context: Name of the kubeconfig's context; empty inside a cluster.
        login: What to do where the cluster does not know us, for messages.
    """

    configuration: Any
    make_pool: Callable[[], Pool]
    namespace: str
    context: str
    login: str = ""


def load_access(
    *, context: str | None, kubeconfig: Path | None, environ: Mapping[str, str], service_account: Path
) -> Access:
    """Read how to reach a cluster. Sends nothing, but may run the kubeconfig's credential plugin.

    Args:
        context: Of the kubeconfig; None for its current one.
        kubeconfig: None for `$KUBECONFIG`, else ~/.kube/config, else the service account inside a cluster.
        environ: Where `KUBECONFIG` and the cluster's own variables are looked up.
        service_account: Folder with the token, the CA's certificate and the namespace.

    Raises:
        KubeconfigError: There is no configuration, or it cannot be used.
    """
    places = str(kubeconfig) if kubeconfig else environ.get("KUBECONFIG") or "~/.kube/config"
    if plain := read_plain(places, context=context):
        login = describe_login(plain.user, name=plain.user_name, context=plain.context)
        return Access(
            configuration=plain.configuration, make_pool=plain.configuration.make_pool,
            namespace=plain.namespace, context=plain.context, login=login,
        )  # fmt: skip
    from kubernetes.client.api_client import ApiClient
    from kubernetes.client.configuration import Configuration

    configuration = Configuration()

    def make_pool() -> Pool:
        manager = ApiClient(configuration).rest_client.pool_manager
        return LibraryPool(manager, server=configuration.host)

    if any(Path(place).expanduser().exists() for place in places.split(os.pathsep) if place):
        chosen = _load_kubeconfig(places, context=context, into=configuration)
        namespace, name = chosen["context"].get("namespace") or "default", str(chosen["name"])
        user = str(chosen["context"].get("user", ""))
        login = describe_login(_find(places, "user", named=user), name=user, context=name)
        return Access(
            configuration=configuration, make_pool=make_pool, namespace=namespace, context=name, login=login
        )
    if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in environ:
        namespace = _load_service_account(service_account, environ=environ, into=configuration)
        login = f"the token in {service_account} is refused: start the pod again"
        return Access(
            configuration=configuration, make_pool=make_pool, namespace=namespace, context="", login=login
        )
    raise KubeconfigError(
        f"kubeconfig: expected a file at {places!r}, got none; set KUBECONFIG or --on local"
    )


def _load_kubeconfig(places: str, *, context: str | None, into: Any) -> Mapping[str, Any]:
    import yaml
    from kubernetes.config import ConfigException, list_kube_config_contexts, load_kube_config

    try:
        load_kube_config(config_file=places, context=context, client_configuration=into)
        contexts, current = list_kube_config_contexts(config_file=places)
        chosen: Mapping[str, Any] = next((item for item in contexts if item["name"] == context), current)
        # version 35 of the library does not read it
        if proxy := _find(places, "cluster", named=str(chosen["context"]["cluster"])).get("proxy-url"):
            into.proxy = proxy
    except (ConfigException, yaml.YAMLError, OSError) as error:
        raise KubeconfigError(
            f"{places}: expected a usable kubeconfig, got: {error}; see `kubectl config view`"
        ) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # the library does not check shapes
        raise KubeconfigError(f"{places}: expected a kubeconfig, got another document ({error})") from error
    return chosen


def _find(places: str, what: str, *, named: str) -> Mapping[str, Any]:
    """Return what a kubeconfig says of a cluster or a user; the first file that names it counts."""
    import yaml

    for place in filter(None, places.split(os.pathsep)):
        path = Path(place).expanduser()
        document = yaml.safe_load(path.read_bytes()) if path.exists() else {}
        for item in (document or {}).get(f"{what}s") or ():
            if item["name"] == named:
                return item.get(what) or {}
    return {}


def _load_service_account(folder: Path, *, environ: Mapping[str, str], into: Any) -> str:
    from kubernetes.config import ConfigException
    from kubernetes.config.incluster_config import InClusterConfigLoader

    loader = InClusterConfigLoader(
        token_filename=str(folder / "token"), cert_filename=str(folder / "ca.crt"), environ=environ
    )
    try:
        loader.load_and_set(into)
        return (folder / "namespace").read_text(encoding="utf-8").strip()
    except (ConfigException, OSError) as error:
        raise KubeconfigError(
            f"{folder}: expected a mounted token, got: {error}; mount the service account's or set KUBECONFIG"
        ) from error
