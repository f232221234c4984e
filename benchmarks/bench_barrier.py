"""What it costs that CPU ranks meet before an exchange: sums of two ranks over gloo, with and without."""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import time

ROUNDS = 500


def rank() -> None:
    import paddle

    from trainer.engine.barrier import Barrier, send_at_once
    from trainer.engine.collective import Collective

    paddle.set_device("cpu")
    paddle.distributed.init_parallel_env()
    send_at_once()
    barrier = Barrier(paddle.base.core.create_or_get_global_tcp_store(), world_size=2)
    ways = (Collective(world_size=2), Collective(world_size=2, barrier=barrier))
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):
        for way, taken in zip(ways, times, strict=True):
            began = time.perf_counter()
            way.sum([1.0] * 8)
            taken.append(time.perf_counter() - began)
    bare, met = (statistics.median(taken) * 1e3 for taken in times)
    if os.environ["PADDLE_TRAINER_ID"] == "0":
        print(f"a sum of two ranks           {bare:7.2f} ms  1.00 x")
        print(f"ranks meet, then sum         {met:7.2f} ms  {met / bare:4.2f} x")


def main() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    shared = {
        "PADDLE_TRAINERS_NUM": "2", "PADDLE_MASTER": f"127.0.0.1:{port}", "PADDLE_DISTRI_BACKEND": "gloo",
        "PADDLE_TRAINER_ENDPOINTS": "127.0.0.1:1,127.0.0.1:2", "GLOO_SOCKET_IFNAME": "lo",
    }  # fmt: skip
    ranks = [
        subprocess.Popen(
            [sys.executable, __file__, "rank"], stderr=subprocess.DEVNULL,
            env={**os.environ, **shared, "PADDLE_TRAINER_ID": str(index),
                 "PADDLE_CURRENT_ENDPOINT": f"127.0.0.1:{index + 1}"},
        )
        for index in range(2)
    ]  # fmt: skip
    sys.exit(max(process.wait() for process in ranks))


if __name__ == "__main__":
    rank() if sys.argv[1:] == ["rank"] else main()
