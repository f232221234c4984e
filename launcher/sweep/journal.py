"""optuna's journal of a study: opened under a lock of ours, and read on where a writer was killed."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from launcher.errors import LaunchError
from launcher.sweep.study import JOURNAL, Study
from trainer.protocol.file_locks import hold_new

if TYPE_CHECKING:
    import optuna

_LOCK = ".journal.lock"


class JournalError(LaunchError):
    """The journal is broken."""


@contextmanager
def quiet() -> Iterator[None]:
    """Keep optuna's warnings of what it calls experimental out of a terminal."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def open_journal(
    study: Study, *, pruner: optuna.pruners.BasePruner
) -> tuple[optuna.Study, optuna.storages.JournalStorage]:
    """Open a study's journal; it is made where it is not there.

    Raises:
        JournalError: It is broken.
    """
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    path, lock = study.folder / JOURNAL, study.folder / _LOCK
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with quiet():
        try:
            storage = JournalStorage(JournalFileBackend(str(path), lock_obj=_make_lock(path, lock)))
            # it adds a line, by which optuna finds a broken one before it, which it would pass over else
            opened = optuna.create_study(
                storage=storage, study_name=study.name, load_if_exists=True, pruner=pruner,
                direction="maximize" if study.settings.goal == "max" else "minimize",
            )  # fmt: skip
        except (ValueError, LookupError, TypeError, AttributeError, OSError) as error:
            # a line is no JSON, or none of optuna's, or names what an earlier one should have made
            raise JournalError(
                where=path, expected="optuna's journal", said=f"{type(error).__name__}: {error}",
                fix=f"`ftlaunch list {study.name}` has its jobs, `ftlaunch delete {study.name}` removes it",
            ) from error  # fmt: skip
    return opened, storage


def _make_lock(path: Path, lock: Path) -> Any:
    """Make the lock that optuna takes for each line that it appends.

    Its own locks are files whose holder may have been killed, and are waited for thirty seconds then. Ours
    is the system's. What a killed writer left of a line is cut off first: optuna would append to it, and
    could never read either line again.
    """

    class Lock:
        def __init__(self) -> None:
            self._held: Any = None

        def acquire(self) -> bool:
            self._held = hold_new(lock)
            self._held.__enter__()
            _cut_torn_line(path)
            return True

        def release(self) -> None:
            self._held.__exit__(None, None, None)

    return Lock()


_LONGEST_LINE = 1 << 20


def _cut_torn_line(path: Path) -> None:
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        if not size:
            return
        file.seek(max(0, size - _LONGEST_LINE))
        tail = file.read()
        if not tail.endswith(b"\n"):
            file.truncate(size - len(tail) + tail.rfind(b"\n") + 1)
