"""Which rank this process is and what it was told: the only reader of PADDLE_* and FTL_* outside `node`.

The same variables come from our node process, from `python -m paddle.distributed.launch`, or not at all.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path

from trainer.protocol import environment
from trainer.protocol.codec import FormatError
from trainer.protocol.pathmap import PathMap, parse_path_map

_SWITCH = {
    "": False, "0": False, "false": False, "no": False, "off": False,
    "1": True, "true": True, "yes": True, "on": True,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """This process among all ranks.

    Attributes:
        rank: Global rank, from 0.
        world_size: Number of ranks.
        local_rank: Index among the ranks of this machine.
        run_id: As the node process gave it; None without one.
        attempt: Start of all ranks that this one belongs to, from 1.
        heartbeats: File of this node's heartbeats, or None.
        outcome: Where to leave an outcome, or None.
        ranks_here: Ranks of this machine or pod, this one included.
        path_map: Of the local backend; empty elsewhere.
        gpus_promised: The job asked for GPUs, and a node process says that this rank has one.
        master: `host:port` of Paddle's store; empty where nothing was said.
        code: Folder of the user's own code, which a node process has unpacked; None where there is none.
        job_ranks: Ranks of the job with all its nodes, of which fewer may be there; None for `world_size`.
        store_is_served: A node process serves that store; else rank 0 does.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    ranks_here: int = 1
    run_id: str | None = None
    attempt: int = 1
    heartbeats: Path | None = None
    outcome: Path | None = None
    path_map: PathMap = field(default_factory=PathMap)
    gpus_promised: bool = False
    master: str = ""
    store_is_served: bool = False
    code: Path | None = None
    job_ranks: int | None = None

    @property
    def shards(self) -> int:
        """Parts that each global batch is cut into, of which a rank trains on one or on several."""
        return max(self.world_size, self.job_ranks or 0)

    @property
    def in_a_job(self) -> bool:
        """Whether a node process started this one: what it needs was mounted, or mapped."""
        return self.run_id is not None or bool(self.path_map.prefixes)

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
        raise FormatError(where="PADDLE_TRAINER_ID", expected=f"a rank below {world_size}", got=str(rank))
    heartbeats, outcome = environ.get(environment.HEARTBEATS), environ.get(environment.OUTCOME)
    return Ranks(
        rank=rank,
        world_size=world_size,
        local_rank=_number(environ, "PADDLE_RANK_IN_NODE", rank),
        ranks_here=_count_here(environ),
        run_id=environ.get(environment.RUN_ID),
        attempt=_number(environ, environment.ATTEMPT, 1),
        heartbeats=Path(heartbeats) if heartbeats else None,
        outcome=Path(outcome) if outcome else None,
        path_map=parse_path_map(environ.get(environment.PATH_MAP)),
        gpus_promised=environment.RUN_ID in environ and environ.get("PADDLE_DISTRI_BACKEND") == "nccl",
        master=environ.get("PADDLE_MASTER", ""),
        store_is_served=environ.get(environment.STORE) == "1",
        code=Path(code) if (code := environ.get(environment.CODE)) else None,
        job_ranks=_number(environ, environment.SHARDS, 0) or None,
    )


def _count_here(environ: Mapping[str, str]) -> int:
    """Count the ranks whose address has this rank's host; 1 where nobody says who the others are."""
    own = environ.get("PADDLE_CURRENT_ENDPOINT", "").rpartition(":")[0]
    hosts = [place.rpartition(":")[0] for place in environ.get("PADDLE_TRAINER_ENDPOINTS", "").split(",")]
    return max(1, hosts.count(own)) if own else 1


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightsPlaces:
    """Where the environment says that pretrained weights are kept.

    Attributes:
        folder: Of `FTL_WEIGHTS`, or None.
        offline: `FTL_OFFLINE`: download nothing.
        user_home: Home folder of the user, whose PaddleClas folder is meant; None for that of this process.
        home_is_lost: The home folder of this process goes with its container.
    """

    folder: Path | None = None
    offline: bool = False
    user_home: Path | None = None
    home_is_lost: bool = False


def read_weights_places(environ: Mapping[str, str] = os.environ) -> WeightsPlaces:
    """Read `FTL_WEIGHTS` and `FTL_OFFLINE`, or their old names, and what the local backend says of the user.

    Raises:
        FormatError: A variable is not what it should be.
    """
    home = environ.get(environment.HOME)
    name, text = _first(environ, environment.WEIGHTS, environment.OLD_WEIGHTS)
    if text.lstrip().startswith("{"):  # the old name is `Launch.weights` for the launcher, as a mapping
        text = ""
    folder = Path(text).expanduser() if text else None
    if folder is not None and folder.exists() and not folder.is_dir():
        raise FormatError(where=name, expected="a folder of weights", got=f"the file {text!r}")
    name, said = _first(environ, environment.OFFLINE, environment.OLD_OFFLINE)
    if said.lower() not in _SWITCH:
        raise FormatError(where=name, expected="1 or 0", got=repr(said))
    return WeightsPlaces(
        folder=folder,
        offline=_SWITCH[said.lower()],
        user_home=Path(home) if home else None,
        home_is_lost=not home and environment.RUN_ID in environ,
    )


def _first(environ: Mapping[str, str], *names: str) -> tuple[str, str]:
    """Return the first of some variables that is set to something, and its value."""
    return next(((name, environ[name]) for name in names if environ.get(name)), (names[0], ""))


@contextlib.contextmanager
def joining_a_store(ranks: Ranks, environ: MutableMapping[str, str] = os.environ) -> Iterator[None]:
    """Have the Paddle store that is made meanwhile connect to one that is there, on rank 0 too.

    Paddle 3.3.1 makes one store a process, once, and has it listen where PADDLE_TRAINER_ID is 0 at that
    moment (CreateOrGetGlobalTCPStore in paddle/phi/core/distributed/store/store_utils.cc). That is all that
    it takes the rank for.
    """
    environ["PADDLE_TRAINER_ID"] = str(max(1, ranks.rank))
    try:
        yield
    finally:
        environ["PADDLE_TRAINER_ID"] = str(ranks.rank)


def choose_backend(device: str, environ: MutableMapping[str, str] = os.environ) -> None:
    """Have `paddle.distributed` use gloo where the device is the CPU; a GPU build would take NCCL."""
    if device == "cpu":
        environ.setdefault("PADDLE_DISTRI_BACKEND", "gloo")


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name)
    if not text:
        return default
    if not text.isascii() or not text.isdigit():
        raise FormatError(where=name, expected="a whole number", got=repr(text))
    return int(text)
