"""How a command ends: its exit code, the sentence on standard error, the outcome for the node process."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from trainer.cli.printing import echo
from trainer.errors import MissingLibraryError, MissingPackagesError, TrainerError
from trainer.protocol import installation
from trainer.protocol.exits import Exit
from trainer.protocol.outcome import Outcome, save_outcome


@dataclass(slots=True)
class Ending:
    """Where to leave the outcome, and how far the process got; the command keeps it true."""

    outcome: Path | None = None
    step: int | None = None
    checkpoint: str | None = None
    reason: str = "done"
    """What is said of a good end."""


def require_packages() -> None:
    """Say before anything else is done what this command needs and this environment lacks.

    Raises:
        MissingPackagesError: Paddle or another package of the extra `trainer` is not installed.
    """
    if missing := installation.missing_packages():
        raise MissingPackagesError(missing)


def end_with(work: Callable[[], None], ending: Ending) -> int:
    """Do a command's work and return its exit code; says on standard error what went wrong."""
    code, reason = _run(work, ending)
    if reason:
        echo(f"trainer: {reason}", err=True)
    if ending.outcome is not None:
        first_line = reason.split("\n", 1)[0] if reason else ending.reason
        outcome = Outcome(exit=int(code), reason=first_line, step=ending.step, checkpoint=ending.checkpoint)
        try:
            save_outcome(ending.outcome, outcome)
        except OSError as error:
            echo(f"trainer: {ending.outcome}: {error}", err=True)
    return int(code)


def _run(work: Callable[[], None], ending: Ending) -> tuple[Exit, str]:
    from trainer.config.extras import find_place

    code, reason = Exit.DONE, ""
    try:
        work()
    except TrainerError as error:
        code, reason = error.exit_code, str(error)
    except BrokenPipeError:
        raise BrokenPipeError from None  # for `main`: where it has a number, click ends with 1 itself
    except KeyboardInterrupt:
        code, reason = Exit.INTERRUPTED, "interrupted"
    except Exception as error:  # noqa: BLE001 - one of the two mains
        if _is_interrupt(error):
            return Exit.INTERRUPTED, "interrupted"
        if isinstance(error, ImportError) and (library := installation.missing_library(error)):
            return MissingLibraryError.exit_code, str(MissingLibraryError(library))
        # A node process keeps our lines in a log, which may hold what a person at a terminal need not see.
        if os.environ.get("FTLAUNCH_DEBUG") or ending.outcome is not None:
            traceback.print_exc()
        place = find_place(error)
        where = f"{place}: error in a module of yours" if place else "internal error"
        code, reason = Exit.INTERNAL, f"{where}: {type(error).__name__}: {error}"
    return code, reason


def _is_interrupt(error: BaseException) -> bool:
    """Say whether Ctrl-C is behind an error: C libraries make an ImportError of it while they load."""
    behind: BaseException | None = error
    while behind is not None:
        if isinstance(behind, KeyboardInterrupt):
            return True
        behind = behind.__cause__ or behind.__context__
    return False
