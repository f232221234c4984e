"""How two node processes prove to each other that they are of one run, and that what they say is theirs.

Whoever can reach a pod can connect to its port. So nothing is told and nothing believed before a proof:

    coordinator → agent    challenge: protocol, a nonce
    agent → coordinator    proof: protocol, a nonce, who I am, HMAC(key, "agent" + all of both lines)
    coordinator → agent    admitted: HMAC(key, "coordinator" + the same)

`key` comes of the secret in node.json, which only the job's pods have, and of the run id; nonces are 256
random bits, so neither side's answer can be one that was heard before, and the roles differ, so neither can
be sent back to who made it. From there on each line begins with an HMAC of its own (`Session`), with a key a
direction and a count: none can be changed, left out, repeated or put in by who stands between. Nothing is
encrypted: addresses and progress are no secrets. HMAC-SHA256 (RFC 2104) of the standard library; TLS would
need certificates in every pod, and a pre-shared key for it needs Python 3.13.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
from dataclasses import dataclass

from trainer.node.messages import SCHEMA, Admitted, Challenge, Proof
from trainer.protocol.errors import TrainerError
from trainer.protocol.exits import Exit
from trainer.protocol.nodefile import NodeFile

MAC_CHARACTERS = 64
_NONCE = re.compile(r"[0-9a-f]{64}")
_LABEL = "ftlaunch rendezvous"


class ProofError(TrainerError):
    """The other side has not proved that it is of this run."""

    exit_code = Exit.RENDEZVOUS


def new_nonce() -> str:
    """Draw 256 random bits, as hexadecimal digits."""
    return os.urandom(32).hex()


@dataclass(frozen=True, slots=True)
class Key:
    """What both sides of a run know and nobody else."""

    secret: bytes

    @classmethod
    def of(cls, job: NodeFile) -> Key:
        """Return the key of a job. Without a secret, as older releases wrote node.json, it is the run
        id's.
        """
        material = job.secret or job.run_id
        return cls(hmac.digest(material.encode(), f"{_LABEL} {job.run_id}".encode(), hashlib.sha256))

    def prove(self, challenge: Challenge, *, node: int, job: NodeFile) -> Proof:
        """Answer a challenge as a agent."""
        proof = Proof(
            schema=SCHEMA, nonce=new_nonce(), node=node, nodes=job.nodes, procs_per_node=job.procs_per_node,
            mac=""
        )  # fmt: skip
        return Proof(
            schema=SCHEMA, nonce=proof.nonce, node=node, nodes=job.nodes, procs_per_node=job.procs_per_node,
            mac=self._mac("agent", challenge, proof),
        )  # fmt: skip

    def admit(self, challenge: Challenge, proof: Proof) -> Admitted:
        """Check a agent's proof, and answer with the coordinator's own.

        Raises:
            ProofError: It is none.
        """
        if not _NONCE.fullmatch(proof.nonce) or not _equal(proof.mac, self._mac("agent", challenge, proof)):
            raise ProofError("no proof")
        return Admitted(mac=self._mac("coordinator", challenge, proof))

    def check(self, admitted: Admitted, challenge: Challenge, proof: Proof) -> None:
        """Check the coordinator's proof.

        Raises:
            ProofError: It is none.
        """
        if not _equal(admitted.mac, self._mac("coordinator", challenge, proof)):
            raise ProofError("it has not proved that it is of this run")

    def session(self, challenge: Challenge, proof: Proof, *, as_coordinator: bool) -> Session:
        """Return what seals the lines of this connection from now on."""
        of_coordinator, of_agent = (
            bytes.fromhex(self._mac(f"lines of the {role}", challenge, proof)) for role in ("coordinator",
            "agent")
        )  # fmt: skip
        mine, theirs = (of_coordinator, of_agent) if as_coordinator else (of_agent, of_coordinator)
        return Session(mine, theirs)

    def _mac(self, role: str, challenge: Challenge, proof: Proof) -> str:
        told = [
            _LABEL, role, challenge.schema, challenge.nonce, proof.schema, proof.nonce, proof.node,
            proof.nodes, proof.procs_per_node,
        ]  # fmt: skip
        return hmac.new(self.secret, json.dumps(told).encode(), hashlib.sha256).hexdigest()


class Session:
    """Seals lines: `<64 hexadecimal digits> <line>`, counted in each direction."""

    def __init__(self, mine: bytes, theirs: bytes) -> None:
        self._mine = mine
        self._theirs = theirs
        self._sent = 0
        self._received = 0

    def seal(self, line: bytes) -> bytes:
        """Return a line, newline included, with its mac before it."""
        mac = _line_mac(self._mine, self._sent, line)
        self._sent += 1
        return mac + b" " + line

    def open(self, sealed: bytes) -> bytes:
        """Return the line without its mac.

        Raises:
            ProofError: It is not the next line that the other side sent.
        """
        mac, line = sealed[:MAC_CHARACTERS], sealed[MAC_CHARACTERS + 1 :]
        if not hmac.compare_digest(mac, _line_mac(self._theirs, self._received, line)):
            raise ProofError("a line that the other side did not send")
        self._received += 1
        return line


def is_nonce(text: str) -> bool:
    """Say whether a text has the form of a nonce."""
    return _NONCE.fullmatch(text) is not None


def _line_mac(key: bytes, count: int, line: bytes) -> bytes:
    return hmac.new(key, count.to_bytes(8, "big") + line, hashlib.sha256).hexdigest().encode()


def _equal(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "replace"), wanted.encode())
