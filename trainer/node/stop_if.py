"""When a job ends itself: `Launch.stop_if`. Pure.

A job whose GPUs idle, or that creeps, holds what others wait for. What is compared is the mean of the last
so many minutes and not each moment, because an evaluation, a slow volume or the start of an epoch makes
every job idle now and then; and nothing is compared before there were that many minutes. What is not known
(no rank has reported, a GPU that cannot be asked) counts as nothing, neither way.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

from trainer.node.messages import RankState
from trainer.protocol.durations import format_duration
from trainer.protocol.heartbeat import Phase
from trainer.protocol.nodefile import StopIf

_BUCKETS = 120
_SILENT_S = 30.0
"""A rank that has not told of itself for so long trains no images, whatever its last rate was."""
_LONGEST_S = 10.0
"""Between two reports that belong together; what a pause hides is not known."""
_TRAINS = frozenset({Phase.LOAD.name.lower(), Phase.COMPUTE.name.lower()})


class Window:
    """The mean of a value over the last so many seconds."""

    def __init__(self, length_s: float) -> None:
        self._length_s = length_s
        self._buckets: deque[tuple[float, float]] = deque()
        self._seconds = self._sum = 0.0

    def add(self, value: float, seconds: float) -> None:
        """Take a value that held for some seconds."""
        if self._buckets and self._buckets[-1][0] + seconds <= self._length_s / _BUCKETS:
            last_s, last = self._buckets.pop()
            self._buckets.append((last_s + seconds, last + value * seconds))
        else:
            self._buckets.append((seconds, value * seconds))
        self._seconds += seconds
        self._sum += value * seconds
        while self._seconds - self._buckets[0][0] >= self._length_s:
            first_s, first = self._buckets.popleft()
            self._seconds -= first_s
            self._sum -= first

    @property
    def mean(self) -> float | None:
        """The mean; None before there was enough."""
        return max(0.0, self._sum) / self._seconds if self._seconds >= self._length_s else None


class StopCondition:
    """Looks at all ranks of one attempt."""

    def __init__(self, stop_if: StopIf, *, world_size: int, nodes: Iterable[int]) -> None:
        self._stop_if, self._world_size, self._nodes = stop_if, world_size, frozenset(nodes)
        self._images, self._gpus = Window(stop_if.for_s), Window(stop_if.for_s)
        self._use: dict[int, float] = {}
        self._at_s: float | None = None

    def take_use(self, node: int, use: float | None) -> None:
        """Take the mean use of a node's GPUs, from 0 to 1; None where that is not known."""
        if use is not None:
            self._use[node] = use

    def look(self, states: Mapping[int, RankState], *, now_s: float) -> str | None:
        """Return why the job is to end, or None. To be called about once a second.

        Args:
            states: Of all ranks that have reported, with silences until now.
            now_s: Seconds that only grow.
        """
        since_s, self._at_s = self._at_s, now_s
        if since_s is None or not 0 < now_s - since_s <= _LONGEST_S:
            return None
        seconds = now_s - since_s
        if self._use.keys() >= self._nodes:
            self._gpus.add(sum(self._use.values()) / len(self._use), seconds)
        recorded = [state for state in states.values() if state.recorded]
        if len(recorded) == self._world_size and all(state.phase in _TRAINS for state in recorded):
            rates = [state.images_per_s or 0.0 for state in recorded if state.silent_s < _SILENT_S]
            self._images.add(sum(rates), seconds)
        return self._judge()

    def _judge(self) -> str | None:
        wanted, of_late = self._stop_if, f"in the last {format_duration(self._stop_if.for_s)}"
        use, images = self._gpus.mean, self._images.mean
        if wanted.gpu_below is not None and use is not None and use < wanted.gpu_below:
            return f"stop_if: GPUs were {use:.1%} in use {of_late}, less than {100 * wanted.gpu_below:g}%"
        if wanted.progress_below is not None and images is not None and images < wanted.progress_below:
            return f"stop_if: {images:.3g} images/s {of_late}, less than {wanted.progress_below:g}"
        return None
