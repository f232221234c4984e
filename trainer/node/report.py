"""The progress line: every so often, at epoch ends and at the end of an attempt."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from trainer.node.console import Console
from trainer.node.messages import RankState
from trainer.protocol.progress import Progress, RankProgress, format_progress


class Reporter:
    """Keeps the last state of every rank of one attempt and prints them all when it is time."""

    def __init__(
        self, *, attempt: int, world_size: int, procs_per_node: int, every_s: float, console: Console,
        clock: Callable[[], float],
    ) -> None:  # fmt: skip
        """`clock` gives Unix time; the interval is measured with it too, which costs at most a line."""
        self._attempt = attempt
        self._world_size = world_size
        self._procs_per_node = procs_per_node
        self._every_s = every_s
        self._console = console
        self._clock = clock
        self._states: dict[int, tuple[RankState, float]] = {}
        self._epoch = 0
        self._next_s = clock() + every_s

    def take(self, states: Iterable[RankState]) -> None:
        """Take new states; where they complete an epoch, print."""
        now_s = self._clock()
        for state in states:
            if state.recorded:
                self._states[state.rank] = (state, now_s)
        epoch = min((state.epoch for state, _ in self._states.values()), default=0)
        if epoch > self._epoch and len(self._states) == self._world_size:
            self._epoch = epoch
            self.print()

    def tick(self) -> None:
        """Print if it is time."""
        if self._clock() >= self._next_s:
            self.print()

    def print(self) -> None:
        """Print now, if any rank has reported yet."""
        now_s = self._clock()
        self._next_s = now_s + self._every_s
        if self._states:
            self._console.say_bytes(format_progress(self._progress(now_s)))

    def _progress(self, now_s: float) -> Progress:
        rows = [self._states[rank] for rank in sorted(self._states)]
        return Progress(
            time_s=now_s,
            attempt=self._attempt,
            world_size=self._world_size,
            total_steps=max(state.total_steps for state, _ in rows),
            evaluated=next((state.evaluated for state, _ in rows if state.evaluated is not None), None),
            ranks=tuple(
                RankProgress(
                    rank=state.rank,
                    node=state.rank // self._procs_per_node,
                    step=state.step,
                    epoch=state.epoch,
                    phase=state.phase,
                    loss=state.loss,
                    images_per_s=state.images_per_s,
                    silent_s=state.silent_s + max(0.0, now_s - heard_s),
                )
                for state, heard_s in rows
            ),
        )
