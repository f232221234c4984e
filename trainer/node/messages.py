"""What node processes say to each other: one JSON object a line, never pickles.

The field types of a message are its schema (`trainer.protocol.codec`): a decoded line has exactly these
types or is refused. `SCHEMA` changes with any message, because all nodes of a run have one image: a node
with another one is told so at once, instead of failing in the middle of a run.

An attempt, in messages (coordinator → agent, and back):

    Prepare        → Ready                 free ports, as many as ranks
    Start          →                       all endpoints; the ranks run
                   → Records               once a second
    Poll, Stop     → Records               where to stop is chosen of fresh records
    Kill           →
                   → Exited, Cleared       a rank ended; none is left
    Waiting        →                       it trains without this node
    Released       →                       a node that was told to stop may go
    End            →                       the run is over
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, TypeAlias

from trainer.protocol.codec import UnlessNone, Within, encode, read
from trainer.protocol.evaluated import Evaluated
from trainer.protocol.step_times import StepTimes
from trainer.protocol.untrusted import FormatError, parse_object, shown

SCHEMA = 6
MAX_LINE_BYTES = 4 * 1024 * 1024
"""Endpoints and records of some ten thousand ranks; nothing honest is longer."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RankState:
    """A rank's record as its node saw it; times are ages, because nodes share no clock.

    Attributes:
        recorded: Whether it has written any record since it was spawned.
        silent_s: Since its last record, or since it was spawned.
        phase: Lower-case name of `heartbeat.Phase`.
        evaluated: The last evaluation, which rank 0 alone tells.
        epoch_end: Steps completed once its epoch is over, or 0 while unknown.
        epoch_steps: Steps of an epoch, or 0 while unknown.
        times: Of its last steps.
    """

    rank: int
    recorded: bool
    step: int
    epoch: int
    total_steps: int
    phase: str
    silent_s: float
    loss: float | None
    images_per_s: float | None
    evaluated: Evaluated | None = None
    epoch_end: int = 0
    epoch_steps: int = 0
    times: Annotated[StepTimes | None, UnlessNone()] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Challenge:
    """Coordinator, first of all: prove that you are of this run. See `proof` for these three."""

    schema: int
    nonce: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Proof:
    """Agent: I am node `node` of this run; `mac` proves the run."""

    schema: int
    nonce: str
    node: int
    nodes: int
    procs_per_node: int
    mac: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Admitted:
    """Coordinator: so am I. What follows is sealed."""

    mac: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Welcome:
    """Coordinator: you are in; `attempt` is the last one that began."""

    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """Coordinator: you are of this run, but not as it is here."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Ping:
    """Either: I am alive."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prepare:
    """Coordinator: find free ports. `number` tells a late answer from the one wanted."""

    number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Ready:
    """Agent: the ranks of this node will answer at these endpoints."""

    number: int
    host: str
    ports: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """Coordinator: start your ranks.

    Attributes:
        nodes: Who takes part, ascending; this node is among them.
        endpoints: Of their ranks, in that order.
    """

    attempt: int
    nodes: tuple[int, ...]
    endpoints: tuple[str, ...]
    master: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Poll:
    """Coordinator: report your records now, not at the next poll."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Records:
    """Agent: how far my ranks are.

    Attributes:
        asked: It answers `Poll`.
        gpu_use: Mean of this node's GPUs, from 0 to 1; None where it is not known, or does not matter.
    """

    attempt: int
    asked: bool
    ranks: tuple[RankState, ...]
    gpu_use: Annotated[Annotated[float, Within(0, 1)] | None, UnlessNone()] = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Exited:
    """Agent: a rank ended.

    Attributes:
        code: Its exit code; negative for a signal.
        killed: Whether this node process had killed it, so that its code says nothing.
        reason: Its own words, or None where it left none.
    """

    attempt: int
    rank: int
    code: int
    killed: bool
    reason: str | None
    step: int | None
    checkpoint: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Cleared:
    """Agent: no process of this attempt is left here."""

    attempt: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Stop:
    """Coordinator: have your ranks save and stop after `step`."""

    attempt: int
    step: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Kill:
    """Coordinator: kill your ranks."""

    attempt: int
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Leaving:
    """Agent: I was told to stop and will be gone soon."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Waiting:
    """Coordinator: the others train without you for now; `reason` is a sentence for your log."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Released:
    """Coordinator: whoever is leaving may go."""

    attempt: int
    reason: str
    step: int | None
    checkpoint: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class End:
    """Coordinator: the run is over; the fields of a `Termination`."""

    exit: int
    rank: int | None
    rank_exit: int | None
    attempt: int
    step: int | None
    reason: str
    checkpoint: str | None


Message: TypeAlias = (
    Challenge | Proof | Admitted | Welcome | Refused | Ping | Prepare | Ready | Start | Poll | Records
    | Exited | Cleared | Stop | Kill | Leaving | Waiting | Released | End
)  # fmt: skip

_KINDS: dict[str, type[Message]] = {
    kind.__name__.lower(): kind
    for kind in (
        Challenge, Proof, Admitted, Welcome, Refused, Ping, Prepare, Ready, Start, Poll, Records, Exited,
        Cleared, Stop, Kill, Leaving, Waiting, Released, End,
    )
}  # fmt: skip


def format_message(message: Message) -> bytes:
    """Write one line, newline included."""
    document = {"kind": type(message).__name__.lower(), **encode(message)}
    return json.dumps(document, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def parse_message(line: bytes) -> Message:
    """Read one line.

    Raises:
        FormatError: It is not a message.
    """
    document = parse_object(line, where="message", max_bytes=MAX_LINE_BYTES)
    name = document.get("kind")
    kind = _KINDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise FormatError(where="message: kind", expected=f"one of {', '.join(_KINDS)}", got=shown(name))
    return read(kind, document, where=str(name))
