"""How to reach a cluster, and as whom: a kubeconfig's context, or the service account inside a cluster.

The library reads kubeconfigs as kubectl does: lists of files, credential plugins, token refresh, client
certificates, `tls-server-name`, `proxy-url`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.kube.errors import KubeconfigError

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """A way into a cluster.

    Attributes:
        configuration: The library's.
        namespace: Where objects go if nobody says otherwise.
        context: Name of the kubeconfig's context; empty inside a cluster.
    """

    configuration: Any
    namespace: str
    context: str


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
    from kubernetes.client.configuration import Configuration

    places = str(kubeconfig) if kubeconfig else environ.get("KUBECONFIG") or "~/.kube/config"
    configuration = Configuration()
    if any(Path(place).expanduser().exists() for place in places.split(os.pathsep) if place):
        chosen = _load_kubeconfig(places, context=context, into=configuration)
        namespace = chosen["context"].get("namespace") or "default"
        return Access(configuration=configuration, namespace=namespace, context=chosen["name"])
    if kubeconfig is None and context is None and "KUBERNETES_SERVICE_HOST" in environ:
        namespace = _load_service_account(service_account, environ=environ, into=configuration)
        return Access(configuration=configuration, namespace=namespace, context="")
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
        if proxy := _find_proxy(places, cluster=str(chosen["context"]["cluster"])):
            into.proxy = proxy
    except (ConfigException, yaml.YAMLError, OSError) as error:
        raise KubeconfigError(
            f"{places}: expected a usable kubeconfig, got: {error}; see `kubectl config view`"
        ) from error
    except (AttributeError, KeyError, TypeError, ValueError) as error:  # the library does not check shapes
        raise KubeconfigError(f"{places}: expected a kubeconfig, got another document ({error})") from error
    return chosen


def _find_proxy(places: str, *, cluster: str) -> str | None:
    """Return a cluster's `proxy-url`, which version 35 of the library does not read."""
    import yaml

    for place in filter(None, places.split(os.pathsep)):
        path = Path(place).expanduser()
        document = yaml.safe_load(path.read_bytes()) if path.exists() else {}
        for item in (document or {}).get("clusters") or ():
            if item["name"] == cluster:  # of several files the first that names it counts
                return (item.get("cluster") or {}).get("proxy-url")
    return None


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
