"""Serves what this node's ranks do to Prometheus: `/metrics`, where `Launch.metrics_port` asks for it.

The numbers are the ones that the node process has anyway: the ranks' records in shared memory, as they were
last reported. A scrape happens in a thread of its own, reads one immutable tuple, and so takes nothing from
a step and waits for nothing. Names follow https://prometheus.io/docs/practices/naming/: base units, and
`_total` for what only grows.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from trainer.node.messages import RankState
from trainer.node.settings import NodeSettings
from trainer.protocol.errors import TrainerError
from trainer.protocol.exits import Exit
from trainer.protocol.heartbeat import Phase
from trainer.protocol.layout import MANIFEST, parse_checkpoint_name
from trainer.protocol.runfile import CHECKPOINTS, FOLDER

if TYPE_CHECKING:
    from prometheus_client import Metric

PARTS = ("images", "copy", "peers", "fetch", "compute")
"""Of a step's time, which they add up to."""


class MetricsError(TrainerError):
    """What was asked for cannot be served."""

    exit_code = Exit.CONFIG


class Watched(Protocol):
    """What is told of: an agent."""

    @property
    def attempt(self) -> int:
        """The attempt that began last, from 1; 0 before the first."""

    @property
    def rank_states(self) -> Sequence[RankState]:
        """Of this node's ranks, as last reported; a new one each time, which nobody changes."""


class Gpus(Protocol):
    """NVIDIA's management library."""

    def read(self) -> Iterable[tuple[int, float, float, float]]:
        """Yield of each GPU its index, its use from 0 to 1, and the bytes of its memory used and there."""


