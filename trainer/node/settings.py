"""What a node process is told: node.json and a few environment variables, as one frozen value.

Jobs that ftlaunch submits bring a node.json. One that somebody makes with Kubeflow's SDK from the runtime
`paddle-distributed` (`k8s/runtime`) has none: there the runtime's variables tell the same, and Kubeflow
Trainer's PET_* how many nodes and ranks there are (kubeflow/trainer v2.3.0,
pkg/runtime/framework/plugins/torch), which it gives to whoever's container is called `node`.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from trainer.protocol import environment
from trainer.protocol.codec import FormatError
from trainer.protocol.nodefile import NodeFile, parse_node_file
from trainer.protocol.pathmap import PathMap, parse_path_map


@dataclass(frozen=True, kw_only=True, slots=True)
class Address:
    """A TCP address; `host` is a name or an IPv4 address (Paddle's endpoints know no IPv6)."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Intervals:
    """How often and how long the node process does its own things, in seconds.

    Attributes:
        watch_s: Between looks at the local ranks.
        poll_s: Between reports of a node's records to the coordinator.
        report_s: Between progress lines.
        settle_s: From a rank's failure to the killing of its peers, so that a rank that failed of the cause
            is heard beside those that failed of its absence.
        retry_s: Between two tries to reach the coordinator.
        say_s: Between two lines about a wait.
        ping_s: Between signs of life on an idle connection.
        silence_s: Silence of a connection that counts as its loss; a lost machine sends no FIN.
        farewell_s: How long the coordinator stays to tell absent nodes how the run ended.
        beat_s: Between heartbeats of the writer lock.
        kill_s: How long killed ranks may take to be gone.
        track_s: How long trackers may take at the end of a run for what they have not sent.
        track_pause_s: How long trackers may take where this pod is told to stop and the run is not over.
        publish_s: Between two writings of progress into the job object, at least.
        publish_last_s: How long the last one may take at the end of a run.
        stop_lead_s: Time a stop request may take to reach every rank.
    """

    watch_s: float = 0.05
    poll_s: float = 1.0
    report_s: float = 30.0
    settle_s: float = 1.0
    retry_s: float = 1.0
    say_s: float = 10.0
    ping_s: float = 5.0
    silence_s: float = 60.0
    farewell_s: float = 30.0
    beat_s: float = 15.0
    kill_s: float = 10.0
    track_s: float = 60.0
    track_pause_s: float = 3.0
    publish_s: float = 30.0
    publish_last_s: float = 3.0
    stop_lead_s: float = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeSettings:
    """A node process' settings.

    Attributes:
        node: Index of this node.
        job: node.json.
        coordinator: Where node 0 answers.
        bind_host: Interface on which node 0 listens where it is not to be all; None for all. A job of one
            node has nobody to listen to but itself.
        master: Paddle's store, as node 0 hands it to all ranks.
        output_dir: Mapped to this machine.
        termination_path: Mapped to this machine.
        code: Archive of the user's code, mapped to this machine; None where there is none.
        notify_file: Addresses of `job.notify`, mapped to this machine; None where nobody is told.
        api_access: Folder of `API_ACCESS`, mapped to this machine; None where no progress is written.
        shares_host: All nodes of the job are processes of one machine.
        intervals: Intervals of its own.
    """

    node: int
    job: NodeFile
    coordinator: Address
    bind_host: str | None
    master: Address
    output_dir: Path
    termination_path: Path
    code: Path | None = None
    notify_file: Path | None = None
    api_access: Path | None = None
    shares_host: bool = False
    intervals: Intervals = field(default_factory=Intervals)

    @property
    def stop_within_s(self) -> float:
        """Seconds that a coordinated stop may take before the ranks are killed.

        Five seconds of the pod's grace are kept for killing, telling and exiting; half of a short one.
        """
        return max(self.job.grace_s - 5.0, self.job.grace_s * 0.5)

    @property
    def local_ranks(self) -> range:
        """Global ranks of this node."""
        first = self.node * self.job.procs_per_node
        return range(first, first + self.job.procs_per_node)


def load_settings(environ: Mapping[str, str], *, intervals: Intervals | None = None) -> NodeSettings:
    """Read node.json and the environment.

    Raises:
        FormatError: One of them is not what it should be.
        OSError: node.json cannot be read.
    """
    path_map = parse_path_map(environ.get(environment.PATH_MAP))
    path = posixpath.join(environment.CONFIG_MOUNT, environment.NODE_FILE)
    if environment.JOB in environ and not Path(path_map.apply(path)).exists():
        job = read_runtime(environ, gpus=len(list(Path("/dev").glob("nvidia[0-9]*"))))
    else:
        job = parse_node_file(_mapped(path_map, path))
    override = environ.get(environment.COORDINATOR)
    coordinator = (
        parse_address(override, what=environment.COORDINATOR)
        if override is not None
        else Address(host=job.coordinator_host, port=job.coordinator_port)
    )
    master = environ.get("PADDLE_MASTER")
    return NodeSettings(
        node=_node_index(environ, job.nodes),
        job=job,
        coordinator=coordinator,
        bind_host=coordinator.host if override is not None else "127.0.0.1" if job.nodes == 1 else None,
        master=(
            parse_address(master, what="PADDLE_MASTER")
            if master
            else Address(host=coordinator.host, port=environment.STORE_PORT)
        ),
        output_dir=Path(path_map.apply(job.output_dir)),
        termination_path=Path(path_map.apply(environment.TERMINATION_PATH)),
        code=Path(path_map.apply(job.code_path)) if job.code_path is not None else None,
        notify_file=Path(path_map.apply(job.notify.file)) if job.notify is not None else None,
        api_access=Path(path_map.apply(environment.API_ACCESS)) if job.publish is not None else None,
        shares_host=override is not None,
        intervals=intervals or Intervals(),
    )


def read_runtime(environ: Mapping[str, str], *, gpus: int) -> NodeFile:
    """Return what stands in no node.json, because the job was not submitted by ftlaunch.

    Args:
        environ: `FTL_JOB`, `FTL_RUN_ID` and `FTL_OUTPUT_DIR` of the runtime, `PET_NNODES` and
            `PET_NPROC_PER_NODE` of Kubeflow Trainer.
        gpus: Of this node; 0 for ranks on CPUs.

    Raises:
        FormatError: One of them is missing or not what it should be.
    """

    def text(name: str) -> str:
        if not environ.get(name):
            raise FormatError(where=name, expected="a value, as the runtime paddle-distributed gives it")
        return environ[name]

    def number(name: str) -> int:
        value = text(name)
        if not value.isascii() or not value.isdigit() or int(value) < 1:
            raise FormatError(where=name, expected="a number from 1", got=repr(value))
        return int(value)

    job = text(environment.JOB)
    procs = environ.get("PET_NPROC_PER_NODE", "auto")
    return NodeFile(
        run_id=text(environment.RUN_ID).replace("-", ""),  # a uid
        job=job,
        nodes=number("PET_NNODES"),
        procs_per_node=max(gpus, 1) if procs == "auto" else number("PET_NPROC_PER_NODE"),
        coordinator_host=f"{job}-node-0-0.{job}",
        coordinator_port=environment.COORDINATOR_PORT,
        backend="nccl" if gpus else "gloo",
        output_dir=text(environment.OUTPUT_DIR),
        max_restarts=3,
        backoff_s=5.0,
        deadline_s=None,
        grace_s=120.0,
        rendezvous_timeout_s=600.0,
        hang_timeout_s=600.0,
    )


def complete_arguments(arguments: Sequence[str], environ: Mapping[str, str], job: NodeFile) -> list[str]:
    """Add to the trainer's arguments what ftlaunch's own jobs have there, where a runtime starts it.

    The output folder has to be the node process's, and without GPUs the device is the CPU.
    """
    if environment.JOB not in environ:
        return list(arguments)
    more = ["-o", f"Global.output_dir={job.output_dir}"]
    if job.backend == "gloo" and not any(part.startswith("Global.device=") for part in arguments):
        more += ["-o", "Global.device=cpu"]
    return [*arguments, *more, *([] if "--resume" in arguments else ["--resume", "auto"])]


def parse_address(text: str, *, what: str) -> Address:
    """Read `host:port`.

    Raises:
        FormatError: It is not one.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise FormatError(where=what, expected="host:port", got=repr(text))
    return Address(host=host, port=int(port))


def _mapped(path_map: PathMap, path: str) -> bytes:
    return Path(path_map.apply(path)).read_bytes()


def _node_index(environ: Mapping[str, str], nodes: int) -> int:
    # paddle-operator (batch.paddlepaddle.org) sets PADDLE_TRAINER_ID to a *node* index.
    name = environment.NODE if environment.NODE in environ else "PADDLE_TRAINER_ID"
    text = environ.get(name, "0" if nodes == 1 else "")
    if not text.isascii() or not text.isdigit() or not int(text) < nodes:
        raise FormatError(where=name, expected=f"a node index from 0 to {nodes - 1}", got=repr(text))
    return int(text)
