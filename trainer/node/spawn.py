"""What one rank is started with: its environment, which is what `paddle.distributed` reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trainer.protocol import environment
from trainer.protocol.nodefile import NodeFile

# They would send Paddle's own HTTP through a proxy; its launcher removes them too (launch/context).
_REMOVED = ("http_proxy", "https_proxy")


@dataclass(frozen=True, kw_only=True, slots=True)
class Birth:
    """All that one rank is started with.

    Attributes:
        rank: Global rank.
        attempt: From 1.
        endpoints: Of all ranks, by rank.
        master: `host:port` of Paddle's store.
        board: Liveness board of this node.
        outcome: Where the rank leaves its outcome.
        interface: Network interface by which the other nodes know this one; None where it has no name.
    """

    rank: int
    attempt: int
    endpoints: Sequence[str]
    master: str
    board: Path
    outcome: Path
    interface: str | None = None


def rank_environment(birth: Birth, *, job: NodeFile, base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a rank: `base` with what Paddle and `trainer.ranks` read.

    Names are those of paddle/distributed/launch/controllers/collective.py (Paddle 3.3.1).
    """
    local = birth.rank % job.procs_per_node
    env = {name: value for name, value in base.items() if name not in _REMOVED}
    env.setdefault("PYTHONUNBUFFERED", "1")  # as the training operator: the last words of a killed rank
    env.update(
        {
            "PADDLE_TRAINER_ID": str(birth.rank),
            "PADDLE_TRAINERS_NUM": str(job.world_size),
            "PADDLE_TRAINER_ENDPOINTS": ",".join(birth.endpoints),
            "PADDLE_CURRENT_ENDPOINT": birth.endpoints[birth.rank],
            "PADDLE_MASTER": birth.master,
            "PADDLE_RANK_IN_NODE": str(local),
            "PADDLE_DISTRI_BACKEND": job.backend,
            environment.RUN_ID: job.run_id,
            environment.ATTEMPT: str(birth.attempt),
            environment.BOARD: str(birth.board),
            environment.OUTCOME: str(birth.outcome),
            environment.STORE: "1",
        }
    )
    if job.backend == "nccl":
        env["FLAGS_selected_gpus"] = str(local)  # counts within CUDA_VISIBLE_DEVICES
    else:
        env.pop("FLAGS_selected_gpus", None)
        if birth.interface is not None:
            # Else gloo listens where the host's name leads, which may be nowhere, or 127.0.1.1
            # (createDefaultDevice in paddle/fluid/distributed/collective/process_group_gloo.cc).
            env.setdefault("GLOO_SOCKET_IFNAME", birth.interface)
    return env
