"""`node.json`: what a node process needs to know, delivered beside cfg.yaml in the job's ConfigMap."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Annotated, Literal

from trainer.protocol.codec import UnlessNone, Within, decode, encode
from trainer.protocol.tracking import Track

SCHEMA = 1
_WHAT = "node.json"


Happening = Literal["started", "evaluated", "failed", "ended"]
NOTIFY_ON: tuple[Happening, ...] = ("started", "evaluated", "failed", "ended")
"""What messages can be about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Notify:
    """Whom node 0 tells what.

    Attributes:
        file: Addresses, a line each, as a container path.
        on: Of `NOTIFY_ON`.
    """

    file: Annotated[str, Within(1)]
    on: tuple[Happening, ...] = NOTIFY_ON


@dataclass(frozen=True, kw_only=True, slots=True)
class StopIf:
    """When a job saves and ends by itself.

    Attributes:
        gpu_below: Mean use of all its GPUs, from 0 to 1; None: it does not matter.
        progress_below: Images a second of all ranks together; None: it does not matter.
        for_s: Seconds over which the mean is taken.
    """

    gpu_below: Annotated[Annotated[float, Within(0, 1)] | None, UnlessNone()] = None
    progress_below: Annotated[Annotated[float, Within(0, 1e15)] | None, UnlessNone()] = None
    for_s: Annotated[float, Within(0, 1e9)]


@dataclass(frozen=True, kw_only=True, slots=True)
class JobObject:
    """Of which kind the job object is that node 0 writes its progress into.

    Attributes:
        api: Such as `kubeflow.org/v1`.
        resource: Name in paths, such as `paddlejobs`.
    """

    api: Annotated[str, Within(1, 200)]
    resource: Annotated[str, Within(1, 63)]


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeFile:
    """Settings of all node processes of one job.

    Attributes:
        run_id: 32 hexadecimal digits.
        secret: 64 hexadecimal digits, by which the nodes prove to each other that they are of this run; None
            in files of older releases, and in renderings that are to be the same each time. Then the run id,
            which is a label that many can read, takes its place.
        job: Name of the PaddleJob.
        nodes: Number of pods, at least 1.
        min_nodes: Nodes with which an attempt may begin, node 0 among them; None where all are needed.
        patience_s: How long the others are waited for then; None where all are needed.
        procs_per_node: Ranks on each node, at least 1.
        coordinator_host: Name under which node 0 answers.
        coordinator_port: TCP port of the rendezvous.
        backend: Collective library.
        output_dir: Folder for checkpoints, as a container path; run.json lies in its `.ftlaunch`.
        overwrite: Take over an output folder that another run filled.
        continues: Run whose output this one goes on from, in its folder; None for a run of its own.
        max_restarts: Attempts after the first; 0 means that the first failure is the last.
        backoff_s: Pause before the second attempt; doubled for each further one.
        deadline_s: Seconds since the first start of the run, or None.
        grace_s: Seconds from SIGTERM to SIGKILL that the pod has.
        rendezvous_timeout_s: How long peers are waited for.
        code_path: The user's code, as an archive in the pod; None where there is none.
        code_sha256: Of that archive before it was compressed.
        hang_timeout_s: Silence of a rank, in one phase, that counts as a hang; None switches it off.
        notify: Whom to tell what happens; None for nobody.
        track: Trackers to send rows to; None for none.
        stop_if: When to save and end; None for never.
        metrics_port: TCP port at which each node answers Prometheus; None for none.
        publish: The job object that progress is written into; None for none.
        keep_logs_bytes: Of what a node writes, kept in the output folder; None for nothing.
    """

    run_id: str
    job: str
    nodes: Annotated[int, Within(least=1)]
    procs_per_node: Annotated[int, Within(least=1)]
    coordinator_host: str
    coordinator_port: int
    backend: Literal["nccl", "gloo"]
    output_dir: str
    overwrite: bool = False
    continues: str | None = None
    max_restarts: int
    backoff_s: float
    deadline_s: float | None
    grace_s: float
    rendezvous_timeout_s: float
    hang_timeout_s: float | None
    code_path: Annotated[Annotated[str, Within(1)] | None, UnlessNone()] = None
    code_sha256: Annotated[Annotated[str, Within(64, 64)] | None, UnlessNone()] = None
    metrics_port: Annotated[Annotated[int, Within(1, 65535)] | None, UnlessNone()] = None
    keep_logs_bytes: Annotated[Annotated[int, Within(1)] | None, UnlessNone()] = None
    publish: Annotated[JobObject | None, UnlessNone()] = None
    notify: Annotated[Notify | None, UnlessNone()] = None
    track: Annotated[Track | None, UnlessNone()] = None
    stop_if: Annotated[StopIf | None, UnlessNone()] = None
    secret: Annotated[Annotated[str, Within(32, 256)] | None, UnlessNone()] = field(default=None, repr=False)
    min_nodes: Annotated[Annotated[int, Within(least=1)] | None, UnlessNone()] = None
    patience_s: Annotated[Annotated[float, Within(0)] | None, UnlessNone()] = None

    @property
    def world_size(self) -> int:
        """Number of ranks of the job, with all its nodes."""
        return self.nodes * self.procs_per_node

    @property
    def is_elastic(self) -> bool:
        """Whether fewer nodes than all may train."""
        return self.min_nodes is not None


def format_node_file(node_file: NodeFile) -> str:
    """Write node.json: one key a line, so that a diff of two manifests reads well."""
    return json.dumps(encode(node_file, schema=SCHEMA), indent=2) + "\n"


def parse_node_file(text: str | bytes) -> NodeFile:
    """Read node.json.

    Raises:
        FormatError: A key is missing, has another type, or the schema is a newer one.
    """
    return decode(NodeFile, text, where=_WHAT, schema=SCHEMA, fix="use one release for launcher and image")
