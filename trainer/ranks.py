"""Which rank this process is and what it was told: the only reader of PADDLE_* and FTL_* outside `node`.

The same variables come from our node process, from `python -m paddle.distributed.launch`, or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from trainer.protocol import environment
from trainer.protocol.fields import FormatError
from trainer.protocol.pathmap import PathMap, parse_path_map


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """This process among all ranks.

    Attributes:
        rank: Global rank, from 0.
        world_size: Number of ranks.
        local_rank: Index among the ranks of this machine.
        run_id: As the node process gave it; None without one.
        attempt: Start of all ranks that this one belongs to, from 1.
        board: Liveness board, or None.
        outcome: Where to leave an outcome, or None.
        path_map: Of the local backend; empty elsewhere.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    run_id: str | None = None
    attempt: int = 1
    board: Path | None = None
    outcome: Path | None = None
    path_map: PathMap = field(default_factory=PathMap)

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, which alone writes."""
        return self.rank == 0


def read_ranks(environ: Mapping[str, str] = os.environ) -> Ranks:
    """Read the environment.

    Raises:
        FormatError: A variable is not what it should be.
    """
    rank, world_size = _number(environ, "PADDLE_TRAINER_ID", 0), _number(environ, "PADDLE_TRAINERS_NUM", 1)
    if not rank < world_size:
        raise FormatError(f"PADDLE_TRAINER_ID: expected a rank below {world_size}, got {rank}")
    board, outcome = environ.get(environment.BOARD), environ.get(environment.OUTCOME)
    return Ranks(
        rank=rank,
        world_size=world_size,
        local_rank=_number(environ, "PADDLE_RANK_IN_NODE", rank),
        run_id=environ.get(environment.RUN_ID),
        attempt=_number(environ, environment.ATTEMPT, 1),
        board=Path(board) if board else None,
        outcome=Path(outcome) if outcome else None,
        path_map=parse_path_map(environ.get(environment.PATH_MAP)),
    )


def choose_backend(device: str, environ: MutableMapping[str, str] = os.environ) -> None:
    """Have `paddle.distributed` use gloo where the device is the CPU; a GPU build would take NCCL."""
    if device == "cpu":
        environ.setdefault("PADDLE_DISTRI_BACKEND", "gloo")


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name)
    if not text:
        return default
    if not text.isascii() or not text.isdigit():
        raise FormatError(f"{name}: expected a whole number, got {text!r}")
    return int(text)
