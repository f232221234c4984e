"""Images that a loader could not read: which, how many are borne, what is still to be said."""

from __future__ import annotations

import threading
from collections.abc import Sized
from typing import Protocol

from trainer.errors import MAX_PROBLEMS_SHOWN, DataError


def how_to_fix(*, skip: bool) -> str:
    """Say what to do about an image that cannot be read.

    Args:
        skip: `bad_images: skip` is set already.
    """
    if skip:
        return "replace the file, or remove the line"
    return "replace the file, remove the line, or set bad_images: skip in its loader"


def format_count(count: int) -> str:
    """Write `1 image`, `2 images`."""
    return f"{count} image{'' if count == 1 else 's'}"


def format_left_out(count: int) -> str:
    """Say that an evaluation counts without so many images."""
    return f"{format_count(count)} could not be read and {'is' if count == 1 else 'are'} left out"


class ListedSamples(Sized, Protocol):
    """A list of samples that knows where it comes from."""

    @property
    def source(self) -> str:
        """The list file."""


class BadImages:
    """Of one loader of one rank. Reader threads note, the engine asks."""

    def __init__(self, *, skip: bool, limit: float, samples: ListedSamples) -> None:
        """Begin with none.

        Args:
            skip: Go on without such images (`loader.bad_images: skip`).
            limit: Share of the list, 0 to 1, that is borne in an epoch (`loader.bad_images_limit`).
            samples: The list.
        """
        self.skip = skip
        self._limit = limit
        self._samples = samples
        self._reasons: dict[int, str] = {}
        self._warned: set[int] = set()
        self._unsaid: list[str] = []
        self._lock = threading.Lock()

    def reason(self, index: int) -> str | None:
        """Return why a sample cannot be read, where that is known already; it is not tried again."""
        return self._reasons.get(index)

    def note(self, index: int, reason: str) -> None:
        """Keep that a sample cannot be read, with the sentence that says why."""
        with self._lock:
            if self._reasons.setdefault(index, reason) is reason:
                self._say(f"bad image, skipped: {reason}", count=len(self._reasons))

    def warn(self, index: int, text: str) -> None:
        """Keep that a sample was read though something is wrong with it."""
        with self._lock:
            if index not in self._warned:
                self._warned.add(index)
                self._say(f"warning: {text}", count=len(self._warned))

    def take_unsaid(self) -> list[str]:
        """Return what nobody has said yet: the first 20 of each kind, and that there are more."""
        if not self._unsaid:
            return []
        with self._lock:
            said, self._unsaid = self._unsaid, []
        return said

    def refuse_too_many(self, count: int) -> None:
        """Do nothing where so many bad images of an epoch are borne.

        Args:
            count: Of all ranks together, so that all of them end at the same step.

        Raises:
            DataError: There are more.
        """
        total = len(self._samples)
        if count <= self._limit * total:
            return
        first = next(iter(self._reasons.values()), "")
        raise DataError(
            [
                f"{self._samples.source}: expected at most {self._limit:.4g} of the list's {total} images to "
                f"be unreadable (loader.bad_images_limit), got {count} so far; mend them (`trainer check "
                "--images all` names all), or raise the limit",
                *([f"the first: {first}"] if first else []),
            ]
        )

    def _say(self, text: str, *, count: int) -> None:
        if count <= MAX_PROBLEMS_SHOWN:
            self._unsaid.append(text)
        elif count == MAX_PROBLEMS_SHOWN + 1:
            self._unsaid.append("more such images are not named; `trainer check --images all` names all")
