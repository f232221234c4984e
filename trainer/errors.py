"""The trainer's errors, all under `TrainerError`: a class for each thing that a caller does differently.

    TrainerError
      ConfigError           the config was refused: all problems with file, line and column
        JobNotFoundError    there is no such job
      DataError             lists or images were refused: all problems with file and line
      MissingPackagesError  only the launcher was installed
      MissingLibraryError   the system lacks what a package loads
      ImageError            one image cannot be used
      ImageSizeError        images have a size that the network does not take
      NamesError            a file of class names cannot be used
      WeightsError          weights cannot be used
      OutputRefusedError    the output folder is another run's
      DeviceError           the GPU that is asked for is not here
      DivergedError         the loss is no longer a number
      CheckpointError       a checkpoint or the output folder failed
      PeersLostError        rank 0 is gone
      StoppedError          told to stop; the state was saved
      InterruptedRunError   Ctrl-C; the state was saved
    and the formats' `FormatError` (`trainer.protocol.untrusted`).

Imports neither paddle nor numpy: commands that only look do without.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from trainer.config.problems import ConfigError
from trainer.protocol import installation
from trainer.protocol.errors import TrainerError
from trainer.protocol.exits import Exit

__all__ = [
    "CheckpointError",
    "ConfigError",
    "DataError",
    "DeviceError",
    "DivergedError",
    "ImageError",
    "ImageSizeError",
    "InterruptedRunError",
    "JobNotFoundError",
    "MissingLibraryError",
    "MissingPackagesError",
    "NamesError",
    "OutputRefusedError",
    "PeersLostError",
    "StoppedError",
    "TrainerError",
    "WeightsError",
]

MAX_PROBLEMS_SHOWN = 20


class DataError(TrainerError):
    """Data was refused. `problems` holds all of them; the message shows the first 20."""

    exit_code = Exit.DATA
    problems: tuple[str, ...]

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        lines = list(self.problems[:MAX_PROBLEMS_SHOWN])
        if len(self.problems) > MAX_PROBLEMS_SHOWN:
            lines.append(f"and {len(self.problems) - MAX_PROBLEMS_SHOWN} more problems")
        super().__init__("\n".join(lines))


class JobNotFoundError(ConfigError):
    """A job was named that was not submitted from this machine."""


class MissingPackagesError(TrainerError):
    """Only the launcher was installed. Says what is missing and what to type."""

    exit_code = Exit.CONFIG

    def __init__(self, missing: Sequence[str]) -> None:
        self.missing = tuple(missing)
        names = " and ".join(filter(None, [", ".join(missing[:-1]), missing[-1]]))
        super().__init__(
            where=sys.prefix,
            expected=f"{names} in this environment",
            got="none of them" if len(missing) > 1 else "none",
            fix=_how_to_train(),
        )


class MissingLibraryError(TrainerError):
    """A package is there, and a library of the system that it loads is not."""

    exit_code = Exit.CONFIG

    def __init__(self, library: str) -> None:
        package = _SYSTEM_PACKAGES.get(library)
        super().__init__(
            where="this system",
            expected=f"{library}, which a package of this environment loads",
            got="none",
            fix=f"on Debian and Ubuntu: apt-get install {package}"
            if package
            else "install the package of your system that has it",
        )


_SYSTEM_PACKAGES = {"libgomp.so.1": "libgomp1", "libGL.so.1": "libgl1", "libglib-2.0.so.0": "libglib2.0-0"}
"""By library, the package of Debian and Ubuntu that has it."""


def _how_to_train() -> str:
    return installation.train_elsewhere() or (
        f"install what trains:\n  {installation.install_command('trainer')}\n"
        f"or, for NVIDIA GPUs:\n  {installation.install_command('gpu')}"
    )


class ImageError(TrainerError):
    """An image cannot be used. Its place is added by who knows it."""

    exit_code = Exit.DATA


class ImageSizeError(TrainerError):
    """Images have a size that a network does not take, which the config could not tell."""

    exit_code = Exit.CONFIG


class NamesError(TrainerError):
    """A file of class names cannot be used."""

    exit_code = Exit.CONFIG


class WeightsError(TrainerError):
    """Weights cannot be used."""

    exit_code = Exit.CONFIG


class OutputRefusedError(TrainerError):
    """The output folder is not this run's."""

    exit_code = Exit.CONFIG


class DeviceError(TrainerError):
    """The GPU that is asked for is not here."""

    exit_code = Exit.CONFIG


class DivergedError(TrainerError):
    """The loss is no longer a number."""

    exit_code = Exit.DIVERGED


class CheckpointError(TrainerError):
    """A checkpoint or the output folder failed."""

    exit_code = Exit.CHECKPOINT


class PeersLostError(TrainerError):
    """Rank 0 is gone, and with it the place where ranks meet."""


class StoppedError(TrainerError):
    """Told to stop, by a signal or by the node process; the state was saved."""

    exit_code = Exit.STOPPED


class InterruptedRunError(TrainerError):
    """Ctrl-C; the state was saved."""

    exit_code = Exit.INTERRUPTED
