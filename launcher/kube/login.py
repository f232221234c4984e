"""What to run where a cluster does not know us any more, by how the kubeconfig proves who we are. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

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
