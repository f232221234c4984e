"""What node 0 last said of the ranks' progress: the last progress line in the end of its log."""

from __future__ import annotations

from collections.abc import Sequence

from launcher import objects
from launcher.backends.kubernetes.pods import PodStart
from launcher.errors import LaunchError
from launcher.kinds.pods import node_of
from launcher.kube.api import PodLogs
from launcher.objects import KubeObject
from trainer.protocol.progress import Progress
from trainer.protocol.progress import last_progress as find_last
from trainer.protocol.tags import parse_line

PROGRESS_LINES = 512
"""The API cuts a log's end by lines only; about 64 KiB of usual ones."""


def fetch_progress(
    logs: PodLogs, pods: Sequence[KubeObject], starts: dict[str, PodStart], *, container: str
) -> Progress | None:
    """Return what node 0 last said of the ranks; None before it has, and where its log cannot be read."""
    first = next((pod for pod in pods if node_of(pod) == 0), None)
    if first is None or not starts[objects.name_of(first)].has_started:
        return None
    namespace, name = first["metadata"]["namespace"], objects.name_of(first)
    try:
        log = logs.read_pod_log(name, namespace=namespace, container=container, tail_lines=PROGRESS_LINES)
    except LaunchError:  # a lost node or a missing rule must not hide how the job stands
        return None
    return last_progress(log)


def last_progress(log: bytes) -> Progress | None:
    """Return what the last whole progress line of a log says, or None.

    Args:
        log: Its last lines, each as `RFC3339Nano text`.
    """
    return find_last([parse_line(line.partition(b" ")[2]).text for line in log.split(b"\n")])
