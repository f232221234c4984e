"""Names of the environment variables and ports inside a pod. `FTLAUNCH_*` is the CLI's and not here."""

from __future__ import annotations

from typing import Final

# Set by the manifest or the backend, read by the node process.
NODE: Final = "FTL_NODE"
"""Index of this node, 0 to nodes - 1."""
JOB: Final = "FTL_JOB"
"""Name of the job, where no node.json tells it (see `trainer.node.settings`)."""
OUTPUT_DIR: Final = "FTL_OUTPUT_DIR"
"""Folder for checkpoints, in the same way."""
PATH_MAP: Final = "FTL_PATH_MAP"
"""Local backend only: JSON object, container path -> path on this machine; the longest prefix wins."""
COORDINATOR: Final = "FTL_COORDINATOR"
"""Local backend only: `host:port` instead of the coordinator in node.json."""
HOME: Final = "FTL_HOME"
"""Local backend only: home folder of the user, below which weights are kept; HOME is the pod's own."""

# The user's own, in any shell that calls the trainer; jobs on this machine get them too.
WEIGHTS: Final = "FTL_WEIGHTS"
"""Folder of pretrained weights, besides `~/.paddleclas/weights`."""
OFFLINE: Final = "FTL_OFFLINE"
"""1 where nothing is to be downloaded."""
USERS_WEIGHTS: Final = "/ftlaunch/weights"
"""Docker backend only: where the user's folder of weights is mounted in a container."""
OLD_WEIGHTS: Final = "FTLAUNCH_WEIGHTS"
OLD_OFFLINE: Final = "FTLAUNCH_OFFLINE"
"""Names of releases before 0.2, which are still read."""

# Set by the node process, read by `trainer.ranks`.
RUN_ID: Final = "FTL_RUN_ID"
"""Also read by the node process where no node.json tells it."""
ATTEMPT: Final = "FTL_ATTEMPT"
"""Number of this start of all ranks, from 1."""
HEARTBEATS: Final = "FTL_HEARTBEATS"
"""Path of the file of heartbeats of this node (see `heartbeat`)."""
OUTCOME: Final = "FTL_OUTCOME"
"""Path at which this rank leaves its `outcome.Outcome`."""
STORE: Final = "FTL_STORE"
"""1 where node 0's process serves Paddle's store at PADDLE_MASTER, and no rank has to."""

SHARDS: Final = "FTL_SHARDS"
"""Parts that each global batch is cut into: ranks of the job with all its nodes, where fewer may be there."""

CODE: Final = "FTL_CODE"
"""Folder of the user's own code, unpacked; it comes last on Python's path."""

CONFIG_MOUNT: Final = "/etc/ftlaunch"
CONFIG_FILE: Final = "cfg.yaml"
NODE_FILE: Final = "node.json"
CODE_FILE: Final = "code.tar.gz"
"""Key of the ConfigMap under which the user's code travels."""
CODE_FOLDER: Final = ".ftlaunch-code"
"""Folder of a volume in which archives of code lie that no ConfigMap holds, by their hashes."""
API_ACCESS: Final = "/etc/ftlaunch-api"
"""Folder with `token`, `ca.crt` and `namespace`, where a job may write its progress into its own object."""
TERMINATION_PATH: Final = "/dev/termination-log"
WORKSPACE: Final = "/workspace"
"""Working directory of the trainer container; relative paths of a config are relative to it."""

STORE_PORT: Final = 36543
"""Paddle's TCPStore; the training operator names the port `master` (v1.9.3, apis/kubeflow.org/v1)."""
COORDINATOR_PORT: Final = 36544
"""The node processes' rendezvous."""
