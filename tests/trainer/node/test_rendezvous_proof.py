"""Who may take part: nodes that prove their run, and to whom node 0 proves it; nobody else, at no cost."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.trainer.node.conftest import RUN_ID, Job, wait_for
from trainer.node.messages import SCHEMA, Admitted, Challenge, Proof, format_message, parse_message
from trainer.node.proof import Key, ProofError, Session, new_nonce
from trainer.protocol.exits import Exit
from trainer.protocol.nodefile import NodeFile

NewJob = Callable[..., Job]
SECRET = "5e" * 32
NODE_FILE = NodeFile(
    run_id=RUN_ID,
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
    secret=SECRET,
)


class Stranger:
    """Speaks to node 0's port as anybody can."""

    def __init__(self, job: Job) -> None:
        self.socket = socket.create_connection(("127.0.0.1", job.job.coordinator_port), timeout=5)
        self._file = self.socket.makefile("rb")

    def line(self) -> bytes:
        try:
            return self._file.readline()
        except OSError:
            return b""

    def challenge(self) -> Challenge:
        found = parse_message(self.line())
        assert isinstance(found, Challenge)
        return found

    def send(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.socket.sendall(data)

    def close(self) -> None:
        self._file.close()
        self.socket.close()


@pytest.fixture
def running(new_job: NewJob) -> Iterator[Job]:
    """A job of two nodes whose ranks step slowly, long enough for a test."""
    job = new_job(procs_per_node=1, secret=SECRET, max_restarts=0)
    job.start(0, 1, plan={"steps": 100_000})
    job.reaches(2)
    yield job
    assert len(job.living_ranks()) == 2  # whatever a stranger did
    assert not (job.scratch / "attempt2").exists()


def proof_with(key: Key, challenge: Challenge, **changes: Any) -> Proof:
    return dataclasses.replace(key.prove(challenge, node=1, job=NODE_FILE), **changes)


def test_both_sides_prove_that_they_know_the_secret() -> None:
    key, challenge = Key.of(NODE_FILE), Challenge(schema=SCHEMA, nonce=new_nonce())
    proof = key.prove(challenge, node=1, job=NODE_FILE)
    admitted = key.admit(challenge, proof)
    key.check(admitted, challenge, proof)
    for told in (proof.mac, admitted.mac):
        assert SECRET not in told
    assert proof.mac != admitted.mac


@pytest.mark.parametrize(
    "changes",
    [
        {"node": 0},
        {"nodes": 3},
        {"procs_per_node": 2},
        {"nonce": "ab" * 32},
        {"nonce": ""},
        {"mac": ""},
        {"mac": "0" * 64},
        {"mac": "ä"},
        {"schema": 1},
        {"nonce": "AB" * 32},
    ],
    ids=str,
)
def test_a_proof_of_which_anything_was_changed_is_none(changes: dict[str, Any]) -> None:
    key, challenge = Key.of(NODE_FILE), Challenge(schema=SCHEMA, nonce=new_nonce())
    with pytest.raises(ProofError):
        key.admit(challenge, proof_with(key, challenge, **changes))


def test_a_proof_is_good_for_one_challenge_and_one_run_and_one_role() -> None:
    key, challenge = Key.of(NODE_FILE), Challenge(schema=SCHEMA, nonce=new_nonce())
    proof = key.prove(challenge, node=1, job=NODE_FILE)
    others = (
        dataclasses.replace(NODE_FILE, run_id="ab" * 16), dataclasses.replace(NODE_FILE, secret="ab" * 32),
        dataclasses.replace(NODE_FILE, secret=None),
    )  # fmt: skip
    for other in others:
        with pytest.raises(ProofError):
            Key.of(other).admit(challenge, proof)
    with pytest.raises(ProofError):
        key.admit(Challenge(schema=SCHEMA, nonce=new_nonce()), proof)
    with pytest.raises(ProofError):
        key.check(Admitted(mac=proof.mac), challenge, proof)


def test_sealed_lines_are_read_once_in_their_order_and_by_the_other_side() -> None:
    key, challenge = Key.of(NODE_FILE), Challenge(schema=SCHEMA, nonce=new_nonce())
    proof = key.prove(challenge, node=1, job=NODE_FILE)
    sides = lambda: tuple(key.session(challenge, proof, as_coordinator=side) for side in (True, False))  # noqa: E731
    mine, theirs = sides()
    first, second = mine.seal(b"one\n"), mine.seal(b"two\n")
    assert (theirs.open(first), theirs.open(second)) == (b"one\n", b"two\n")
    damages: list[Callable[[Session, Session], bytes]] = [
        lambda a, b: a.seal(b"x\n").replace(b"x", b"y"),
        lambda a, b: (a.seal(b"x\n"), a.seal(b"x\n"))[1],  # the first was left out
        lambda a, b: b.seal(b"x\n"),  # one's own, sent back
        lambda a, b: b"x\n",
        lambda a, b: b"\n",
        lambda a, b: a.seal(b"x\n")[1:],
    ]
    for damage in damages:
        mine, theirs = sides()
        with pytest.raises(ProofError):
            theirs.open(damage(mine, theirs))
    mine, theirs = sides()
    once = mine.seal(b"x\n")
    theirs.open(once)
    with pytest.raises(ProofError):
        theirs.open(once)


def test_a_stranger_is_told_nothing_and_takes_no_place(running: Job) -> None:
    told = b""
    for attempt in range(12):
        stranger = Stranger(running)
        challenge = stranger.challenge()
        guess = Key.of(dataclasses.replace(NODE_FILE, secret=None if attempt % 2 else "00" * 32))
        proof = proof_with(guess, challenge, node=attempt % 3)
        stranger.send(format_message(proof))
        told += json.dumps(dataclasses.asdict(challenge)).encode() + stranger.line()
        assert stranger.line() == b""
        stranger.close()
    assert RUN_ID.encode() not in told
    assert SECRET.encode() not in told
    assert b"job" not in told


@pytest.mark.parametrize(
    "data",
    [
        b"\n",
        b"{}\n",
        b"[" * 100_000 + b"\n",
        b'{"kind":"proof"}\n',
        b"\xff\xfe\0\n" * 9,
        b"x" * 5_000_000,
        b"GET / HTTP/1.1\r\n\r\n",
        b'{"kind":"end","exit":0,"rank":null,"rank_exit":null,"attempt":1,"step":null,'
        b'"reason":"x","checkpoint":null}\n',
        b'{"kind":"kill","attempt":1,"reason":"\\u001b]0;x\\u0007"}\n',
        b'{"kind":"hello","schema":1,"run_id":"'
        + RUN_ID.encode()
        + b'","node":1,"nodes":2,"procs_per_node":1}\n',
        b'{"kind":"proof","schema":' + b"9" * 400 + b"}\n",
    ],
    ids=range(11),
)
def test_whatever_a_stranger_says_it_is_cut(running: Job, data: bytes) -> None:
    stranger = Stranger(running)
    stranger.challenge()
    stranger.send(data)
    assert stranger.line() == b""
    stranger.close()
    for node in running.nodes:
        assert "Traceback" not in node.text
        assert "\x1b" not in node.text


def test_strangers_cost_little_memory_and_few_lines_and_keep_no_node_out(running: Job) -> None:
    pid = running.nodes[0].process.pid
    before, stop = resident_kib(pid), threading.Event()

    def flood() -> None:
        held: list[socket.socket] = []
        while not stop.is_set():
            try:
                one = socket.create_connection(("127.0.0.1", running.job.coordinator_port), timeout=1)
                one.settimeout(0.2)
                with contextlib.suppress(OSError):
                    one.sendall(b"x" * 200_000)
                held.append(one)
            except OSError:
                time.sleep(0.01)
            if len(held) > 300:
                held.pop(0).close()
        for one in held:
            one.close()

    floods = [threading.Thread(target=flood) for _ in range(2)]
    for thread in floods:
        thread.start()
    try:
        time.sleep(2)
        assert resident_kib(pid) - before < 32 * 1024
    finally:
        stop.set()
        for thread in floods:
            thread.join()
    text = running.nodes[0].text
    assert 1 <= text.count("not prove to be of this run") <= 3
    assert "Too many open files" not in text


def resident_kib(pid: int) -> int:
    return next(
        int(line.split()[1])
        for line in Path(f"/proc/{pid}/status").read_text().splitlines()
        if "VmRSS" in line
    )


def test_a_node_with_another_secret_stays_outside_and_says_what_may_be(new_job: NewJob) -> None:
    job = new_job(procs_per_node=1, secret=SECRET, rendezvous_timeout_s=60.0)
    job.start(0)
    stranger = job.start(1, secret="00" * 32, rendezvous_timeout_s=8.0)[
        0
    ]  # node 0 is there until it gives up
    assert stranger.exit() == Exit.RENDEZVOUS
    assert "it refused the proof; is it of another run?" in stranger.termination.reason


def test_a_node_does_not_obey_who_has_not_proved_the_run(new_job: NewJob) -> None:
    job = new_job(procs_per_node=1, secret=SECRET, rendezvous_timeout_s=12.0)

    def pretend(server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                with connection, connection.makefile("rb") as file:
                    connection.sendall(format_message(Challenge(schema=SCHEMA, nonce=new_nonce())))
                    proof = parse_message(file.readline())
                    assert isinstance(proof, Proof)
                    connection.sendall(format_message(Admitted(mac=proof.mac)))
                    connection.sendall(b'{"kind":"start","attempt":1,"endpoints":["a:1"],"master":"a:1"}\n')
                    file.readline()

    with socket.create_server(("127.0.0.1", job.job.coordinator_port)) as server:
        server.settimeout(20)
        impostor = threading.Thread(target=pretend, args=(server,))
        impostor.start()
        node = job.start(1)[0]
        assert node.exit() == Exit.RENDEZVOUS
        server.settimeout(0.1)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        impostor.join()
    assert "it has not proved that it is of this run" in node.text
    assert not list(job.scratch.glob("attempt*"))


def test_nodes_of_a_file_without_a_secret_still_meet_and_say_what_that_means(new_job: NewJob) -> None:
    job = new_job(procs_per_node=1)
    nodes = job.start(0, 1, plan={"steps": 3})
    assert [node.exit() for node in nodes] == [0, 0]
    assert "there is no secret, so nodes prove no more" in nodes[0].text


def test_a_job_of_one_node_listens_on_loopback_alone(new_job: NewJob) -> None:
    job = new_job(nodes=1, procs_per_node=1, secret=SECRET)
    job.without = ("FTL_COORDINATOR",)  # as in a pod
    job.start(0, plan={"steps": 100_000})
    wait_for(lambda: listening(job.job.coordinator_port), what="node 0 to listen")
    assert listening(job.job.coordinator_port) == {"0100007F"}


@pytest.mark.parametrize(
    ("nodes", "procs", "addresses"), [(1, 1, set()), (1, 2, {"0100007F"}), (2, 1, {"0100007F"})]
)
def test_the_store_of_several_ranks_is_on_loopback_while_an_attempt_lasts(
    new_job: NewJob, nodes: int, procs: int, addresses: set[str]
) -> None:
    job = new_job(nodes=nodes, procs_per_node=procs, secret=SECRET)
    first, *_ = job.start(*range(nodes), plan={"steps": 100_000})
    first.says("attempt 1 begins")
    port = int(job.master.rpartition(":")[2])
    if addresses:
        wait_for(lambda: listening(port), what="the store to listen")
    assert listening(port) == addresses
    first.process.send_signal(signal.SIGTERM)
    assert first.exit() == 143
    assert listening(port) == set()


def test_a_store_whose_port_is_taken_is_waited_for(new_job: NewJob) -> None:
    job = new_job(nodes=1, procs_per_node=2, secret=SECRET)
    port = int(job.master.rpartition(":")[2])
    with socket.create_server(("127.0.0.1", port)):
        (node,) = job.start(0, plan={"steps": 3})
        node.says(f"port {port}: Address already in use")
    assert node.exit() == 0


def listening(port: int) -> set[str]:
    """Return the IPv4 addresses, in /proc's hexadecimal form, on which anybody listens at a port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {
        row[1].partition(":")[0]
        for row in rows
        if row[3] == "0A" and int(row[1].partition(":")[2], 16) == port
    }
