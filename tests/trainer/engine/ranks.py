"""Starts a command as several ranks on this machine, as a node process would."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

from trainer.node.store import Store


def run_ranks(count: int, *arguments: str, code: int = 0, **variables: str) -> None:
    """Run `python ARGUMENTS` as so many ranks over gloo; fails with what one said that ended otherwise."""
    endpoints = [f"127.0.0.1:{port}" for port in _free_ports(count)]
    store = Store(host="127.0.0.1", port=0, world_size=count)
    running = [
        subprocess.Popen(
            [sys.executable, *arguments],
            env=os.environ | {
                "PADDLE_TRAINER_ID": str(rank), "PADDLE_TRAINERS_NUM": str(count),
                "PADDLE_TRAINER_ENDPOINTS": ",".join(endpoints), "PADDLE_CURRENT_ENDPOINT": endpoints[rank],
                "PADDLE_MASTER": store.address, "FTL_STORE": "1", "PADDLE_DISTRI_BACKEND": "gloo",
                **variables,
            },
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for rank in range(count)
    ]  # fmt: skip
    try:
        for process in running:
            said, _ = process.communicate(timeout=300)
            assert process.returncode == code, said
    finally:
        for process in running:
            process.kill()
            process.communicate()
        store.close()


def _free_ports(count: int) -> list[int]:
    bound = [socket.socket() for _ in range(count)]
    for one in bound:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in bound]
    for one in bound:
        one.close()
    return ports
