from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.kube.access import describe_login
from launcher.kube.client import connect
from launcher.kube.errors import CredentialsError
from launcher.objects import PODS
from tests.launcher.kube.api_server import SecureApiServer


@pytest.mark.parametrize(("user", "words"), [
    ({"exec": {"command": "/usr/bin/aws", "args": ["eks", "get-token"]}}, "run `aws sso login`"),
    ({"exec": {"command": "gke-gcloud-auth-plugin"}}, "run `gcloud auth login`"),
    ({"exec": {"command": "mine", "args": ["--secret=x"]}}, "run 'mine' as the kubeconfig does"),
    ({"client-certificate-data": "x"}, "--client-certificate=FILE"),
    ({"tokenFile": "/run/token"}, "the token in /run/token is refused"),
    ({"token": "x"}, "run `kubectl config set-credentials ann --token=TOKEN`"),
    ({}, "give context 'prod' a user"),
], ids=["aws", "gke", "other plugin", "certificate", "file", "token", "nothing"])  # fmt: skip
def test_what_to_run_depends_on_how_we_prove_who_we_are(user: dict[str, Any], words: str) -> None:
    said = describe_login(user, name="ann", context="prod")
    assert words in said
    assert "secret" not in said


def test_expired_credentials_say_what_to_run(tmp_path: Path) -> None:
    document = {
        "current-context": "prod", "users": [{"name": "u", "user": {"token": "old"}}],
        "contexts": [{"name": "prod", "context": {"cluster": "c", "user": "u"}}],
    }  # fmt: skip
    path = tmp_path / "kubeconfig"
    with SecureApiServer() as server:
        assert isinstance(server, SecureApiServer)
        cluster = {"name": "c", "cluster": server.cluster}
        path.write_text(yaml.safe_dump({**document, "clusters": [cluster]}))
        server.answer_status(403, 'pods is forbidden: User "system:anonymous" cannot list resource "pods"')
        with pytest.raises(CredentialsError, match="run `kubectl config set-credentials u --token=TOKEN`"):
            connect(kubeconfig=path, environ={}).list(PODS, namespace="ml")
