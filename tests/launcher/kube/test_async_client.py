"""The connections that logs come over: what they carry besides logs."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path

import pytest

from launcher.kube.async_client import AsyncClient
from launcher.kube.client import connect
from launcher.logs.source import SourceError
from tests.launcher.kube.api_server import Answer, ApiServer

PODS = {"metadata": {}, "items": [{"metadata": {"name": f"big-worker-{index}"}} for index in range(2000)]}


def fetch(server: ApiServer, folder: Path) -> dict[str, object]:
    config = {
        "current-context": "c", "clusters": [{"name": "c", "cluster": {"server": server.url}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }  # fmt: skip
    (folder / "kubeconfig").write_text(json.dumps(config))
    client = connect(kubeconfig=folder / "kubeconfig", environ={})

    async def ask() -> dict[str, object]:
        async_client = AsyncClient(client, reconnect=lambda: client)
        return await async_client.fetch("/pods", {}, async_client.describe(namespace="ml", name=""))

    return asyncio.run(ask())


@pytest.mark.parametrize("pieces", [1, 7], ids=["whole", "cut anywhere"])
def test_a_list_may_come_packed(tmp_path: Path, pieces: int) -> None:
    body = gzip.compress(json.dumps(PODS).encode())
    size = len(body) // pieces + 1
    cut = tuple(body[at : at + size] for at in range(0, len(body), size))
    with ApiServer() as server:
        server.answer = lambda _: Answer(pieces=cut, encoding="gzip")
        assert fetch(server, tmp_path) == PODS
        assert server.asked[0].headers["Accept-Encoding"] == "gzip"


def test_what_is_packed_wrongly_is_no_answer(tmp_path: Path) -> None:
    with ApiServer() as server:
        server.answer = lambda _: Answer(body=b"no gzip at all", encoding="gzip")
        with pytest.raises(SourceError) as caught:
            fetch(server, tmp_path)
    assert "expected gzip" in str(caught.value.end.error)
