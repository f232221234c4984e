"""`num_workers: auto`: how many reader processes, from what this process may use and how long an image takes.

The step's length is not known before there is one, so the choice is by what can be spared: with a GPU all
cores of the rank but one, which drives it; without one the network computes with all cores, and few readers
stay ahead of it. Images that are waited for more than they are worked on, as from a network disk, are read by
more processes than there are cores.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from trainer.data.reading import Recipe, SampleKey, SampleReader

_MOST = 16  # readers of a rank by our own choice; whoever knows that more help says so
_MOST_WAITING = 4.0  # times as many as cores where images are waited for
_READERS_OF_CPU = 8  # cores for each reader where the network computes on them too
_SOON_S = 0.25  # an epoch that is read sooner is read before processes have started, which takes 0.4 s
_IMAGES, _LONGEST_S = 8, 0.5  # of the calibration


@dataclass(frozen=True, kw_only=True, slots=True)
class Room:
    """What a rank has.

    Attributes:
        cores: That it and the others of its machine or pod may use.
        ranks: These are.
        on_gpu: The network computes on a GPU.
    """

    cores: float
    ranks: int = 1
    on_gpu: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadTime:
    """How long an image takes.

    Attributes:
        seconds: From its file to its pixels.
        cpu_s: Of these, a core worked.
    """

    seconds: float
    cpu_s: float


class _Forgotten:
    """Remarks that nobody hears: who reads next will make them again."""

    def reason(self, index: int) -> str | None:
        del index
        return None

    def note(self, index: int, reason: str) -> None:
        pass

    def warn(self, index: int, text: str) -> None:
        pass


def measure_read_time(recipe: Recipe) -> ReadTime | None:
    """Read a few images of a list, at even distances; None where none can be read.

    Raises:
        ConfigError: An operation of the user's own cannot be made.
    """
    count = len(recipe.paths)
    reader = SampleReader(replace(recipe, skip=False), _Forgotten())
    taken: list[ReadTime] = []
    began = time.perf_counter()
    for index in range(0, count, max(1, count // _IMAGES)):
        start, cpu = time.perf_counter(), time.thread_time()
        outcome = reader.read(SampleKey(index=index, epoch=0), lambda _: None)
        if outcome.problem is None:
            taken.append(ReadTime(seconds=time.perf_counter() - start, cpu_s=time.thread_time() - cpu))
        if time.perf_counter() - began > _LONGEST_S:
            break
    # The first one also pays for tables and memory that the others find; the median does not mind.
    taken.sort(key=lambda each_takes: each_takes.seconds)
    return taken[len(taken) // 2] if taken else None


def choose_workers(room: Room, each_takes: ReadTime | None, *, images: int) -> tuple[int, str]:
    """Return how many processes are to read, and a sentence that says what was found.

    Args:
        room: Of the rank.
        each_takes: None where it is not known.
        images: Of an epoch of this rank.
    """
    each = room.cores / max(1, room.ranks)
    shared = f" for each of {room.ranks} ranks" if room.ranks > 1 else ""
    found = f"{each:.3g} core{'' if each == 1 else 's'}{shared}"
    if each_takes is not None:
        found += f", {each_takes.seconds * 1000:.2g} ms an image"
        if images * each_takes.seconds < _SOON_S:
            return 0, f"0: {found}: an epoch is read before processes have started"
    if not room.on_gpu and each < 2:
        return 0, f"0: {found}: the network computes on the same core"
    count = int(each) - 1 if room.on_gpu else int(each) // _READERS_OF_CPU
    count = max(1, count)
    if each_takes is not None and each_takes.cpu_s > 0:
        count = int(count * min(_MOST_WAITING, max(1.0, each_takes.seconds / each_takes.cpu_s)))
    count = min(count, _MOST)
    rate = f", which read about {count / each_takes.seconds:.0f} images/s" if each_takes is not None else ""
    return count, f"{count} reader process{'' if count == 1 else 'es'}{rate}: {found}"


__all__ = ["ReadTime", "Room", "choose_workers", "measure_read_time"]
