"""What strangers send to the rendezvous: no mutant of a proof takes a place, and nothing ends who listens."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

from tests.fuzz.mutation import mutate
from trainer.node.console import Console
from trainer.node.messages import Challenge, Proof, format_message, parse_message
from trainer.node.peers import Peers
from trainer.node.proof import Key
from trainer.node.settings import Address, Intervals, NodeSettings
from trainer.protocol.codec import FormatError
from trainer.protocol.nodefile import NodeFile

JOB = NodeFile(
    run_id="ab" * 16,
    job="j",
    nodes=2,
    procs_per_node=1,
    coordinator_host="h",
    coordinator_port=1,
    backend="gloo",
    output_dir="/o",
    max_restarts=1,
    backoff_s=1,
    deadline_s=None,
    grace_s=1,
    rendezvous_timeout_s=1,
    hang_timeout_s=None,
    secret="5e" * 32,
)


def is_still(proof: Proof, changed: bytes) -> bool:
    """Say whether a mutant says the same, as one does with a key more that nobody asks for."""
    try:
        return parse_message(changed.split(b"\n")[0]) == proof
    except FormatError:
        return False


async def try_all(rng: random.Random, count: int) -> tuple[Peers, list[bytes], list[str]]:
    said: list[bytes] = []
    faults: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(str(context)))
    where = Address(host="127.0.0.1", port=0)
    peers = Peers(
        settings=NodeSettings(
            node=0,
            job=JOB,
            coordinator=where,
            bind_host="127.0.0.1",
            master=where,
            output_dir=Path("/none"),
            termination_path=Path("/none"),
            intervals=Intervals(),
        ),
        console=Console(node=0, write=said.append),
    )
    await peers.listen()
    for _ in range(count):
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", peers.port)
            challenge = parse_message(await reader.readline())
            assert isinstance(challenge, Challenge)
            proof = Key.of(JOB).prove(challenge, node=1, job=JOB)  # a true one: each change must make it none
            line = format_message(proof)
            changed = mutate(line, rng, [line])
            if rng.random() < 0.3:
                one = rng.choice(
                    [
                        {"node": 0},
                        {"nonce": challenge.nonce},
                        {"mac": proof.mac[:-1] + "g"},
                        {"mac": "0" * 64},
                    ]
                )
                changed = format_message(dataclasses.replace(proof, **one))  # type: ignore[arg-type]
            if is_still(proof, changed):
                writer.close()
                continue
            writer.write(changed)
            writer.write_eof()
            told = await asyncio.wait_for(reader.read(), 20)
            writer.close()
            assert told == b"", changed
    connected = set(peers.connected)
    await peers.close()
    assert connected == set()
    return peers, said, faults


def test_no_mutant_of_a_proof_takes_a_place(rng: random.Random, rounds: Callable[[int], int]) -> None:
    count = rounds(150)
    _, said, faults = asyncio.run(try_all(rng, count))
    assert faults == []
    assert len(said) <= 2 + count / 20
    assert not any(b"\x1b" in line for line in said)