class NodeCollector:
    """Makes the metrics of a node when Prometheus asks."""

    def __init__(
        self, settings: NodeSettings, watched: Watched, *, gpus: Gpus | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        """`now_s` is the time of day, in seconds."""
        self._settings = settings
        self._watched = watched
        self._gpus = gpus
        self._now_s = now_s

    def collect(self) -> Iterator[Metric]:
        """Yield one metric after the other, with its samples."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        job, states = self._settings.job, self._watched.rank_states
        info = {
            "ftlaunch_job": job.job, "run_id": job.run_id, "node": str(self._settings.node),
            "nodes": str(job.nodes),
        }  # fmt: skip
        about = GaugeMetricFamily("ftlaunch_node_info", "The job and the node.", labels=list(info))
        about.add_metric(list(info.values()), 1)
        yield about
        yield CounterMetricFamily(
            "ftlaunch_attempts", "Attempts that began; all but the first are restarts.",
            value=self._watched.attempt,
        )  # fmt: skip
        for name, text, read in _BY_RANK:
            gauge = GaugeMetricFamily(f"ftlaunch_rank_{name}", text, labels=["rank"])
            for state in states:
                value = read(state)
                if value is not None and math.isfinite(value):
                    gauge.add_metric([str(state.rank)], value)
            yield gauge
        phases = GaugeMetricFamily(
            "ftlaunch_rank_phase", "1 for what a rank does now.", labels=["rank", "phase"]
        )
        parts = GaugeMetricFamily(
            "ftlaunch_rank_step_seconds", "Mean time of the last steps, by part.", labels=["rank", "part"]
        )
        for state in states:
            for phase in Phase:
                name = phase.name.lower()
                phases.add_metric([str(state.rank), name], float(state.phase == name))
            for part, seconds in _parts(state):
                parts.add_metric([str(state.rank), part], seconds)
        yield phases
        yield parts
        if self._settings.node == 0:
            yield from self._of_run(states)
        if self._gpus is not None:
            yield from _of_gpus(self._gpus)

    def _of_run(self, states: Sequence[RankState]) -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        evaluated = next((state.evaluated for state in states if state.evaluated is not None), None)
        if evaluated is not None:
            for name, text, value in (
                ("top1", "Share of right answers in the last evaluation.", evaluated.top1),
                ("best_top1", "The best one so far.", evaluated.best_top1),
                ("largest_class", "Share of the largest class.", evaluated.largest_class),
            ):
                yield GaugeMetricFamily(f"ftlaunch_evaluation_{name}", text, value=value)
        saved_s = last_saved_s(self._settings.output_dir)
        if saved_s is not None:
            yield GaugeMetricFamily(
                "ftlaunch_checkpoint_age_seconds", "Since the last whole checkpoint was written.",
                value=max(0.0, self._now_s() - saved_s),
            )  # fmt: skip


def last_saved_s(output_dir: Path) -> float | None:
    """Return when the furthest whole checkpoint of an output folder was written, by its files' clock."""
    with contextlib.suppress(OSError):
        folder = output_dir / FOLDER / CHECKPOINTS
        names = (parse_checkpoint_name(path.name) for path in folder.iterdir())
        for name in sorted((name for name in names if name is not None), reverse=True):
            with contextlib.suppress(OSError):  # without a manifest it is not whole
                return (folder / str(name) / MANIFEST).stat().st_mtime
    return None


def serve(settings: NodeSettings, watched: Watched) -> Callable[[], None]:
    """Serve this node's metrics until what is returned is called.

    On this machine alone where the nodes of the job are its processes: then each has a port of its own.

    Raises:
        MetricsError: A package is missing, or the port is taken.
    """
    assert settings.job.metrics_port is not None
    try:
        from prometheus_client import CollectorRegistry, start_http_server
    except ModuleNotFoundError as error:
        raise MetricsError(
            where="Launch.metrics_port", expected="the package prometheus-client, which this image lacks",
            fix="install the extra `monitoring`, or leave the key out",
        ) from error  # fmt: skip
    registry = CollectorRegistry()
    registry.register(NodeCollector(settings, watched, gpus=find_gpus()))
    host, port = "0.0.0.0", settings.job.metrics_port  # noqa: S104 - Prometheus is another pod
    if settings.shares_host:
        host, port = "127.0.0.1", port + settings.node
    try:
        server, _ = start_http_server(port, addr=host, registry=registry)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise MetricsError(
            where="Launch.metrics_port", expected=f"to listen at {host}:{port}", got=reason,
            fix="choose another port",
        ) from error  # fmt: skip

    def stop() -> None:
        server.shutdown()
        server.server_close()

    return stop


def find_gpus() -> Gpus | None:
    """Return a reader of this machine's GPUs; None without any, or without the package nvidia-ml-py."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # noqa: BLE001 - no package, no driver, no device: each its own error
        return None
    return _Nvml(pynvml)


def own_gpus(visible: str | None) -> frozenset[int] | None:
    """Read CUDA_VISIBLE_DEVICES; None where it names none by number, and all may be this node's."""
    parts = [part.strip() for part in (visible or "").split(",")]
    if not all(part.isascii() and part.isdigit() for part in parts):
        return None
    return frozenset(map(int, parts))


def read_use(gpus: Gpus, only: frozenset[int] | None) -> float | None:
    """Return the mean use of GPUs, from 0 to 1; None where none tells."""
    found = [use for index, use, _, _ in gpus.read() if only is None or index in only]
    return min(1.0, max(0.0, sum(found) / len(found))) if found else None


class _Nvml:
    def __init__(self, library: Any) -> None:
        self._library = library

    def read(self) -> Iterator[tuple[int, float, float, float]]:
        for index in range(self._library.nvmlDeviceGetCount()):
            with contextlib.suppress(self._library.NVMLError):  # one that was lost is left out
                handle = self._library.nvmlDeviceGetHandleByIndex(index)
                used = self._library.nvmlDeviceGetUtilizationRates(handle).gpu / 100
                memory = self._library.nvmlDeviceGetMemoryInfo(handle)
                yield index, used, float(memory.used), float(memory.total)


def _of_gpus(gpus: Gpus) -> Iterator[Metric]:
    from prometheus_client.core import GaugeMetricFamily

    use = GaugeMetricFamily("ftlaunch_gpu_utilization_ratio", "Share of time that it worked.", labels=["gpu"])
    taken = GaugeMetricFamily("ftlaunch_gpu_memory_used_bytes", "Memory that is in use.", labels=["gpu"])
    there = GaugeMetricFamily("ftlaunch_gpu_memory_bytes", "Memory that it has.", labels=["gpu"])
    for index, used, used_bytes, all_bytes in gpus.read():
        use.add_metric([str(index)], used)
        taken.add_metric([str(index)], used_bytes)
        there.add_metric([str(index)], all_bytes)
    yield from (use, taken, there)


def _parts(state: RankState) -> Iterator[tuple[str, float]]:
    times = state.times
    if times is None or not times.steps:
        return
    yield from zip(
        PARTS, (times.wait_s, times.copy_s, times.peers_s, times.fetch_s, times.compute_s), strict=True
    )


_Read = Callable[[RankState], "float | None"]
_BY_RANK: tuple[tuple[str, str, _Read], ...] = (
    ("running", "Whether the rank has told of itself in this attempt.", lambda state: float(state.recorded)),
    ("step", "Optimizer steps completed.", lambda state: state.step),
    ("planned_steps", "Optimizer steps of the whole run.", lambda state: state.total_steps or None),
    ("epoch", "Epoch, from 0.", lambda state: state.epoch),
    ("silent_seconds", "Since the rank last told of itself.", lambda state: state.silent_s),
    ("loss", "The last training loss.", lambda state: state.loss),
    ("images_per_second", "Images that the rank trains on a second.", lambda state: state.images_per_s),
    (
        "evaluation_seconds", "What evaluations of this attempt have taken.",
        lambda state: state.times.eval_s if state.times is not None else None,
    ),
    (
        "save_seconds", "For how long checkpoints of this attempt have stopped the training.",
        lambda state: state.times.save_s if state.times is not None else None,
    ),
)  # fmt: skip
